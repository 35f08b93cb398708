"""The diagnosis of the gradients that several modes found of one parameter.

The loss's gradient is what the finite differences and the majority of the modes agree on. Where a
mode's gradient differs, its numbers often name the mistake: a factor, a sign, a row or a column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from tutor.analysis.finite_differences import ModeGradient, Slopes, TrueGradient
from tutor.digits import FACTOR_DIGITS, rounded
from tutor.lesson.model import AUTOGRAD, gradient_variable
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import FINITE_DIFFERENCE, ParameterComparison, Standing
from tutor.training.program import Program
from tutor.training.values import RELATIVE, Array, is_near, largest_size, to_numpy

OWN_DIFFERENCES = f"own_{FINITE_DIFFERENCE}"
"""The measure of a mode that is another function."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The number of samples that the loss is over, as far as it is known."""

    counts: tuple[int, ...]
    """Numbers of samples (or of outputs in all) that a factor may come from."""
    named: bool = True
    """Whether the lesson says which of its names are data; else it is a guess by shapes."""


def samples_in(namespace: Mapping[str, object], program: Program) -> Samples | None:
    """The number of samples of the loss: by the lesson's names of its data, else by shapes."""
    if program.data is not None:
        found = to_numpy(namespace.get(program.data.prediction))
        if found is not None:
            return Samples(tuple(dict.fromkeys((*found.shape[:1], found.size))))
    own = {*program.parameters, *map(gradient_variable, program.parameters)}
    arrays = (to_numpy(thing) for name, thing in namespace.items() if name not in own)
    counts = dict.fromkeys(a.shape[0] for a in arrays if a is not None and a.ndim)
    return Samples(tuple(counts), named=False) if counts else None


# ── One mistake ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SuspectGradient:
    """A gradient that is not the right one, with what it is measured by. float64 arrays."""

    found: Array
    right: Array
    tolerance: Array
    """Element by element, how far apart the two may be and yet be equal."""
    measure: str = ""
    """The right one: a mode, FINITE_DIFFERENCE or OWN_DIFFERENCES."""
    old: Array | None = None
    """The gradient when the batch began; None if there was none."""
    samples: Samples | None = None
    is_complex: bool = False
    """Whether the last axis holds real and imaginary parts."""

    def is_close_to(self, other: Array, times: float = 1.0) -> bool:
        """Whether the found gradient equals `other`."""
        return bool((np.abs(self.found - other) <= self.tolerance * max(1.0, abs(times))).all())

    def mistake(self, parameter: str) -> Remark:
        """The mistake that explains it best.

        The arrays are finite and of one shape; `found` and `right` differ somewhere.
        """
        factor, measure = self.factor(), self.measure
        if self._is_added_up():
            if factor is None:
                return Remark("added_up")
            return Remark("factor", {"factor": factor, "measure": measure, "reason": "added_up"})
        if factor is not None:
            return self._of_factor(factor)
        if self.is_complex and self.is_close_to(self.right * [1, -1]):
            return Remark("conjugate", {"measure": measure})
        if self._is_transposed():
            return Remark("transposed", {"measure": measure})
        return self._wrong_part(parameter)

    def factor(self) -> float | None:
        """The one factor from the right gradient to the found one; None if there is none."""
        found, right = self.found.ravel(), self.right.ravel()
        square = float(right @ right)
        if not square or (np.abs(self.right) <= self.tolerance).all():
            return None
        factor = float(found @ right) / square
        return factor if self.is_close_to(factor * self.right, factor) else None

    def _of_factor(self, factor: float) -> Remark:
        if abs(factor) < 1e-6:
            return Remark("zero", {"measure": self.measure})
        if _equal(factor, -1):
            return Remark("opposite", {"measure": self.measure})
        values = {"factor": factor, "measure": self.measure, **self._reason(abs(factor))}
        return Remark("factor", values)

    def _reason(self, factor: float) -> dict[str, object]:
        """A reason for a gradient that is `factor` times the right one; empty if there is none."""
        for count in self.samples.counts if self.samples else ():
            guess = {} if self.samples and self.samples.named else {"count": count}
            if count > 1 and _equal(factor, count):
                return {"reason": "sum", **guess}
            if count > 1 and _equal(factor * count, 1):
                return {"reason": "mean", **guess}
        return {"reason": "square"} if _equal(factor, 0.5) else {}

    def _is_added_up(self) -> bool:
        """Whether it is the right gradient, added to the gradient of before."""
        if self.old is None or self.old.shape != self.right.shape:
            return False
        return bool(self.old.any()) and self.is_close_to(self.old + self.right)

    def _is_transposed(self) -> bool:
        right = self.right
        if self.is_complex or right.ndim != 2 or right.shape[0] != right.shape[1]:
            return False
        tolerance = np.maximum(self.tolerance, self.tolerance.T)
        return bool((np.abs(self.found - right.T) <= tolerance).all())

    def _wrong_part(self, parameter: str) -> Remark:
        """The row, the column or the elements that are wrong."""
        off = np.abs(self.found - self.right)
        wrong = off > self.tolerance
        count, total = int(wrong.sum()), wrong.size
        if wrong.ndim == 2 and 1 < count < total and not self.is_complex:
            for axis, code in ((1, "row"), (0, "column")):
                places = np.flatnonzero(wrong.any(axis))
                if len(places) == 1:
                    return Remark(code, {"parameter": parameter, "index": int(places[0])})
        worst = np.unravel_index(int((off * wrong).argmax()), off.shape)
        values: dict[str, object] = {
            "measure": self.measure,
            "index": [int(i) for i in worst],
            "found": float(self.found[worst]),
            "right": float(self.right[worst]),
            "count": count,
            "total": total,
            "is_complex": self.is_complex,
        }
        return Remark("elements", values)


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-4 * abs(b)


