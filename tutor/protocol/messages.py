"""The messages between the app and the process that holds the run.

One line per message in each direction: msgpack in base64 (JSON has no NaN, and a diverged run has
little else). Commands go down, events come up.
"""

from __future__ import annotations

import base64
import binascii
import os
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, Union

import msgspec

from tutor.lesson.model import Lesson
from tutor.protocol.frame import Curve, Element, Frame, Position, Remark, RunRecipe, Value
from tutor.protocol.inspections import (
    AnyPicture,
    AutogradGraph,
    DoctorReport,
    LocalGradients,
    LoopReport,
    ModeComparison,
    OtherRunState,
    PictureKind,
    RunInfo,
    VariableInfo,
)


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The base class of commands and events; on the line, a tag names the class."""


Kind = TypeVar("Kind", bound=Message)

# ── Commands ────────────────────────────────────────────────────────────────────────


class Command(Message, frozen=True, kw_only=True):
    """A request of the app. Every command is answered by exactly one event."""

    number: int = 0
    """Set by the client; the answer carries it back."""


class OpenLesson(Command, frozen=True, kw_only=True):
    """Load a lesson and go to a place in a run of it (its start, if `record` is None)."""

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
    record: RunRecipe | None = None
    """A run to resume; mode, device, learning rate and seed are then its own."""
    epoch: int = 0
    step: int | None = None
    """The step to go to in that epoch; None is its end."""
    before: Position | None = None
    """A position in that run; the answer carries its frame, too."""
    runs: tuple[RunInfo, ...] = ()
    """All runs to restore, that one among them."""
    without: tuple[str, ...] = ()
    """Labels of expressions that are not evaluated, because they ended the process before."""
    aside: bool = False
    """Keep the open runs aside; those that are aside already stay there.

    The next OpenLesson that is not `aside` restores them at once if it asks for exactly those
    (lesson, record, position and runs); otherwise they are dropped.
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
    step: int | None = None
    """The number of the epoch's steps that have run; None is its end."""


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


class DeleteRun(Command, frozen=True, kw_only=True):
    """Delete a run other than the current one."""

    name: str


class Inspect(Command, frozen=True, kw_only=True):
    """Choose the inspections to compute; InspectionReady reports them."""

    columns: int = 0
    """Columns of the plot of the loss; 0 while it is not in view."""
    picture: PictureKind | None = None
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
    """Run a lesson and its exercises, and report each Finding. Leaves no lesson open."""

    lesson: Lesson
    with_answers: bool = False
    """Report the answers of its exercises, too."""
    device: str = ""
    """The device to run all on; the answer then begins with a DeviceDescribed."""


FEWER_AND_FEWER = 0
"""In place of the number of epochs from one report to the next."""


class TrainLesson(Command, frozen=True, kw_only=True):
    """Train a lesson from its start, and report its figures. Leaves no lesson open."""

    lesson: Lesson
    mode: str | None = None
    """None: the one that the lesson lists first."""
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


LessonCommand: TypeAlias = CheckLesson | TrainLesson | InspectScript
"""Commands that run a lesson or a script from its start, and leave none open."""


class FramePainted(Command, frozen=True, kw_only=True):
    """The app has painted. Not answered.

    The first reports the first screen (torch is loaded then); each further one reports the last
    FrameShown of a run, so that the next may come.
    """


class EndProcess(Command, frozen=True, kw_only=True):
    """End the process. Not answered."""


# ── Events ──────────────────────────────────────────────────────────────────────────


class Event(Message, frozen=True, kw_only=True):
    """A report of the engine."""

    answers: int = 0
    """The number of the command this answers; 0 if it answers none."""
    opening: int = 0
    """The number of the OpenLesson that the event belongs to; 0 before any."""


class StoppedAt(msgspec.Struct, frozen=True):
    """The code that was still running when the learner stopped it."""

    phase: str
    line: int | None = None
    """Line in the Markdown file."""


class LessonPart(msgspec.Struct, frozen=True):
    """A part of a lesson that a command of the command line runs."""

    line: int = 1
    """Line in the Markdown file."""
    mode: str = ""
    exercise: str = ""
    """The exercise, instead of a mode; both are empty before the first part."""
    key: str = ""
    """The key of the exercise whose code runs."""
    phase: str = ""
    """A phase; GRADIENT_CHECK where the gradient is compared."""
    expression: str = ""
    """The label of an expression that is evaluated."""

    @property
    def is_known(self) -> bool:
        """Whether a part has begun."""
        return bool(self.mode or self.exercise)


