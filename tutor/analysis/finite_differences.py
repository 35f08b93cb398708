"""Gradients by finite differences in float64, and the true gradient that follows from them.

Finite differences evaluate the program's own Predict and Loss in a precise probe, and use no
derivative of any mode. Each number has an uncertainty; at a kink (as ReLU has at 0) there are two
slopes. Where they are not sure, a mode's own gradient is believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import torch
from msgspec.structs import replace

from tutor.protocol.frame import Remark
from tutor.training.playback import never
from tutor.training.probe import InspectionStopped, Probe, standpoint_of
from tutor.training.program import Program, Until
from tutor.training.set_up import set_up
from tutor.training.values import RELATIVE, Array, largest_size, real_pairs, to_numbers

Found = TypeVar("Found")

MOST_CHECKED = 64
"""Most elements of one parameter that are checked; each costs two evaluations of the loss."""
_HUGE = 2**20
_FEW = 8
"""Elements of a parameter of more than _HUGE that `tutor check` checks: a loss takes its time."""

_PIECE = 2**16

_HALVINGS = 6
"""Halvings of h where a slope is in doubt: a kink farther than h/64 is then outside."""

_EPS_OF_LOSS = 32
"""The error of a loss, in units of its dtype's eps."""


SURE = 1e-2
"""The largest uncertainty, by the size of the gradient, of a slope that is believed."""

PARAMETER_ERROR = 64 * float(np.finfo(np.float32).eps)
"""The relative error of a parameter by which a float32 gradient may be wrong.

Times `Slopes.steepening`, it is the error of the gradient.
"""

_BLUR = 1e-4
"""The error of a float64 gradient as a part of the uncertainty of a slope that is not SURE.

A difference quotient over h, here about 1e-5, is 1/h times as uncertain as the loss.
"""


class Slopes(msgspec.Struct, frozen=True):
    """Finite differences of one parameter. All arrays have its shape."""

    central: Array
    """(L(p + h) - L(p - h)) / 2h; NaN where it was not checked."""
    uncertainty: Array
    """The possible error of `central`, by rounding and by the size of h."""
    left: Array
    """The slope on the left of a kink, NaN where there is none."""
    right: Array
    """The slope on the right of a kink, NaN where there is none."""
    steepening: Array
    """The change of the gradient by one relative rounding of p: |L''| max(1, |p|)."""
    checked: tuple[int, int]
    """The number of elements that were checked, and of all."""

    @property
    def kinks(self) -> Array:
        """Mask of the elements whose slope on the left differs from that on the right."""
        return ~np.isnan(self.left)

    def sure_digits(self) -> Array:
        """`central` without the digits that are noise: -30.0, not -30.000000000413266."""
        pairs = zip(self.central.flat, self.uncertainty.flat, strict=True)
        shown = [
            round(float(number), math.floor(-math.log10(off))) + 0.0  # and no -0.0
            if math.isfinite(number) and 0 < off < math.inf
            else number
            for number, off in pairs
        ]
        return np.array(shown, np.float64).reshape(self.central.shape)


def probes_at_batches(program: Program) -> Iterator[Probe]:
    """A precise probe at the beginning of each batch of the first epoch, as a run comes to it.

    What was left in the gradients before is not there: a batch's gradient is of its own loss.
    Raises LessonRaised if the lesson's code does.
    """
    rate = program.learning_rate
    probe = Probe(program, "cpu", rate, 0, precise=True)
    loop = set_up(program, "cpu", rate, 0)
    while not loop.at_end:  # the warm-up
        loop.run_step(for_frame=False, may_stop=False)
    loop.begin_epoch()
    empty = dict.fromkeys(program.parameters)
    for batch in range(program.batches):
        step, loop.step = loop.step, 0  # the next batch begins with the present state
        here = standpoint_of(loop, rate)
        here = replace(here, batch=batch, start=replace(here.start, gradients=empty))
        loop.step = step
        probe.stand(here)
        yield probe
        for _ in program.loop:
            loop.run_step(for_frame=False, may_stop=False)


class Sampled(NamedTuple):
    """A parameter's gradient by finite differences, of the elements that were looked at."""

    shape: tuple[int, ...]
    """The parameter's; a complex one's with a last axis for the real and imaginary part."""
    at: list[int]
    """Indices of the elements that were checked, in row-major order."""
    slopes: Array
    """The slope of each of them, as float64."""


