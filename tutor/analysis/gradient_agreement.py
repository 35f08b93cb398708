"""Whether a mode's gradient of one parameter is the loss's, and the mistake in it if not.

The loss's gradient is what the finite differences and the majority of the modes agree on. Where a
mode's gradient differs, its numbers often name the mistake: a factor, a sign, a row or a column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tutor.analysis.finite_differences import Slopes
from tutor.training.values import RELATIVE, largest_size

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Samples:
    """The number of samples that the loss is over, as far as it is known."""

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
    """The name of the right one: `autograd`, `finite differences`."""
    old: Array | None = None
    """The gradient when the batch began; None if there was none."""
    samples: Samples | None = None

    def is_close_to(self, other: Array, times: float = 1.0) -> bool:
        """Whether what was found is `other`."""
        return bool((np.abs(self.found - other) <= self.tolerance * max(1.0, abs(times))).all())


def mistake_in(suspect: SuspectGradient, parameter: str) -> GradientMistake:
    """The mistake that explains a wrong gradient best.

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


SURE = 1e-2
"""The largest uncertainty, by the size of the gradient, of a slope that is believed."""

ROUNDINGS = 64 * float(np.finfo(np.float32).eps)
"""The error allowed to float32, in steepenings: some sixty roundings of a parameter."""

_BLUR = 1e-4
"""The error allowed to float64, in parts of the uncertainty of a slope that is not sure.

A difference over h is 1/h times as uncertain as what it is taken of, and h is near 1e-5.
"""


@dataclass(frozen=True, slots=True)
class ModeGradient:
    """One mode's gradient of one parameter. Arrays of any shape and dtype."""

    mode: str
    gradient: Array | None
    """The gradient that the mode shows; None: no gradient."""
    precise: Array | None = None
    """The gradient by the same code in float64; None if that can't be had."""
    old: Array | None = None
    """The gradient when the batch began; None if there was none."""
    by_hand: bool = False
    """Whether the gradient is a variable that the mode's own code has to bind."""
    raised: str = ""
    """The error that the mode's code raised instead, in one line."""
    another: str = ""
    """Why this mode is another function of the parameter (`it has b too`); "" if it is not."""
    is_meant: bool = True
    """Whether the lesson means it to be another function; else it is a mistake."""
    own: Slopes | None = None
    """The slopes of that other function."""

    @property
    def numbers(self) -> Array:
        """The best that is known of what the mode's code computes, as float64."""
        best = self.gradient if self.precise is None else self.precise
        return np.asarray(best, np.float64)

    @property
    def is_precise(self) -> bool:
        """Whether the mode's code really computes it in float64, if it can."""
        return self.precise is not None and self.precise.dtype == np.float64


