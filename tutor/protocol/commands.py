"""The commands that the app sends to the process that holds the run."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

from tutor.errors import Refused
from tutor.lesson.model import Lesson
from tutor.plain import cell_width
from tutor.protocol.frame import EPOCH_END, Element, Position, RunRecipe
from tutor.protocol.inspections import PlotKind, RunInfo
from tutor.protocol.messages import Decoder, Message, decoder_of, message_from_line


class Command(Message, frozen=True, kw_only=True):
    """A request of the app. Every command is answered by exactly one event."""

    number: int = 0
    """Set by the client; the answer carries it back."""


class OpenLesson(Command, frozen=True, kw_only=True):
    """Load a lesson and go to a place in a run of it (its start, if `recipe` is None)."""

    opening: int = 0
    """The number of this opening, which all its events carry; set by the client.

    A lesson that is opened once more, in another process, keeps it.
    """
    lesson: Lesson
    """Parsed from the text that is trusted: the engine reads no Markdown."""
    mode: str | None = None
    device: str = "cpu"
    learning_rate: float | None = None
    seed: int = 0
    recipe: RunRecipe | None = None
    """A run to resume; mode, device, learning rate and seed are then its own."""
    epoch: int = 0
    step: int = EPOCH_END
    """The step to go to in that epoch."""
    before: Position | None = None
    """A position in that run; the answer carries its frame, too."""
    runs: tuple[RunInfo, ...] = ()
    """All runs to restore, that one among them."""
    without: tuple[str, ...] = ()
    """Labels of expressions that are not evaluated, because they ended the process before."""
    sets_runs_aside: bool = False
    """Pause the open runs, for an exercise; runs that are paused already stay so.

    The next OpenLesson without this resumes them if it asks for exactly these runs (lesson,
    recipe, position and runs); otherwise they are dropped.
    """


class StepPhase(Command, frozen=True, kw_only=True):
    """Run the next phase."""


class StepEpoch(Command, frozen=True, kw_only=True):
    """Run to the end of this epoch, or of the next if this one is at its end."""


class RunTo(Command, frozen=True, kw_only=True):
    """Train until the end of this epoch, or until Pause. FrameShown reports the progress."""

    epoch: int


class Pause(Command, frozen=True, kw_only=True):
    """Stop a RunTo at the end of the epoch it is in."""


class BackPhase(Command, frozen=True, kw_only=True):
    """Go to the frame before."""


class BackEpoch(Command, frozen=True, kw_only=True):
    """Go to where this epoch began, or the one before if it has just begun."""


class Seek(Command, frozen=True, kw_only=True):
    """Go to the end of an epoch, or into it: back by replay, forward by training.

    A Seek of more than half a second is reported by SeekAdvanced; Pause stops it.
    """

    epoch: int
    step: int = EPOCH_END
    """The number of the epoch's steps that have run."""


class Restart(Command, frozen=True, kw_only=True):
    """Begin again from Setup, with the same mode, device and learning rate."""

    new_seed: bool = False
    """Draw a new seed; otherwise seed and initial weights stay the same."""


class Switch(Command, frozen=True, kw_only=True):
    """Continue in another gradient mode or on another device; parameters are carried over."""

    mode: str | None = None
    device: str | None = None


class SetLearningRate(Command, frozen=True, kw_only=True):
    """Continue with another learning rate."""

    value: float


class Reseed(Command, frozen=True, kw_only=True):
    """Continue from here with the random numbers of a new seed."""


class SetElement(Command, frozen=True, kw_only=True):
    """Change one number of a parameter."""

    element: Element


class Fork(Command, frozen=True, kw_only=True):
    """Keep the run under its name, and continue with a copy from here."""


class SelectRun(Command, frozen=True, kw_only=True):
    """Continue with another run, at this run's position if the other has come so far."""

    name: str


class RenameRun(Command, frozen=True, kw_only=True):
    """Rename a run."""

    name: str
    new: str
    """As `run_name` returns it."""


MOST_NAME_CELLS = 12


