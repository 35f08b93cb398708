"""The outline of a script: its training loops, and the phases that their code is cut into.

Found from the code alone; the script is not run. Lines and columns count in the file, or in
the code cells of a notebook, one after the other (`source.py`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from tutor.lesson.model import LOSS, MANUAL, PREDICT
from tutor.protocol.inspections import LoopReport

Span: TypeAlias = tuple[int, int, int, int]
"""The place of an expression: its first line and column, its last line and column."""


def span_of(node: ast.expr) -> Span:
    """The place of an expression."""
    end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return node.lineno, node.col_offset, *end


class ScriptPhase(msgspec.Struct, frozen=True):
    """Statements of a training loop that one step runs, or that begin one."""

    name: str
    """One of `lesson.model.PHASES`, without Setup. A loop may have several of one name."""
    line: int
    """The line of its first statement (of the first decorator, where that is one)."""
    column: int
    """The column, from 0, of its first statement. No two phases of a loop begin at one place."""
    end_line: int
    """The last line of its last statement."""
    starts_batch: bool = False
    """Whether a batch begins with it: it is the first of the innermost loop's, or of the function
    that a batch calls."""


class GradientCall(msgspec.Struct, frozen=True):
    """A call that returns gradients: `torch.autograd.grad(loss, ws)`, `grad(f)(params, x)`."""

    place: Span
    parameters_at: Span
    """The place of its argument that the gradients are of."""
    is_first: bool = False
    """Whether the gradients are the first item of its result, as of `grad_and_value(f)(params)`."""


class GradientUse(msgspec.Struct, frozen=True):
    """The place where a change by hand uses a gradient: `dw` of `w -= lr * dw`."""

    place: Span
    parameter: str
    """The parameter, as the code calls it there: `w`, `self.W`, `p`."""
    gradient: str = ""
    """The gradient's expression, to be evaluated there; "" if it is the one at the place."""
    is_negated: bool = False
    """Whether the change adds it, so that the gradient is its negative."""


class LayerParameter(msgspec.Struct, frozen=True):
    """A parameter that each object of a class has, and that a method of the class changes."""

    class_name: str
    name: str
    """The attribute: `W` of `self.W`."""
    gradient: str = ""
    """The attribute that holds its gradient: `dW`; "" if none does."""


class TrainingLoop(msgspec.Struct, frozen=True, kw_only=True):
    """A `for` or `while` statement that trains: one pass of it is an epoch."""

    line: int
    column: int
    end_line: int
    function: str = ""
    """The function that it stands in: `train`, `Trainer.fit`; "" at the file's top level."""
    mode: str
    """The gradient mode: manual, autograd, optimizer or model."""
    phases: tuple[ScriptPhase, ...]
    """In the order in which their statements run."""
    is_regular: bool = False
    """Whether each phase is one step of every epoch: there are no batches, nor a condition."""
    batches_at: tuple[int, int] | None = None
    """The line and column of the loop over batches, each of which takes a gradient.

    None where there is no such loop, or where it may end early.
    """
    loss: str = ""
    """The expression whose gradient is taken: `loss`, `self.loss`; "" if the code does not tell."""
    is_sum_of_batches: bool = False
    """Whether the loss is a sum over an epoch's batches."""
    losses_at: tuple[Span, ...] = ()
    """The places of the expressions whose gradient is taken, where that is `loss`."""
    other_losses_at: tuple[Span, ...] = ()
    """The places of other such expressions: the losses of a GAN's generator."""
    prediction: str = ""
    """The name that the loss compares with the target; "" if the code does not tell."""
    parameters: tuple[str, ...] = ()
    """Parameters that the code changes by hand: `w`, `self.w`, `params["w"]`, `weights[0]`.

    Empty where an optimizer changes them: they are found while the script runs.
    """
    gradients: Mapping[str, str] = {}
    """A parameter → the expression of its hand-written gradient: {"w": "dw"}; none of tensors."""
    gradient_calls: tuple[GradientCall, ...] = ()
    """The calls that return gradients, instead of adding them to `.grad`."""
    gradient_uses: tuple[GradientUse, ...] = ()
    """The places where changes by hand use hand-written gradients."""
    layers: tuple[LayerParameter, ...] = ()
    """The parameters that methods of the file's classes change in their own objects."""
    rates: tuple[str, ...] = ()
    """The names of the learning rate in the file: `lr`, `args.lr`."""
    epochs: int | None = None
    """The number of its passes, if the code says it."""
    repeated_by: tuple[int, ...] = ()
    """The lines of the loops that run it once in each pass: over folds, over learning rates."""

    def phases_with_gradients(self) -> frozenset[int]:
        """The numbers of the phases that only train where PyTorch records a graph."""
        if self.mode == MANUAL:
            return frozenset()
        return frozenset(n for n, p in enumerate(self.phases) if p.name in (PREDICT, LOSS))


class WhyNoLoop(msgspec.Struct, frozen=True):
    """The reason why a script can't be stepped; `tutor.wording` has a sentence for each code."""

    code: str
    line: int | None = None
    values: Mapping[str, str] = {}


class Outline(msgspec.Struct, frozen=True):
    """The training loops of a script, in the file's order."""

    loops: tuple[TrainingLoop, ...]
    why_no_loop: WhyNoLoop | None = None
    """Set where there is no loop to step."""


def loop_report(
    loop: TrainingLoop, parameters: tuple[str, ...] = (), batches: int | None = None
) -> LoopReport:
    """The report on a loop, with its parameters and its number of batches where they are known."""
    return LoopReport(
        line=loop.line,
        function=loop.function,
        mode=loop.mode,
        parameters=parameters or loop.parameters,
        loss=loop.loss,
        prediction=loop.prediction,
        phases=tuple((p.name, p.line, p.end_line) for p in loop.phases),
        batches=batches,
        repeated_by=loop.repeated_by,
    )