def gradients_by_differences(
    probe: Probe, claimed: Mapping[str, Array | None]
) -> dict[str, Sampled]:
    """dL/dp of the elements of each parameter, by (L(p + h) - L(p - h)) / 2h.

    Of a parameter of many elements only of some, the largest of `claimed` first. `probe`
    stands before its batch; afterwards its parameters are what they were.
    """
    differences = FiniteDifferences(probe, probe.loop.parameter_values())
    return {name: differences.sampled(name, claimed.get(name)) for name in differences.values}


def gradients_by_program(probe: Probe) -> dict[str, Array | None]:
    """The gradients that the program itself finds for the batch that `probe` stands before.

    In its own dtypes, complex ones as pairs; None for a parameter without one.
    """
    probe.run_phases(probe.program.gradient_at + 1)
    gradients = probe.loop.gradients or {}
    return {name: real_pairs(to_numbers(gradient)) for name, gradient in gradients.items()}


class FiniteDifferences:
    """Finite differences about one place: a probe, and the parameters there."""

    def __init__(self, probe: Probe, values: Mapping[str, Array], until: Until = never) -> None:
        """`probe` is precise and stands at the batch in question.

        `until` is asked before each evaluation; InspectionStopped is raised once it says so.
        """
        self._probe, self._until = probe, until
        self._complex = {n for n, value in values.items() if np.iscomplexobj(value)}
        pairs = {name: real_pairs(value) for name, value in values.items()}
        self.values = {name: np.asarray(value, np.float64) for name, value in pairs.items()}
        """The parameters; a complex one as real and imaginary parts along a last axis."""
        self.loss = self._loss()
        self._eps = _eps_of(probe.loop.loss())
        self._step = math.cbrt(self._eps)
        # The h that balances truncation (h²) against rounding (eps/h) in a central difference.
        # Source: Press et al., Numerical Recipes, section 5.7: about eps^(1/3) of p's scale.

    def slopes(self, name: str, claimed: Array | None = None) -> Slopes:
        """dL/dp of this parameter; of MOST_CHECKED elements, if it has more.

        `claimed` is the gradient by some mode: where it differs, the slope is computed again.
        Its largest elements come first where there are too many.
        """
        shape = self.values[name].shape
        chosen, slopes = self._chosen_slopes(name, claimed, MOST_CHECKED, self._slope)
        found = np.full((*shape, len(_Slope._fields)), np.nan)
        for at, slope in zip(chosen, slopes, strict=True):
            found[np.unravel_index(at, shape)] = slope
        central, uncertainty, left, right, steepening = np.moveaxis(found, -1, 0)
        checked = (len(chosen), self.values[name].size)
        return Slopes(central, uncertainty, left, right, steepening, checked)

    def sampled(self, name: str, claimed: Array | None) -> Sampled:
        """The slopes of a sample, in little memory: no array is as large as the parameter.

        A kink so near that it is within h is taken to be where it is: to one side.
        """
        most = MOST_CHECKED if self.values[name].size <= _HUGE else _FEW
        chosen, slopes = self._chosen_slopes(name, claimed, most, self._slope_beside_kinks)
        return Sampled(self.values[name].shape, chosen, np.array(slopes, np.float64))

    def _chosen_slopes(
        self,
        name: str,
        claimed: Array | None,
        most: int,
        slope_of: Callable[[str, tuple[Any, ...], float | None], Found],
    ) -> tuple[list[int], list[Found]]:
        """The indices of some elements, and what `slope_of` finds there, given their claims."""
        start = self.values[name]
        if claimed is not None:
            claimed = claimed.reshape(start.shape) if claimed.size == start.size else None
        chosen, slopes = _chosen(start, claimed, most), list[Found]()
        try:
            for at in chosen:
                index = np.unravel_index(at, start.shape)
                claim = claimed[index] if claimed is not None else None
                slopes.append(slope_of(name, index, claim))
        finally:
            self._probe.set_parameters(self._as_held({name: start}))
        return chosen, slopes

    def _as_held(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The values as the parameters hold them: the pairs of a complex one put together."""
        return {
            n: np.asarray(v[..., 0] + 1j * v[..., 1]) if n in self._complex else v
            for n, v in values.items()
        }

    def _slope(self, name: str, index: tuple[Any, ...], claimed: float | None) -> _Slope:
        scale = max(1.0, abs(float(self.values[name][index])))
        h = self._step * scale
        first = self._sides(name, index, h)
        steepening = abs(first.bend) / h * scale
        noise = first.noise + _EPS_OF_LOSS * self._eps * steepening
        found = _Slope(first.central, noise, np.nan, np.nan, steepening)
        if claimed is None or not math.isfinite(first.central) or not math.isfinite(claimed):
            return found
        if abs(claimed - first.central) <= 1e-6 * abs(first.central) + noise:
            return found
        return self._look_again(name, index, h, first, found)

    def _look_again(
        self, name: str, index: tuple[Any, ...], h: float, first: _Sides, found: _Slope
    ) -> _Slope:
        """Halve h to see whether the slopes on both sides come together; if not, it is a kink."""
        second = self._sides(name, index, h / 2)
        if abs(second.bend) <= 0.6 * abs(first.bend) + second.noise:
            # Richardson: the part of the error that goes with h² falls out.
            better = (4 * second.central - first.central) / 3
            doubt = found.uncertainty + abs(second.central - first.central)
            return found._replace(central=better, uncertainty=doubt)
        last = self._sides(name, index, h / 2**_HALVINGS)
        if abs(last.bend) <= abs(first.bend) / 4 + 2 * last.noise:  # the kink lay to one side
            return _Slope(last.central, last.noise, np.nan, np.nan, 0.0)
        return _Slope(last.central, last.noise, last.left, last.right, 0.0)

    def _slope_beside_kinks(
        self, name: str, index: tuple[Any, ...], claimed: float | None
    ) -> float:
        """The slope over h; where another one is claimed, that over h/64 if it is nearer."""
        found = self._slope(name, index, None)
        if claimed is None or abs(claimed - found.central) <= RELATIVE * abs(claimed):
            return found.central
        scale = max(1.0, abs(float(self.values[name][index])))
        near = self._sides(name, index, self._step * scale / 2**_HALVINGS).central
        return near if abs(near - claimed) < abs(found.central - claimed) else found.central

    def _sides(self, name: str, index: tuple[Any, ...], h: float) -> _Sides:
        values, losses = self.values[name], []
        start = values[index]
        try:
            for moved in (start + h, start - h):
                values[index] = moved  # in place: a copy of many numbers takes time and memory
                losses.append(self._loss({name: values}))
        finally:
            values[index] = start
        above, below = losses
        noise = _EPS_OF_LOSS * self._eps * max(map(abs, (above, below, self.loss))) / h
        return _Sides((self.loss - below) / h, (above - self.loss) / h, (above - below) / (2 * h),
                      noise)  # fmt: skip

    def _loss(self, values: Mapping[str, Array] | None = None) -> float:
        if self._until():
            raise InspectionStopped
        return self._probe.loss(self._as_held(self.values if values is None else values))


class _Slope(NamedTuple):
    """One element of Slopes."""

    central: float
    uncertainty: float
    left: float
    right: float
    steepening: float


class _Sides(msgspec.Struct, frozen=True):
    """The slopes to both sides of a place, for one h."""

    left: float
    right: float
    central: float
    noise: float

    @property
    def bend(self) -> float:
        """The slope on the right less the slope on the left."""
        return self.right - self.left


def _chosen(start: Array, claimed: Array | None, most: int) -> list[int]:
    """Indices of the elements to sample: all, or half the largest and half evenly spaced."""
    if start.size <= most:
        return list(range(start.size))
    half = most // 2
    largest = _largest(claimed.reshape(-1), half) if claimed is not None else np.arange(half)
    spaced = np.unique(np.linspace(0, start.size - 1, 2 * most).astype(int))
    others = np.setdiff1d(spaced, largest)
    spread = others[np.linspace(0, others.size - 1, min(most - half, others.size)).astype(int)]
    return sorted([*largest.tolist(), *spread.tolist()])


def _largest(numbers: Array, count: int) -> Array:
    """The places of `count` of the numbers that are farthest from 0, NaN taken for 0.

    In pieces: of 10⁷ numbers at once each array on the way would take 80 MB.
    """
    found = np.arange(0)
    for begin in range(0, numbers.size, _PIECE):
        places = np.concatenate([found, np.arange(begin, min(begin + _PIECE, numbers.size))])
        sizes = np.abs(np.nan_to_num(numbers[places]))
        found = places[np.argpartition(-sizes, count)[:count]] if places.size > count else places
    return found


def _eps_of(loss: Any) -> float:
    """The spacing of numbers near 1 in the precision that a loss was computed in.

    A lesson may make a float32 of its own on the way; Python's own numbers are float64.
    """
    if isinstance(loss, torch.Tensor) and loss.is_floating_point():
        return torch.finfo(loss.dtype).eps
    if isinstance(loss, np.ndarray | np.floating) and loss.dtype.kind == "f":
        return float(np.finfo(loss.dtype).eps)
    return float(np.finfo(np.float64).eps)


# ── The true gradient ───────────────────────────────────────────────────────────────


class ModeGradient(msgspec.Struct, frozen=True):
    """One mode's gradient of one parameter, as real numbers.

    Arrays of any shape and dtype; of complex numbers the real and imaginary parts stand side by
    side along one more axis.
    """

    mode: str
    gradient: Array | None
    """The gradient that the mode shows; None: no gradient."""
    precise: Array | None = None
    """The gradient by the same code in float64; None if that can't be had."""
    old: Array | None = None
    """The gradient when the batch began; None if there was none."""
    has_variable: bool = False
    """Whether the gradient is a variable that the mode's own code has to bind."""
    raised: Remark | None = None
    """What the mode's code raised instead."""
    another: Remark | None = None
    """The reason why this mode is another function of the parameter; None if it is not."""
    is_meant: bool = True
    """Whether the lesson means it to be another function; else it is a mistake."""
    own: Slopes | None = None
    """The slopes of that other function."""

    @property
    def numbers(self) -> Array:
        """The best known value of the gradient that the mode's code computes, as float64."""
        best = self.gradient if self.precise is None else self.precise
        return np.asarray(best, np.float64)

    @property
    def shown(self) -> Array:
        """The gradient that the mode shows, as a row of float64."""
        return np.asarray(self.gradient, np.float64).ravel()

    @property
    def is_precise(self) -> bool:
        """Whether the mode's code really computes it in float64, if it can."""
        return self.precise is not None and self.precise.dtype == np.float64


class TrueGradient(msgspec.Struct, frozen=True):
    """The true gradient. All arrays are float64 in the parameter's shape."""

    values: Array
    low: Array
    """The lowest right gradient: `values`, but on a kink the lower of its two slopes."""
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
        # A slope may be unsure in its digits, and yet prove that a gradient is wrong.
        sure = (off <= SURE * scale) | (np.abs(claimed - central) > off + RELATIVE * scale)
        looked = np.isfinite(central)
        values = np.where(looked & sure & ~slopes.kinks, central, claimed)
        fine = RELATIVE * scale + np.where(sure, off, _BLUR * off)
        return cls(
            values=values,
            low=np.where(slopes.kinks, np.fmin(slopes.left, slopes.right), values),
            high=np.where(slopes.kinks, np.fmax(slopes.left, slopes.right), values),
            fine=fine,
            coarse=fine + PARAMETER_ERROR * np.nan_to_num(slopes.steepening),
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
        return self.fits(candidate.numbers) and not self.missed_by(candidate).size

    def missed_by(self, candidate: ModeGradient) -> Array:
        """Indices of the elements in which a mode's gradient differs, counted row by row.

        All of them if it is of another shape.
        """
        if not self.fits(candidate.numbers):
            return np.arange(candidate.numbers.size)
        numbers, off = candidate.numbers.reshape(self.values.shape), self.tolerance_of(candidate)
        shown = np.asarray(candidate.gradient).reshape(self.values.shape)
        right = (numbers >= self.low - off) & (numbers <= self.high + off) & np.isfinite(shown)
        return np.flatnonzero(~right)

    def tolerance_of(self, candidate: ModeGradient) -> Array:
        """The tolerance of a mode's gradient, by the precision that it was computed in."""
        return self.fine if candidate.is_precise else self.coarse

    def fits(self, numbers: Array) -> bool:
        """Whether an array is of the parameter's shape, but for axes of one element."""
        mine, theirs = (
            [n for n in shape if n != 1] for shape in (self.values.shape, numbers.shape)
        )
        return mine == theirs or (numbers.size == self.values.size and numbers.ndim < 2)

    def is_transpose_of(self, numbers: Array) -> bool:
        """Whether the transposed array is this, but for rounding."""
        fits = numbers.shape == self.values.shape[::-1]
        return fits and bool((np.abs(numbers.T - self.values) <= self.coarse).all())
