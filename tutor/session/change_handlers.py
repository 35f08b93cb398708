"""Handlers of exercises that change the run (reach a goal) or the code (repair)."""

from __future__ import annotations

from tutor.lesson import code_checks
from tutor.lesson.exercise import Reach, Repair
from tutor.protocol.frame import Frame, Position
from tutor.protocol.messages import (
    AnyCommand,
    AnyEvent,
    EvaluateExpressions,
    ExpressionsEvaluated,
    FrameShown,
    LessonFailed,
    ProcessEnded,
    RunTo,
)
from tutor.session import feedback
from tutor.session.exercise_handler import AttemptContext, ExerciseHandler
from tutor.session.goal_progress import goal_of
from tutor.training import answers


class ReachHandler(ExerciseHandler[Reach]):
    """Changes the run until a condition holds; looked at wherever it comes to rest."""

    wants = "condition"

    def __init__(self, exercise: Reach, context: AttemptContext) -> None:
        super().__init__(exercise, context)
        self._goal = goal_of(exercise.condition)

    def opened(self, event: AnyEvent) -> None:
        """The run stands: does the condition hold?"""
        super().opened(event)
        self.rested(None)

    def again(self, seed: int | None = None) -> None:
        """From the start, under the settings that hold now; with another seed if one is given."""
        self.context.open(self.stage, self.opened, keep_settings=True, seed=seed)

    def rested(self, command: AnyCommand | None) -> None:
        """Does it hold here?"""
        if self.context.attempt.state == "asking":
            asked = EvaluateExpressions(
                expressions=(self.exercise.condition, *self._goal.expressions)
            )
            self.context.ask(asked, lambda event: self._met(event, isinstance(command, RunTo)))

    def _met(self, event: AnyEvent, has_run: bool) -> None:
        if not isinstance(event, ExpressionsEvaluated) or self.context.attempt.state != "asking":
            return
        condition, *values = event.values
        is_met = answers.holds(condition)
        self.context.set(is_met=is_met, marks=self._goal.marks(values))
        if has_run or is_met:
            self.context.tried()
        if is_met:
            self.context.succeed("")

    def solution(self) -> str:
        """The settings."""
        return feedback.reach_solution(self.exercise.solution)


class RepairHandler(ExerciseHandler[Repair]):
    """Mends a phase's code; it is run, and a condition has to hold then."""

    wants = "code"

    def __init__(self, exercise: Repair, context: AttemptContext) -> None:
        super().__init__(exercise, context)
        self._goal = goal_of(exercise.condition)
        self._stopped_after: float | None = None
        """Seconds of silence after which the tutor itself has stopped the code."""
        draft = context.draft()
        code = (draft and draft.code) or exercise.code
        is_own = draft is None or draft.is_own or code == exercise.code
        context.set(code=code, is_from_elsewhere=not is_own)

    @property
    def _code_to_run(self) -> str:
        """The learner's code; the code as it was given, where the other is from elsewhere."""
        attempt = self.context.attempt
        return self.exercise.code if attempt.is_from_elsewhere else attempt.code

    def begin(self) -> None:
        """Set up the run with the code as the learner left it."""
        if self.context.attempt.is_from_elsewhere:
            self.context.set(reply=feedback.CODE_FROM_ELSEWHERE)
        self.context.open(self.stage, self._begun, code=self._code_to_run)

    def _begun(self, event: AnyEvent) -> None:
        """Half-fixed code may not be Python: then it runs as it was given."""
        if isinstance(event, FrameShown):
            self.opened(event)
        else:
            self.context.open(self.stage, self.opened, code=self.exercise.code)
            self.context.engine_session.welcome(
                "Your code did not get this far: here runs the code as given"
            )

    def agree(self) -> None:
        """The learner has read the code from elsewhere and lets it run, as it is now."""
        self.context.set(is_from_elsewhere=False)

    def edit(self, code: str) -> None:
        """Let this code take the place of the phase's, and run it.

        Code from elsewhere that nobody has agreed to is kept, and not run.
        """
        self.context.keep_draft(code)
        if self.context.attempt.is_from_elsewhere and code != self.exercise.code:
            self.context.set(state="asking", reply=feedback.CODE_FROM_ELSEWHERE)
            return
        if bad := code_checks.why_not_code(code):
            self.context.set(state="asking", reply=f"Line {bad.line} is not Python: {bad.reason}.")
            return
        self._stopped_after = None
        self.context.set(state="judging", reply="", was_stopped=False)
        self.context.open(self.stage, self._run, at=Position(0, 0), code=code)

    def _run(self, event: AnyEvent) -> None:
        if isinstance(event, FrameShown):
            self.context.ask(RunTo(epoch=self.exercise.epochs), self._ran)
        else:
            self._failed(self._endless(event) or self.why(event))

    def stop(self, after: float) -> None:
        """The code has been silent for so many seconds: the tutor stops it."""
        self._stopped_after = after
        self.context.engine_session.stop()

    def _ran(self, event: AnyEvent) -> None:
        if not isinstance(event, FrameShown):
            self._failed(self.why(event))
        elif not self._is_through(event.frame) and not event.frame.diverged:
            self.context.engine_session.tell("")  # where it was stopped is said here
            self._failed(self._endless(event) or feedback.endless("", self._stopped_after))
        else:
            asked = EvaluateExpressions(
                expressions=(self.exercise.condition, *self._goal.expressions)
            )
            self.context.ask(asked, self._judge)

    def why(self, event: AnyEvent) -> str:
        """An error is told in full once: the error to fix stands above."""
        symptom = self.exercise.symptom.error
        if isinstance(event, LessonFailed) and symptom and symptom in event.message:
            where = self.place_of(event.phase, event.line)
            return feedback.code_failed(where, event.message, is_known=True)
        return super().why(event)

    def _endless(self, event: AnyEvent) -> str:
        """A sentence on who stopped the code, and where; empty if it was not stopped."""
        stopped = feedback.stopped_in(event)
        self.context.set(was_stopped=stopped is not None)
        return feedback.endless(self.place_of(*stopped), self._stopped_after) if stopped else ""

    def _is_through(self, frame: Frame) -> bool:
        return frame.at.epoch >= self.exercise.epochs and frame.is_epoch_end

    def _judge(self, event: AnyEvent) -> None:
        if isinstance(event, ExpressionsEvaluated) and answers.holds(event.values[0]):
            self.context.tried()
            self.context.succeed(feedback.mended(self.exercise.epochs))
        else:
            values = event.values[1:] if isinstance(event, ExpressionsEvaluated) else ()
            marks = self._goal.marks(values) if values else ()
            self._failed(feedback.not_mended(self.exercise.epochs, marks))

    def _failed(self, why: str) -> None:
        self.context.tried()
        self.context.set(state="asking", reply=why)

    def ended(self, event: ProcessEnded) -> None:
        """The code ended its process, or had to be ended: that is its answer."""
        if self.context.attempt.state == "judging":
            self.context.set(was_stopped=True)
            self._failed(feedback.reason(event))
        if event.restarting:
            # What a learner has written into Setup may be what can't be set up.
            is_setup = self.exercise.phase == "Setup"
            code = self.exercise.code if is_setup else self._code_to_run
            self.context.open(self.stage, self.opened, code=code)

    def solution(self) -> str:
        """The code without the mistake."""
        return feedback.block_of_code(self.exercise.solution_code)
