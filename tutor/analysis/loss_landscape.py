"""The loss around the place where a run stands: along a line, or over a plane.

Every loss is the lesson's own, by its Predict and Loss in a probe. The gradient is the one that
the lesson computes, right or wrong. The range of an axis holds all that has to be seen (the run's
place, its way, the step to come), and moves seldom, so that a plot does not jump.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tutor.protocol.frame import Remark
from tutor.protocol.inspections import (
    BatchPlotData,
    ContourPlot,
    NoPlot,
    Numbers,
    SlopePlot,
)
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.probe import InspectionStopped, Probe, Standpoint
from tutor.training.program import Until
from tutor.training.values import Array, to_numpy

Window: TypeAlias = tuple[float, float]

_MARGIN = 0.15
"""The margin on either side, as a part of the range that has to be seen."""
_EDGE = 0.02
"""The edge of a window, as a part of it: a point nearer to the edge is not well inside."""
_TOO_WIDE = 50
"""A window is given up that is wider by this factor than the range that has to be seen."""
_NARROWEST = 0.2
"""The least breadth, as a part of the number in its middle."""
_DOUBLINGS = 10


def window(points: Iterable[float], least: float | None = None) -> Window | None:
    """A window with all of these points in it that are finite, and a margin.

    `least` is its least breadth; unless given, a part of the number in its middle. None if
    no point is finite, or the breadth is not.
    """
    known = [p for p in points if math.isfinite(p)]
    if not known:
        return None
    low, high = min(known), max(known)
    middle = low / 2 + high / 2
    least = _NARROWEST * max(abs(middle), 0.1) if least is None else least
    half = max(high - low, least) * (0.5 + _MARGIN)
    found = (middle - half, middle + half)
    return found if all(map(math.isfinite, found)) and found[0] < found[1] else None


def still_good(before: Iterable[Sequence[float]], wanted: Iterable[Window]) -> bool:
    """Whether what was shown before (the places on each axis, ascending) will do for these.

    All of it has to be well inside, and at least on one axis fill more than a speck.
    """
    pairs = [((old[0], old[-1]), new) for old, new in zip(before, wanted, strict=True)]
    return all(_is_well_inside(*pair) for pair in pairs) and any(
        (old[1] - old[0]) <= _TOO_WIDE * (new[1] - new[0]) for old, new in pairs
    )


def _is_well_inside(before: Window, wanted: Window) -> bool:
    """Whether `wanted`, without its margins, lies well inside `before`."""
    edge = _EDGE * (before[1] - before[0])
    margin = _MARGIN * (wanted[1] - wanted[0]) / (1 + 2 * _MARGIN)
    inside = before[0] + edge <= wanted[0] + margin
    return inside and wanted[1] - margin <= before[1] - edge


def lowest(loss: Callable[[float], float], at: float, reach: float) -> float | None:
    """About where the loss is least, downhill from `at`; None if that is far, or nowhere.

    Goes downhill in steps that double, from `reach` on, until the loss rises, and takes the
    vertex of the parabola through the last three places: exact where the loss is quadratic.
    """
    here, left, right = loss(at), loss(at - reach), loss(at + reach)
    if left >= here <= right:
        return _vertex((at - reach, left), (at, here), (at + reach, right))
    reach = reach if right < left else -reach
    places = [(at, here), (at + reach, min(left, right))]
    for _ in range(_DOUBLINGS):
        reach *= 2
        places.append((at + reach, loss(at + reach)))
        if places[-1][1] >= places[-2][1]:
            return _vertex(*places[-3:])
        if not math.isfinite(places[-1][1]):
            return None
    return None


def _vertex(*places: tuple[float, float]) -> float | None:
    """The vertex of the parabola through three places, the middle one lowest."""
    (a, fa), (b, fb), (c, fc) = places
    near, far = (b - a) * (fb - fc), (b - c) * (fb - fa)
    if not math.isfinite(near - far):
        return None
    if near == far:  # level ground
        return b
    return b - ((b - a) * near - (b - c) * far) / (near - far) / 2


Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

LINE = 60
"""Places along a line."""
GRID = (24, 16)
"""Places over a plane, across and up."""
_TOO_FAR = NoPlot(why=Remark("too_large_to_draw"))
_NEAR = 60
"""The most steps to the lowest place along the gradient, for it to be shown."""
_BEHIND, _BEFORE = 4, 12
"""Steps that are shown back and ahead where that place is farther away."""


@dataclass(frozen=True, slots=True)
class _Ground:
    """The loss as a function of all parameters in one row, at one standpoint."""

    probe: Probe
    values: Mapping[str, Array]
    until: Until

    @property
    def start(self) -> Vector:
        """The parameters at the start of the batch, one after the other."""
        return self.row(self.values)

    def row(self, arrays: Mapping[str, Array | None]) -> Vector:
        """One row of these arrays in the parameters' order; 0 where there is none."""
        parts = (_flat(arrays.get(name), value.size) for name, value in self.values.items())
        return np.concatenate([np.zeros(0), *parts])

    def rounded(self, row: Vector) -> Vector:
        """The row in the precision of the parameters: the values that are evaluated."""
        return self.row(self._by_name(row))

    def loss(self, row: Vector) -> float:
        """The loss with these parameters. Raises InspectionStopped, LessonRaised."""
        if self.until():
            raise InspectionStopped
        return self.probe.loss(self._by_name(row))

    def names(self) -> list[str]:
        """The name of each number in the row: `w`, `params[1]`."""
        found = []
        for name, value in self.values.items():
            if value.size == 1:
                found.append(name)
                continue
            for index in np.ndindex(value.shape):
                found.append(f"{name}[{', '.join(map(str, index))}]")
        return found

    def _by_name(self, row: Vector) -> dict[str, Array]:
        named, at = {}, 0
        for name, value in self.values.items():
            part = row[at : at + value.size].reshape(value.shape)
            named[name] = part.astype(value.dtype)
            at += value.size
        return named