@dataclass(frozen=True, slots=True)
class TrueGradient:
    """The true gradient. All arrays are float64 in the parameter's shape."""

    values: Array
    low: Array
    """The same as `values`, but on a kink every slope from `low` to `high` is right."""
    high: Array
    fine: Array
    """The tolerance of a gradient that was computed in float64."""
    coarse: Array
    """The tolerance of a gradient that was computed in float32."""
    slopes: Slopes | None
    """None: the loss can't be had in float64."""
    is_sure: bool
    """Whether the slopes are sure wherever they were checked."""

    @classmethod
    def of(cls, believed: ModeGradient | None, slopes: Slopes | None) -> TrueGradient:
        """The slopes where these are sure, elsewhere the gradient of a mode.

        Either of the two may be None, but not both.
        """
        if slopes is None:
            assert believed is not None
            claimed = believed.numbers
            tolerance = np.full(claimed.shape, RELATIVE * largest_size(claimed))
            return cls(claimed, claimed, claimed, tolerance, tolerance, None, True)
        central, off = slopes.central, np.nan_to_num(slopes.uncertainty)
        claimed = central
        if believed is not None and believed.numbers.size == central.size:
            claimed = believed.numbers.reshape(central.shape)
        scale = max(largest_size(claimed), largest_size(central))
        # Unsure of the digits it may be, and yet sure that something is wrong.
        sure = (off <= SURE * scale) | (np.abs(claimed - central) > off + RELATIVE * scale)
        looked = np.isfinite(central)
        values = np.where(looked & sure & ~slopes.kinks, central, claimed)
        fine = RELATIVE * scale + np.where(sure, off, _BLUR * off)
        return cls(
            values=values,
            low=np.where(slopes.kinks, np.fmin(slopes.left, slopes.right), values),
            high=np.where(slopes.kinks, np.fmax(slopes.left, slopes.right), values),
            fine=fine,
            coarse=fine + ROUNDINGS * np.nan_to_num(slopes.steepening),
            slopes=slopes,
            is_sure=bool((sure | ~looked | slopes.kinks | (claimed == 0)).all()),
        )

    @property
    def is_finite(self) -> bool:
        """Whether there is a gradient at all."""
        return bool(np.isfinite(self.values).all())

    @property
    def is_on_a_kink(self) -> bool:
        """Whether some element has no one slope."""
        return self.slopes is not None and bool(self.slopes.kinks.any())

    def is_met_by(self, candidate: ModeGradient) -> bool:
        """Whether a mode's gradient is this, but for rounding and kinks."""
        if candidate.gradient is None or not np.isfinite(candidate.gradient).all():
            return False
        return self._fits(candidate.numbers) and not self.missed_by(candidate).size

    def missed_by(self, candidate: ModeGradient) -> Array:
        """Indices of the elements in which a mode's gradient differs, counted row by row.

        All of them if it is of another shape.
        """
        if not self._fits(candidate.numbers):
            return np.arange(candidate.numbers.size)
        numbers, off = candidate.numbers.reshape(self.values.shape), self._tolerance(candidate)
        shown = np.asarray(candidate.gradient).reshape(self.values.shape)
        right = (numbers >= self.low - off) & (numbers <= self.high + off) & np.isfinite(shown)
        return np.flatnonzero(~right)

    def mistake_of(
        self, candidate: ModeGradient, parameter: str, measure: str, samples: Samples | None = None
    ) -> GradientMistake | None:
        """The mistake in a mode's gradient; None if there is none.

        `measure` is what to call the right one. The mode has a gradient.
        """
        if self.is_met_by(candidate):
            return None
        numbers, shape = candidate.numbers, self.values.shape
        if not self._fits(numbers):
            if numbers.shape == shape[::-1] and self._is_transposed(numbers):
                return GradientMistake("is", f"{possessive(measure)} transposed")
            return GradientMistake("has", f"the shape {_words(numbers.shape)}, not {_words(shape)}")
        if not np.isfinite(np.asarray(candidate.gradient)).all():
            return GradientMistake("is", f"not finite where {measure} {be(measure)}")
        numbers = numbers.reshape(shape)
        old = candidate.old
        suspect = SuspectGradient(
            found=numbers,
            right=np.clip(numbers, self.low, self.high),
            tolerance=self._tolerance(candidate),
            measure=measure,
            old=None if old is None or old.size != numbers.size else old.reshape(shape),
            samples=samples,
        )
        return mistake_in(suspect, parameter)

    def _tolerance(self, candidate: ModeGradient) -> Array:
        return self.fine if candidate.is_precise else self.coarse

    def _fits(self, numbers: Array) -> bool:
        """Whether an array is of the parameter's shape, but for axes of one element."""
        mine, theirs = (
            [n for n in shape if n != 1] for shape in (self.values.shape, numbers.shape)
        )
        return mine == theirs or (numbers.size == self.values.size and numbers.ndim < 2)

    def _is_transposed(self, numbers: Array) -> bool:
        return bool((np.abs(numbers.T - self.values) <= self.coarse).all())


def _words(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})" if shape else "of a single number"
