"""Plot data: a step's data, loss landscape and plane of inputs, and the gradient by epoch.

What is of one step comes from the lesson's own Predict and Loss, in a probe.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Protocol, assert_never

import msgspec
import numpy as np

from tutor.analysis.loss_landscape import landscape
from tutor.lesson.model import DataNames
from tutor.protocol.frame import Position, Remark, RunRecipe
from tutor.protocol.inspections import (
    BatchPlotData,
    BatchPlotKind,
    DataPlot,
    GradientNormPlot,
    NoPlot,
    PlanePlot,
    PlotData,
    PlotKind,
)
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.playback import never
from tutor.training.probe import InspectionStopped, Probe, Standpoint
from tutor.training.program import Quiet, Until
from tutor.training.run import Run
from tutor.training.values import Array, norm_of, to_numbers, to_numpy, value_of

MOST_POINTS = 400
"""More points than this are only counted."""
LINE = 60
"""Places of the model's line."""
PLANE = (48, 24)
"""Places over the plane, across and up: all of them take one evaluation."""
_LONGEST_ERROR = 200
_MARGIN = 0.05
"""The margin of a line on either side of the data, as a part of their breadth."""
_PLANE_MARGIN = 0.25


def plot_data_of(
    kind: BatchPlotKind,
    probe: Probe,
    at: Standpoint,
    path: tuple[tuple[float, float], ...] = (),
    *,
    until: Until = never,
    before: BatchPlotData | None = None,
) -> BatchPlotData | None:
    """The plot of this kind of the batch that a run stands in.

    `path`: where two parameters have been. `before`: the plot shown last of this run, whose
    window is kept where that will do. None if `until`, called between evaluations, stopped it;
    NoPlot where there is nothing of the kind to draw, the lesson's own error among the reasons.
    Raises LessonRaised only where the learner has stopped the lesson's code.
    """
    try:
        match kind:
            case "landscape":
                return landscape(probe, at, path, until, before)
            case "data":
                return None if until() else _of_data(probe, at, _line_with_loss)
            case "plane":
                return None if until() else _of_data(probe, at, _plane)
            case _:
                assert_never(kind)
    except InspectionStopped:
        return None
    except LessonRaised as error:
        raise_if_stopped(error)
        return NoPlot(why=error.remark(_LONGEST_ERROR))


def _of_data(
    probe: Probe, at: Standpoint, draw: Callable[[Probe, Standpoint, _Samples], BatchPlotData]
) -> BatchPlotData:
    """The plot that `draw` makes of data and predictions; NoPlot where there are none."""
    names = probe.program.data
    if names is None:
        return _never("data_not_named")
    probe.stand(at)
    probe.set_parameters(at.now)
    found = _samples(probe, names)
    return found if isinstance(found, NoPlot) else draw(probe, at, found)


def _line_with_loss(probe: Probe, at: Standpoint, samples: _Samples) -> BatchPlotData:
    plot = _line(probe, samples)
    if probe.program.batches > 1 or not isinstance(plot, DataPlot):
        return plot
    probe.stand(at)
    return msgspec.structs.replace(plot, loss=probe.loss(at.now))


def _never(code: str, **values: object) -> NoPlot:
    """A reason that holds at every position of the run."""
    return NoPlot(why=Remark(code, values), never=True)


# ── The data ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Samples:
    """The data as the lesson has them, one number to be predicted for each sample."""

    names: DataNames
    inputs: Array
    """The lesson's own array: (N,), (N, 1), (N, F), or () for a single number."""
    targets: Array
    """(N,)."""
    predictions: Array
    """(N,), by the parameters of this moment."""

    @property
    def features(self) -> int:
        """The number of inputs of each sample."""
        return self.inputs.size // max(len(self.targets), 1)

    @property
    def chosen(self) -> Array:
        """Indices of the samples that are shown: all of them, or some all over."""
        count = len(self.targets)
        return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(int))


