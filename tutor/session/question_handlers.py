"""The handlers of questions: predictions, choices and backward passes.

Those of tasks stand in `task_handlers`.
"""

from __future__ import annotations

from typing import Any

from tutor.lesson import working
from tutor.lesson.exercise import Backpropagate, Choose, Predict
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
from tutor.session.attempt import Reply, Wants
from tutor.session.exercise_handler import ExerciseHandler
from tutor.training import exercises


class PredictHandler(ExerciseHandler[Predict]):
    """The handler of a Predict: a number, a sign, or one of several choices."""

    asks_what_comes = True

    def __init__(self, exercise: Predict, *context: Any) -> None:
        self.wants = Wants(exercise.form)
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

    def answer(self, text: str) -> None:
        """Run the phase, and compare."""
        answer = exercises.read_answer(self.exercise, text)
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
            if isinstance(event, ExpressionsEvaluated):
                self._right = event.values[0]
                super().show_solution()


class ChooseHandler(ExerciseHandler[Choose]):
    """The handler of a Choose: one of several answers is right; each has its own reply."""

    wants = Wants.CHOICE

    def __init__(self, exercise: Choose, *context: Any) -> None:
        super().__init__(exercise, *context)
        self.set(choices=tuple(choice.text for choice in exercise.choices))

    def solution(self) -> Reply:
        """The right choice."""
        number, right = next((n, c) for n, c in enumerate(self.exercise.choices, 1) if c.is_right)
        return Reply("lesson", {"markdown": right.text, "number": number})

    def answer(self, text: str) -> None:
        """Say whether it is this one, and why not."""
        index = exercises.read_choice(text, len(self.exercise.choices))
        if index is None:
            self.reject(text, "no_choice", count=len(self.exercise.choices))
            return
        choice = self.exercise.choices[index]
        if self.attempt.was_right is False and choice.text == self.attempt.answer:
            self.engine_session.tell("same_choice", kind="no_effect")
            return
        self.count_try()
        self.set(answer=choice.text)
        reply = Reply("lesson", {"markdown": choice.reply})
        if choice.is_right:
            self.succeed(reply)
        else:
            self.set(was_right=False, reply=reply)


class BackpropagateHandler(ExerciseHandler[Backpropagate]):
    """The handler of a Backpropagate: the gradients of the graph, one after the other."""

    asks_what_comes = True

    def __init__(self, exercise: Backpropagate, *context: Any) -> None:
        super().__init__(exercise, *context)
        self._questions: tuple[LocalGradientQuestion, ...] = ()

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
        if isinstance(event, LocalGradientsFound) and event.local.questions:
            self._questions = event.local.questions
            count = len(self._questions)
            number = min(max(1, self.attempt.question_number), count)
            asked = self._questions[number - 1]
            self.set(question_count=count, question_number=number, asked_of=asked)
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
        attempt = self.attempt
        question = self._questions[attempt.question_number - 1]
        if not exercises.close(value, question.expected, self.exercise.tolerance):
            reply = Reply("wrong_gradient", {"value": value, "question": question})
            self.set(was_right=False, reply=reply)
        elif attempt.question_number < attempt.question_count:
            reply = Reply("right_gradient", {"value": question.expected})
            number = attempt.question_number + 1
            self.set(was_right=True, reply=reply, question_number=number, ask="")
            self.set(asked_of=self._questions[number - 1])
        else:
            self.set(state="judging")
            self.ask(StepPhase(), lambda _: self.succeed(Reply("like_autograd")))

    def solution(self) -> Reply:
        """The right number, and how it comes about."""
        asked = self.attempt.asked_of
        return Reply("local_solution", {"question": asked}) if asked else Reply("not_done")
