"""The handlers of exercises, one for each kind.

Predictions, choices and backward passes are answered. In tasks, the learner changes the run, or its
code, until a condition holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tutor.lesson import code_checks, working
from tutor.lesson.exercise import BeAutograd, Choose, Exercise, Predict, Reach, Repair
from tutor.lesson.model import SETUP
from tutor.protocol.commands import (
    BackPhase,
    Command,
    EvaluateExpressions,
    FindLocalGradients,
    RunTo,
    StepPhase,
)
from tutor.protocol.events import (
    CommandRefused,
    Event,
    ExpressionsEvaluated,
    FrameShown,
    LessonFailed,
    LocalGradientsFound,
    ProcessEnded,
)
from tutor.protocol.frame import Position, Value
from tutor.protocol.inspections import LocalGradientQuestion
from tutor.session.attempt import Reply, Wants, code_place
from tutor.session.exercise_handler import (
    ExerciseHandler,
    OnAnswer,
    change_of,
    changes_run,
)
from tutor.session.goal_progress import goal_of
from tutor.session.journal import Draft
from tutor.session.run_view import Notice
from tutor.training import exercises

REPAIR_SECONDS = 10.0
"""Seconds that fixed code may run without a sign of life; then it is stopped."""
REPAIR_SECONDS_OF_RANKS = 45.0
"""The same on several ranks: one that waits in vain is noticed late, and then they start anew."""

Task = TypeVar("Task", bound=Reach | Repair)


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
        self.count_try()
        self.set(answer=choice.text)
        reply = Reply("lesson", {"markdown": choice.reply})
        if choice.is_right:
            self.succeed(reply)
        else:
            self.set(was_right=False, reply=reply)


class BeAutogradHandler(ExerciseHandler[BeAutograd]):
    """The handler of a BeAutograd: the gradients of the graph, one after the other."""

    asks_what_comes = True

    def __init__(self, exercise: BeAutograd, *context: Any) -> None:
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
        if isinstance(event, LocalGradientsFound) and event.local.steps:
            self._questions = event.local.steps
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


# ── Tasks ───────────────────────────────────────────────────────────────────────────


class TaskHandler(ExerciseHandler[Task]):
    """The handler of a task, with the comparisons that its condition is made of."""

    def __init__(self, exercise: Task, *context: Any) -> None:
        super().__init__(exercise, *context)
        self._goal = goal_of(exercise.condition)

    def ask_condition(self, on_answer: OnAnswer) -> None:
        """Ask for the value of the condition, and of all that its comparisons need."""
        expressions = (self.exercise.condition, *self._goal.expressions)
        self.ask(EvaluateExpressions(expressions=expressions), on_answer)


class ReachHandler(TaskHandler[Reach]):
    """The handler of a Reach: its condition is evaluated wherever the run comes to rest."""

    wants = Wants.GOAL

    def solution(self) -> Reply:
        """The settings with which the condition is met."""
        return Reply("reach_solution", {"solution": self.exercise.solution})

    def refusal(self, command: Command, at: Position) -> Notice | None:
        """The reason why this setting may not be changed."""
        change = change_of(command)
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
            self.ask_condition(lambda event: self._evaluated(event, isinstance(command, RunTo)))

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


class RepairHandler(TaskHandler[Repair]):
    """The handler of a Repair: the learner fixes the code of a phase."""

    wants = Wants.CODE

    def __init__(self, exercise: Repair, *context: Any) -> None:
        super().__init__(exercise, *context)
        self._stopped_after: float | None = None
        """Seconds of silence after which the tutor itself has stopped the code."""
        slug, journal = self.lesson.slug, self.journal
        is_done = journal.results_of(slug).get(exercise.id) == "done"
        draft = None if is_done else journal.draft_of(slug, exercise.id)
        code = (draft and draft.code) or exercise.code
        is_own = draft is None or draft.is_own or code == exercise.code
        self.set(code=code, is_from_elsewhere=not is_own)

    def solution(self) -> Reply:
        """The code that the lesson's author has in mind."""
        return Reply("code", {"code": self.exercise.solution_code})

    def refusal(self, command: Command, at: Position) -> Notice | None:
        """The reason why a setting may not be changed: only the code may."""
        is_over = self.attempt.state in ("wrong", "done")
        return Notice("only_code_changes") if changes_run(command) and not is_over else None

    # ── The code ────────────────────────────────────────────────────────────────────

    @property
    def _code_to_run(self) -> str:
        """The learner's code; the code as it was given, where the other is from elsewhere."""
        attempt = self.attempt
        return self.exercise.code if attempt.is_from_elsewhere else attempt.code

    def keep_draft(self, code: str) -> None:
        """Save the code as it is now; an edit of code from elsewhere is from elsewhere, too."""
        self.set(code=code)
        draft = Draft(code, is_own=not self.attempt.is_from_elsewhere)
        self.journal.save_draft(self.lesson.slug, self.exercise.id, draft)

    # ── The run ─────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Set up the run with the code as the learner left it."""
        if self.attempt.is_from_elsewhere:
            self.set(reply=Reply("code_from_elsewhere"))
        self.open(self.stage, self._begun, code=self._code_to_run)

    def _begun(self, event: Event) -> None:
        """Ask; code that is half fixed may not even be Python: then it runs as it was given."""
        if isinstance(event, FrameShown):
            self.opened(event)
        else:
            self.open(self.stage, self.opened, code=self.exercise.code)
            self.engine_session.tell_when_open("code_as_given")

    def edit(self, code: str) -> None:
        """Put this code in place of the phase's, and run it.

        Code from elsewhere that nobody has agreed to is kept, and not run.
        """
        self.keep_draft(code)
        if self.attempt.is_from_elsewhere and code != self.exercise.code:
            self.set(state="asking", reply=Reply("code_from_elsewhere"))
            return
        if bad := code_checks.why_not_code(code):
            reply = Reply("not_python", {"line": bad.line, "reason": bad.reason})
            self.set(state="asking", was_right=False, reply=reply)
            return
        self._stopped_after = None
        self.set(state="judging", reply=None, was_stopped=False)
        self.open(self.stage, self._opened_with_code, at=Position(0, 0), code=code)

    def _opened_with_code(self, event: Event) -> None:
        if isinstance(event, FrameShown):
            self.ask(RunTo(epoch=self.exercise.epochs), self._ran)
        else:
            self._fail(self._stop_reply(event) or self.failure(event))

    def stop_if_silent(self, seconds: float) -> None:
        """Stop the code if it has been silent for too long."""
        most = REPAIR_SECONDS if self.lesson.workers == 1 else REPAIR_SECONDS_OF_RANKS
        if self.attempt.state == "judging" and seconds > most:
            self._stopped_after = most
            self.engine_session.stop()

    def _ran(self, event: Event) -> None:
        if not isinstance(event, FrameShown):
            self._fail(self.failure(event))
            return
        frame = event.frame
        is_through = frame.at.epoch >= self.exercise.epochs and frame.is_epoch_end
        if not is_through and not frame.diverged:
            self.engine_session.notice = Notice()  # the reply says where it was stopped
            stopped = Reply("stopped", {"place": None, "after": self._stopped_after})
            self._fail(self._stop_reply(event) or stopped)
        else:
            self.ask_condition(self._judge)

    def failure(self, event: Event) -> Reply:
        """The reason why a command was not done; the error to fix, shown above, is not repeated."""
        reply = super().failure(event)
        symptom = self.exercise.symptom.error
        if isinstance(event, LessonFailed) and symptom and symptom in event.message:
            return Reply("still_fails", reply.values)
        return reply

    def _stop_reply(self, event: Event) -> Reply | None:
        """The reply to code that was stopped; None if it was not."""
        stopped = event.stopped if isinstance(event, FrameShown | CommandRefused) else None
        self.set(was_stopped=stopped is not None)
        if stopped is None:
            return None
        place = code_place(self.exercise, self.lesson, stopped)
        return Reply("stopped", {"place": place, "after": self._stopped_after})

    def _judge(self, event: Event) -> None:
        epochs = self.exercise.epochs
        if isinstance(event, ExpressionsEvaluated) and exercises.holds(event.values[0]):
            self.count_try()
            self.succeed(Reply("fix_works", {"epochs": epochs}))
        else:
            values = event.values[1:] if isinstance(event, ExpressionsEvaluated) else ()
            marks = self._goal.marks(values) if values else ()
            self._fail(Reply("fix_misses", {"epochs": epochs, "marks": marks}))

    def _fail(self, reply: Reply) -> None:
        self.count_try()
        self.set(state="asking", was_right=False, reply=reply)

    def process_ended(self, event: ProcessEnded) -> None:
        """Say that the code ended its process, or had to be ended; set up the run once more."""
        if self.attempt.state == "judging":
            self.set(was_stopped=True)
            self._fail(self.failure(event))
        if event.restarting:
            # What a learner has written into Setup may be what can't be set up.
            is_setup = self.exercise.phase == SETUP
            code = self.exercise.code if is_setup else self._code_to_run
            self.open(self.stage, self.opened, code=code)


HANDLERS: Mapping[type[Exercise], Callable[..., ExerciseHandler[Any]]] = {
    Predict: PredictHandler,
    Reach: ReachHandler,
    Repair: RepairHandler,
    BeAutograd: BeAutogradHandler,
    Choose: ChooseHandler,
}
"""The handler of each kind."""
