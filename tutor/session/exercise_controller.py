"""The exercises of the open lesson: begins one, passes answers on, and goes to the next.

An exercise has a run of its own; meanwhile the learner's run of the lesson is set aside, as the
data that is needed to open it again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tutor.lesson.exercise import (
    Backpropagate,
    Choose,
    Exercise,
    Predict,
    Reach,
    Repair,
    kind_of,
)
from tutor.lesson.model import Lesson
from tutor.progress import ExerciseResult
from tutor.protocol.commands import Command
from tutor.protocol.events import (
    Event,
    FrameShown,
    LessonFailed,
    ProcessEnded,
    StoppedAt,
)
from tutor.protocol.frame import Position
from tutor.session.attempt import Attempt, CodePlace, Wants, code_place
from tutor.session.bookmark import Bookmark, LearnersRun, UnfinishedAttempt
from tutor.session.engine_session import EngineSession, unfinished_run
from tutor.session.exercise_handler import ExerciseHandler
from tutor.session.journal import Journal, next_to_do
from tutor.session.question_handlers import BackpropagateHandler, ChooseHandler, PredictHandler
from tutor.session.run_view import Notice, Start
from tutor.session.task_handlers import ReachHandler, RepairHandler
from tutor.training.exercises import UnreadableError

HANDLERS: Mapping[type[Exercise], Callable[..., ExerciseHandler[Any]]] = {
    Predict: PredictHandler,
    Reach: ReachHandler,
    Repair: RepairHandler,
    Backpropagate: BackpropagateHandler,
    Choose: ChooseHandler,
}
"""The handler of each kind."""

MOST_SEEDS = 1000
"""Drawn seeds are below this: short enough to be remembered."""


class ExerciseController:
    """One learner at the exercises of the lesson that is open, and the lesson's bookmark."""

    def __init__(self, engine_session: EngineSession, journal: Journal) -> None:
        self._engine_session = engine_session
        self._journal = journal
        self._handler: ExerciseHandler[Any] | None = None
        self._waiting_exercise = ""
        """The exercise to begin once the lesson's own run is there."""
        self._edited = ""
        """The exercise whose code is to be opened in the editor when it begins."""
        self._unfinished: dict[str, UnfinishedAttempt] = {}
        """An exercise of this lesson → how far the learner had come."""
        self._skipped_last = ""
        """The exercise that was skipped last in this lesson."""
        self.set_aside: LearnersRun | None = None
        """The lesson's own run, while an exercise is on."""
        self._has_bookmark = False
        """Whether a bookmark of the open lesson has been saved."""

    # ── State ───────────────────────────────────────────────────────────────────────

    @property
    def attempt(self) -> Attempt | None:
        """The current attempt; None while no exercise is on."""
        return self._handler.attempt if self._handler else None

    @property
    def lesson(self) -> Lesson | None:
        """The lesson as its file has it, whatever code an exercise has put into it."""
        if self._handler is not None:
            return self._handler.lesson
        return self._engine_session.view.lesson if self._engine_session.view else None

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """The exercises of the open lesson, in its order."""
        return self.lesson.exercises if self.lesson else ()

    def results(self) -> dict[str, ExerciseResult]:
        """The best result so far, by exercise of this lesson."""
        return self._journal.results_of(self.lesson.slug) if self.lesson else {}

    @property
    def own_run(self) -> LearnersRun | None:
        """The learner's own run of the lesson, as it is now or was set aside; None without one."""
        view, run = self._engine_session.view, unfinished_run(self._engine_session)
        if self.set_aside is not None or view is None or run is None:
            return self.set_aside
        return LearnersRun(view.lesson, run, view.before)

    @property
    def has_begun(self) -> bool:
        """Whether the learner has done anything in the open lesson that a bookmark would keep."""
        own_run = self.own_run
        return own_run is not None and (self.attempt is not None or own_run.has_begun)

    def refusal(self, command: Command) -> Notice | None:
        """The reason why the current exercise does not allow a command; None if it does."""
        view = self._engine_session.view
        if self._handler is None or view is None:
            return None
        return self._handler.refusal(command, view.frame.at if view.frame else Position(0, 0))

    # ── From one exercise to the next ───────────────────────────────────────────────

    def begin(self, id: str | None = None) -> None:
        """Begin this exercise (an id or a number); without one, the first that is open.

        The lesson's own run is set aside; if it still moves, the exercise waits for that.
        """
        self._engine_session.pause()
        lesson, found = self.lesson, self.exercise(id)
        if lesson is None:
            return
        if found is None:
            if self.exercises:
                self._engine_session.tell("unknown_exercise", id=id)
            else:
                self._engine_session.tell("no_exercises", kind="no_effect")
            return
        if self._handler is None:
            if self._engine_session.unanswered.may_move():
                self.begin_when_open(found.id)
                self._engine_session.tell("exercise_waits")
                return
            self.set_aside = self.own_run
        self._remember()
        before = self._unfinished.get(found.id) or UnfinishedAttempt(exercise=found.id)
        edited, self._edited = self._edited, ""
        attempt = _new_attempt(found, self.exercises, before, is_editing=edited == found.id)
        context = (attempt, lesson, self._engine_session, self._journal)
        self._handler = HANDLERS[type(found)](found, *context)
        self._handler.begin()

    def begin_when_open(self, id: str, *, is_editing: bool = False) -> None:
        """Begin an exercise once the lesson's own run is there, so that it can be set aside."""
        self._waiting_exercise = id
        self._edited = id if is_editing else ""

    def restore(self, bookmark: Bookmark) -> None:
        """Restore the exercises that were left unfinished."""
        known = {e.id for e in self.exercises}
        unfinished = {u.exercise: u for u in bookmark.unfinished if u.exercise in known}
        self._unfinished.update(unfinished)

    def _remember(self) -> None:
        """Remember how far the learner has come, unless the exercise is done."""
        attempt = self.attempt
        if attempt is None or self._handler is None:
            return
        if attempt.state == "done":
            self._unfinished.pop(attempt.exercise.id, None)
        else:
            self._unfinished[attempt.exercise.id] = unfinished(self._handler.as_saved())

    def exercise(self, id: str | None = None) -> Exercise | None:
        """The exercise of this id or number; without one, the first that is open.

        If none is open, the first that was skipped, or else the first.
        """
        if id is not None:
            names = ((e, (e.id, str(number))) for number, e in enumerate(self.exercises, 1))
            return next((e for e, known in names if id in known), None)
        return next_to_do(self.exercises, self.results()) or next(iter(self.exercises), None)

    def leave(self) -> None:
        """Go back to the learner's own run, as it was."""
        own_run, lesson = self.set_aside, self.lesson
        self._remember()
        self._handler = self.set_aside = None
        self._waiting_exercise = ""
        if own_run is not None:
            run = own_run.run
            place = (run.recipe, run.at, run.runs, run.target_epoch)
            self._engine_session.open_run(own_run.lesson, *place, before=own_run.before)
        elif lesson is not None:  # the lesson's own run was never opened
            self._engine_session.open_lesson(lesson, Start())

    def forget_lesson(self) -> None:
        """Forget the exercises of this lesson: another one is opened."""
        self._handler = self.set_aside = None
        self._waiting_exercise = self._skipped_last = self._edited = ""
        self._unfinished.clear()
        self._has_bookmark = False

    def restart(self, *, new_seed: bool = False) -> None:
        """Begin the exercise's run again."""
        if self._handler is not None:
            self._handler.restart(random.randrange(1, MOST_SEEDS) if new_seed else None)

    def _begin_next(self) -> None:
        """Begin the next exercise that is not done; after the last, go back to the lesson."""
        attempt, results = self.attempt, self.results()
        rest = self.exercises[attempt.number :] if attempt else ()
        following = next((e for e in rest if results.get(e.id) not in ("done", "skipped")), None)
        if following is not None:
            self.begin(following.id)
        else:
            self.leave()
            to_do, skipped = self._open_and_skipped()
            self._engine_session.tell_when_open("last_exercise", to_do=to_do, skipped=skipped)

    def _open_and_skipped(self) -> tuple[list[int], list[int]]:
        """The numbers of the open exercises, and of the skipped ones."""
        results, every = self.results(), list(enumerate(self.exercises, 1))
        to_do = [n for n, e in every if results.get(e.id) not in ("done", "skipped")]
        return to_do, [n for n, e in every if results.get(e.id) == "skipped"]

    def save_bookmark(self) -> None:
        """Save the bookmark of the lesson; while an exercise is on, of the run set aside."""
        own_run, attempt = self.own_run, self.attempt
        if own_run is None or not (self._has_bookmark or self.has_begun):
            return
        self._has_bookmark = True
        attempts = dict(self._unfinished)
        if self._handler is not None:
            attempts[self._handler.exercise.id] = unfinished(self._handler.as_saved())
        bookmark = own_run.bookmark(
            attempt.exercise.id if attempt else "",
            tuple(attempts.values()),
            is_editing=attempt is not None and attempt.is_editing,
        )
        self._journal.save_bookmark(bookmark)

    # ── The learner's answers ───────────────────────────────────────────────────────

    def answer(self, text: str) -> None:
        """Check an answer: a number, a sign, or the number of a choice."""
        handler = self._handler
        if handler is None:
            return
        if handler.attempt.state in ("wrong", "done"):
            self.go_on()
        elif handler.attempt.state == "asking":
            handler.set(typed="", unread="")
            try:
                handler.answer(text)
            except UnreadableError as error:
                handler.reject(text, "unreadable_answer", why=error.code, text=error.typed)
        self.save_bookmark()

    def keep_typed(self, text: str) -> None:
        """Remember the text in the field, which is not answered yet."""
        if self._handler is not None and self._handler.attempt.typed != text:
            if self._engine_session.notice.kind != "failed":  # it belongs to the text before
                self._engine_session.notice = Notice()
            self._handler.set(typed=text)
            self.save_bookmark()

    def go_on(self) -> None:
        """Ask again after a wrong answer; begin the next exercise after success."""
        state = self.attempt.state if self.attempt else None
        if state == "wrong" and self._handler is not None:
            self._handler.ask_again()
        elif state == "done":
            self._begin_next()

    def hint(self) -> None:
        """Show one more hint."""
        if self._handler is None:
            return
        handler, attempt = self._handler, self._handler.attempt
        if not attempt.hints_left:
            self._engine_session.tell("no_more_hints", kind="no_effect")
            return
        self._engine_session.notice = Notice()  # a notice on hints or solutions is out of date
        handler.set(hints=attempt.asked.hints[: len(attempt.hints) + 1])
        handler.record_result("hinted")
        self.save_bookmark()

    def show_solution(self) -> None:
        """Show the solution, after a try."""
        attempt = self.attempt
        if self._handler is None or attempt is None or attempt.state in ("opening", "judging"):
            return
        if attempt.may_see_solution:
            self._engine_session.notice = Notice()
            self._handler.show_solution()
        else:
            code = "goal_solution_locked" if attempt.wants is Wants.GOAL else "solution_locked"
            self._engine_session.tell(code, kind="no_effect")

    def skip(self) -> None:
        """Skip the exercise, which the learner knows, and begin the next."""
        attempt = self.attempt
        if self._handler is None or attempt is None:
            return
        if "done" in (attempt.state, self.results().get(attempt.exercise.id)):
            self._begin_next()
            return
        self._handler.record_result("skipped")
        self._skipped_last = attempt.exercise.id
        self._begin_next()
        to_do, skipped = self._open_and_skipped()
        self._engine_session.tell_when_open(
            "exercise_skipped",
            number=attempt.number,
            is_typing=self.attempt is not None and self.attempt.wants.is_typed,
            is_last=self.attempt is None,
            to_do=to_do,
            skipped=skipped,
        )

    def unskip(self) -> None:
        """Take the last skip back, and begin that exercise."""
        results, lesson = self.results(), self.lesson
        skipped = [e for e in self.exercises if results.get(e.id) == "skipped"]
        current = self.attempt.exercise.id if self.attempt else ""
        first = (current, self._skipped_last)
        found = next((e for id_ in first for e in skipped if e.id == id_), None)
        found = found or (skipped[-1] if skipped else None)
        if lesson is None or found is None:
            self._engine_session.pause()
            is_script = lesson is not None and lesson.script is not None
            code = "script_exercises" if is_script else "none_skipped"
            self._engine_session.tell(code, kind="no_effect")
            return
        self._journal.record_result(lesson.slug, found.id, kind_of(found), "unskipped")
        self.begin(found.id)

    def code_place(self, at: LessonFailed | StoppedAt) -> CodePlace | None:
        """The place in an exercise's code, whose file is not in view; None while none is on."""
        handler = self._handler
        return code_place(handler.exercise, handler.lesson, at) if handler else None

    # ── The code of a Repair ────────────────────────────────────────────────────────

    @property
    def _repair(self) -> RepairHandler | None:
        return self._handler if isinstance(self._handler, RepairHandler) else None

    def edit(self, code: str) -> None:
        """Put this code in place of the code to fix, and check it."""
        if self._repair is not None:
            self._repair.edit(code)

    def agree_to(self, code: str) -> None:
        """Run code that came from elsewhere: the learner has agreed to exactly this."""
        if self._repair is not None:
            self._repair.set(is_from_elsewhere=False)
            self._repair.edit(code)

    def keep_draft(self, code: str) -> None:
        """Save the code as it is now."""
        if self._repair is not None:
            self._repair.keep_draft(code)

    def keep_editing(self, is_editing: bool) -> None:
        """Remember whether the code is open in the editor."""
        if self._repair is not None:
            self._repair.set(is_editing=is_editing)
            self.save_bookmark()

    def forget_reply(self) -> None:
        """Forget the reply to code that has been changed since."""
        if self._repair is not None and self._repair.attempt.state == "asking":
            self._repair.set(reply=None)

    def stop_if_silent(self, seconds: float) -> None:
        """Stop fixed code that has given no sign of life for too long."""
        if self._repair is not None:
            self._repair.stop_if_silent(seconds)

    # ── Events ──────────────────────────────────────────────────────────────────────

    def receive(self, event: Event, command: Command | None) -> None:
        """Handle an event; `command` is the command that it answers, if any."""
        handler = self._handler
        if handler is None:
            self._begin_waiting(event)
            return
        if isinstance(event, ProcessEnded):
            handler.process_ended(event)
        elif not handler.receive(event) and isinstance(event, FrameShown) and event.target is None:
            handler.rested(command)

    def _begin_waiting(self, event: Event) -> None:
        """Begin the exercise that waits, as soon as the lesson's run is there."""
        is_moving = isinstance(event, ProcessEnded) or self._engine_session.unanswered.may_move()
        if not self._waiting_exercise or is_moving:
            return
        waiting, self._waiting_exercise = self._waiting_exercise, ""
        if unfinished_run(self._engine_session) is not None:
            self.begin(waiting)


def _new_attempt(
    exercise: Exercise, every: Sequence[Exercise], before: UnfinishedAttempt, *, is_editing: bool
) -> Attempt:
    """An attempt at one of the lesson's exercises, from where the one before was left."""
    return Attempt(
        exercise=exercise,
        number=[e.id for e in every].index(exercise.id) + 1,
        count=len(every),
        state="opening",
        wants=Wants.NUMBER,
        ask=exercise.ask,
        round=before.round,
        question_number=before.question,
        tries=before.tries,
        hints=exercise.hints[: before.hints],
        typed=before.typed,
        run=before.run,
        is_editing=is_editing,
    )


def unfinished(attempt: Attempt) -> UnfinishedAttempt:
    """The part of an attempt that is saved; after a wrong answer the next round is asked."""
    return UnfinishedAttempt(
        exercise=attempt.exercise.id,
        round=attempt.round + (attempt.state == "wrong"),
        question=attempt.question_number,
        tries=attempt.tries,
        hints=len(attempt.hints),
        typed=attempt.typed,
        run=attempt.run,
    )
