"""The handler of goals: the learner changes the run until a condition holds."""

from __future__ import annotations

from typing import Any

from tutor.lesson.exercise import Reach
from tutor.protocol.commands import (
    Command,
    EvaluateExpressions,
    Reseed,
    Restart,
    RunTo,
    SetElement,
    SetLearningRate,
    Switch,
)
from tutor.protocol.events import Event, ExpressionsEvaluated
from tutor.protocol.frame import Position
from tutor.session.attempt import Reply
from tutor.session.exercise_handler import ExerciseHandler
from tutor.session.goal_progress import goal_of
from tutor.session.run_view import Notice
from tutor.training import exercises


class ReachHandler(ExerciseHandler[Reach]):
    """The handler of a Reach: its condition is evaluated wherever the run comes to rest."""

    wants = "condition"

    def __init__(self, exercise: Reach, *context: Any) -> None:
        super().__init__(exercise, *context)
        self._goal = goal_of(exercise.condition)

    def solution(self) -> Reply:
        """The settings with which the condition is met."""
        return Reply("reach_solution", {"solution": self.exercise.solution})

    def refusal(self, command: Command, at: Position) -> Notice | None:
        """The reason why this setting may not be changed."""
        change = _change(command)
        if not change or change in self.exercise.may:
            return None
        return Notice("change_is_fixed", {"change": change, "allowed": self.exercise.may})

    def opened(self, event: Event) -> None:
        """Evaluate the condition where the run begins."""
        super().opened(event)
        self.rested(None)

    def restart(self, seed: int | None = None) -> None:
        """Go to the start under the settings that hold now; with another seed if one is given."""
        self.open(self.stage, self.opened, keep_settings=True, seed=seed)

    def rested(self, command: Command | None) -> None:
        """Evaluate the condition here."""
        if self.attempt.state == "asking":
            expressions = (self.exercise.condition, *self._goal.expressions)
            self.ask(
                EvaluateExpressions(expressions=expressions),
                lambda event: self._evaluated(event, isinstance(command, RunTo)),
            )

    def _evaluated(self, event: Event, has_run: bool) -> None:
        if not isinstance(event, ExpressionsEvaluated) or self.attempt.state != "asking":
            return
        condition, *values = event.values
        is_met = exercises.holds(condition)
        self.set(is_met=is_met, marks=self._goal.marks(values))
        if has_run or is_met:
            self.count_try()
        if is_met:
            self.succeed()


def _change(command: Command) -> str:
    """The kind of change that a command makes; empty for none that an exercise may forbid."""
    match command:
        case SetLearningRate():
            return "learning_rate"
        case Switch(mode=mode):
            return "mode" if mode is not None else "device"
        case SetElement():
            return "values"
        case Reseed() | Restart(new_seed=True):
            return "seed"
    return ""
