"""Runs that are put aside while others are open, and had again just as they were.

An exercise has a run of its own; the learner's runs of the lesson, which may have cost minutes,
wait here meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tutor.engine.process_state import ProcessState
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Position
from tutor.protocol.inspections import RunInfo
from tutor.protocol.messages import OpenLesson
from tutor.training.runs import Runs


@dataclass(frozen=True, slots=True)
class PausedRuns:
    """The runs of a lesson as they were left."""

    lesson: Lesson
    runs: Runs
    state: ProcessState
    """The settings of the process that the lesson's own code has made."""

    @classmethod
    def put(cls, lesson: Lesson, runs: Runs) -> PausedRuns:
        """Put runs aside: when they move again, they find the random numbers as they left them."""
        runs.current.turn.leave()
        return cls(lesson, runs, ProcessState.now())

    def is_what(self, command: OpenLesson) -> bool:
        """Whether a command asks for exactly these runs, in the place where they were left."""
        run = self.runs.current
        is_there = Position(command.epoch, command.step or 0) == run.at
        if command.step is None:
            is_there = command.epoch == run.at.epoch and run.at_end
        return (
            is_there
            and command.before is None  # else they would have to go there and back
            and command.record == run.recipe
            and command.lesson == self.lesson
            and _recipes(command.runs) == _recipes(self.runs.infos(0))
        )


def _recipes(infos: Iterable[RunInfo]) -> list[tuple[Any, ...]]:
    """All that it takes to have these runs again, and what they are called."""
    return [(i.name, i.is_current, i.letter, i.record, i.reached, i.forked_at) for i in infos]
