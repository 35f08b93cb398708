"""Inspections: views of a run besides its frames, and the doctor's findings, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, TypeAlias, TypeGuard, get_args

import msgspec

from tutor.lesson.model import AUTOGRAD
from tutor.protocol.frame import NO_VALUE, Change, Curve, Frame, Position, Remark, RunRecipe, Value

Numbers: TypeAlias = tuple[float, ...]


class VariableInfo(msgspec.Struct, frozen=True, kw_only=True):
    """All about one name of the lesson's code, at one moment."""

    name: str
    value: Value = NO_VALUE
    """NO_VALUE: nothing bears this name yet, or what it held is left over from before."""
    type: str = ""
    """`torch.Tensor`, `numpy.ndarray`, `float`, or a class of the lesson's own."""
    device: str = ""
    """Empty where it has none (Python's and NumPy's things)."""
    requires_grad: bool | None = None
    """None if it is no tensor; the same holds for the next two."""
    is_leaf: bool | None = None
    grad_fn: str | None = None
    """`MulBackward0`; empty for a tensor that has none."""
    gradient: Value | None = None
    """None: it can't have one. The Value NONE: no gradient yet, which is not 0."""
    remark: Remark | None = None
    """The reason why there is no value, or no gradient; often None."""


# ── Plots ────────────────────────────────────────────────────────────────────────

BatchPlotKind: TypeAlias = Literal["data", "landscape", "plane"]
"""The kinds that are computed from the batch that a run stands in."""

PlotKind: TypeAlias = Literal[BatchPlotKind, "gradient-norm"]
"""All kinds; for those that are of no batch, epochs run again."""

PLOT_DATA_KINDS: tuple[PlotKind, ...] = get_args(PlotKind)
"""The kinds in the order of the key that turns the plots."""


def is_of_batch(kind: PlotKind | None) -> TypeGuard[BatchPlotKind]:
    """Whether plots of a kind are computed from the batch that a run stands in."""
    return kind in get_args(BatchPlotKind)


class DataPlot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The data and the model's line, where input and output are single numbers."""

    kind: ClassVar[PlotKind] = "data"
    input: str
    target: str
    prediction: str
    """The lesson's names of the three."""
    xs: Numbers
    targets: Numbers
    predictions: Numbers
    """The prediction at each of `xs`; the residual is its distance from the target."""
    line_xs: Numbers
    line: Numbers
    """The model over the whole breadth of the data."""
    left_out: int = 0
    """Points beyond those that are shown."""
    loss: float | None = None
    """The loss of this line, by the lesson's Predict and Loss; None where an epoch has batches."""


class SlopePlot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The loss along one line through the present parameters."""

    kind: ClassVar[PlotKind] = "landscape"
    axis: str
    """`w`; empty along the gradient, where there are more than two parameters."""
    xs: Numbers
    """The parameter's values; along the gradient: the distance walked against it."""
    losses: Numbers
    at: float
    loss: float
    slope: float | None
    """The gradient as the lesson computed it, along this line; None before it has."""
    next_at: float | None
    next_loss: float | None
    """The place to which the update leads; None before the gradient is known."""
    is_done: bool
    """Whether that update has been made already."""
    batch: int | None = None
    """The batch (from 0) whose loss this is; None where an epoch has but one."""


class ContourPlot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The loss over the plane of two parameters, with the path so far."""

    kind: ClassVar[PlotKind] = "landscape"
    axes: tuple[str, str]
    xs: Numbers
    ys: Numbers
    losses: tuple[Numbers, ...]
    """A row for each of `ys`, ascending."""
    path: tuple[tuple[float, float], ...]
    """The parameters at the end of earlier epochs, oldest first; thinned out."""
    at: tuple[float, float]
    loss: float
    gradient: tuple[float, float] | None
    next_at: tuple[float, float] | None
    is_done: bool
    batch: int | None = None


class PlanePlot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The model's one output over the plane of its two inputs."""

    kind: ClassVar[PlotKind] = "plane"
    axes: tuple[str, str]
    prediction: str
    xs: Numbers
    ys: Numbers
    outputs: tuple[Numbers, ...]
    """A row for each of `ys`, ascending."""
    points: tuple[tuple[float, float, float], ...]
    """The data: the two inputs, and the target."""