@dataclass(frozen=True, slots=True)
class _Ahead:
    """The rest of this batch, computed ahead of the run."""

    gradient: Vector | None
    next: Vector | None
    is_known: bool
    """Whether the run itself knows its gradient already."""
    is_done: bool
    batch: int | None

    @property
    def shown(self) -> tuple[Vector | None, Vector | None]:
        """The gradient and the next place, as far as the run has come."""
        return (self.gradient, self.next) if self.is_known else (None, None)


def landscape(
    probe: Probe,
    at: Standpoint,
    path: tuple[tuple[float, float], ...],
    until: Until,
    before: BatchPlotData | None,
) -> BatchPlotData:
    """The loss around the start of the batch. Raises InspectionStopped, LessonRaised."""
    if any(np.iscomplexobj(value) for value in at.start.values.values()):
        return NoPlot(why=Remark("complex_parameter"))
    ground = _Ground(probe, at.start.values, until)
    start = ground.start
    if not start.size:
        return NoPlot(why=Remark("no_numbers"))
    if not np.isfinite(start).all():
        return NoPlot(why=Remark("parameters_not_finite"))
    ahead = _ahead(ground, at)
    probe.stand(at)
    if not math.isfinite(ground.loss(start)):
        return NoPlot(why=Remark("loss_not_finite"))
    if start.size == 1:
        return _along(ground, ahead, np.ones(1), before)
    if start.size == 2:
        return _over(ground, ahead, path, before)
    return _along_gradient(ground, ahead, before)


def _ahead(ground: _Ground, at: Standpoint) -> _Ahead:
    """The gradient and the next place: the run's own, or by the lesson's code in the probe."""
    program = at.program
    batch = at.batch if program.batches > 1 else None
    is_known = at.gradients is not None
    gradient = None if at.gradients is None else _row_of(ground, at.gradients)
    if at.is_updated:
        return _Ahead(gradient, _finite(ground.row(at.now)), is_known, True, batch)
    ground.probe.stand(at)
    try:
        ground.probe.run_phases(program.update_at + 1)
    except LessonRaised as error:
        raise_if_stopped(error)
        return _Ahead(gradient, None, is_known, False, batch)
    loop = ground.probe.loop
    if gradient is None:
        gradient = _row_of(ground, {n: to_numpy(g) for n, g in (loop.gradients or {}).items()})
    following = _finite(ground.row(loop.parameter_values()))
    return _Ahead(gradient, following, is_known, False, batch)