# ── All modes ───────────────────────────────────────────────────────────────────────


def diagnose(
    parameter: str,
    found: Sequence[ModeGradient],
    slopes: Slopes | None,
    base: str = AUTOGRAD,
    samples: Samples | None = None,
    *,
    is_complex: bool = False,
) -> ParameterComparison:
    """Compare the modes' gradients of one parameter with finite differences and with each other.

    `base` is the mode that the others are measured by. `slopes` is None if the loss
    could not be evaluated in float64; then `base` is believed. The gradients themselves are
    not in the result.
    """
    same = [e for e in found if e.another is None and e.gradient is not None]
    measure = next((e for e in same if e.mode == base), None)
    believed = measure or next(iter(same), None)
    if believed is None and slopes is None:
        true_gradient = None
    else:
        true_gradient = TrueGradient.of(believed, slopes)
    compared = _Comparison(parameter, found, measure, true_gradient, samples, is_complex)
    return compared.diagnosis()


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One parameter's gradients, and what they are measured by."""

    parameter: str
    found: Sequence[ModeGradient]
    measure: ModeGradient | None
    """The mode that the others are compared with; None if it has no gradient."""
    true_gradient: TrueGradient | None
    samples: Samples | None
    is_complex: bool

    def diagnosis(self) -> ParameterComparison:
        """The diagnosis, its most important part first."""
        true_gradient = self.true_gradient
        if true_gradient is not None and not true_gradient.is_finite:
            return self._not_finite()
        mistakes = {e.mode: m for e in self.found if (m := self._mistake(e)) is not None}
        wrong = _grouped(mistakes.items())
        fine = [e for e in self.found if e.mode not in mistakes]
        remarks = [*wrong, *self._on_the_right(fine, bool(wrong)), *_asides(fine)]
        return ParameterComparison(
            parameter=self.parameter,
            ratio=self._ratio(mistakes.keys()),
            largest=self._largest(),
            remarks=(*remarks, *self._caveats()),
            agrees=not wrong,
            is_equal=not wrong and self._is_equal(),
            is_complex=self.is_complex,
            measure=self._right_one(),
            standing={e.mode: _standing(e, mistakes.keys()) for e in self.found},
            apart={e.mode: self._apart(e) for e in self.found if e.mode in mistakes},
        )

    def _not_finite(self) -> ParameterComparison:
        """The diagnosis where the gradient is not finite: there is nothing to compare."""
        return ParameterComparison(
            parameter=self.parameter,
            ratio={},
            largest=math.nan,
            remarks=(Remark("none_finite"),),
            agrees=False,
            is_equal=False,
            is_complex=self.is_complex,
            measure=self._right_one(),
            standing=dict.fromkeys((e.mode for e in self.found), "unknown"),
        )

    def _is_equal(self) -> bool:
        """Whether all modes, none of them wrong, show one gradient."""
        if any(e.another for e in self.found):
            return False
        if self.true_gradient is None or not self.true_gradient.is_on_a_kink:
            return True
        shown = [e.numbers.ravel() for e in self.found if e.gradient is not None]
        return all(is_near(shown[0], numbers) for numbers in shown)

    def _apart(self, candidate: ModeGradient) -> tuple[int, ...]:
        """The elements of a wrong gradient that are wrong, counted row by row."""
        true_gradient = self.true_gradient
        if candidate.another and candidate.is_meant:
            true_gradient = TrueGradient.of(candidate, candidate.own)
        if true_gradient is None or candidate.gradient is None:
            return ()
        return tuple(true_gradient.missed_by(candidate).tolist())

    # ── Mistakes ────────────────────────────────────────────────────────────────────

    def _mistake(self, candidate: ModeGradient) -> Remark | None:
        """The mistake of a mode; in float64, where the numbers that are shown hide it."""
        if candidate.gradient is None:
            return self._absence(candidate)
        if candidate.another is not None:
            mistake = self._mistake_of_another(candidate, candidate.another)
        else:
            assert self.true_gradient is not None  # there is a gradient to believe
            mistake = self._mistake_by(self.true_gradient, candidate, self._right_one())
        if mistake is not None and self._hides_it(candidate):
            return replace(mistake, values={**mistake.values, "in_float64": True})
        return mistake

    def _mistake_by(
        self, right: TrueGradient, candidate: ModeGradient, measure: str
    ) -> Remark | None:
        """The mistake in a mode's gradient; None if there is none. The mode has a gradient."""
        if right.is_met_by(candidate):
            return None
        numbers, shape, old = candidate.numbers, right.values.shape, candidate.old
        if not right.fits(numbers):
            if right.is_transpose_of(numbers):
                return Remark("transposed", {"measure": measure})
            return Remark("shape", {"shape": [*numbers.shape], "right": [*shape]})
        if not np.isfinite(np.asarray(candidate.gradient)).all():
            return Remark("not_finite", {"measure": measure})
        numbers = numbers.reshape(shape)
        suspect = SuspectGradient(
            found=numbers,
            right=np.clip(numbers, right.low, right.high),
            tolerance=right.tolerance_of(candidate),
            measure=measure,
            old=None if old is None or old.size != numbers.size else old.reshape(shape),
            samples=self.samples,
            is_complex=self.is_complex,
        )
        return suspect.mistake(self.parameter)

    def _hides_it(self, candidate: ModeGradient) -> bool:
        """Whether all numbers look equal as they are shown, because the mistake is too small."""
        if self.measure is None or candidate is self.measure or candidate.precise is None:
            return False
        mine, theirs = np.ravel(candidate.gradient), np.ravel(self.measure.gradient)  # type: ignore[arg-type]
        return np.array_equal(mine, theirs)

    def _right_one(self) -> str:
        """The name of the gradient to compare with: the base, if it is right itself."""
        measure, true_gradient = self.measure, self.true_gradient
        if measure is not None and true_gradient is not None and true_gradient.is_met_by(measure):
            return measure.mode
        return FINITE_DIFFERENCE

    def _absence(self, candidate: ModeGradient) -> Remark | None:
        if candidate.raised is not None:
            return candidate.raised
        true_gradient = self.true_gradient
        is_zero = true_gradient is not None and not true_gradient.values.any()
        if true_gradient is not None and true_gradient.slopes is not None and is_zero:
            return None
        if candidate.has_variable:
            return Remark("no_variable", {"parameter": self.parameter})
        return Remark("none")

    def _mistake_of_another(self, candidate: ModeGradient, another: Remark) -> Remark | None:
        own = TrueGradient.of(candidate, candidate.own)
        mistake = self._mistake_by(own, candidate, OWN_DIFFERENCES)
        if mistake is not None or candidate.is_meant:
            return mistake
        factor = self._factor(candidate)
        if factor is None:
            return Remark("right_for_another_loss", another.values)
        values = {"factor": factor, "measure": self._right_one(), **another.values}
        return Remark("factor_of_another_loss", values)

    # ── The right gradient ──────────────────────────────────────────────────────────

    def _on_the_right(self, fine: Sequence[ModeGradient], is_any_wrong: bool) -> list[Remark]:
        """A remark that they agree, where that needs saying."""
        right = [e for e in fine if not e.another and e.gradient is not None]
        true_gradient = self.true_gradient
        if not right or true_gradient is None:
            return []
        if true_gradient.is_on_a_kink:
            return [_kink(right, true_gradient)]
        if is_any_wrong:  # that the measure itself is right goes without saying
            return [Remark("others_agree")] if right != [self.measure] else []
        if len(right) > 1:
            return [Remark("agree", _rounding(right, true_gradient))]
        if true_gradient.slopes is not None and true_gradient.is_sure:
            return [Remark("agrees_with_differences", _rounding(right, true_gradient))]
        return []

    def _caveats(self) -> list[Remark]:
        """Remarks on what finite differences could not decide."""
        true_gradient = self.true_gradient
        if true_gradient is None:
            return []
        if true_gradient.slopes is None:
            return [Remark("no_differences")]
        found = [] if true_gradient.is_sure else [Remark("differences_unsure")]
        looked, size = true_gradient.slopes.checked
        if looked < size:
            found.append(Remark("sampled", {"checked": looked, "size": size}))
        return found

    # ── In numbers ──────────────────────────────────────────────────────────────────

    @property
    def _right(self) -> ModeGradient | None:
        """The gradient to compare with: the base, or finite differences if that is wrong."""
        if self.true_gradient is None or self._right_one() != FINITE_DIFFERENCE:
            return self.measure
        return ModeGradient(FINITE_DIFFERENCE, self.true_gradient.values, self.true_gradient.values)

    def _ratio(self, wrong: Iterable[str]) -> dict[str, float]:
        """The ratio of each mode to the right gradient, where it is one; 1.0 if it agrees."""
        found: dict[str, float] = {}
        true_gradient = self.true_gradient
        has_one_right = true_gradient is not None and not true_gradient.is_on_a_kink
        for candidate in self.found:
            is_wrong = candidate.mode in wrong
            is_measure = candidate is self.measure and not is_wrong
            if is_measure or (candidate.another and candidate.is_meant):
                continue
            if has_one_right and candidate.gradient is not None and not is_wrong:
                found[candidate.mode] = 1.0
            elif (factor := self._factor(candidate)) is not None:
                found[candidate.mode] = factor
        return found

    def _factor(self, candidate: ModeGradient) -> float | None:
        """The factor to the right gradient, to seven digits; None if there is no one factor."""
        right = self._right
        if candidate.gradient is None or right is None or self.true_gradient is None:
            return None
        are_precise = candidate.is_precise and right.is_precise
        found, wanted = (e.numbers.ravel() if are_precise else e.shown for e in (candidate, right))
        if found.size != wanted.size or not np.isfinite([found, wanted]).all():
            return None
        tolerance = self.true_gradient.fine if are_precise else self.true_gradient.coarse
        factor = SuspectGradient(found, wanted, tolerance.ravel()).factor()
        return None if factor is None else rounded(factor, FACTOR_DIGITS)

    def _largest(self) -> float:
        """The largest difference of any mode's element to the right one's, as they are shown."""
        right = self._right
        if right is None:
            return math.nan
        compared = [
            e.shown for e in self.found if not (e.another and e.is_meant) and e.gradient is not None
        ]
        differences = [
            float(np.abs(shown - right.shown).max(initial=0.0))
            for shown in compared
            if shown.size == right.shown.size
        ]
        return max(differences, default=math.nan)