def _samples(probe: Probe, names: DataNames) -> _Samples | NoPlot:
    """The data and what the model makes of them now. Raises LessonRaised."""
    things = probe.loop.namespace
    inputs, targets = to_numpy(things.get(names.input)), to_numpy(things.get(names.target))
    if inputs is None or targets is None or not targets.size:
        both = {"input": names.input, "target": names.target}
        return NoPlot(why=Remark("data_no_numbers", both))
    count = len(inputs) if inputs.ndim else 1
    if targets.size != count:
        return _never("several_targets", input=names.input, target=names.target)
    predictions = _predict(probe, names, inputs)
    if predictions is None:
        return _never("several_predictions", input=names.input, prediction=names.prediction)
    return _Samples(names, inputs, targets.reshape(-1), predictions)


def _predict(probe: Probe, names: DataNames, inputs: Array) -> Array | None:
    """One prediction for each sample, (N,); None if Predict makes something else of them.

    All at once; if the lesson's batches are not for that, batch by batch.
    """
    count = len(inputs) if inputs.ndim else 1
    try:
        found = probe.predict({names.input: inputs}, names.prediction)
        if found is not None and found.size == count:
            return found.reshape(-1)
    except LessonRaised as error:
        if error.stopped or probe.program.batches == 1:
            raise
    return _predict_by_batches(probe, names, inputs) if inputs.ndim else None


def _predict_by_batches(probe: Probe, names: DataNames, inputs: Array) -> Array | None:
    """Predictions in pieces of as many samples as the lesson has, batch by batch."""
    there = to_numpy(probe.loop.namespace.get(names.input))
    rows = len(there) if there is not None and there.ndim else 1
    parts = []
    for first in range(0, len(inputs), rows):
        some = inputs[first : first + rows]
        filled = np.concatenate([some, np.repeat(some[-1:], rows - len(some), axis=0)])
        found = [
            probe.predict({names.input: filled}, names.prediction, batch)
            for batch in range(probe.program.batches)
        ]
        flat = np.concatenate([np.zeros(0) if f is None else f.reshape(-1) for f in found])
        if len(flat) != rows:
            return None
        parts.append(flat[: len(some)])
    return np.concatenate(parts)


# ── Plots of them ────────────────────────────────────────────────────────────────


def _line(probe: Probe, samples: _Samples) -> BatchPlotData:
    """The points, what is predicted for each, and the model between them."""
    if samples.features != 1:
        return _never("features_for_line", count=samples.features)
    xs = samples.inputs.reshape(-1).astype(np.float64)
    finite = xs[np.isfinite(xs)]
    if not len(finite):
        return NoPlot(why=Remark("no_number_finite", {"input": samples.names.input}))
    # A single sample has no breadth: then it is shown from 0 to twice its size.
    breadth = float(np.ptp(finite)) or 2 * max(abs(float(finite[0])), 1.0) / (1 + 2 * _MARGIN)
    middle = (float(finite.min()) + float(finite.max())) / 2
    half = breadth * (0.5 + _MARGIN)
    grid = np.linspace(middle - half, middle + half, LINE)
    line = _predict(probe, samples.names, grid.reshape(-1, *samples.inputs.shape[1:]))
    if line is None:
        return _never("no_other_inputs", prediction=samples.names.prediction)
    names, chosen = samples.names, samples.chosen
    return DataPlot(
        input=names.input,
        target=names.target,
        prediction=names.prediction,
        xs=_floats(xs[chosen]),
        targets=_floats(samples.targets[chosen]),
        predictions=_floats(samples.predictions[chosen]),
        line_xs=_floats(grid),
        line=_floats(line),
        left_out=len(xs) - len(chosen),
    )


