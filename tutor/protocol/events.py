"""The events with which the process that holds the run answers, and reports."""

from __future__ import annotations

from functools import cache

import msgspec

from tutor.protocol.frame import Curve, Frame, Position, Remark, RunRecipe, Value
from tutor.protocol.inspections import (
    AutogradGraph,
    DoctorReport,
    LocalGradients,
    LoopReport,
    ModeComparison,
    OtherRunState,
    PlotData,
    RunInfo,
    VariableInfo,
)
from tutor.protocol.messages import Decoder, Message, decoder_of, message_from_line


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
    epochs: int = 0
    """The number of epochs, where whole ones run in place of a phase."""
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
    """Torch's version."""
    devices: tuple[str, ...]
    """The available devices: cpu first, then cuda, cuda:1 …, xpu, mps."""


class FrameShown(Event, frozen=True, kw_only=True):
    """The present frame of the run."""

    frame: Frame
    recipe: RunRecipe
    before: Frame | None = None
    """The frame at the position `before` of an OpenLesson."""
    curve: Curve | None = None
    last_epoch: int = 0
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
    remarks: tuple[Remark, ...] = ()
    """Remarks on the command that was carried out."""
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
    plot: PlotData | None = None
    variable: VariableInfo | None = None
    graph: AutogradGraph | None = None
    comparison: ModeComparison | None = None
    then: OtherRunState | None = None
    runs: tuple[RunInfo, ...] | None = None
    """All runs, sent when a run that was run again is better known; at no particular position."""


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


class DoctorReportReady(Event, frozen=True, kw_only=True):
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


class CheckFinding(Event, frozen=True, kw_only=True):
    """One thing that CheckLesson found wrong."""

    path: str
    line: int
    remark: Remark
    cause: Remark | None = None
    """The error that the remark is about, where there is one: the end of its sentence."""
    is_note: bool = False
    """Whether it is no mistake, but only says what was checked."""


class DeviceDescribed(Event, frozen=True, kw_only=True):
    """The device that a check runs on."""

    device: str
    """The device's name in PyTorch."""
    text: str
    """The name of a GPU and its memory."""


class AnswersComputed(Event, frozen=True, kw_only=True):
    """The computed answers of one prediction."""

    exercise: str
    texts: tuple[str, ...]
    """As a learner could give it, the answer to each of its questions; empty where it has none."""


class FiguresPrinted(Event, frozen=True, kw_only=True):
    """Whole lines of a training run's figures."""

    text: str


class ModesCompared(Event, frozen=True, kw_only=True):
    """The gradients of all modes in one epoch of a training run."""

    comparison: ModeComparison


class RunRemark(Event, frozen=True, kw_only=True):
    """Something that a reader of the figures has to know."""

    remark: Remark


class RunFailed(Event, frozen=True, kw_only=True):
    """A CheckLesson or TrainLesson ended early: an error of the lesson, or of the request."""

    remark: Remark
    trace: str = ""


class LessonStopped(Event, frozen=True, kw_only=True):
    """A CheckLesson or TrainLesson was interrupted in this part."""

    part: LessonPart


class CommandDone(Event, frozen=True, kw_only=True):
    """A CheckLesson or TrainLesson has come to its end."""


class CommandRefused(Event, frozen=True, kw_only=True):
    """The command can't be done; nothing has changed."""

    remark: Remark
    stopped: StoppedAt | None = None
    can_restart: bool = False
    """Whether Restart opens the lesson again, which is not open now."""


class LessonFailed(Event, frozen=True, kw_only=True):
    """The lesson's own code raised. The run is at the frame of the last FrameShown."""

    lesson: str
    phase: str
    """Empty if the exception met no line of the lesson."""
    line: int | None
    """Line in the Markdown file."""
    error: Remark
    """What was raised; the parameter `text` is the exception's type and text, if it is one."""

    @property
    def text(self) -> str:
        """The exception's type and text; empty where ranks have failed without one."""
        return str(self.error.values.get("text", ""))


class OutputPrinted(Event, frozen=True, kw_only=True):
    """The lesson's output since the last OutputPrinted. Raw: may hold anything."""

    text: str
    left_out: int = 0
    """Characters dropped before `text` because the lesson printed faster than can be read."""
    is_error: bool = False
    """Whether a script that runs without a screen has printed it to standard error."""


class ProcessUnfit(Event, frozen=True, kw_only=True):
    """The process can run no other lesson: the last one has made a change that can't be undone.

    Only the client receives it: it starts another process and opens the lesson there.
    """

    reason: Remark
    """The change that can't be undone."""


class ProcessEnded(Event, frozen=True, kw_only=True):
    """The process has ended (reported by the client, not by the process).

    Unanswered commands will not be answered. If a lesson was open and the process is started
    again, a FrameShown of the run's position follows.
    """

    remark: Remark
    """The lesson's action that ended it, or that the learner stopped it."""
    restarting: bool
    """Whether a new process is being started and will go to where the run was."""
    can_restart: bool = False
    """Whether the lesson is open again only after a Restart."""


@cache
def _decoder() -> Decoder:
    """The process can't send a ProcessEnded: the client reports that."""
    return decoder_of([kind for kind in Event.__subclasses__() if kind is not ProcessEnded])


def event_from_line(line: bytes) -> Event:
    """The event on a line. Raises msgspec.DecodeError if there is none, whatever it holds."""
    event: Event = message_from_line(_decoder(), line)
    return event
