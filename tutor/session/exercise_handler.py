"""Base class of the exercise handlers: set up a run, wait for an answer, check it.

The expected values are evaluated in the live run.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from tutor.lesson.exercise import Exercise, Stage
from tutor.protocol.frame import Position
from tutor.protocol.messages import (
    AnyCommand,
    AnyEvent,
    CommandRefused,
    FrameShown,
    LessonFailed,
    ProcessEnded,
)
from tutor.session import failure_location, feedback
from tutor.session.attempt import Wants
from tutor.session.attempt_context import AttemptContext
from tutor.training.exercise_start import position_of

E = TypeVar("E", bound=Exercise)


class ExerciseHandler(Generic[E]):
    """Base class of the handlers: a run is set up, then an answer is awaited."""

    wants: ClassVar[Wants] = "number"

    def __init__(self, exercise: E, context: AttemptContext) -> None:
        self.exercise = exercise
        self.context = context

    @property
    def stage(self) -> Stage:
        """The run that is asked about."""
        return self.exercise.stage

    @property
    def place(self) -> Position:
        """Where it is asked."""
        return position_of(self.context.lesson, self.stage)

    def begin(self) -> None:
        """Set up the run, and ask."""
        self.context.open(self.stage, self.opened)

    def opened(self, event: AnyEvent) -> None:
        """The run stands, or can't be set up."""
        if isinstance(event, CommandRefused):
            self.context.set(reply=f"It can't be set up: {feedback.reason(event)}")
        if self.context.attempt.state == "opening":
            self.context.set(state="asking")

    def answer(self, text: str) -> None:
        """Check what was typed. Raises ValueError, fit to show, if it can't be read."""

    def go_on(self) -> None:
        """Ask again after a wrong answer, where that is another question."""

    def rested(self, command: AnyCommand | None) -> None:
        """The run has come to rest somewhere."""

    def ended(self, event: ProcessEnded) -> None:
        """The process that ran it has ended; if another comes, begin there."""
        if event.restarting:
            self.begin()

    def why(self, event: AnyEvent) -> str:
        """Why something was not done; where code failed, its line is quoted."""
        if isinstance(event, LessonFailed):
            return feedback.code_failed(self.place_of(event.phase, event.line), event.message)
        return feedback.reason(event)

    def place_of(self, phase: str, line: int | None) -> str:
        """A line of a phase's code, as the learner can find it."""
        is_own = failure_location.is_own(self.exercise, phase)
        quoted = "" if is_own else failure_location.code_at(self.context.lesson, line)
        return feedback.place_in_code(phase, line, quoted, is_own=is_own)

    def notice(self, event: AnyEvent) -> str:
        """A notice on code that failed or was stopped; empty for other events."""
        if isinstance(event, LessonFailed):
            return f"{event.phase} failed{self._at(event.phase, event.line)} · R starts again"
        if stopped := failure_location.stopped_in(event):
            back = "; its changes were undone" if isinstance(event, FrameShown) else ""
            return f"Stopped: {stopped[0]} was still running{self._at(*stopped)}{back}"
        return ""

    def _at(self, phase: str, line: int | None) -> str:
        """To be said behind the phase: ` (line 2 of your code)`, ` at loss = …`."""
        if failure_location.is_own(self.exercise, phase):
            return f" (line {line} of your code)" if line else ""
        quoted = failure_location.code_at(self.context.lesson, line)
        return f" at {quoted}" if quoted else ""

    def show_solution(self) -> None:
        """How it is done."""
        self.context.set(solution=self.solution())
        self.context.did("shown")

    def solution(self) -> str:
        """In words or code."""
        return ""
