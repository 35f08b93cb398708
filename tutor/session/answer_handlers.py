"""The handlers of questions that are answered: predictions, choices, and backward passes."""

from __future__ import annotations

from typing import Any

from tutor.lesson import working
from tutor.lesson.exercise import BeAutograd, Choose, Predict, Stage
from tutor.protocol.commands import (
    BackPhase,
    EvaluateExpressions,
    FindLocalGradients,
    StepPhase,
)
from tutor.protocol.events import (
    Event,
    ExpressionsEvaluated,
    FrameShown,
    LocalGradientsFound,
)
from tutor.protocol.frame import Value
from tutor.protocol.inspections import LocalGradientQuestion
from tutor.session.attempt import Reply
from tutor.session.exercise_handler import ExerciseHandler
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
        """Go back to the question, and read the values that the answer is worked out from."""
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
        """The right value, and the values that it is worked out from."""
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


class ChooseHandler(ExerciseHandler[Choose]):
    """The handler of a Choose: one of several answers is right; each has its own reply."""

    wants = "choice"

    def __init__(self, exercise: Choose, *context: Any) -> None:
        super().__init__(exercise, *context)
        self.set(choices=tuple(choice.text for choice in exercise.choices))

    def solution(self) -> Reply:
        """The right choice."""
        number, right = next((n, c) for n, c in enumerate(self.exercise.choices, 1) if c.is_right)
        return Reply("lesson", {"markdown": right.text, "number": number})

    def answer(self, text: str) -> None:
        """Say whether it is this one, and why not."""
        index = read_choice(text, len(self.exercise.choices))
        if index is None:
            self.reject(text, "no_choice", count=len(self.exercise.choices))
            return
        choice = self.exercise.choices[index]
        self.count_try()
        self.set(answer=choice.text)
        reply = Reply("lesson", {"markdown": choice.reply})
        if choice.is_right:
            self.succeed(reply)
        else:
            self.set(reply=reply)


def read_choice(text: str, count: int) -> int | None:
    """Index of the choice that was named by its number from 1; None if none was."""
    typed = text.strip().rstrip(".)")
    if not (typed.isascii() and typed.isdecimal()) or not 1 <= int(typed) <= count:
        return None
    return int(typed) - 1


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
        """Ask for the questions, now that the run is before its Gradient phase.

        Until they are there, nothing can be answered: what is typed would be lost.
        """
        if self._questions:
            super().opened(event)
        else:
            self.ask(FindLocalGradients(), lambda found: self._found(found, event))

    def _found(self, event: Event, opened: Event) -> None:
        super().opened(opened)
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