class GradientNormPlot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The norm of all gradients together, by epoch; in a long run, of some epochs."""

    kind: ClassVar[PlotKind] = "gradient-norm"
    epochs: tuple[int, ...]
    norms: Numbers
    """The norm at each of `epochs`, before any change at its end; NaN if it had no gradient."""
    last_epoch: int
    """The last whole epoch of the run."""
    here: int
    """The epoch that the run stands in."""
    is_whole: bool
    """Whether all norms that can be shown have been computed."""


class NoPlot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The reason why there is nothing of this kind to draw here."""

    why: Remark
    never: bool = False
    """Whether that holds for the whole lesson in this mode: turning passes such a plot over."""


BatchPlotData: TypeAlias = DataPlot | SlopePlot | ContourPlot | PlanePlot | NoPlot
PlotData: TypeAlias = BatchPlotData | GradientNormPlot


# ── The graph ───────────────────────────────────────────────────────────────────────


class GraphNode(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of the graph, or one leaf."""

    id: int
    op: str
    """PyTorch's name for it: `MulBackward0`; `AccumulateGrad` for a leaf."""
    says: str
    """The computed expression, in the lesson's names where it has them: `w * x`, `mean(…)`."""
    name: str
    """The lesson's variable that holds its output (or the leaf); empty if none does."""
    inputs: tuple[int, ...]
    """The nodes whose outputs it was computed from, as backward will visit them."""
    value: Value
    """Its output in the forward pass; NO_VALUE where it is not known."""
    gradient: Value
    """The gradient of the loss in its output, on the way back; NO_VALUE if none arrived."""
    order: int
    """Its step of backward, from 0, in the order that it really took; -1 if it never comes.

    What PyTorch composes one call of (see `within`) is one step.
    """
    old: Value | None = None
    """A leaf's `.grad` before this backward; the Value NONE if there was none yet."""
    new: Value | None = None
    """The gradient after it: old + arrived. None where `torch.autograd.grad` handed it back."""
    within: int | None = None
    """The node of the call that this one is a part of: `linear(x, w, b)` transposes `w` first.

    A part's value is known to nobody.
    """

    @property
    def is_leaf(self) -> bool:
        """Whether a gradient is accumulated here."""
        return self.old is not None


class AutogradGraph(msgspec.Struct, frozen=True, kw_only=True):
    """The autograd graph of one step, from the loss down to the leaves."""

    nodes: tuple[GraphNode, ...] = ()
    """The nodes by id; the first is the loss. Empty where there is no graph."""
    remarks: tuple[Remark, ...] = ()
    """The reason why there is no graph, or the remark on its parts that are left out."""

    @property
    def operations(self) -> int:
        """The number of steps that backward takes."""
        return max((node.order for node in self.nodes), default=-1) + 1

    def without_results(self) -> AutogradGraph:
        """The same graph without the values that operations have computed, and a remark on that."""
        nodes = (n if n.is_leaf else msgspec.structs.replace(n, value=NO_VALUE) for n in self.nodes)
        remarks = (*self.remarks, Remark("values_after_answer")) if self.nodes else self.remarks
        return AutogradGraph(nodes=tuple(nodes), remarks=remarks)

    def inputs_past_parts(self) -> dict[int, list[int]]:
        """The inputs of each node by id, each once, past the parts of composed calls.

        The parts themselves are left out, as are inputs that the message has no room for.
        """
        nodes = {node.id: node for node in self.nodes}
        parts = {node.id for node in self.nodes if node.within in nodes}

        def inputs(node: GraphNode) -> Iterator[int]:
            found: set[int] = set()
            waiting = [*reversed(node.inputs)]
            while waiting:
                child = waiting.pop()
                if child in found or child not in nodes:
                    continue
                found.add(child)
                if child in parts:
                    waiting += reversed(nodes[child].inputs)
                else:
                    yield child

        return {id_: list(inputs(node)) for id_, node in nodes.items() if id_ not in parts}


class GradientFlow(msgspec.Struct, frozen=True):
    """The gradient that reaches a value through one operation that uses it, by the chain rule.

    Where the operation gave several numbers of the value's one, there is one of each for each.
    """

    output: str
    """The operation's output in the code's words."""
    gradients: tuple[float, ...]
    """The gradient of the loss in the output."""
    local_gradients: tuple[float, ...]
    """The derivative of the output in the value."""


class LocalGradientQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One question of a Backpropagate: how fast does an operation's output change with an input?

    In the order in which backward goes; the gradients of leaves (and of what several operations
    use) are sums of what flows in: those are questions of their own. Where a value holds several
    numbers, the last one is asked about: `y_pred[3]`.
    """

    asks: Literal["local", "total"]
    """`local`: d(output) / d(input); `total`: the gradient of the loss in `input`, by the chain
    rule: the sum over its uses of (gradient of the output) × (local gradient)."""
    output: str
    """The output in the code's words: `w * x`, `(y_pred - y) ** 2`; empty for a `total`."""
    input: str
    values: dict[str, float] = {}
    """For a `local`, the values of the operation's inputs and output by what they are called."""
    flows: tuple[GradientFlow, ...] = ()
    """For a `total`, what flows together."""
    expected: float
    order: int = -1
    """The step of backward, as in a Graph, of the operation that is asked about; for a `total`,
    of the node where the gradients flow together."""

    @property
    def known(self) -> int:
        """The number of steps of backward whose gradient may be shown while it is asked."""
        return self.order + (self.asks == "local")


class LocalGradients(msgspec.Struct, frozen=True, kw_only=True):
    """All questions of one step's graph."""

    questions: tuple[LocalGradientQuestion, ...] = ()
    why: Remark | None = None
    """The reason why there are none."""


# ── The modes side by side ──────────────────────────────────────────────────────────

FINITE_DIFFERENCE = "finite_difference"
"""The name that finite differences have where they stand beside the modes; they are none."""


Standing: TypeAlias = Literal["right", "wrong", "other", "unknown"]
"""The standing of a mode's gradient. Other: right, of another function. Unknown: not finite."""


class ParameterComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter's gradient by each mode and by finite differences, and the diagnosis."""

    parameter: str
    gradients: dict[str, Value] = {}
    """The gradients by mode, finite differences last; NONE where a mode found none."""
    ratio: dict[str, float]
    """The factor from the right gradient to a mode's, where there is one; 1.0: they agree."""
    largest: float
    """The largest difference of any mode's element to the right one's."""
    remarks: tuple[Remark, ...]
    """The diagnosis, its most important part first."""
    agrees: bool
    """Whether no mode is wrong: rounding, a kink and another function are no mistake."""
    is_equal: bool = True
    """Whether the modes, none of them wrong, show one gradient, but for rounding."""
    is_complex: bool = False
    """Whether the last axis of each gradient holds real and imaginary parts."""
    measure: str = AUTOGRAD
    """The mode whose gradient is right, if finite differences confirm it; else these."""
    standing: dict[str, Standing] = {}
    """The standing of each mode by finite differences."""
    apart: dict[str, tuple[int, ...]] = {}
    """The wrong elements of each mode that is wrong, counted row by row."""


class ModeComparison(msgspec.Struct, frozen=True, kw_only=True):
    """All modes at the same parameters, for one batch of one epoch."""

    epoch: int
    batch: int
    leader: str
    """The mode with whose gradients the run goes on."""
    parameters: tuple[ParameterComparison, ...]
    remarks: tuple[Remark, ...] = ()
    """Remarks on the comparison as a whole."""


# ── Other runs ──────────────────────────────────────────────────────────────────────


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One of the runs of a lesson, for a list and as a ghost line."""

    name: str
    mode: str
    device: str
    learning_rate: float
    seed: int
    last_epoch: int = msgspec.field(name="furthest")
    """The last whole epoch it has come to, be it run again already or not."""
    loss: float
    """The loss of that epoch; NaN if there is none."""
    changes: tuple[Change, ...] = ()
    curve: Curve | None = None
    """The curve of its loss; None for the current run, whose curve a FrameShown has."""
    is_current: bool = False
    forked_at: Position | None = None
    """The position at which it parted from the run that it was made of."""
    recipe: RunRecipe | None = msgspec.field(default=None, name="record")
    """Its whole recipe, encoded under the name that it has in the bookmarks of older versions."""
    furthest: Position | None = msgspec.field(default=None, name="reached")
    """The furthest place that it came to. The recipe and this are enough to replay it."""
    letter: str = ""
    """Its letter in lists and plots; also its name, unless the learner has named it."""


class OtherRunState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of another run at the current run's position."""

    name: str
    frame: Frame | None
    """None if it never came so far, or is still being computed."""
    remark: Remark | None = None
    """The reason why it has no frame."""


class LoopReport(msgspec.Struct, frozen=True, kw_only=True):
    """A training loop of a script, as the tutor has understood it."""

    line: int
    function: str
    """"" at the top level."""
    mode: str
    parameters: tuple[str, ...]
    """The expressions that name them; empty if they are not known before the loop runs."""
    loss: str
    prediction: str
    phases: tuple[tuple[str, int, int], ...]
    """The name, the first and the last line of each."""
    batches: int | None = None
    """The batches of the first epoch, where the script has told, or has come to its end."""
    repeated_by: tuple[int, ...] = ()
    """The lines of the loops that run it once in each pass."""


Evidence: TypeAlias = bool | int | float | str | tuple[int, ...] | None
"""A number, a shape, or a word of Python's such as `None`; None for a number that nobody has."""


class CodeFix(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one place of the code, and the loss of a fork in which it is made."""

    line: int
    """Line in the file: the first that is replaced, or the line beside which the code is put."""
    end_line: int
    """The last line that is replaced."""
    code: str
    """The new lines, without the indentation of the place."""
    place: Literal["instead", "before", "after"] = "instead"
    epochs: int = 0
    """The epoch of both losses, the last of the shorter run; 0: the fork was not run."""
    loss_with: float | None = None
    """None where the fork's loss is no single number."""
    loss_without: float | None = None
    """The loss of the code as it is; None also where it raises an error before that epoch."""
    loss_first: float | None = None
    """The fork's loss after its first epoch, if the fix makes the loss another function.

    The losses with and without the fix can't be compared then.
    """


class DoctorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake that a rule has seen in a run; `tutor.wording.doctor_findings` has the words."""

    code: str
    line: int
    """Line in the file; 0 where no line is known."""
    variable: str
    """The variable's name in the code: `w`, `model.fc.weight`, `y_pred`."""
    numbers: dict[str, Evidence]
    """The evidence, at least two numbers."""
    lesson: str
    """The slug of the shipped lesson that explains it; empty where none does."""
    exercise: str = ""
    """An exercise of that lesson that reproduces it."""
    fix: CodeFix | None = None


class ForkLosses(msgspec.Struct, frozen=True, kw_only=True):
    """The losses of a fork in which several fixes are made at once."""

    fixes: int
    epochs: int
    loss_with: float
    loss_without: float | None = None
    """None where the code raises an error before that epoch."""
    loss_first: float | None = None
    """As of one fix: the loss after the first epoch, if a fix makes the loss another function."""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that the doctor found in one run."""

    findings: tuple[DoctorFinding, ...] = ()
    """The findings by line."""
    together: ForkLosses | None = None
    """All fixes at once, where there are several: one mistake may hide what fixing another does."""
    taught: int = 0
    """Findings that are left out because the lesson teaches them."""
    epochs: int = 0
    """The epochs that were examined phase by phase."""
    is_complete: bool = True
    """Whether the examination came to its end: nothing stopped it, and the code raised nothing."""
    failed: tuple[str, ...] = ()
    """The rules that the code's objects made raise an error, each with it."""
