"""Handlers of exercises that are answered: predict a value or a sign, or choose an answer."""

from __future__ import annotations

from tutor.lesson.exercise import Choose, Exercise, Predict, Stage
from tutor.protocol.messages import (
    AnyEvent,
    BackPhase,
    EvaluateExpressions,
    ExpressionsEvaluated,
    FrameShown,
    StepPhase,
)
from tutor.session import feedback
from tutor.session.exercise_handler import ExerciseHandler
from tutor.training import answers


class PredictHandler(ExerciseHandler[Predict]):
    """Says what the next phase will compute; then the phase runs."""

    def begin(self) -> None:
        """Set up the run that is asked about now."""
        seen = len(self.context.attempt.hints)
        self.context.set(ask=self.asked.ask, hints=self.asked.hints[:seen])
        super().begin()

    @property
    def asked(self) -> Predict:
        """Each time it is asked, other numbers."""
        return self.exercise.asked_in(self.context.attempt.round)

    @property
    def stage(self) -> Stage:
        """The stage of the present question."""
        return self.asked.stage

    def answer(self, text: str) -> None:
        """Let the phase run, and look."""
        answer = _read(self.exercise, text)
        self.context.set(state="judging", said=answer, reply="")
        view = self.context.engine_session.view
        if view is None or view.frame is None or view.frame.at != self.place:
            self.context.open(self.stage, lambda _: None)
        self.context.ask(StepPhase(), self._stepped)

    def _stepped(self, event: AnyEvent) -> None:
        if isinstance(event, FrameShown):
            wrong = (wrong.value for wrong in self.asked.wrong)
            self.context.ask(
                EvaluateExpressions(expressions=(self.exercise.answer, *wrong)), self._judge
            )
        else:
            self.context.set(state="asking", reply=self.why(event))

    def _judge(self, event: AnyEvent) -> None:
        if not isinstance(event, ExpressionsEvaluated):
            self.context.set(state="asking", reply=self.why(event))
            return
        value, *mistaken = event.values
        given = self.context.attempt.said
        self.context.tried()
        if answers.is_right(self.exercise, value, given):
            self.context.succeed(feedback.outcome(self.exercise, given, value))
        else:
            reply = answers.matching_reply(self.asked, given, mistaken)
            self.context.set(
                state="wrong", reply=feedback.outcome(self.exercise, given, value, reply)
            )

    def go_on(self) -> None:
        """The same question with other numbers."""
        asked = self.context.attempt.round + 1
        self.context.set(state="opening", round=asked, said="", reply="", solution="")
        self.begin()

    def show_solution(self) -> None:
        """Run the phase to see what comes out; then, if it is still asked for, back again."""
        if self.context.attempt.state != "asking":
            self.context.ask(EvaluateExpressions(expressions=(self.exercise.answer,)), self._solved)
            return
        self.context.set(state="judging")
        seen: list[AnyEvent] = []
        self.context.ask(StepPhase(), lambda _: None)
        self.context.ask(EvaluateExpressions(expressions=(self.exercise.answer,)), seen.append)
        self.context.ask(BackPhase(), lambda _: self._back(seen))

    def _back(self, seen: list[AnyEvent]) -> None:
        """Tell it when it can be answered: a key that is pressed on seeing it must not be lost."""
        self.context.set(state="asking")
        for event in seen:
            self._solved(event)

    def _solved(self, event: AnyEvent) -> None:
        if isinstance(event, ExpressionsEvaluated):
            self.context.set(solution=feedback.solution(self.exercise, event.values[0]))
            self.context.did("shown")


class SignHandler(PredictHandler):
    """Says the sign alone."""

    wants = "sign"


class PredictChoiceHandler(PredictHandler):
    """Picks what will come."""

    wants = "choice"


class ChooseHandler(ExerciseHandler[Choose]):
    """Picks one of several answers."""

    wants = "choice"

    def answer(self, text: str) -> None:
        """Say whether it is this one, and why not."""
        choice = self.exercise.choices[_read_choice(text, len(self.exercise.choices))]
        self.context.tried()
        self.context.set(said=choice.text)
        if choice.is_right:
            self.context.succeed(choice.reply)
        else:
            self.context.set(reply=choice.reply)

    def solution(self) -> str:
        """The right one."""
        return feedback.right_choice(self.exercise)


def choices_of(exercise: Exercise) -> tuple[str, ...]:
    """The answers that can be picked; none where one is typed."""
    match exercise:
        case Predict(choices=choices):
            return tuple(choices.values())
        case Choose(choices=picks):
            return tuple(choice.text for choice in picks)
    return ()


def _read(exercise: Predict, text: str) -> str:
    """The answer as it is compared. Raises ValueError, its text fit to show."""
    match exercise.form:
        case "number":
            return repr(answers.read_number(text))
        case "sign":
            return answers.read_sign(text)
        case "choice":
            return tuple(exercise.choices)[_read_choice(text, len(exercise.choices))]


def _read_choice(text: str, count: int) -> int:
    """Index of the choice that was named by its number from 1. Raises ValueError."""
    typed = text.strip().rstrip(".)")
    if not (typed.isascii() and typed.isdecimal()) or not 1 <= int(typed) <= count:
        raise ValueError(f"Pick one by its number, 1 to {count}.")
    return int(typed) - 1
