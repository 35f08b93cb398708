"""A learner in one lesson: opening and resuming it, its exercises, its bookmark."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from tutor.lesson.exercise import Exercise
from tutor.lesson.model import Lesson
from tutor.protocol.frame import modes_of, settings_of
from tutor.protocol.messages import Pause
from tutor.session.attempt import Attempt
from tutor.session.engine_session import Engine, EngineSession
from tutor.session.exercise_controller import ExerciseController, hold
from tutor.session.journal import Bookmark, Deed, Journal, NoJournal
from tutor.session.run_view import Notice, RunView, Start


class LessonSession:
    """One learner with one lesson at a time, and what is kept of that."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float] = time.monotonic,
        journal: Journal = NoJournal(),  # noqa: B008 - keeps nothing, so nothing is shared
    ) -> None:
        self.engine_session = EngineSession(engine, clock)
        self.controller = ExerciseController(self.engine_session, journal)
        self._journal = journal
        self._previous: Bookmark | None = None
        """Where the lesson was left the time before."""
        self._is_kept = False
        """Whether it has been written down where this lesson stands."""

    # ── What is so ──────────────────────────────────────────────────────────────────

    @property
    def view(self) -> RunView | None:
        """Where the lesson stands; None while none is open."""
        return self.engine_session.view

    @property
    def notice(self) -> Notice:
        """The latest notice to the learner."""
        return self.engine_session.notice

    @notice.setter
    def notice(self, notice: Notice) -> None:
        self.engine_session.notice = notice

    @property
    def has_begun(self) -> bool:
        """Whether anything has been done in the open lesson: then it is left where it stands."""
        held = self.controller.held or hold(self.engine_session)
        return held is not None and (self.attempt is not None or held.has_begun)

    @property
    def attempt(self) -> Attempt | None:
        """The exercise that the learner is at; None while none is on."""
        return self.controller.attempt

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """Those of the lesson that is open, in its order."""
        return self.controller.exercises

    def deeds(self) -> dict[str, Deed]:
        """By exercise of this lesson: the best that the learner has done there."""
        return self.controller.deeds()

    def refresh(self) -> None:
        """Read the records that another tutor has written meanwhile."""
        self._journal.refresh()

    # ── A lesson ────────────────────────────────────────────────────────────────────

    def open(self, lesson: Lesson, start: Start = Start()) -> None:  # noqa: B008 - frozen
        """Begin a lesson; what is still said of the one before is no longer heard."""
        self._forget_wishes()
        self._previous = self._journal.left_of(lesson.slug)
        self.engine_session.open(lesson, start)
        if self._previous is not None:
            if self._previous.fingerprint == lesson.fingerprint():
                self.controller.recall(
                    msgspec.structs.replace(self._previous, is_editing=False), lesson
                )
            exercise, epoch = self._previous.exercise, self._previous.at.epoch
            if exercise:
                self.engine_session.tell_when_open("left_at_exercise", id=exercise)
            else:
                self.engine_session.tell_when_open("left_in_epoch", epoch=epoch)

    def take_up(self) -> None:
        """Go on where this lesson was left the time before."""
        left, self._previous = self._previous, None
        if self.view is None:
            return
        if left is None:
            self.engine_session.tell("nothing_to_resume")
        else:
            self.resume(self.view.lesson, left)

    def resume(self, lesson: Lesson, left: Bookmark) -> None:
        """Go on where a lesson was left: the same run at the same place, its forks beside it.

        If the lesson's file is another one since, it begins anew, under the settings it was
        left with.
        """
        self._forget_wishes()
        records = [left.record, *(run.record for run in left.runs if run.record)]
        has_modes = {mode for record in records for mode in modes_of(record)} <= {*lesson.modes}
        if left.fingerprint != lesson.fingerprint() or not has_modes:
            self.engine_session.open(lesson, Start(*settings_of(left.record.changes, left.record)))
            self.engine_session.tell_when_open("lesson_changed")
            return
        self.engine_session.open_run(
            lesson, left.record, left.at, left.runs, left.goal, before=left.before
        )
        self.engine_session.tell_when_open("resumed")
        self.controller.recall(left, lesson)
        for exercise in lesson.exercises:
            if exercise.id == left.exercise:
                self.controller.begin_when_open(exercise)

    def _forget_wishes(self) -> None:
        """Another lesson is opened: what was wished of the one before is void."""
        self._is_kept = False
        self.controller.forget()

    def pause(self) -> None:
        """Pause a run if one is on."""
        if self.engine_session.is_running:
            self.engine_session.send(Pause())

    # ── Exercises ───────────────────────────────────────────────────────────────────

    def begin_exercise(self, id: str | None = None) -> None:
        """Begin an exercise; the first that is not done if none is named."""
        self.pause()
        self.controller.begin(id)

    def answer(self, text: str) -> None:
        """A number, a sign, or the number of a choice."""
        self.controller.answer(text)
        self._write_down()

    def keep_typed(self, text: str) -> None:
        """Remember what stands in the field, not answered yet."""
        if self.attempt is not None and self.attempt.typed != text:
            if self.notice.kind != "failed":  # it belongs to the text before
                self.notice = Notice()
            self.controller.keep_typed(text)
            self._write_down()

    def edit(self, code: str) -> None:
        """Let this code take the place of what is to be fixed, and check it."""
        self.controller.edit(code)

    def agree_to(self, code: str) -> None:
        """Run code that came from elsewhere: the learner has agreed to exactly this."""
        self.controller.agree()
        self.controller.edit(code)

    def keep_draft(self, code: str) -> None:
        """Remember the code as it is now."""
        self.controller.keep_draft(code)

    def forget_reply(self) -> None:
        """Say no more what came of code that is not there any more."""
        self.controller.forget_reply()

    def keep_editing(self, is_editing: bool) -> None:
        """Remember whether the code is open in the editor."""
        self.controller.keep_editing(is_editing)
        self._write_down()

    def go_on(self) -> None:
        """After a wrong answer, the same question anew; after success, the next exercise."""
        self.controller.go_on()

    def hint(self) -> None:
        """One more hint."""
        self.controller.hint()
        self._write_down()

    def show_solution(self) -> None:
        """How it is done; after a try."""
        self.controller.show_solution()

    def skip(self) -> None:
        """`I know this`: on to the next exercise."""
        self.controller.skip()

    def unskip(self) -> None:
        """Take the last skip back: begin that exercise after all."""
        self.pause()
        self.controller.unskip()

    def leave_exercise(self) -> None:
        """Back to the lesson's own run, as it was."""
        self.controller.leave()

    def _write_down(self) -> None:
        """Where the lesson stands; while an exercise is on, where its own run stood."""
        attempt, held = self.attempt, self.controller.held or hold(self.engine_session)
        if held is not None and (self.has_begun or self._is_kept):
            self._is_kept = True
            self._journal.left(held.left(attempt, self.controller.halfway()))
