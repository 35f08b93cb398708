"""The way that all exercises go: a run is set up, then an answer is awaited and checked.

Knows the desk (the attempt and its run); nothing of which exercise comes before or after, and
nothing of keys, widgets and streams. Whatever is expected is evaluated in the live run.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from tutor.engine.messages import AnyCommand, AnyEvent, Ended, Refused
from tutor.lesson.exercise import Exercise, Stage
from tutor.teaching import said
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

    def show_solution(self) -> None:
        """How it is done."""
        self.desk.set(solution=self.solution())
        self.desk.did("shown")

    def solution(self) -> str:
        """In words or code."""
        return ""