GRADIENT_CHECK = "gradient_check"


class EngineReady(Event, frozen=True, kw_only=True):
    """torch is loaded; a lesson can be opened."""

    torch: str
    """Its version."""
    devices: tuple[str, ...]
    """The available devices: cpu first, then cuda, cuda:1 …, xpu, mps."""


class FrameShown(Event, frozen=True, kw_only=True):
    """The present frame of the run."""

    frame: Frame
    record: RunRecipe
    before: Frame | None = None
    """The frame at the position `before` of an OpenLesson."""
    curve: Curve | None = None
    furthest: int = 0
    """The last epoch this run has reached; beyond it nothing has been computed."""
    diverged_at: int | None = None
    """The first epoch whose loss is NaN or infinite, if this frame has diverged."""
    target: int | None = None
    """The epoch that a RunTo is on its way to; None while nothing runs."""
    printed: str | None = None
    """The text of this epoch up to here, where the epoch has run again in silence to get here."""
    rate: float = 0.0
    """Epochs a second while running; 0 where that is not known yet."""
    seconds_left: float | None = None
    """The time that the run will still take, about; None while that can't be known."""
    notes: tuple[Remark, ...] = ()
    """Remarks on what was done."""
    stopped: StoppedAt | None = None
    """The code that was stopped; the run is back where it stood before."""
    runs: tuple[RunInfo, ...] = ()
    """All runs of this lesson, the current one among them."""


class InspectionReady(Event, frozen=True, kw_only=True):
    """An inspection of the frame at this position. Comes after a FrameShown, unasked.

    Each part is None where it is not asked for, or has not been computed anew.
    """

    at: Position
    run: str
    picture: AnyPicture | None = None
    facts: VariableInfo | None = None
    graph: AutogradGraph | None = None
    comparison: ModeComparison | None = None
    then: OtherRunState | None = None
    runs: tuple[RunInfo, ...] | None = None
    """All runs, when more is known of one that was run again; at no particular position."""


class SeekAdvanced(Event, frozen=True, kw_only=True):
    """The progress of a long Seek, or of another command that replays."""

    epoch: int
    target: int
    seconds_left: float | None = None
    """The time that it will still take, about; None while that can't be known."""


class ExpressionsEvaluated(Event, frozen=True, kw_only=True):
    """The values of expressions; a text is the reason why one can't be evaluated."""

    at: Position
    values: tuple[Value, ...]
    """True and False are numbers; a Python string is of the dtype `str`, its `text` the string."""


class LocalGradientsFound(Event, frozen=True, kw_only=True):
    """The local gradients of this step's graph."""

    local: LocalGradients


class FindingsReady(Event, frozen=True, kw_only=True):
    """The doctor's report on the code of the open run, or of a training run."""

    report: DoctorReport


class ScriptInspected(Event, frozen=True, kw_only=True):
    """A report on a script's loop, and the mistakes that were found in it."""

    loop: LoopReport
    report: DoctorReport | None = None
    """None where no doctor was asked for."""


class SeriesWritten(Event, frozen=True, kw_only=True):
    """The file has been written, or its text is to be written to it."""

    path: str
    text: str = ""


class PartBegun(Event, frozen=True, kw_only=True):
    """The part of a lesson that CheckLesson or TrainLesson runs next."""

    part: LessonPart


class Finding(Event, frozen=True, kw_only=True):
    """One thing that CheckLesson found wrong."""

    path: str
    line: int
    message: str
    why: Remark | None = None
    """The reason, whose words the command line puts behind the message."""
    is_note: bool = False
    """Whether nothing is wrong, and it only says what was checked."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class DeviceDescribed(Event, frozen=True, kw_only=True):
    """The device that a check runs on."""

    device: str
    """The device's name in PyTorch."""
    text: str
    """The name of a GPU and its memory."""


class AnswerComputed(Event, frozen=True, kw_only=True):
    """The computed answer of one exercise."""

    text: str


class FiguresPrinted(Event, frozen=True, kw_only=True):
    """Whole lines of a training run's figures."""

    text: str


class ModesCompared(Event, frozen=True, kw_only=True):
    """The gradients of all modes in one epoch of a training run."""

    comparison: ModeComparison


