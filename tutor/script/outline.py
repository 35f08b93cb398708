"""The outline of a script: its training loops, and the phases that their code is cut into.

Found from the code alone; the script is not run. Lines and columns count in the file, or in
the code cells of a notebook, one after the other (`source.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tutor.protocol.inspections import LoopReport


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
    prediction: str = ""
    """The name that the loss compares with the target; "" if the code does not tell."""
    parameters: tuple[str, ...] = ()
    """Parameters that the code changes by hand: `w`, `self.w`, `params["w"]`, `weights[0]`.

    Empty where an optimizer changes them: they are found while the script runs.
    """
    gradients: Mapping[str, str] = {}
    """A parameter → the expression of its hand-written gradient: {"w": "dw"}; none of tensors."""
    rates: tuple[str, ...] = ()
    """The names of the learning rate in the file: `lr`, `args.lr`."""
    epochs: int | None = None
    """The number of its passes, if the code says it."""


class Refusal(msgspec.Struct, frozen=True):
    """The reason why a script can't be stepped; `tutor.wording` has a sentence for each code."""

    code: str
    line: int | None = None
    values: Mapping[str, str] = {}


class Outline(msgspec.Struct, frozen=True):
    """The training loops of a script, in the file's order."""

    loops: tuple[TrainingLoop, ...]
    refusal: Refusal | None = None
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
    )
