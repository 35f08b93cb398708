"""The run view: all that the panes draw of one moment of a run, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from tutor.lesson.model import SETUP, Lesson, Section, gradient_index
from tutor.protocol.events import LessonFailed
from tutor.protocol.frame import Change, Curve, Frame, Position
from tutor.protocol.inspections import (
    AutogradGraph,
    ModeComparison,
    OtherRunState,
    PlotData,
    RunInfo,
    VariableInfo,
)


class Inspections(msgspec.Struct, frozen=True, eq=False):
    """The latest inspections of a run; None where there is none.

    They come a little after their frame, and during a run only now and then.
    """

    plot: PlotData | None = None
    variable: VariableInfo | None = None
    graph: AutogradGraph | None = None
    comparison: ModeComparison | None = None
    then: OtherRunState | None = None


class RunView(msgspec.Struct, frozen=True, eq=False):
    """All that the panes draw of a run: its frame, the frame before, and its curve."""

    lesson: Lesson
    mode: str
    device: str
    target_epoch: int
    """The epoch that a run goes to."""
    frame: Frame | None = None
    """None until the lesson's Setup has run (while PyTorch loads, the text is shown already)."""
    before: Frame | None = None
    """The frame before this one, to show what has changed."""
    curve: Curve | None = None
    changes: tuple[Change, ...] = ()
    last_epoch: int = 0
    """The last epoch that this run has reached."""
    target: int | None = None
    """The epoch that a run under way goes to; None while nothing runs."""
    rate: float = 0.0
    """Epochs a second of the run under way."""
    seconds_left: float | None = None
    """The time that it will still take; None while that can't be known."""
    diverged_at: int | None = None
    """The first epoch whose loss is not finite, if there is one."""
    failed: LessonFailed | None = None
    """The error that the lesson's code raised after this frame."""
    runs: tuple[RunInfo, ...] = ()
    """All runs of this lesson, the current one among them; the others are ghosts in the plots."""
    inspections: Inspections = Inspections()
    operations: int = 0
    """The number of operations of backward that are shown, inside the Gradient phase."""

    @property
    def next_phase(self) -> str | None:
        """The phase that is about to run."""
        return self.frame.next_phase if self.frame else None

    @property
    def next_section(self) -> Section | None:
        """The section that is about to run; None where nothing is, or that is not known."""
        frame = self.frame
        if frame is None or frame.is_over:
            return None
        return self.lesson.phase(frame.next_phase, frame.next_line)

    @property
    def is_before_gradient(self) -> bool:
        """Whether a phase of the batch that stands before its gradient runs next."""
        frame = self.frame
        if frame is None:
            return False
        phases = [str(section.phase) for section in self.lesson.loop(frame.mode)]
        return frame.next_phase in phases[: gradient_index(phases)]

    @property
    def last_section(self) -> Section | None:
        """The section that has just run."""
        frame = self.frame
        return self.lesson.phase(frame.phase, frame.line) if frame and frame.phase else None

    @property
    def learning_rate(self) -> float:
        """The frame's learning rate; the lesson's before there is a frame.

        It is 0 where a script's rate is not known.
        """
        return self.frame.learning_rate if self.frame else self.lesson.learning_rate[self.mode]

    @property
    def was_never_finite(self) -> bool:
        """Whether a loss or a parameter was not finite before the first update.

        The learning rate is not the cause then.
        """
        frame = self.frame
        if frame is None or not frame.diverged:
            return False
        if self.diverged_at is not None:
            return self.diverged_at == 1 and frame.batches == 1
        return self.at_start or (frame.at.epoch <= 1 and not frame.batch)

    @property
    def at_start(self) -> bool:
        """Whether only Setup has run."""
        return self.frame is None or self.frame.phase in (None, SETUP)

    @property
    def epoch(self) -> int:
        """The epoch of the frame."""
        return self.frame.at.epoch if self.frame else 0

    @property
    def is_at_target(self) -> bool:
        """Whether the run has come to its target epoch; a script that has ended has none."""
        frame = self.frame
        at_end = Position(self.target_epoch, frame.steps if frame else 0)
        return frame is not None and not frame.is_over and frame.at >= at_end

    @property
    def is_at_end_of_script_loop(self) -> bool:
        """Whether the loop of a script has come to the last epoch that its code says."""
        script, last = self.lesson.script, self.lesson.epochs[self.mode]
        return bool(script and script.is_counted) and self.is_at_target and self.epoch == last

    @property
    def next_target_epoch(self) -> int:
        """The epoch that the next run goes to, from the target epoch on.

        From the last epoch of a script's loop it is the next epoch: the script ends before it.
        """
        return self.epoch + (1 if self.is_at_end_of_script_loop else self.lesson.epochs[self.mode])


class Start(msgspec.Struct, frozen=True):
    """The settings to begin a lesson with; None is the lesson's own."""

    mode: str | None = None
    device: str = "cpu"
    learning_rate: float | None = None
    seed: int = 0
    exercise: str = ""
    """The exercise that is begun at once."""


NoticeKind: TypeAlias = Literal["info", "no_effect", "refused", "failed"]
"""`no_effect` says why there was nothing to do, `refused` why a thing may not or can't be done."""


class Notice(msgspec.Struct, frozen=True):
    """One line for the learner as a code and its parameters; `tutor.wording` has the sentence."""

    code: str = ""
    """Empty where there is nothing to say."""
    values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    kind: NoticeKind = "info"