def _plane(probe: Probe, at: Standpoint, samples: _Samples) -> BatchPlotData:
    """The prediction over the plane of the two inputs, a little beyond the data."""
    if samples.features != 2:
        return _never("features_for_plane", count=samples.features)
    data = samples.inputs.reshape(-1, 2).astype(np.float64)
    if not np.isfinite(data).all():
        return NoPlot(why=Remark("not_all_numbers_finite", {"input": samples.names.input}))
    low, high = data.min(axis=0), data.max(axis=0)
    margin = np.where(high > low, _PLANE_MARGIN * (high - low), 1.0)
    xs = np.linspace(low[0] - margin[0], high[0] + margin[0], PLANE[0])
    ys = np.linspace(low[1] - margin[1], high[1] + margin[1], PLANE[1])
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, *samples.inputs.shape[1:])
    outputs = _predict(probe, samples.names, grid)
    if outputs is None:
        return _never("no_other_inputs", prediction=samples.names.prediction)
    name, chosen = samples.names.input, samples.chosen
    points = np.column_stack([data[chosen], samples.targets[chosen]])
    return PlanePlot(
        axes=(f"{name}[:, 0]", f"{name}[:, 1]"),
        prediction=samples.names.prediction,
        xs=_floats(xs),
        ys=_floats(ys),
        outputs=tuple(_floats(row) for row in outputs.reshape(len(ys), len(xs))),
        points=tuple((float(a), float(b), float(target)) for a, b, target in points),
    )


def _floats(array: Array) -> tuple[float, ...]:
    return tuple(array.astype(np.float64).tolist())


# ── The gradient by epoch ───────────────────────────────────────────────────────────

MOST_EPOCHS = 200
"""Epochs of a plot: of a longer run, one in so many is shown."""

MOST_SECONDS = 5.0
"""Seconds that a Setup may take: it runs again, and no key is answered meanwhile."""

_BETWEEN_PLOTS = 0.25
"""Seconds from one plot to the next, more complete one."""


class PlotReplay(Protocol):
    """A second run of a recipe, which plays epochs again for a plot over them."""

    def plots(self, run: Run, until: Until) -> Iterator[PlotData]:
        """The plot of a run, again and again until it is complete, or `until` stops it."""

    def close(self) -> None:
        """Give up the second run."""


class GradientNorms(PlotReplay):
    """The gradient norms of the run that was looked at last, from a second run of its recipe.

    A run keeps no gradients: a Reset deletes them, and a norm costs 7 µs, a third of a small epoch.
    So the epochs of the plot run again, and only while someone looks at it. With several batches,
    an epoch's gradient is that of the last batch, as its loss is.
    """

    def __init__(self, quiet: Quiet) -> None:
        """`quiet` is entered while epochs run again."""
        self._quiet = quiet
        self._recipe: RunRecipe | None = None
        """The recipe that `_norms` belong to."""
        self._norms: dict[int, float] = {}
        self._again: Run | None = None
        """The second run, where it came to."""

    def plots(self, run: Run, until: Until) -> Iterator[GradientNormPlot | NoPlot]:
        """The plot of a run, again and again until it is complete, or `until` stops it.

        Leaves the run as it is. Raises LessonRaised if the code raises in the second run.
        """
        epochs = shown_epochs(run.last_epoch)
        if (why := _why_not(run)) is not None:
            yield NoPlot(why=why, never=run.program.writes_here)
            return
        self._keep_norms_of(run.recipe, epochs)
        missing = [epoch for epoch in epochs if epoch not in self._norms]
        while True:
            due = time.perf_counter() + _BETWEEN_PLOTS
            while missing and not until() and time.perf_counter() < due:
                norm = self._norm_at(run, missing[0], until)
                if norm is not None:
                    self._norms[missing.pop(0)] = norm
            known = [epoch for epoch in epochs if epoch in self._norms]
            yield GradientNormPlot(
                epochs=tuple(known),
                norms=tuple(self._norms[epoch] for epoch in known),
                last_epoch=run.last_epoch,
                here=run.at.epoch,
                is_whole=not missing,
            )
            if not missing or until():
                return

    def _keep_norms_of(self, recipe: RunRecipe, epochs: Sequence[int]) -> None:
        """Forget the norms that another recipe does not share, and those that are not shown."""
        same = _same_epochs(self._recipe, recipe)
        self._norms = {e: norm for e, norm in self._norms.items() if e <= same and e in epochs}
        if recipe != self._recipe:
            self.close()
        self._recipe = recipe

    def close(self) -> None:
        """Give up the second run."""
        if self._again is not None:
            self._again.close()
        self._again = None

    def _norm_at(self, run: Run, epoch: int, until: Until) -> float | None:
        """The norm at an epoch, which runs again; None if `until` stopped that."""
        try:
            with self._quiet():
                again = self._second_run(run, epoch)
                is_within = again.at.epoch == epoch and not again.at_end
                is_before = again.at.epoch == epoch - 1 and again.at_end
                if not (is_within or is_before):
                    again.seek(epoch - 1, until=until)
                before = again.loop
                again.run_to_without_frame(epoch, until)
        except BaseException:  # in mid-phase, an interrupt too: that run can't go on
            self.close()
            raise
        if again.at.epoch != epoch or not again.at_end:
            return math.nan if again.loop.is_over else None
        # A change at the epoch's very end may have made another loop, in which it runs in part.
        loop = before if before.epoch == epoch and before.at_end else again.loop
        return _norm((loop.gradients or {}).values())

    def _second_run(self, run: Run, epoch: int) -> Run:
        """The second run; a new one where the first one's keyframes give out far before `epoch`.

        It gets a copy of the run's keyframes, so that it need not run all epochs again. It takes
        turns with the run: each finds the random number generators as it left them.
        """
        mine = self._again
        is_far = mine is not None and epoch > 2 * max(mine.last_epoch, 1) and not run.is_script
        if mine is None or is_far or mine.generators is not run.generators:
            self.close()
            start, history = Position(0, 0), None if run.is_script else run.history.copy()
            mine = self._again = Run.from_recipe(
                run.programs,
                run.recipe,
                start,
                run.quiet,
                history=history,
                generators=run.generators,
            )
        return mine


