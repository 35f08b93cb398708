"""The way that all exercises go: a run is set up, then an answer is awaited and checked.

Knows the desk (the attempt and its run); nothing of which exercise comes before or after, and
nothing of keys, widgets and streams. Whatever is expected is evaluated in the live run.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from tutor.engine.messages import AnyCommand, AnyEvent, Ended, Failed, Refused, Shown
from tutor.lesson.exercise import Exercise, Stage
from tutor.teaching import said, whereabouts
from tutor.teaching.attempt import Wants
from tutor.teaching.desk import Desk
from tutor.training.frame import Position
from tutor.training.stage import position_of

E = TypeVar("E", bound=Exercise)


class Way(Generic[E]):
    """The way that all kinds go: a run is set up, then an answer is awaited."""

    wants: ClassVar[Wants] = "number"

    def __init__(self, exercise: E, desk: Desk) -> None:
        self.exercise = exercise
        self.desk = desk

    @property
    def stage(self) -> Stage:
        """The run that is asked about."""
        return self.exercise.stage

    @property
    def place(self) -> Position:
        """Where it is asked."""
        return position_of(self.desk.lesson, self.stage)

    def begin(self) -> None:
        """Set up the run, and ask."""
        self.desk.open(self.stage, self.opened)

    def opened(self, event: AnyEvent) -> None:
        """The run stands, or can't be set up."""
        if isinstance(event, Refused):
            self.desk.set(reply=f"It can't be set up: {said.reason(event)}")
        if self.desk.attempt.state == "opening":
            self.desk.set(state="asking")

    def answer(self, text: str) -> None:
        """Check what was typed. Raises ValueError, fit to show, if it can't be read."""

    def go_on(self) -> None:
        """Ask again after a wrong answer, where that is another question."""

    def rested(self, command: AnyCommand | None) -> None:
        """The run has come to rest somewhere."""

    def ended(self, event: Ended) -> None:
        """The process that ran it has ended; if another comes, begin there."""
        if event.restarting:
            self.begin()

    def why(self, event: AnyEvent) -> str:
        """Why something was not done; where code failed, its line is quoted."""
        if isinstance(event, Failed):
            return said.code_failed(self.place_of(event.phase, event.line), event.message)
        return said.reason(event)

    def place_of(self, phase: str, line: int | None) -> str:
        """A line of a phase's code, as the learner can find it."""
        is_own = whereabouts.is_own(self.exercise, phase)
        quoted = "" if is_own else whereabouts.code_at(self.desk.lesson, line)
        return said.place_in_code(phase, line, quoted, is_own=is_own)

    def notice(self, event: AnyEvent) -> str:
        """What is said in one line of code that failed or was stopped; empty of all else."""
        if isinstance(event, Failed):
            return f"{event.phase} failed{self._at(event.phase, event.line)} · R starts again"
        if stopped := whereabouts.stopped_in(event):
            back = "; back to before it" if isinstance(event, Shown) else ""
            return f"Stopped: {stopped[0]} was still running{self._at(*stopped)}{back}"
        return ""

    def _at(self, phase: str, line: int | None) -> str:
        """To be said behind the phase: ` (line 2 of your code)`, ` at loss = …`."""
        if whereabouts.is_own(self.exercise, phase):
            return f" (line {line} of your code)" if line else ""
        quoted = whereabouts.code_at(self.desk.lesson, line)
        return f" at {quoted}" if quoted else ""

    def show_solution(self) -> None:
        """How it is done."""
        self.desk.set(solution=self.solution())
        self.desk.did("shown")

    def solution(self) -> str:
        """In words or code."""
        return ""
