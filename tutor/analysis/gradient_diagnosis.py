"""The diagnosis of the gradients that several modes found of one parameter.

The loss's gradient is what the finite differences and the majority of the modes agree on. Where a
mode's gradient differs, its numbers often name the mistake: a factor, a sign, a row or a column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tutor.analysis.finite_differences import Slopes
from tutor.protocol.inspections import Standing
from tutor.training.values import RELATIVE, is_near, largest_size

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


DIFFERENCES = "finite differences"
"""The name of the gradient by finite differences."""

_NEAR_ZERO = 1e-3
"""Rounding above this part of a gradient means that its parts have cancelled each other."""

_PLURAL = {"is": "are", "has": "have", "says": "say", "differs": "differ", "agrees": "agree"}


@dataclass(frozen=True, slots=True)
class GradientDiagnosis:
    """The diagnosis of one parameter; the fields are those of `ParameterComparison`."""

    ratio: dict[str, float]
    largest: float
    verdict: str
    agrees: bool
    is_equal: bool
    measure: str
    standing: dict[str, Standing]
    apart: dict[str, tuple[int, ...]]


def diagnose(
    parameter: str,
    found: Sequence[ModeGradient],
    slopes: Slopes | None,
    base: str = "autograd",
    samples: Samples | None = None,
) -> GradientDiagnosis:
    """Compare the modes' gradients of one parameter with finite differences and with each other.

    `base` is the mode that the others are measured by. `slopes` is None if the loss
    could not be evaluated in float64; then `base` is believed.
    """
    same = [e for e in found if not e.another and e.gradient is not None]
    measure = next((e for e in same if e.mode == base), None)
    believed = measure or next(iter(same), None)
    true_gradient = (
        None if believed is None and slopes is None else TrueGradient.of(believed, slopes)
    )
    return _Comparison(parameter, found, measure, true_gradient, samples).diagnosis()


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One parameter's gradients, and what they are measured by."""

    parameter: str
    found: Sequence[ModeGradient]
    measure: ModeGradient | None
    """The mode that the others are compared with; None if it has no gradient."""
    true_gradient: TrueGradient | None
    samples: Samples | None

    def diagnosis(self) -> GradientDiagnosis:
        """The diagnosis, its most important part first."""
        if self.true_gradient is not None and not self.true_gradient.is_finite:
            return self._not_finite()
        wrong: dict[tuple[str, GradientMistake], list[str]] = {}
        for candidate in self.found:
            mistake = self._mistake(candidate)
            if mistake is not None:
                where = "in float64 " if self._hides_it(candidate) else ""
                wrong.setdefault((where, mistake), []).append(candidate.mode)
        wrong_modes = {mode for modes in wrong.values() for mode in modes}
        fine = [e for e in self.found if e.mode not in wrong_modes]
        parts = [where + _sentence(modes, mistake) for (where, mistake), modes in wrong.items()]
        parts += [*self._of_the_right(fine, bool(wrong)), *self._asides(fine), *self._caveats()]
        return GradientDiagnosis(
            ratio=self._ratio(wrong_modes),
            largest=self._largest(),
            verdict="; ".join(parts),
            agrees=not wrong,
            is_equal=not wrong and self._is_equal(),
            measure=self._right_one(),
            standing={e.mode: self._standing(e, wrong_modes) for e in self.found},
            apart={e.mode: self._apart(e) for e in self.found if e.mode in wrong_modes},
        )

    def _not_finite(self) -> GradientDiagnosis:
        """The diagnosis where the gradient is not finite: there is nothing to compare."""
        names = [e.mode for e in self.found]
        return GradientDiagnosis(
            ratio={},
            largest=math.nan,
            verdict="not finite: there is nothing to compare",
            agrees=False,
            is_equal=False,
            measure=self._right_one(),
            standing=dict.fromkeys(names, "unknown"),
            apart={},
        )

    # ── In marks ────────────────────────────────────────────────────────────────────

    def _standing(self, candidate: ModeGradient, wrong_modes: set[str]) -> Standing:
        if candidate.mode in wrong_modes:
            return "wrong"
        return "other" if candidate.another else "right"

    def _is_equal(self) -> bool:
        """Whether what is shown of all modes, none of them wrong, is one gradient."""
        if any(e.another for e in self.found):
            return False
        if self.true_gradient is None or not self.true_gradient.is_on_a_kink:
            return True
        shown = [e.numbers.ravel() for e in self.found if e.gradient is not None]
        return all(is_near(shown[0], numbers) for numbers in shown)

    def _apart(self, candidate: ModeGradient) -> tuple[int, ...]:
        """The elements of a wrong gradient that are wrong, counted row by row."""
        true_gradient = (
            TrueGradient.of(candidate, candidate.own) if candidate.another else self.true_gradient
        )
        if candidate.another and not candidate.is_meant:
            true_gradient = self.true_gradient
        if true_gradient is None or candidate.gradient is None:
            return ()
        return tuple(int(i) for i in true_gradient.missed_by(candidate))

    # ── What is wrong ───────────────────────────────────────────────────────────────

    def _mistake(self, candidate: ModeGradient) -> GradientMistake | None:
        if candidate.gradient is None:
            return self._absence(candidate)
        if candidate.another:
            return self._mistake_of_another(candidate)
        assert (
            self.true_gradient is not None
        )  # there is a gradient, so there is something to believe
        return self.true_gradient.mistake_of(
            candidate, self.parameter, self._right_one(), self.samples
        )

    def _hides_it(self, candidate: ModeGradient) -> bool:
        """Whether the numbers that are shown are all the same, the mistake being too small."""
        if self.measure is None or candidate is self.measure or candidate.gradient is None:
            return False
        mine, theirs = np.ravel(candidate.gradient), np.ravel(np.asarray(self.measure.gradient))
        return candidate.precise is not None and np.array_equal(mine, theirs)

    def _right_one(self) -> str:
        """The name of the gradient to compare with: the base, if it is right itself."""
        measure, true_gradient = self.measure, self.true_gradient
        if measure is not None and true_gradient is not None and true_gradient.is_met_by(measure):
            return measure.mode
        return DIFFERENCES

    def _absence(self, candidate: ModeGradient) -> GradientMistake | None:
        if candidate.raised:
            return GradientMistake("raised", candidate.raised)
        if (
            self.true_gradient is not None
            and self.true_gradient.slopes is not None
            and not self.true_gradient.values.any()
        ):
            return None
        if candidate.by_hand:
            return GradientMistake("has", f"no gradient d{self.parameter} in its code")
        return GradientMistake("says", "None: no gradient")

    def _mistake_of_another(self, candidate: ModeGradient) -> GradientMistake | None:
        own = TrueGradient.of(candidate, candidate.own)
        named = own.mistake_of(candidate, self.parameter, f"its own {DIFFERENCES}", self.samples)
        if named is not None or candidate.is_meant:
            return named
        factor = self._factor(candidate)
        if factor is None:
            return GradientMistake("is", f"right for its own loss, but {candidate.another}")
        return GradientMistake("is", f"{times(factor)} {self._right_one()}, as {candidate.another}")

    # ── What is right ───────────────────────────────────────────────────────────────

    def _of_the_right(self, fine: Sequence[ModeGradient], is_any_wrong: bool) -> list[str]:
        """A sentence that they agree, where that needs saying."""
        right = [e for e in fine if not e.another and e.gradient is not None]
        if not right or self.true_gradient is None:
            return []
        if self.true_gradient.is_on_a_kink:
            return [self._kink(right)]
        if is_any_wrong:  # that the measure itself is right goes without saying
            return ["the others agree"] if right != [self.measure] else []
        if len(right) == 1:
            is_proven = self.true_gradient.slopes is not None and self.true_gradient.is_sure
            return (
                [f"agrees with {DIFFERENCES}{_rounding(right, self.true_gradient)}"]
                if is_proven
                else []
            )
        return [f"agree{_rounding(right, self.true_gradient)}"]

    def _kink(self, right: Sequence[ModeGradient]) -> str:
        """The element on a kink, its two slopes, and the slope that each mode takes."""
        assert self.true_gradient is not None
        assert self.true_gradient.slopes is not None
        slopes = self.true_gradient.slopes
        index = tuple(int(i) for i in np.argwhere(slopes.kinks)[0])
        taken: dict[str, list[str]] = {}
        for candidate in right:
            number = candidate.numbers.reshape(slopes.central.shape)[index]
            taken.setdefault(_number(number), []).append(candidate.mode)
        takes = ", ".join(f"{_names(modes)} {'takes' if len(modes) == 1 else 'take'} {number}"
                          for number, modes in taken.items())  # fmt: skip
        place = f" in element [{', '.join(map(str, index))}]" if index else ""
        more = int(slopes.kinks.sum()) - 1
        return (
            f"on a kink{place}: the slope is {_number(slopes.left[index])} on the left and "
            f"{_number(slopes.right[index])} on the right; {takes}"
            + (f"; and on {more} more" if more else "")
        )

    def _asides(self, fine: Sequence[ModeGradient]) -> list[str]:
        """Remarks that are no mistakes."""
        notes = [f"{e.mode} says None, as the loss does not depend on it"
                for e in fine if e.gradient is None]  # fmt: skip
        others: dict[str, list[str]] = {}
        for candidate in fine:
            if candidate.another:
                others.setdefault(candidate.another, []).append(candidate.mode)
        for why, modes in others.items():
            notes.append(
                f"{_names(modes)} {_verb('is', modes)} another function ({why}) and "
                f"{_verb('agrees', modes)} with {'its' if len(modes) == 1 else 'their'} "
                f"own {DIFFERENCES}"
            )
        return notes

    def _caveats(self) -> list[str]:
        """Remarks on what finite differences could not decide."""
        if self.true_gradient is None:
            return []
        if self.true_gradient.slopes is None:
            return [f"no {DIFFERENCES}: its code does not compute in float64"]
        notes = []
        if not self.true_gradient.is_sure:
            notes.append(f"the loss is too large, or too flat, for {DIFFERENCES} to tell")
        looked, size = self.true_gradient.slopes.checked
        if looked < size:
            notes.append(f"{looked} of {size} elements checked")
        return notes

    # ── In numbers ──────────────────────────────────────────────────────────────────

    @property
    def _right(self) -> ModeGradient | None:
        """The gradient to compare with: the base, or finite differences if that is wrong."""
        if self.true_gradient is None or self._right_one() != DIFFERENCES:
            return self.measure
        return ModeGradient(DIFFERENCES, self.true_gradient.values, self.true_gradient.values)

    def _ratio(self, wrong_modes: set[str]) -> dict[str, float]:
        """To the right gradient, of each mode one factor away from it; 1.0 if it agrees."""
        found: dict[str, float] = {}
        for candidate in self.found:
            is_measure = candidate is self.measure and candidate.mode not in wrong_modes
            if is_measure or (candidate.another and candidate.is_meant):
                continue
            if self._is_plainly_right(candidate, wrong_modes):
                found[candidate.mode] = 1.0
            elif (factor := self._factor(candidate)) is not None:
                found[candidate.mode] = factor
        return found

    def _is_plainly_right(self, candidate: ModeGradient, wrong_modes: set[str]) -> bool:
        """Whether it is right, and there is but one right."""
        if (
            self.true_gradient is None
            or candidate.gradient is None
            or candidate.mode in wrong_modes
        ):
            return False
        return not self.true_gradient.is_on_a_kink

    def _factor(self, candidate: ModeGradient) -> float | None:
        """The factor to the right gradient, to seven digits; None if there is no one factor."""
        right = self._right
        if candidate.gradient is None or right is None or self.true_gradient is None:
            return None
        both = (candidate, right)
        are_precise = all(e.is_precise for e in both)
        found, wanted = (
            (e.numbers if are_precise else np.asarray(e.gradient, np.float64)).ravel() for e in both
        )
        if found.size != wanted.size or not np.isfinite([found, wanted]).all():
            return None
        tolerance = (self.true_gradient.fine if are_precise else self.true_gradient.coarse).ravel()
        factor = factor_of(SuspectGradient(found, wanted, tolerance, ""))
        return None if factor is None else float(f"{factor:.7g}")

    def _largest(self) -> float:
        """The largest difference of any mode's element to the right one's, as they are shown."""
        right = self._right
        if right is None:
            return math.nan
        shown = np.asarray(right.gradient, np.float64).ravel()
        others = [np.asarray(e.gradient, np.float64).ravel() for e in self.found
                  if not (e.another and e.is_meant) and e.gradient is not None]  # fmt: skip
        return max((float(np.abs(o - shown).max(initial=0.0)) for o in others
                    if o.size == shown.size), default=math.nan)  # fmt: skip


