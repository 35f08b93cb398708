"""The base class of the exercise handlers, one for each kind of exercise.

A handler sets up a run, waits for an answer and checks it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec.structs import replace

from tutor.lesson.exercise import Exercise, Stage, kind_of
from tutor.lesson.model import Lesson
from tutor.progress import ExerciseResult
from tutor.protocol.commands import (
    Command,
    Examine,
    Inspect,
    Reseed,
    Restart,
    RunTo,
    Seek,
    SelectRun,
    SetElement,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.protocol.events import (
    CommandRefused,
    Event,
    FrameShown,
    LessonFailed,
    ProcessEnded,
)
from tutor.protocol.frame import EPOCH_END, Position
from tutor.session.attempt import Attempt, Reply, Wants, code_place
from tutor.session.bookmark import UnfinishedRun
from tutor.session.engine_session import EngineSession
from tutor.session.journal import Journal
from tutor.session.run_view import Notice
from tutor.training.exercises import position_of, start_of

OnAnswer = Callable[[Event], None]
E = TypeVar("E", bound=Exercise)


class ExerciseHandler(Generic[E]):
    """One attempt at an exercise: its run, and the commands that wait for an answer."""

    wants = Wants.NUMBER
    asks_what_comes = False
    """Whether the question is about the phase that comes next: the run may not pass it."""

    def __init__(
        self,
        exercise: E,
        attempt: Attempt,
        lesson: Lesson,
        engine_session: EngineSession,
        journal: Journal,
    ) -> None:
        """`lesson` is as its file has it, whatever code the exercise puts into it."""
        self.exercise = exercise
        self.attempt = replace(attempt, wants=self.wants, asks_what_comes=self.asks_what_comes)
        self.lesson = lesson
        self.engine_session = engine_session
        self.journal = journal
        self._on_answer: dict[int, OnAnswer] = {}
        """A command's number → the function that takes its answer."""

    # ── The question ────────────────────────────────────────────────────────────────

    @property
    def stage(self) -> Stage:
        """The run that the question is about."""
        return self.attempt.asked.stage

    @property
    def place(self) -> Position:
        """The position at which the question is asked."""
        return position_of(self.lesson, self.stage)

    def begin(self) -> None:
        """Set up the run, and ask."""
        self.open(self.stage, self.opened)

    def as_saved(self) -> Attempt:
        """The attempt as it is left now, to be continued later."""
        return self.attempt

    def restart(self, seed: int | None = None) -> None:
        """Begin the exercise's run again."""
        self.begin()

    def opened(self, event: Event) -> None:
        """Ask, now that the run is set up, or can't be."""
        if isinstance(event, CommandRefused):
            self.set(reply=Reply("no_setup", {"reason": self.failure(event)}))
        if self.attempt.state == "opening":
            self.set(state="asking")

    def answer(self, text: str) -> None:
        """Check an answer. Raises UnreadableError if it can't be read."""

    def ask_again(self) -> None:
        """Ask with other numbers after a wrong answer, where the kind does."""

    def solution(self) -> Reply:
        """The solution; the text of its code is in `tutor.wording.feedback`."""
        raise NotImplementedError

    def show_solution(self) -> None:
        """Show the solution."""
        self.set(solution=self.solution())
        self.record_result("shown")

    def rested(self, command: Command | None) -> None:
        """React to a run that has come to rest, by this command."""

    def process_ended(self, event: ProcessEnded) -> None:
        """Begin the exercise again in the next process, if there is one."""
        if event.restarting:
            self.begin()

    def refusal(self, command: Command, at: Position) -> Notice | None:
        """The reason why a command is not allowed now; `at` is the run's position."""
        if not self.asks_what_comes or self.attempt.state in ("wrong", "done"):
            return None
        match command:
            case StepPhase():
                passes = at >= self.place
            case Seek(epoch=epoch, step=step):
                passes = step == EPOCH_END or Position(epoch, step) > self.place
            case Inspect():
                passes = command.compare
            case _:
                passes = isinstance(command, StepEpoch | RunTo | Examine)
        if passes:
            return Notice("answer_first")
        return Notice("run_is_fixed") if changes_run(command) else None

    # ── The attempt ─────────────────────────────────────────────────────────────────

    def set(self, **changes: object) -> None:
        """Change the attempt."""
        self.attempt = replace(self.attempt, **changes)

    def record_result(self, result: ExerciseResult) -> None:
        """Write the learner's progress to the journal."""
        self.journal.record_result(
            self.lesson.slug, self.exercise.id, kind_of(self.exercise), result
        )

    def count_try(self) -> None:
        """Count one more answer."""
        self.set(tries=self.attempt.tries + 1)
        self.record_result("tried")

    def succeed(self, reply: Reply | None = None) -> None:
        """End the exercise, and explain."""
        self.set(state="done", reply=reply, explain=self.attempt.asked.explain)
        self.record_result("done")

    def reject(self, typed: str, code: str, **values: object) -> None:
        """Say why an answer can't be read. This does not count as a try."""
        self.set(reply=Reply(code, values), unread=typed)

    def failure(self, event: Event) -> Reply:
        """The reason why a command was not done; where code failed, its place."""
        match event:
            case LessonFailed(error=error):
                place = code_place(self.exercise, self.lesson, event)
                return Reply("code_failed", {"place": place, "error": error})
            case ProcessEnded():
                return Reply("process_ended", {"event": event})
            case CommandRefused(remark=remark) | FrameShown(remarks=(remark, *_)):
                return Reply("refused", {"remark": remark})
        return Reply("not_done")

    # ── The run ─────────────────────────────────────────────────────────────────────

    def ask(self, command: Command, on_answer: OnAnswer = lambda _: None) -> None:
        """Send a command of the exercise to the engine."""
        number = self.engine_session.send(command)
        if number is not None:
            self._on_answer[number] = on_answer

    def open(
        self,
        stage: Stage,
        on_answer: OnAnswer = lambda _: None,
        *,
        at: Position | None = None,
        code: str | None = None,
        keep_settings: bool = False,
        seed: int | None = None,
    ) -> None:
        """Set up a run at `stage` (or `at` a place of it), with the learner's `code`.

        With `keep_settings` its mode, learning rate and seed are the present ones, or `seed`.
        """
        view = self.engine_session.view
        device = view.device if view else "cpu"
        begun = start_of(self.lesson, self.exercise, stage=stage, code=code, device=device)
        recipe = begun.recipe
        if keep_settings and view is not None and (frame := view.frame) is not None:
            recipe = replace(
                recipe, mode=frame.mode, learning_rate=frame.learning_rate, seed=frame.seed
            )
        if seed is not None:
            recipe = replace(recipe, seed=seed)
        self._on_answer.clear()
        place = begun.at if at is None else at
        number = self.engine_session.open_run(begun.lesson, recipe, place, sets_runs_aside=True)
        if number is not None:
            self._on_answer[number] = on_answer

    def reopen(self, run: UnfinishedRun, on_answer: OnAnswer) -> None:
        """Open a run of the lesson as it was left."""
        self._on_answer.clear()
        place = (run.at, run.runs, run.target_epoch)
        number = self.engine_session.open_run(self.lesson, run.recipe, *place, sets_runs_aside=True)
        if number is not None:
            self._on_answer[number] = on_answer

    def receive(self, event: Event) -> bool:
        """Handle the answer to a command of the exercise; False for other events."""
        on_answer = self._on_answer.pop(event.answers, None)
        if on_answer is not None:
            on_answer(event)
        return on_answer is not None


def change_of(command: Command) -> str:
    """The kind of change that a command makes, of MAY_CHANGE; empty for any other command."""
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


def changes_run(command: Command) -> bool:
    """Whether a command changes the run's settings, or replaces it."""
    return bool(change_of(command)) or isinstance(command, SelectRun)
