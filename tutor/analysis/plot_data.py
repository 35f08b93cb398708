"""Plot data of a lesson's step: its data, the loss landscape, the plane of its inputs.

All of it comes from the lesson's own Predict and Loss, in a probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import msgspec
import numpy as np

from tutor.analysis.loss_landscape import landscape
from tutor.lesson.model import DataNames
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import (
    BatchPicture,
    BatchPictureKind,
    DataPicture,
    NoPicture,
    PlanePicture,
)
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.playback import never
from tutor.training.probe import InspectionStopped, Probe, Standpoint
from tutor.training.program import Until
from tutor.training.values import Array, to_numpy

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


def picture_of(
    kind: BatchPictureKind,
    probe: Probe,
    at: Standpoint,
    path: tuple[tuple[float, float], ...] = (),
    *,
    until: Until = never,
    before: BatchPicture | None = None,
) -> BatchPicture | None:
    """The picture of this kind of the batch that a run stands in.

    `path`: where two parameters have been. `before`: the picture shown last of this run, whose
    window is kept where that will do. None if `until`, called between evaluations, stopped it;
    NoPicture where there is nothing of the kind to draw, the lesson's own error among the reasons.
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
        return NoPicture(why=error.remark(_LONGEST_ERROR))


def _of_data(
    probe: Probe, at: Standpoint, draw: Callable[[Probe, Standpoint, _Samples], BatchPicture]
) -> BatchPicture:
    """The picture that `draw` makes of data and predictions; NoPicture where there are none."""
    names = probe.program.data
    if names is None:
        return _never("data_not_named")
    probe.stand(at)
    probe.set_parameters(at.now)
    found = _samples(probe, names)
    return found if isinstance(found, NoPicture) else draw(probe, at, found)


def _line_with_loss(probe: Probe, at: Standpoint, samples: _Samples) -> BatchPicture:
    picture = _line(probe, samples)
    if probe.program.batches > 1 or not isinstance(picture, DataPicture):
        return picture
    probe.stand(at)
    return msgspec.structs.replace(picture, loss=probe.loss(at.now))


def _never(code: str, **values: object) -> NoPicture:
    """A reason that holds at every position of the run."""
    return NoPicture(why=Remark(code, values), never=True)


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


def _samples(probe: Probe, names: DataNames) -> _Samples | NoPicture:
    """The data and what the model makes of them now. Raises LessonRaised."""
    things = probe.loop.namespace
    inputs, targets = to_numpy(things.get(names.input)), to_numpy(things.get(names.target))
    if inputs is None or targets is None or not targets.size:
        both = {"input": names.input, "target": names.target}
        return NoPicture(why=Remark("data_no_numbers", both))
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


# ── Pictures of them ────────────────────────────────────────────────────────────────


def _line(probe: Probe, samples: _Samples) -> BatchPicture:
    """The points, what is predicted for each, and the model between them."""
    if samples.features != 1:
        return _never("features_for_line", count=samples.features)
    xs = samples.inputs.reshape(-1).astype(np.float64)
    finite = xs[np.isfinite(xs)]
    if not len(finite):
        return NoPicture(why=Remark("no_number_finite", {"input": samples.names.input}))
    # A single sample has no breadth: then it is shown from 0 to twice its size.
    breadth = float(np.ptp(finite)) or 2 * max(abs(float(finite[0])), 1.0) / (1 + 2 * _MARGIN)
    middle = (float(finite.min()) + float(finite.max())) / 2
    half = breadth * (0.5 + _MARGIN)
    grid = np.linspace(middle - half, middle + half, LINE)
    line = _predict(probe, samples.names, grid.reshape(-1, *samples.inputs.shape[1:]))
    if line is None:
        return _never("no_other_inputs", prediction=samples.names.prediction)
    names, chosen = samples.names, samples.chosen
    return DataPicture(
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


def _plane(probe: Probe, at: Standpoint, samples: _Samples) -> BatchPicture:
    """The prediction over the plane of the two inputs, a little beyond the data."""
    if samples.features != 2:
        return _never("features_for_plane", count=samples.features)
    data = samples.inputs.reshape(-1, 2).astype(np.float64)
    if not np.isfinite(data).all():
        return NoPicture(why=Remark("not_all_numbers_finite", {"input": samples.names.input}))
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
    return PlanePicture(
        axes=(f"{name}[:, 0]", f"{name}[:, 1]"),
        prediction=samples.names.prediction,
        xs=_floats(xs),
        ys=_floats(ys),
        outputs=tuple(_floats(row) for row in outputs.reshape(len(ys), len(xs))),
        points=tuple((float(a), float(b), float(target)) for a, b, target in points),
    )


def _floats(array: Array) -> tuple[float, ...]:
    return tuple(array.astype(np.float64).tolist())