def _rounding(right: Sequence[ModeGradient], true_gradient: TrueGradient) -> str:
    """The part of the gradient's size that is rounding; "" if nothing is.

    That float32 is some 1e-7 from the finite differences needs no words; more than that does.
    """
    arrays = [np.asarray(e.gradient, np.float64).ravel() for e in right]
    size = max(map(largest_size, arrays))
    off = max(largest_size(a - arrays[0]) for a in arrays)
    if true_gradient.is_sure and true_gradient.slopes is not None:
        of_differences = max(largest_size(a - true_gradient.values.ravel()) for a in arrays)
        off = max(off, of_differences if of_differences > RELATIVE * size else 0.0)
    if not off or not size:
        return ""
    kind = _rounded_as(right)
    if off > _NEAR_ZERO * size:
        return f" but for {kind} ({off / size:.1%} of the size, so close to 0)"
    return f" but for {kind} ({off / size:.0e} of the size)".replace("e-0", "e-")


def _rounded_as(right: Sequence[ModeGradient]) -> str:
    """`float32 rounding`: by the coarsest type of the gradients; `rounding` if all are float64."""
    kinds = {np.asarray(e.gradient).dtype for e in right}
    coarse = [k for k in kinds if k.kind == "f" and k.itemsize < np.dtype(np.float64).itemsize]
    return f"{min(coarse, key=lambda k: k.itemsize)} rounding" if coarse else "rounding"


def _sentence(modes: Sequence[str], mistake: GradientMistake) -> str:
    return f"{_names(modes)} {_verb(mistake.verb, modes)} {mistake.words}"


def _names(modes: Sequence[str]) -> str:
    """`manual`; `manual and model`; `manual, autograd and model`."""
    return " and ".join([", ".join(modes[:-1]), modes[-1]] if len(modes) > 1 else modes)


def _verb(singular: str, modes: Sequence[str]) -> str:
    return singular if len(modes) == 1 else _PLURAL.get(singular, singular)


def _number(number: float) -> str:
    """To four digits, a -0 as 0; what is next to nothing is 0."""
    return f"{float(f'{number:.4g}') if abs(number) > 1e-9 else 0.0:g}"
