"""Handler of be-autograd exercises: one local gradient after another, then their sums."""

from __future__ import annotations

from tutor.lesson.exercise import BeAutograd
from tutor.protocol.inspections import LocalGradientQuestion
from tutor.protocol.messages import AnyEvent, FindLocalGradients, LocalGradientsFound, StepPhase
from tutor.session import feedback
from tutor.session.exercise_handler import AttemptContext, ExerciseHandler
from tutor.training import answers


class BeAutogradHandler(ExerciseHandler[BeAutograd]):
    """Fills in the gradients of the graph, one after the other."""

    def __init__(self, exercise: BeAutograd, context: AttemptContext) -> None:
        super().__init__(exercise, context)
        self._steps: tuple[LocalGradientQuestion, ...] = ()

    @property
    def _step(self) -> LocalGradientQuestion:
        return self._steps[self.context.attempt.step - 1]

    def opened(self, event: AnyEvent) -> None:
        """The run stands before its Gradient phase: which questions are there?"""
        super().opened(event)
        if not self._steps:
            self.context.ask(FindLocalGradients(), self._derived)

    def _derived(self, event: AnyEvent) -> None:
        if isinstance(event, LocalGradientsFound) and event.local.steps:
            self._steps = event.local.steps
            self.context.set(steps=len(self._steps))
            step = min(max(1, self.context.attempt.step), len(self._steps))
            self._ask(step, begins=True)
        else:
            why = event.local.why if isinstance(event, LocalGradientsFound) else self.why(event)
            self.context.set(reply=f"There is nothing to fill in: {why}")

    def _ask(self, step: int, *, begins: bool = False) -> None:
        """One question; the exercise's own words stand before the first that is asked."""
        asked_of = self._steps[step - 1]
        question = feedback.local_question(asked_of)
        task = f"{self.exercise.ask.rstrip()}\n\n" if begins else ""
        self.context.set(step=step, ask=f"{task}{question}", asked_of=asked_of)

    def answer(self, text: str) -> None:
        """One number of the graph."""
        if not self._steps:
            return
        value = answers.read_number(text)
        self.context.tried()
        self.context.set(said=feedback.plain_number(value), solution="")
        attempt, expected = self.context.attempt, self._step.expected
        if not answers.close(value, expected, self.exercise.tolerance):
            reply = f"It is not {feedback.plain_number(value)}. {feedback.local_help(self._step)}"
            self.context.set(was_right=False, reply=reply)
        elif attempt.step < attempt.steps:
            self.context.set(was_right=True, reply=f"{feedback.plain_number(expected)} is right.")
            self._ask(attempt.step + 1)
        else:
            self.context.set(state="judging")
            self.context.ask(StepPhase(), lambda _: self.context.succeed(feedback.LIKE_AUTOGRAD))

    def solution(self) -> str:
        """The number that is asked for, and how it is worked out."""
        return feedback.local_solution(self._step) if self._steps else ""