def _grouped(remarks: Iterable[tuple[str, Remark]]) -> list[Remark]:
    """Each remark once, with all the modes that it is about."""
    found: list[Remark] = []
    for mode, remark in remarks:
        for i, other in enumerate(found):
            if (other.code, other.values) == (remark.code, remark.values):
                found[i] = replace(other, modes=(*other.modes, mode))
                break
        else:
            found.append(replace(remark, modes=(mode,)))
    return found


def _standing(candidate: ModeGradient, wrong: Iterable[str]) -> Standing:
    if candidate.mode in wrong:
        return "wrong"
    return "other" if candidate.another else "right"


def _asides(fine: Sequence[ModeGradient]) -> list[Remark]:
    """Remarks that are no mistakes."""
    independent = [Remark("independent", modes=(e.mode,)) for e in fine if e.gradient is None]
    return [*independent, *_grouped((e.mode, e.another) for e in fine if e.another)]


def _kink(right: Sequence[ModeGradient], true_gradient: TrueGradient) -> Remark:
    """The first element on a kink, its two slopes, and the slope that each mode takes."""
    slopes = true_gradient.slopes
    assert slopes is not None
    index = tuple(int(i) for i in np.argwhere(slopes.kinks)[0])
    numbers = [float(e.numbers.reshape(slopes.central.shape)[index]) for e in right]
    values = {
        "index": [*index],
        "left": float(slopes.left[index]),
        "right": float(slopes.right[index]),
        "taken": numbers,
        "more": int(slopes.kinks.sum()) - 1,
    }
    return Remark("kink", values, tuple(e.mode for e in right))


def _rounding(right: Sequence[ModeGradient], true_gradient: TrueGradient) -> dict[str, object]:
    """The part of the gradient's size that is rounding, and the dtype that rounds; or nothing.

    That float32 is some 1e-7 from the finite differences needs no words; more than that does.
    """
    arrays = [e.shown for e in right]
    size = max(map(largest_size, arrays))
    off = max(largest_size(a - arrays[0]) for a in arrays)
    if true_gradient.is_sure and true_gradient.slopes is not None:
        of_differences = max(largest_size(a - true_gradient.values.ravel()) for a in arrays)
        off = max(off, of_differences if of_differences > RELATIVE * size else 0.0)
    if not off or not size:
        return {}
    kinds = {np.asarray(e.gradient).dtype for e in right}
    coarse = [k for k in kinds if k.kind == "f" and k.itemsize < np.dtype(np.float64).itemsize]
    dtype = str(min(coarse, key=lambda k: k.itemsize)) if coarse else ""
    return {"rounding": off / size, "dtype": dtype}
