"""Names the mistake in a wrong gradient, as far as its numbers tell: a factor, a sign, a row.

Pure functions over arrays. What it says is a verb and what follows it, so that the same words fit
one mode and several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """How many samples the loss is over, as far as it is known."""

    counts: tuple[int, ...]
    """Numbers of samples (or of outputs in all) that a factor may come from."""
    named: bool = True
    """Whether the lesson says which of its names are data; else it is a guess by shapes."""


class GradientMistake(NamedTuple):
    """A mistake in a gradient as a sentence: its subject, verb and rest."""

    verb: str
    """`is`, `has` or `differs`."""
    words: str


@dataclass(frozen=True, slots=True)
class SuspectGradient:
    """A gradient that is not the right one, with what it is measured by. float64 arrays."""

    found: Array
    right: Array
    tolerance: Array
    """Element by element, how far apart the two may be and yet be equal."""
    measure: str
    """What to call the right one: `autograd`, `finite differences`."""
    old: Array | None = None
    """What stood there when the batch began; None if nothing did."""
    samples: Samples | None = None

    def is_close_to(self, other: Array, times: float = 1.0) -> bool:
        """Whether what was found is `other`."""
        return bool((np.abs(self.found - other) <= self.tolerance * max(1.0, abs(times))).all())


def mistake_in(suspect: SuspectGradient, parameter: str) -> GradientMistake:
    """The most telling thing that can be said of a gradient that is not right.

    The arrays are finite and of one shape; `found` and `right` differ somewhere.
    """
    factor = factor_of(suspect)
    added = _added_up(suspect)
    if added and factor is not None:
        return GradientMistake("is", f"{times(factor)} {suspect.measure}: {_ADDED_UP}")
    if added:
        return GradientMistake("is", f"the old and the new one: {_ADDED_UP}")
    if factor is not None:
        return _of_factor(factor, suspect)
    if _is_transposed(suspect):
        return GradientMistake("is", f"{possessive(suspect.measure)} transposed")
    return GradientMistake("differs", _where(suspect, parameter))


_ADDED_UP = "gradients added up (was the reset forgotten?)"


def factor_of(suspect: SuspectGradient) -> float | None:
    """The one number that takes the right gradient to what was found; None if there is none."""
    found, right = suspect.found.ravel(), suspect.right.ravel()
    square = float(right @ right)
    if not square or (np.abs(suspect.right) <= suspect.tolerance).all():
        return None
    factor = float(found @ right) / square
    return factor if suspect.is_close_to(factor * suspect.right, factor) else None


def _of_factor(factor: float, suspect: SuspectGradient) -> GradientMistake:
    if abs(factor) < 1e-6:
        return GradientMistake("is", f"0 where {suspect.measure} {be(suspect.measure)} not")
    if _equal(factor, -1):
        return GradientMistake("has", f"the opposite sign of {suspect.measure}")
    reason = _reason(abs(factor), suspect.samples)
    if factor < 0:
        reason = f"opposite sign, and {reason}" if reason else "opposite sign"
    words = f"{times(factor)} {suspect.measure}"
    return GradientMistake("is", f"{words}: {reason}" if reason else words)


def _reason(factor: float, samples: Samples | None) -> str:
    """Why a gradient may be so many times the right one; "" if that tells nothing."""
    for count in samples.counts if samples else ():
        as_many = "" if samples and samples.named else f" (if there are {count} samples)"
        if count > 1 and _equal(factor, count):
            return f"a sum where the mean was meant{as_many}"
        if count > 1 and _equal(factor * count, 1):
            return f"a mean where the sum was meant{as_many}"
    if _equal(factor, 0.5):
        return "is the 2 of a square's derivative missing?"
    return ""


def _added_up(suspect: SuspectGradient) -> bool:
    """Whether it is the right gradient on top of the one that was there before."""
    if suspect.old is None or suspect.old.shape != suspect.right.shape:
        return False
    return bool(suspect.old.any()) and suspect.is_close_to(suspect.old + suspect.right)


def _is_transposed(suspect: SuspectGradient) -> bool:
    right = suspect.right
    if right.ndim != 2 or right.shape[0] != right.shape[1]:
        return False
    tolerance = np.maximum(suspect.tolerance, suspect.tolerance.T)
    return bool((np.abs(suspect.found - right.T) <= tolerance).all())


def _where(suspect: SuspectGradient, parameter: str) -> str:
    """The row, the column or the elements that are wrong. `w1[1]` is as in the code."""
    wrong = np.abs(suspect.found - suspect.right) > suspect.tolerance
    count, total = int(wrong.sum()), wrong.size
    if wrong.ndim == 2 and 1 < count < total:
        rows, columns = np.flatnonzero(wrong.any(1)), np.flatnonzero(wrong.any(0))
        if len(rows) == 1:
            return f"in row {rows[0] + 1}, {parameter}[{rows[0]}]"
        if len(columns) == 1:
            return f"in column {columns[0] + 1}, {parameter}[:, {columns[0]}]"
    off = np.abs(suspect.found - suspect.right) * wrong
    worst = np.unravel_index(int(off.argmax()), off.shape)
    numbers = f"{suspect.found[worst]:.6g}, not {suspect.right[worst]:.6g}"
    if not worst:
        return f"from {suspect.measure}: {numbers}"
    place = f"element [{', '.join(map(str, worst))}]"
    if count == 1:
        return f"in {place}: {numbers}"
    many = "every element" if count == total else f"{count} of {total} elements"
    return f"in {many}, most in {place}: {numbers}"


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-4 * abs(b)


def times(factor: float) -> str:
    """`4.000 times`; close to 1 with the digits by which it is not: `1.00004 times`."""
    shown = f"{factor:.3f}" if 0.01 <= abs(factor) < 1e6 else f"{factor:.3g}"
    if shown in ("1.000", "-1.000"):
        shown = f"{factor:.7g}"
    return f"{shown} times"


def possessive(measure: str) -> str:
    """`autograd's`."""
    return f"{measure}'" if measure.endswith("s") else f"{measure}'s"


def be(measure: str) -> str:
    """`is`, or `are` for what is a plural."""
    return "are" if measure.endswith("s") else "is"
