"""The handler of predictions: the learner says what a phase will compute; then it runs."""

from __future__ import annotations

from typing import Any

from tutor.lesson import working
from tutor.lesson.exercise import Predict, Stage
from tutor.protocol.commands import BackPhase, EvaluateExpressions, StepPhase
from tutor.protocol.events import Event, ExpressionsEvaluated, FrameShown
from tutor.protocol.frame import Value
from tutor.session.attempt import Reply
from tutor.session.exercise_handler import ExerciseHandler, read_choice
from tutor.training import exercises


class PredictHandler(ExerciseHandler[Predict]):
    """The handler of a Predict: a number, a sign, or one of several choices."""

    asks_what_comes = True

    def __init__(self, exercise: Predict, *context: Any) -> None:
        self.wants = exercise.form
        super().__init__(exercise, *context)
        self._right: Value | None = None
        """The right value, once its phase has run."""
        self._working: tuple[Value, ...] = ()
        """The values of the leaves of its `working` before the phase."""
        self.set(choices=tuple(exercise.choices.values()))

    def begin(self) -> None:
        """Set up the run of this round's question."""
        seen = len(self.attempt.hints)
        self.set(ask=self.asked.ask, hints=self.asked.hints[:seen])
        super().begin()

    @property
    def asked(self) -> Predict:
        """The exercise with the numbers of this round."""
        return self.exercise.asked_in(self.attempt.round)

    @property
    def stage(self) -> Stage:
        """The run that this round asks about."""
        return self.asked.stage

    def answer(self, text: str) -> None:
        """Run the phase, and compare."""
        answer = self._read(text)
        if answer is None:
            self.reject(text, "no_choice", count=len(self.exercise.choices))
            return
        self.set(state="judging", answer=answer, reply=None)
        self._prepare()
        self.ask(StepPhase(), self._stepped)

    def _prepare(self) -> None:
        """Go back to the question, and read what the answer is worked out from."""
        view = self.engine_session.view
        if view is None or view.frame is None or view.frame.at != self.place:
            self.open(self.stage)
        if self.exercise.working:
            expressions = working.leaves(self.exercise.working)
            self.ask(EvaluateExpressions(expressions=expressions), self._read_working)

    def _read_working(self, event: Event) -> None:
        if isinstance(event, ExpressionsEvaluated):
            self._working = event.values

    def _read(self, text: str) -> str | None:
        """The answer as it is compared; None if no choice has this number."""
        match self.exercise.form:
            case "number":
                return repr(exercises.read_number(text))
            case "sign":
                return exercises.read_sign(text)
            case "choice":
                index = read_choice(text, len(self.exercise.choices))
                return None if index is None else tuple(self.exercise.choices)[index]

    def _stepped(self, event: Event) -> None:
        if isinstance(event, FrameShown):
            wrong = (wrong.value for wrong in self.asked.wrong)
            expressions = (self.exercise.answer, *wrong)
            self.ask(EvaluateExpressions(expressions=expressions), self._judge)
        else:
            self.set(state="asking", reply=self.failure(event))

    def _judge(self, event: Event) -> None:
        if not isinstance(event, ExpressionsEvaluated):
            self.set(state="asking", reply=self.failure(event))
            return
        value, *mistaken = event.values
        answer = self.attempt.answer
        self._right = value
        self.count_try()
        result = {"answer": answer, "value": value, "comment": ""}
        if exercises.is_right(self.exercise, value, answer):
            self.succeed(Reply("prediction", result))
        else:
            result["comment"] = exercises.matching_reply(self.asked, answer, mistaken)
            self.set(state="wrong", reply=Reply("prediction", result))

    def ask_again(self) -> None:
        """Ask with the numbers of the next round."""
        self._right, self._working = None, ()
        self.set(
            state="opening",
            round=self.attempt.round + 1,
            answer="",
            reply=None,
            solution=None,
        )
        self.begin()

    def solution(self) -> Reply:
        """The right value, and what it is worked out from."""
        value, names = self._right, list(self.exercise.choices)
        number = names.index(value.text) + 1 if value and value.text in names else 0
        values = {"value": value, "working": self._working, "number": number}
        return Reply("expected", values)

    def show_solution(self) -> None:
        """Run the phase to see the result, and go back again; once answered, it is known."""
        if self.attempt.state != "asking":
            super().show_solution()
            return
        self.set(state="judging")
        results: list[Event] = []
        self._prepare()
        self.ask(StepPhase())
        self.ask(EvaluateExpressions(expressions=(self.exercise.answer,)), results.append)
        self.ask(BackPhase(), lambda _: self._back(results))

    def _back(self, results: list[Event]) -> None:
        """Show the solution only now: a key that is pressed on seeing it must not be lost."""
        self.set(state="asking")
        for event in results:
            self._solved(event)

    def _solved(self, event: Event) -> None:
        if isinstance(event, ExpressionsEvaluated):
            self._right = event.values[0]
            super().show_solution()
