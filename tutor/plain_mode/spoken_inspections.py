"""Inspections of a run in words: a variable, the autograd graph, all modes, plots, and the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, assert_never

from tutor.digits import GRID_DIGITS
from tutor.lesson.model import Lesson
from tutor.plain_mode.run_narrator import all_values
from tutor.plain_mode.spoken_lesson import is_by_hand, is_known, spoken_number, spoken_value
from tutor.plain_mode.spoken_text import in_words, sentence, spoken_python
from tutor.protocol.frame import NO_VALUE, NONE, Curve, Frame, Remark
from tutor.protocol.inspections import (
    FINITE_DIFFERENCE,
    AutogradGraph,
    ContourPlot,
    DataPlot,
    GradientNormPlot,
    GraphNode,
    ModeComparison,
    NoPlot,
    OtherRunState,
    PlanePlot,
    PlotData,
    RunInfo,
    SlopePlot,
    VariableInfo,
)
from tutor.session.run_view import RunView
from tutor.wording.number_format import counted, listed
from tutor.wording.remarks import (
    comparison_result,
    diagnosis,
    gradient_standing,
    remark_text,
    remarks_text,
)

MOST_NODES = 60
"""Operations and leaves of a graph that are spoken; the rest is counted."""

MOST_POINTS = 12
"""Points of the data that are spoken."""


# ── A variable ──────────────────────────────────────────────────────────────────────


def variable(info: VariableInfo) -> Iterator[str]:
    """The value of a variable, its part in autograd, and its gradient."""
    if info.value == NO_VALUE:
        yield f"{info.name} has no value: {_remark(info.remark)}."
        return
    kind = [info.type] if info.type else []
    if info.value.is_number and info.value.dtype != info.type:
        kind.append(info.value.dtype)
    if info.device:
        kind.append(f"on {info.device}")
    yield f"{info.name}: {', '.join(kind)}."
    yield f"Its value is {spoken_value(info.value)}."
    yield from _part_in_autograd(info)
    if info.remark is not None:
        remark = _remark(info.remark)
        yield sentence(remark[:1].upper() + remark[1:])


def _remark(remark: Remark | None) -> str:
    return in_words(remark_text(remark)) if remark else ""


def _part_in_autograd(info: VariableInfo) -> Iterator[str]:
    if info.requires_grad is None:
        if info.value.is_number:
            yield "Autograd does not track it."
    elif not info.is_leaf:
        yield (
            f"It is not a leaf. requires_grad is {info.requires_grad}; "
            f"grad_fn is {info.grad_fn or 'None'}."
        )
    else:
        role = "backward fills its grad" if info.requires_grad else "autograd does not track it"
        yield f"It is a leaf. requires_grad is {info.requires_grad}: {role}."
    if info.gradient == NONE:
        yield "Its gradient is None: there is none yet, which is not the same as 0."
    elif info.gradient is not None:
        yield f"Its gradient is {spoken_value(info.gradient)}."


# ── The autograd graph ──────────────────────────────────────────────────────────────


def graph(found: AutogradGraph, lesson: Lesson, frame: Frame, known: int) -> Iterator[str]:
    """The operations in the order of backward, then the leaves.

    Gradients are spoken once backward has run; before, only the gradients of the first `known`
    operations, which the learner has stepped or found.
    """
    nodes = _Nodes(found)
    if not nodes.shown:
        yield from _no_graph(found, lesson, frame.mode)
        return
    done = _operations_done(lesson, frame, found.operations, known)
    operations, leaves = len(nodes.operations), len(nodes.leaves)
    counts = f"{counted(operations, 'operation')} and {counted(leaves, 'leaf', 'leaves')}"
    yield f"The graph of this step has {counts}. In the order of backward:"
    for node in nodes.shown[:MOST_NODES]:
        yield nodes.words(node, has_gradient=0 <= node.order < done)
    if len(nodes.shown) > MOST_NODES:
        yield f"And {len(nodes.shown) - MOST_NODES} more."
    if not done:
        yield "The gradients are not known yet: backward has not run in this step."
    if found.remarks:
        yield sentence(in_words(remarks_text(found.remarks)))


def operation(found: AutogradGraph, number: int) -> Iterator[str]:
    """The operations and leaves that backward comes to in its step with this number, from 1."""
    nodes = _Nodes(found)
    yield f"Step {number} of {found.operations} of backward."
    for node in nodes.shown:
        if node.order == number - 1:
            yield nodes.words(node, has_gradient=True)


class _Nodes:
    """The nodes of a graph that are spoken, the operations in the order of backward."""

    def __init__(self, graph: AutogradGraph) -> None:
        by_id = {node.id: node for node in graph.nodes}
        inputs = graph.inputs_past_parts()
        nodes = [by_id[id_] for id_ in inputs]
        self.leaves = [node for node in nodes if node.is_leaf]
        unsorted = (node for node in nodes if not node.is_leaf)
        self.operations = sorted(unsorted, key=lambda n: (n.order < 0, n.order))
        self.shown = [*self.operations, *self.leaves]
        self._inputs = {id_: [by_id[i] for i in of_node] for id_, of_node in inputs.items()}
        self._names = {n.id: f"operation {number}" for number, n in enumerate(self.operations, 1)}
        self._names |= {leaf.id: leaf.name or leaf.says or "a leaf" for leaf in self.leaves}

    def words(self, node: GraphNode, *, has_gradient: bool) -> str:
        """One node with its inputs."""
        return _node(node, self._names, self._inputs[node.id], has_gradient=has_gradient)


def _no_graph(found: AutogradGraph, lesson: Lesson, mode: str) -> Iterator[str]:
    """The reason, with the command that leads to a graph."""
    if not is_by_hand(lesson, mode):
        yield sentence(in_words(remarks_text(found.remarks)))
        return
    yield "A gradient by hand has no graph."
    if other := next((m for m in lesson.modes if not is_by_hand(lesson, m)), ""):
        yield f"Type mode {other} to let PyTorch compute the gradient."


def _operations_done(lesson: Lesson, frame: Frame, total: int, known: int) -> int:
    """The number of operations of backward whose gradient may be spoken."""
    if lesson.has_gradients(frame.mode, frame.phase, frame.line):
        return total
    return known if frame.next_phase == lesson.gradient_phase(frame.mode) else 0


def _node(
    node: GraphNode, names: Mapping[int, str], inputs: Sequence[GraphNode], *, has_gradient: bool
) -> str:
    name = names[node.id]
    if node.is_leaf:
        said = [f"Leaf {name}"]
    else:
        unnamed = [names[each.id] for each in inputs if not (each.name or each.is_leaf)]
        what = f", computes {_computed(node.says, unnamed)}" if node.says else ""
        held = f", held by {node.name}" if node.name and node.name != node.says else ""
        said = [f"{name[0].upper()}{name[1:]}, {node.op}{what}{held}"]
    if inputs:
        said.append(f"Inputs: {listed([names[each.id] for each in inputs])}")
    if is_known(node.value):
        said.append(f"Value: {spoken_value(node.value)}")
    if has_gradient and is_known(node.gradient):
        said.append(f"Gradient: {spoken_value(node.gradient)}")
        if node.old is not None and node.new is not None:
            said.append(f"grad: before {spoken_value(node.old)}, now {spoken_value(node.new)}")
    return ". ".join(said) + "."


def _computed(says: str, unnamed: Sequence[str]) -> str:
    """An operation in words; `unnamed` are the inputs that its text only has as `…`."""
    first, *others = says.split("…")
    if len(unnamed) != len(others):
        unnamed = ["an earlier result"] * len(others)
    stand_ins = [f"_input{n}_" for n in range(len(others))]
    words = spoken_python(first + "".join(map("".join, zip(stand_ins, others, strict=True))))
    for stand_in, name in zip(stand_ins, unnamed, strict=True):
        words = words.replace(stand_in, name)
    return words


# ── All modes ───────────────────────────────────────────────────────────────────────


def comparison(found: ModeComparison, view: RunView) -> Iterator[str]:
    """The compared position and the result, then the gradients of each parameter by mode."""
    batches = view.frame.batches if view.frame else 1
    where = f"Epoch {found.epoch}"
    where += f", batch {found.batch + 1} of {batches}" if batches > 1 else ""
    where += ", which comes next" if found.epoch == view.epoch + 1 else ""
    yield f"{where}: the gradients of all modes at the same parameters."
    if found.parameters:
        yield sentence(comparison_result(found.parameters)[0])
    yield f"The run follows the gradient of {found.leader}."
    if found.remarks:
        yield sentence(in_words(remarks_text(found.remarks, "; ")))
    for compared in found.parameters:
        yield f"{compared.parameter}: {sentence(in_words(diagnosis(compared)))}"
        if compared.largest > 0:
            yield f"The largest difference is {spoken_number(compared.largest)}."
        modes_by_words: dict[str, list[str]] = {}
        for mode, value in compared.gradients.items():
            name = "finite differences" if mode == FINITE_DIFFERENCE else mode
            standing = in_words(gradient_standing(compared, mode))
            words = "; ".join(filter(None, (spoken_value(value), standing)))
            modes_by_words.setdefault(words, []).append(name)
        for words, modes in modes_by_words.items():
            yield f"By {listed(modes)}: {words}."


# ── Plots ───────────────────────────────────────────────────────────────────────────


def loss_curve(curve: Curve | None, has_loss: bool = True) -> Iterator[str]:
    """The loss by epoch. `has_loss`: whether the code has computed one.

    A thinned curve has no loss of a single epoch: there the epochs of a column are named.
    """
    if curve is None or not curve.epochs:
        yield "There is no loss to plot yet: no epoch has ended."
        return
    if not has_loss and not any(map(math.isfinite, curve.low)):
        yield "There is no loss to plot: the code computes none."
        return
    ends = (*(epoch - 1 for epoch in curve.epochs[1:]), curve.last_epoch)
    columns = zip(curve.epochs, ends, curve.low, curve.high, strict=True)
    yield from _by_epoch("loss", [EpochColumn(*column) for column in columns])


def _gradient_norm(found: GradientNormPlot) -> Iterator[str]:
    columns = [EpochColumn(e, e, n, n) for e, n in zip(found.epochs, found.norms, strict=True)]
    yield from _by_epoch("norm of the gradient", columns)
    if len(columns) < found.last_epoch:
        yield f"It was computed for {counted(len(columns), 'epoch')} of {found.last_epoch}."


class EpochColumn(NamedTuple):
    """The least and the greatest number in one epoch, or in several."""

    first: int
    last: int
    low: float
    high: float

    def __str__(self) -> str:
        is_one = self.first == self.last
        return f"epoch {self.first}" if is_one else f"one of epochs {self.first} to {self.last}"


def _by_epoch(what: str, columns: Sequence[EpochColumn]) -> Iterator[str]:
    """A number by epoch: its first and last value, the lowest and the highest."""
    finite = [c for c in columns if math.isfinite(c.low) and math.isfinite(c.high)]
    if not finite:
        yield f"The {what} by epoch: it was never finite."
        return
    first, last = columns[0], columns[-1]
    if first.first == last.last:
        only = spoken_number(first.low)
        yield f"The {what} by epoch: {only} in epoch {first.first}, the only one so far."
        return
    if all(column.first == column.last for column in columns):
        yield (
            f"The {what} by epoch: from {spoken_number(first.low)} in epoch {first.first} "
            f"to {spoken_number(last.low)} in epoch {last.last}."
        )
    else:
        yield f"The {what} by epoch, from epoch {first.first} to {last.last}."
    lowest, highest = min(finite, key=lambda c: c.low), max(finite, key=lambda c: c.high)
    yield f"It was lowest in {lowest}: {spoken_number(lowest.low)}."
    yield f"It was highest in {highest}: {spoken_number(highest.high)}."


def plot(found: PlotData) -> Iterator[str]:
    """A plot in words."""
    match found:
        case DataPlot():
            yield from _data(found)
        case SlopePlot():
            yield from _slope(found)
        case ContourPlot():
            yield from _contours(found)
        case PlanePlot():
            yield from _plane(found)
        case GradientNormPlot():
            yield from _gradient_norm(found)
        case NoPlot():
            yield sentence(_remark(found.why))
        case _:
            assert_never(found)


def _data(found: DataPlot) -> Iterator[str]:
    count = len(found.xs)
    yield f"The data and the model: {counted(count, 'point')}, {_range(found.input, found.xs)}."
    points = list(zip(found.xs, found.targets, found.predictions, strict=True))
    for x, target, prediction in points[:MOST_POINTS]:
        yield (
            f"At {found.input} = {spoken_number(x)}: {found.target} is {spoken_number(target)}, "
            f"{found.prediction} is {spoken_number(prediction)}."
        )
    if left := count - len(points[:MOST_POINTS]) + found.left_out:
        yield f"And {counted(left, 'point')} more."
    x, target, prediction = max(points, key=lambda p: abs(p[1] - p[2]))
    largest = spoken_number(abs(target - prediction))
    yield f"The largest error is {largest}, at {found.input} = {spoken_number(x)}."
    yield (
        f"The model's line goes from {spoken_number(found.line[0])} "
        f"at {spoken_number(found.line_xs[0])} "
        f"to {spoken_number(found.line[-1])} at {spoken_number(found.line_xs[-1])}."
    )


def _slope(found: SlopePlot) -> Iterator[str]:
    batch = f" of batch {found.batch + 1}" if found.batch is not None else ""
    axis = found.axis or "the distance along the gradient"
    where = f"for {_range(axis, found.xs)}"
    if not found.axis:
        where = f"along the gradient, at {_range('distances', found.xs)}"
    yield f"The loss{batch} {where}."
    yield _lowest(zip(found.losses, ((axis, x) for x in found.xs), strict=True))
    yield _standing(f"{axis} = {spoken_number(found.at)}", found.loss)
    if found.slope is None:
        yield "The slope is not known yet: no gradient has been computed in this step."
    else:
        way = "falls" if found.slope < 0 else "rises" if found.slope > 0 else "does not change"
        yield f"The slope there is {spoken_number(found.slope)}: the loss {way} as {axis} grows."
    if found.next_at is not None and found.next_loss is not None:
        verb = "led" if found.is_done else "leads"
        yield (
            f"The update {verb} to {axis} = {spoken_number(found.next_at)}, "
            f"where the loss is {spoken_number(found.next_loss)}."
        )


def _contours(found: ContourPlot) -> Iterator[str]:
    one, other = found.axes
    yield f"The loss for {_range(one, found.xs)} and {_range(other, found.ys)}."
    yield _lowest(
        (loss, (f"{one} = {_rounded(x)}, {other}", y))
        for y, row in zip(found.ys, found.losses, strict=True)
        for x, loss in zip(found.xs, row, strict=True)
    )
    yield _standing(_pair(found.axes, found.at), found.loss)
    if len(found.path) > 1:
        yield f"It came from {_pair(found.axes, found.path[0])}."
    if found.gradient is not None:
        first, second = map(spoken_number, found.gradient)
        yield f"The gradient there is {first} and {second}."
    if found.next_at is not None:
        verb = "led" if found.is_done else "leads"
        yield f"The update {verb} to {_pair(found.axes, found.next_at)}."


def _plane(found: PlanePlot) -> Iterator[str]:
    outputs = [z for row in found.outputs for z in row if math.isfinite(z)]
    yield (
        f"{found.prediction} over its two inputs, {_range(found.axes[0], found.xs)}, "
        f"{_range(found.axes[1], found.ys)}."
    )
    if outputs:
        yield f"It goes from {spoken_number(min(outputs))} to {spoken_number(max(outputs))}."
    for x, y, target in found.points[:MOST_POINTS]:
        row = _nearest(found.ys, y)
        near = found.outputs[row][_nearest(found.xs, x)]
        yield (
            f"At {_pair(found.axes, (x, y))}: the target is {spoken_number(target)}, "
            f"{found.prediction} is about {_rounded(near)}."
        )
    if (left := len(found.points) - MOST_POINTS) > 0:
        yield f"And {counted(left, 'point')} more."


def _nearest(places: Sequence[float], x: float) -> int:
    return min(range(len(places)), key=lambda i: abs(places[i] - x))


def _range(name: str, xs: Sequence[float]) -> str:
    least, most = spoken_number(min(xs)), spoken_number(max(xs))
    return f"{name} = {least}" if least == most else f"{name} from {least} to {most}"


def _standing(place: str, loss: float) -> str:
    return f"The run is at {place}, where the loss is {spoken_number(loss)}."


def _rounded(x: float) -> str:
    """A number that is read off a grid."""
    return spoken_number(x, GRID_DIGITS)


def _pair(axes: tuple[str, str], at: tuple[float, float]) -> str:
    return f"{axes[0]} = {spoken_number(at[0])}, {axes[1]} = {spoken_number(at[1])}"


def _lowest(losses: Iterable[tuple[float, tuple[str, float]]]) -> str:
    finite = [(loss, place) for loss, place in losses if math.isfinite(loss)]
    if not finite:
        return "It is not finite anywhere here."
    loss, (name, x) = min(finite, key=lambda found: found[0])
    return f"In this range it is lowest near {name} = {_rounded(x)}: {_rounded(loss)}."


# ── The runs ────────────────────────────────────────────────────────────────────────


def other_run(then: OtherRunState) -> Iterator[str]:
    """The values of another run at the position of this one."""
    if then.frame is None:
        why = f": {in_words(remark_text(then.remark))}" if then.remark else ""
        yield sentence(f"Run {then.name} was not here{why}")
        return
    yield f"Run {then.name} at the same position:"
    yield from all_values(then.frame)


def runs(found: Sequence[RunInfo]) -> Iterator[str]:
    """A line for each run of the lesson."""
    for run in found:
        is_named = run.letter and run.name != run.letter
        name = f"{run.name}, letter {run.letter}" if is_named else run.name
        loss = f", loss {spoken_number(run.loss)}" if run.last_epoch else ""
        known = f"learning rate {spoken_number(run.learning_rate)}"
        rate = known if run.learning_rate else "its own learning rate"
        origin = f", forked in epoch {run.forked_at.epoch}" if run.forked_at else ""
        yield (
            f"Run {name}{', this run' if run.is_current else ''}: mode {run.mode}, "
            f"{rate}, seed {run.seed}, "
            f"{counted(run.last_epoch, 'epoch')}{loss}{origin}."
        )
    if len(found) < 2:
        yield "There is one run. Type fork to keep it and continue with a copy."
    else:
        yield "Type runs go, runs rename or runs delete, and the name of a run."