def _row_of(ground: _Ground, gradients: Mapping[str, Array | None]) -> Vector | None:
    """The gradient as one row; None if there is none of any parameter, or it is not finite."""
    if all(g is None for g in gradients.values()):
        return None
    return _finite(ground.row(gradients))


def _finite(row: Vector) -> Vector | None:
    return row if np.isfinite(row).all() else None


def _flat(array: Array | None, size: int) -> Vector:
    fits = array is not None and array.size == size
    return np.asarray(array, dtype=np.float64).reshape(-1) if fits else np.zeros(size)


# ── Along a line ────────────────────────────────────────────────────────────────────


def _along_gradient(ground: _Ground, ahead: _Ahead, before: BatchPlotData | None) -> BatchPlotData:
    """A slice against the gradient: there is no plane with all of the parameters in it."""
    gradient = ahead.gradient
    if gradient is None:
        return NoPlot(why=Remark("no_gradient"))
    length = float(np.linalg.norm(gradient))
    if not length:
        return NoPlot(why=Remark("gradient_is_zero"))
    return _along(ground, ahead, -gradient / length, before)


def _along(
    ground: _Ground, ahead: _Ahead, way: Vector, before: BatchPlotData | None
) -> BatchPlotData:
    """The loss along the unit vector `way`. With one parameter the axis is its value."""
    start, is_one = ground.start, len(way) == 1
    here, foot = (float(start[0]), start * 0) if is_one else (0.0, start)

    def loss(place: float) -> float:
        return ground.loss(foot + place * way)

    def place_of(row: Vector) -> float:
        return float((row - foot) @ way)

    axis = ground.names()[0] if is_one else ""
    old = before if isinstance(before, SlopePlot) and before.axis == axis else None
    goal = here if ahead.next is None else place_of(ahead.next)
    step = abs(goal - here)
    points = [here, goal, *_around_lowest(loss, here, step, is_one=is_one)]
    shown = window(points, None if is_one else step or 1e-2)
    if shown is None:
        return _TOO_FAR
    losses: Numbers | None = None
    if old and still_good([old.xs], [shown]):
        xs = old.xs
        spots = (0, LINE // 4, LINE // 2, LINE - 1)
        if is_one and old.batch == ahead.batch and _still(old.losses, lambda i: loss(xs[i]), spots):
            losses = old.losses
    else:
        xs = _places(shown, LINE, lambda x: ground.rounded(np.array([x]))[0] if is_one else x)
    gradient, following = ahead.shown
    return SlopePlot(
        axis=axis,
        xs=xs,
        losses=losses or tuple(loss(x) for x in xs),
        at=here,
        loss=loss(here),
        slope=None if gradient is None else float(gradient @ way),
        next_at=None if following is None else goal,
        next_loss=None if following is None else ground.loss(following),
        is_done=ahead.is_done,
        batch=ahead.batch,
    )


def _around_lowest(
    loss: Callable[[float], float], here: float, step: float, *, is_one: bool
) -> list[float]:
    """The lowest place, and one beyond it, so that both its slopes are seen; or nothing.

    Along the gradient only if it is near enough for a step to be visible;
    else the way of some steps, enough to see whether the loss bends.
    """
    reach = max(step, 1e-2 * max(abs(here), 1.0)) if is_one else step or 1e-2
    found = lowest(loss, here, reach)
    if not is_one and (found is None or abs(found - here) > _NEAR * reach):
        return [here - _BEHIND * reach, here + _BEFORE * reach]
    if found is None:
        return []
    return [found, found + 0.6 * (found - here)]


# ── Over a plane ────────────────────────────────────────────────────────────────────


def _over(
    ground: _Ground,
    ahead: _Ahead,
    path: tuple[tuple[float, float], ...],
    before: BatchPlotData | None,
) -> BatchPlotData:
    """The loss over the plane of the two parameters."""
    axes = (ground.names()[0], ground.names()[1])
    old = before if isinstance(before, ContourPlot) and before.axes == axes else None
    start, (gradient, following) = ground.start, ahead.shown
    points = [start, *map(np.array, path), *([] if ahead.next is None else [ahead.next])]
    found = _lowest_on_plane(ground)
    points += [] if found is None else [found, found + 0.25 * (found - start)]
    shown = [w for i in (0, 1) if (w := window(float(point[i]) for point in points))]
    if len(shown) < 2:
        return _TOO_FAR
    if old and still_good([old.xs, old.ys], shown):
        xs, ys = old.xs, old.ys
    else:
        xs = _places(shown[0], GRID[0], lambda x: ground.rounded(np.array([x, start[1]]))[0])
        ys = _places(shown[1], GRID[1], lambda y: ground.rounded(np.array([start[0], y]))[1])
    return ContourPlot(
        axes=axes,
        xs=xs,
        ys=ys,
        losses=_losses(ground, xs, ys, old if old and old.batch == ahead.batch else None),
        path=path,
        at=_pair(start),
        loss=ground.loss(start),
        gradient=None if gradient is None else _pair(gradient),
        next_at=None if following is None else _pair(following),
        is_done=ahead.is_done,
        batch=ahead.batch,
    )


def _places(shown: Window, count: int, rounded: Callable[[float], float]) -> Numbers:
    """`count` places over a window, in the parameters' own precision.

    A number between two that a parameter can hold would never be evaluated.
    """
    return tuple(float(rounded(x)) for x in np.linspace(*shown, count).tolist())


def _losses(
    ground: _Ground, xs: Numbers, ys: Numbers, old: ContourPlot | None
) -> tuple[Numbers, ...]:
    """The loss at each place of the grid, a row for each of `ys`, taken over if it still is so."""

    def row(i: int) -> Callable[[int], float]:
        return lambda j: ground.loss(np.array([xs[j], ys[i]]))

    if old is not None and (old.xs, old.ys) == (xs, ys):
        across = (0, len(xs) // 2, len(xs) - 1)
        if all(_still(old.losses[i], row(i), across) for i in (0, len(ys) // 2, len(ys) - 1)):
            return old.losses
    return tuple(tuple(map(row(i), range(len(xs)))) for i in range(len(ys)))


def _still(losses: Numbers, loss: Callable[[int], float], spots: Iterable[int]) -> bool:
    """Whether a few losses of the plot before, evaluated anew, come out the same to the bit.

    Then nothing has moved but the run, and the others need not be evaluated again.
    """
    pairs = ((losses[i], loss(i)) for i in spots)
    return all(old == new or (math.isnan(old) and math.isnan(new)) for old, new in pairs)


def _lowest_on_plane(ground: _Ground) -> Vector | None:
    """The end of Newton's step by finite differences: the lowest place of a quadratic loss.

    None if the loss is not a bowl here, or not lower there.
    """
    start = ground.start
    h = 0.1 * np.maximum(np.abs(start), 1.0)
    x, y = np.array([h[0], 0.0]), np.array([0.0, h[1]])
    middle = ground.loss(start)
    east, west, north, south = (ground.loss(start + d) for d in (x, -x, y, -y))
    both = ground.loss(start + x + y)
    slope = np.array([east - west, north - south]) / (2 * h)
    across = (both - east - north + middle) / (h[0] * h[1])
    bend = np.array(
        [
            [(east - 2 * middle + west) / h[0] ** 2, across],
            [across, (north - 2 * middle + south) / h[1] ** 2],
        ]
    )
    if not np.isfinite(bend).all() or np.linalg.eigvalsh(bend)[0] <= 0:
        return None
    found = start - np.linalg.solve(bend, slope)
    return found if np.isfinite(found).all() and ground.loss(found) <= middle else None


def _pair(row: Vector) -> tuple[float, float]:
    return float(row[0]), float(row[1])