def run_name(typed: str) -> str:
    """The name for a run that was typed, without blanks around it. Raises Refused."""
    name = typed.strip()
    if not name or not name.isprintable():
        raise Refused("bad_name")
    if (cells := cell_width(name)) > MOST_NAME_CELLS:
        raise Refused("long_name", most=MOST_NAME_CELLS, cells=cells)
    return name


class DeleteRun(Command, frozen=True, kw_only=True):
    """Delete a run other than the current one."""

    name: str


class Inspect(Command, frozen=True, kw_only=True):
    """Choose the inspections to compute; InspectionReady reports them."""

    columns: int = 0
    """Columns of the plot of the loss; 0 while it is not in view."""
    plot: PlotKind | None = None
    name: str = ""
    """A name of the lesson's code, for a VariableInfo."""
    graph: bool = False
    compare: bool = False
    then: str = ""
    """Another run, whose values at this position are shown beside the present ones."""


class WriteSeries(Command, frozen=True, kw_only=True):
    """Write the figures of every epoch of this run so far to a new file, as CSV."""

    path: str
    is_sent: bool = False
    """Whether their text is sent instead: the file is to be on another machine."""


class EvaluateExpressions(Command, frozen=True, kw_only=True):
    """Evaluate expressions of an exercise at the run's position. Changes nothing."""

    expressions: tuple[str, ...]


class FindLocalGradients(Command, frozen=True, kw_only=True):
    """Find the local gradients of this step's graph. Changes nothing."""


class Examine(Command, frozen=True, kw_only=True):
    """Look for mistakes in the code, in a second run of it. Changes nothing."""

    with_taught: bool = False
    """Report the mistakes, too, that the lesson makes on purpose."""


class CheckLesson(Command, frozen=True, kw_only=True):
    """Run a lesson and its exercises, and report each CheckFinding. Leaves no lesson open."""

    lesson: Lesson
    with_answers: bool = False
    """Report the answers of its exercises, too."""
    device: str = ""
    """The device to run all on; the answer then begins with a DeviceDescribed."""


FEWER_AND_FEWER = 0
"""As `every`: fewer and fewer epochs are reported as the run grows."""


class TrainLesson(Command, frozen=True, kw_only=True):
    """Train a lesson from its start, and report its figures. Leaves no lesson open."""

    lesson: Lesson
    mode: str | None = None
    """None: the mode that the lesson lists first."""
    device: str = "cpu"
    learning_rate: float | None = None
    seed: int = 0
    epochs: int | None = None
    """None: as many as the lesson says."""
    every: int = 1
    """The figures of the epochs that this divides are reported, and of the last.

    FEWER_AND_FEWER: of all up to epoch 100, then of each tenth, from 1,000 on of each hundredth …
    """
    format: str = "csv"
    compare: bool = False
    """Report the gradients of all modes instead."""
    with_doctor: bool = False
    """Report what the doctor finds in its code, after the training."""
    with_debug: bool = False
    """Report the traceback of an error, too."""


class InspectScript(Command, frozen=True, kw_only=True):
    """Run a script to the end of its loop's first batch. Leaves no lesson open."""

    lesson: Lesson
    with_doctor: bool = True
    """Examine the loop, too."""
    counts_batches: bool = False
    """Run to the end of the first epoch where only that tells its number of batches."""


LessonCommand: TypeAlias = CheckLesson | TrainLesson | InspectScript
"""Commands that run a lesson or a script from its start, and leave none open."""


class FramePainted(Command, frozen=True, kw_only=True):
    """The app has painted. Not answered.

    The first reports the first screen (torch is loaded then); each further one reports the last
    FrameShown of a run, so that the next may come.
    """


class EndProcess(Command, frozen=True, kw_only=True):
    """End the process. Not answered."""


ReadingCommand: TypeAlias = Inspect | EvaluateExpressions | FindLocalGradients | Examine
"""The commands that only read the run: they never move or change it."""


@cache
def _decoder() -> Decoder:
    return decoder_of(Command.__subclasses__())


def command_from_line(line: bytes) -> Command:
    """The command on a line. Raises msgspec.DecodeError if there is none."""
    command: Command = message_from_line(_decoder(), line)
    return command
