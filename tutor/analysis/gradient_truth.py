"""The true gradient of one parameter, and whether a mode's gradient equals it.

Pure functions over arrays. The referee's finite differences are believed where they are
sure; a mode is judged by what its code computes in float64: if that is right, what is
off in float32 is rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tutor.analysis.finite_differences import Array, Slopes
from tutor.analysis.gradient_mistakes import (
    GradientMistake,
    Samples,
    SuspectGradient,
    be,
    mistake_in,
    possessive,
)
from tutor.training.values import RELATIVE, largest_size

SURE = 1e-2
"""How uncertain, by the size of the gradient, a referee may be and still judge."""

ROUNDINGS = 64 * float(np.finfo(np.float32).eps)
"""How many steepenings float32 may be off: some sixty roundings of a parameter."""

_BLUR = 1e-4
"""How far float64 may be off, in parts of how far a referee is that is not sure.

A difference over h is 1/h times as uncertain as what it is taken of, and h is near 1e-5.
"""


@dataclass(frozen=True, slots=True)
class ModeGradient:
    """One mode's gradient of one parameter. Arrays of any shape and dtype."""

    mode: str
    gradient: Array | None
    """As the mode shows it; None: no gradient."""
    precise: Array | None = None
    """By the same code in float64; None if that can't be had."""
    old: Array | None = None
    """What stood in its place when the batch began; None if nothing did."""
    by_hand: bool = False
    """Whether the gradient is a variable that the mode's own code has to bind."""
    raised: str = ""
    """What the mode's code raised instead, in one line."""
    another: str = ""
    """Why this mode is another function of the parameter (`it has b too`); "" if it is not."""
    is_meant: bool = True
    """Whether the lesson means it to be another function; else it is a slip to be told."""
    own: Slopes | None = None
    """The referee's slopes of that other function."""

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
    """As `values`, but on a kink: there every slope between the two sides is right."""
    high: Array
    fine: Array
    """How far off it may be where it was computed in float64."""
    coarse: Array
    """And where it was computed in float32."""
    slopes: Slopes | None
    """None: there is no referee."""
    is_told: bool
    """Whether the referee was sure wherever it looked."""

    @classmethod
    def of(cls, believed: ModeGradient | None, slopes: Slopes | None) -> TrueGradient:
        """The referee's slopes where these are sure, elsewhere what a mode says it is.

        Either of the two may be None, but not both.
        """
        if slopes is None:
            assert believed is not None
            said = believed.numbers
            tolerance = np.full(said.shape, RELATIVE * largest_size(said))
            return cls(said, said, said, tolerance, tolerance, None, True)
        central, off = slopes.central, np.nan_to_num(slopes.uncertainty)
        said = central
        if believed is not None and believed.numbers.size == central.size:
            said = believed.numbers.reshape(central.shape)
        scale = max(largest_size(said), largest_size(central))
        # Unsure of the digits it may be, and yet sure that something is wrong.
        sure = (off <= SURE * scale) | (np.abs(said - central) > off + RELATIVE * scale)
        looked = np.isfinite(central)
        values = np.where(looked & sure & ~slopes.kinks, central, said)
        fine = RELATIVE * scale + np.where(sure, off, _BLUR * off)
        return cls(
            values=values,
            low=np.where(slopes.kinks, np.fmin(slopes.left, slopes.right), values),
            high=np.where(slopes.kinks, np.fmax(slopes.left, slopes.right), values),
            fine=fine,
            coarse=fine + ROUNDINGS * np.nan_to_num(slopes.steepening),
            slopes=slopes,
            is_told=bool((sure | ~looked | slopes.kinks | (said == 0)).all()),
        )

    @property
    def is_finite(self) -> bool:
        """Whether there is a gradient at all."""
        return bool(np.isfinite(self.values).all())

    @property
    def is_on_a_kink(self) -> bool:
        """Whether some element has no one slope."""
        return self.slopes is not None and bool(self.slopes.kinks.any())

    def is_met_by(self, evidence: ModeGradient) -> bool:
        """Whether a mode's gradient is this, but for rounding and kinks."""
        if evidence.gradient is None or not np.isfinite(evidence.gradient).all():
            return False
        return self._fits(evidence.numbers) and not self.missed_by(evidence).size

    def missed_by(self, evidence: ModeGradient) -> Array:
        """Indices of the elements in which a mode's gradient differs, counted row by row.

        All of them if it is of another shape.
        """
        if not self._fits(evidence.numbers):
            return np.arange(evidence.numbers.size)
        numbers, off = evidence.numbers.reshape(self.values.shape), self._tolerance(evidence)
        shown = np.asarray(evidence.gradient).reshape(self.values.shape)
        right = (numbers >= self.low - off) & (numbers <= self.high + off) & np.isfinite(shown)
        return np.flatnonzero(~right)

    def mistake_of(
        self, evidence: ModeGradient, parameter: str, measure: str, samples: Samples | None = None
    ) -> GradientMistake | None:
        """The mistake in a mode's gradient; None if there is none.

        `measure` is what to call the right one. The mode has a gradient.
        """
        if self.is_met_by(evidence):
            return None
        numbers, shape = evidence.numbers, self.values.shape
        if not self._fits(numbers):
            if numbers.shape == shape[::-1] and self._is_transposed(numbers):
                return GradientMistake("is", f"{possessive(measure)} transposed")
            return GradientMistake("has", f"the shape {_words(numbers.shape)}, not {_words(shape)}")
        if not np.isfinite(np.asarray(evidence.gradient)).all():
            return GradientMistake("is", f"not finite where {measure} {be(measure)}")
        numbers = numbers.reshape(shape)
        old = evidence.old
        suspect = SuspectGradient(
            found=numbers,
            right=np.clip(numbers, self.low, self.high),
            tolerance=self._tolerance(evidence),
            measure=measure,
            old=None if old is None or old.size != numbers.size else old.reshape(shape),
            samples=samples,
        )
        return mistake_in(suspect, parameter)

    def _tolerance(self, evidence: ModeGradient) -> Array:
        return self.fine if evidence.is_precise else self.coarse

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
