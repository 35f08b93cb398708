"""The handlers of tasks: the learner changes the run, or its code, until a condition holds."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec.structs import replace

from tutor.lesson import code_checks
from tutor.lesson.exercise import Reach, Repair
from tutor.lesson.model import SETUP
from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    Command,
    EvaluateExpressions,
    RunTo,
)
from tutor.protocol.events import (
    CommandRefused,
    Event,
    ExpressionsEvaluated,
    FrameShown,
    LessonFailed,
    ProcessEnded,
)
from tutor.protocol.frame import Position
from tutor.session.attempt import Attempt, Reply, Wants, code_place
from tutor.session.engine_session import unfinished_run
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

    def __init__(self, exercise: Reach, *context: Any) -> None:
        super().__init__(exercise, *context)
        self._has_trained = False
        """Whether the run has ended an epoch since the last try was counted."""

    def solution(self) -> Reply:
        """The settings with which the condition is met."""
        return Reply("reach_solution", {"solution": self.exercise.solution})

    def refusal(self, command: Command, at: Position) -> Notice | None:
        """The reason why this setting may not be changed."""
        change = change_of(command)
        if not change or change in self.exercise.may:
            return None
        return Notice("change_is_fixed", {"change": change, "allowed": self.exercise.may})

    def begin(self) -> None:
        """Set up the run, or open it as it was left."""
        run = self.attempt.run
        if run is None:
            super().begin()
        else:
            self.reopen(run, self._reopened)

    def _reopened(self, event: Event) -> None:
        self.set(run=None)
        if isinstance(event, FrameShown):
            self.opened(event)
        else:  # on another device, perhaps
            super().begin()

    def as_saved(self) -> Attempt:
        """The attempt with its run, to be continued there."""
        run = self.attempt.run or unfinished_run(self.engine_session)
        return replace(self.attempt, run=run) if self.attempt.state == "asking" else self.attempt

    def opened(self, event: Event) -> None:
        """Evaluate the condition where the run begins."""
        super().opened(event)
        self.rested(None)

    def restart(self, seed: int | None = None) -> None:
        """Go to the start under the settings that hold now; with another seed if one is given."""
        self._count_if_given_up()
        self.open(self.stage, self.opened, keep_settings=True, seed=seed)

    def rested(self, command: Command | None) -> None:
        """Evaluate the condition here; a run that is not gone on with was a try."""
        if _gives_up(command):
            self._count_if_given_up()
        if self.attempt.state == "asking":
            self.ask_condition(lambda event: self._evaluated(event, command))

    def _count_if_given_up(self) -> None:
        if self._has_trained and self.attempt.state == "asking":
            self._has_trained = False
            self.count_try()

    def _evaluated(self, event: Event, command: Command | None) -> None:
        if not isinstance(event, ExpressionsEvaluated) or self.attempt.state != "asking":
            return
        condition, *values = event.values
        is_met = exercises.holds(condition)
        marks, epochs = self._goal.marks(values), self._epochs()
        is_missed = not is_met and self._goal.is_missed(marks, epochs)
        self.set(is_met=is_met, marks=marks, is_missed=is_missed)
        has_run = isinstance(command, RunTo)
        if not _gives_up(command):
            self._has_trained = epochs > 0 and not has_run
        if has_run or is_met:
            self.count_try()
        if is_met:
            self.succeed()

    def _epochs(self) -> int:
        """The number of epochs that have run to their end."""
        view = self.engine_session.view
        frame = view.frame if view else None
        return frame.at.epoch - (not frame.is_epoch_end) if frame else 0


def _gives_up(command: Command | None) -> bool:
    """Whether a command leaves the run so far: it goes back, or goes on under other settings."""
    is_back = isinstance(command, BackPhase | BackEpoch)
    return is_back or (command is not None and changes_run(command))


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
        if isinstance(event, LessonFailed) and symptom and symptom in event.text:
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