class RunRemark(Event, frozen=True, kw_only=True):
    """Something that a reader of the figures has to know."""

    note: Remark


class RunFailed(Event, frozen=True, kw_only=True):
    """A CheckLesson or TrainLesson ended early: an error of the lesson, or of the request."""

    note: Remark
    trace: str = ""


class LessonStopped(Event, frozen=True, kw_only=True):
    """A CheckLesson or TrainLesson was interrupted in this part."""

    part: LessonPart


class CommandDone(Event, frozen=True, kw_only=True):
    """A CheckLesson or TrainLesson has come to its end."""


class CommandRefused(Event, frozen=True, kw_only=True):
    """The command can't be done; nothing has changed."""

    note: Remark
    stopped: StoppedAt | None = None
    can_restart: bool = False
    """Whether Restart opens the lesson again, which is not open now."""


class LessonFailed(Event, frozen=True, kw_only=True):
    """The lesson's own code raised. The run is at the frame of the last FrameShown."""

    lesson: str
    phase: str
    line: int | None
    """Line in the Markdown file."""
    message: str
    """The exception's type and text."""


class OutputPrinted(Event, frozen=True, kw_only=True):
    """The lesson's output since the last OutputPrinted. Raw: may hold anything."""

    text: str
    left_out: int = 0
    """Characters dropped before `text` because the lesson printed faster than can be read."""


class Spent(Event, frozen=True, kw_only=True):
    """The last lesson has changed the process in a way that can't be undone.

    Only the client receives it: it starts another process and opens the lesson there.
    """

    reason: Remark
    """The change that can't be undone."""


class ProcessEnded(Event, frozen=True, kw_only=True):
    """The process has ended (reported by the client, not by the process).

    Unanswered commands will not be answered. If a lesson was open and the process is started
    again, a FrameShown of the run's position follows.
    """

    note: Remark
    """The lesson's action that ended it, or that the learner stopped it."""
    restarting: bool
    """Whether a new process is being started and will go to where the run was."""
    can_restart: bool = False
    """Whether the lesson is open again only after a Restart."""


ReadingCommand: TypeAlias = Inspect | EvaluateExpressions | FindLocalGradients | Examine
"""The commands that only read the run: they never move or change it."""


def _path(kind: type, value: object) -> Path:
    """A path, the one type in messages that msgpack does not know, from its bytes."""
    assert kind is Path
    assert isinstance(value, bytes)
    return Path(os.fsdecode(value))


_encoder = msgspec.msgpack.Encoder(enc_hook=os.fsencode)


@cache
def _decoder(base: type[Message]) -> msgspec.msgpack.Decoder[Any]:
    """The decoder of commands or of events; it takes milliseconds to make.

    The process can't send a ProcessEnded: the client reports that.
    """
    kinds = [kind for kind in base.__subclasses__() if kind is not ProcessEnded]
    return msgspec.msgpack.Decoder(Union[tuple(kinds)], dec_hook=_path)  # noqa: UP007


def to_line(message: Message) -> bytes:
    """One message as one line, newline included."""
    return base64.b64encode(_packed(message)) + b"\n"


def _packed(message: msgspec.Struct) -> bytes:
    """A message in msgpack. Half a surrogate pair, which no UTF-8 has, becomes `?`."""
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(message, builtin_types=(bytes,), enc_hook=os.fsencode)
        return _encoder.encode(_whole(plain))


def _whole(thing: Any) -> Any:
    """The same data, its texts without halves of characters."""
    if isinstance(thing, str):
        return thing.encode(errors="replace").decode()
    if isinstance(thing, dict):
        return {_whole(key): _whole(value) for key, value in thing.items()}
    return [_whole(one) for one in thing] if isinstance(thing, list | tuple) else thing


def command_from_line(line: bytes) -> Command:
    """The command on a line. Raises msgspec.DecodeError if there is none."""
    return _from_line(Command, line)


def event_from_line(line: bytes) -> Event:
    """The event on a line. Raises msgspec.DecodeError if there is none, whatever it holds."""
    return _from_line(Event, line)


def _from_line(base: type[Kind], line: bytes) -> Kind:
    try:
        message: Kind = _decoder(base).decode(base64.b64decode(line))
    except (RecursionError, UnicodeDecodeError, binascii.Error) as error:
        raise msgspec.DecodeError(str(error)) from error
    return message
