"""The handler of backward passes: one local gradient after another, then their sums."""

from __future__ import annotations

from typing import Any

from tutor.lesson.exercise import BeAutograd
from tutor.protocol.commands import FindLocalGradients, StepPhase
from tutor.protocol.events import Event, LocalGradientsFound
from tutor.protocol.inspections import LocalGradientQuestion
from tutor.session.attempt import Reply
from tutor.session.exercise_handler import ExerciseHandler
from tutor.training import exercises


class BeAutogradHandler(ExerciseHandler[BeAutograd]):
    """The handler of a BeAutograd: the gradients of the graph, one after the other."""

    asks_what_comes = True

    def __init__(self, exercise: BeAutograd, *context: Any) -> None:
        super().__init__(exercise, *context)
        self._questions: tuple[LocalGradientQuestion, ...] = ()

    @property
    def _question(self) -> LocalGradientQuestion:
        return self._questions[self.attempt.step - 1]

    def opened(self, event: Event) -> None:
        """Ask for the questions, now that the run is before its Gradient phase."""
        super().opened(event)
        if not self._questions:
            self.ask(FindLocalGradients(), self._found)

    def _found(self, event: Event) -> None:
        if isinstance(event, LocalGradientsFound) and event.local.steps:
            self._questions = event.local.steps
            count = len(self._questions)
            step = min(max(1, self.attempt.step), count)
            self.set(steps=count, step=step, asked_of=self._questions[step - 1])
            return
        if isinstance(event, LocalGradientsFound):
            reason = Reply("not_asked", {"why": event.local.why})
        else:
            reason = self.failure(event)
        self.set(reply=Reply("no_questions", {"reason": reason}))

    def answer(self, text: str) -> None:
        """Check one number of the graph."""
        if not self._questions:
            return
        value = exercises.read_number(text)
        self.count_try()
        self.set(answer=repr(value), solution=None)
        attempt, question = self.attempt, self._question
        if not exercises.close(value, question.expected, self.exercise.tolerance):
            reply = Reply("wrong_gradient", {"value": value, "question": question})
            self.set(was_right=False, reply=reply)
        elif attempt.step < attempt.steps:
            reply = Reply("right_gradient", {"value": question.expected})
            following = self._questions[attempt.step]
            step = attempt.step + 1
            self.set(was_right=True, reply=reply, step=step, ask="", asked_of=following)
        else:
            self.set(state="judging")
            self.ask(StepPhase(), lambda _: self.succeed(Reply("like_autograd")))

    def solution(self) -> Reply:
        """The right number, and how it comes about."""
        asked = self.attempt.asked_of
        return Reply("local_solution", {"question": asked}) if asked else Reply("not_done")