def _why_not(run: Run) -> Remark | None:
    """The reason why a run's epochs are not run again; None if they may be."""
    if run.program.writes_here:
        return Remark("writes_files")
    if run.set_up_seconds > MOST_SECONDS:
        return Remark("slow_set_up", {"seconds": run.set_up_seconds})
    return None if run.last_epoch else Remark("no_epoch_yet")


def shown_epochs(last: int) -> tuple[int, ...]:
    """The epochs in a plot of a run of so many: all of them; of more than MOST_EPOCHS, some.

    The same ones as the run grows, until it is twice as long: then every second of them.
    """
    stride = 1
    while last > MOST_EPOCHS * stride:
        stride *= 2
    return tuple(sorted({1, *range(stride, last + 1, stride), last})) if last else ()


def _same_epochs(one: RunRecipe | None, other: RunRecipe) -> float:
    """The number of first epochs that are the same in two runs."""
    if one is None or (one.mode, one.device, one.learning_rate, one.seed) != (
        other.mode, other.device, other.learning_rate, other.seed,
    ):  # fmt: skip
        return 0
    pairs = zip_longest(one.changes, other.changes)
    apart = next((pair for pair in pairs if pair[0] != pair[1]), ())
    return min((change.at.epoch - 1 for change in apart if change), default=math.inf)


def _norm(gradients: Iterable[Any]) -> float:
    """The norm of all gradients together; NaN where there are none."""
    norms = [norm for gradient in gradients if (norm := _norm_of_one(gradient)) is not None]
    return math.hypot(*norms) if norms else math.nan


def _norm_of_one(gradient: Any) -> float | None:
    if (norm := value_of(gradient).norm) is not None:  # a large one: summed on its device
        return norm
    numbers = to_numbers(gradient)
    return None if numbers is None else norm_of(np.abs(numbers))


PLOT_REPLAYS: Mapping[PlotKind, Callable[[Quiet], PlotReplay]] = {"gradient-norm": GradientNorms}
"""The kinds that are of no batch, with what computes them."""
