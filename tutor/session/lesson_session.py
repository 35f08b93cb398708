"""What the learner wishes of a lesson as a whole: to open it, to go on with it, its exercises.

Knows the talk with the engine, the coach and the journal; what is done to the lesson's run is
the session's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from tutor.lesson.exercise import Exercise
from tutor.lesson.model import Lesson
from tutor.protocol.frame import modes_of, settings_of
from tutor.protocol.messages import Pause
from tutor.session.attempt import Attempt
from tutor.session.engine_port import Engine
from tutor.session.engine_session import EngineSession
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
        self.talk = EngineSession(engine, clock)
        self.coach = ExerciseController(self.talk, journal)
        self._journal = journal
        self._previous: Bookmark | None = None
        """Where the lesson was left the time before."""
        self._is_kept = False
        """Whether it has been written down where this lesson stands."""

    # ── What is so ──────────────────────────────────────────────────────────────────

    @property
    def moment(self) -> RunView | None:
        """Where the lesson stands; None while none is open."""
        return self.talk.moment

    @property
    def notice(self) -> Notice:
        """What has just been said to the learner."""
        return self.talk.notice

    @notice.setter
    def notice(self, notice: Notice) -> None:
        self.talk.notice = notice

    @property
    def has_begun(self) -> bool:
        """Whether anything has been done in the open lesson: then it is left where it stands."""
        held = self.coach.held or hold(self.talk)
        return held is not None and (self.attempt is not None or held.has_begun)

    @property
    def attempt(self) -> Attempt | None:
        """The exercise that the learner is at; None while none is on."""
        return self.coach.attempt

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """Those of the lesson that is open, in its order."""
        return self.coach.exercises

    def deeds(self) -> dict[str, Deed]:
        """By exercise of this lesson: the best that the learner has done there."""
        return self.coach.deeds()

    def refresh(self) -> None:
        """What another tutor has written down meanwhile is to be known."""
        self._journal.refresh()

    # ── A lesson ────────────────────────────────────────────────────────────────────

    def open(self, lesson: Lesson, start: Start = Start()) -> None:  # noqa: B008 - frozen
        """Begin a lesson; what is still said of the one before is no longer heard."""
        self._forget_wishes()
        self._previous = self._journal.left_of(lesson.slug)
        self.talk.open(lesson, start)
        if self._previous is not None:
            if self._previous.fingerprint == lesson.fingerprint():
                self.coach.recall(msgspec.structs.replace(self._previous, is_editing=False), lesson)
            exercise, epoch = self._previous.exercise, self._previous.at.epoch
            where = f"at exercise {exercise}" if exercise else f"in epoch {epoch}"
            self.talk.welcome(f"You left this lesson {where} · O goes on there")

    def take_up(self) -> None:
        """Go on where this lesson was left the time before."""
        left, self._previous = self._previous, None
        if self.moment is None:
            return
        if left is None:
            self.talk.tell("There is nothing to go on with: the lesson is where you left it")
        else:
            self.resume(self.moment.lesson, left)

    def resume(self, lesson: Lesson, left: Bookmark) -> None:
        """Go on where a lesson was left: the same run at the same place, its forks beside it.

        If the lesson's file is another one since, it begins anew, under the settings it was
        left with.
        """
        self._forget_wishes()
        records = [left.record, *(run.record for run in left.runs if run.record)]
        has_modes = {mode for record in records for mode in modes_of(record)} <= {*lesson.modes}
        if left.fingerprint != lesson.fingerprint() or not has_modes:
            self.talk.open(lesson, Start(*settings_of(left.record.changes, left.record)))
            self.talk.welcome("The lesson has changed since you left it: it begins anew")
            return
        self.talk.open_run(lesson, left.record, left.at, left.runs, left.goal, before=left.before)
        self.talk.welcome("You are back where you left · R starts again")
        self.coach.recall(left, lesson)
        for exercise in lesson.exercises:
            if exercise.id == left.exercise:
                self.coach.begin_when_open(exercise)

    def _forget_wishes(self) -> None:
        """Another lesson is opened: what was wished of the one before is void."""
        self._is_kept = False
        self.coach.forget()

    def pause(self) -> None:
        """Pause a run if one is on."""
        if self.talk.is_running:
            self.talk.send(Pause())

    # ── Exercises ───────────────────────────────────────────────────────────────────

    def begin_exercise(self, id: str | None = None) -> None:
        """Begin an exercise; the first that is not done if none is named."""
        self.pause()
        self.coach.begin(id)

    def answer(self, text: str) -> None:
        """A number, a sign, or the number of a choice."""
        self.coach.answer(text)
        self._write_down()

    def keep_typed(self, text: str) -> None:
        """Remember what stands in the field, not answered yet."""
        if self.attempt is not None and self.attempt.typed != text:
            if self.notice.kind in ("told", "refused"):  # it was said of what came before
                self.notice = Notice()
            self.coach.keep_typed(text)
            self._write_down()

    def edit(self, code: str) -> None:
        """Let this code take the place of what is to be mended, and check it."""
        self.coach.edit(code)

    def agree_to(self, code: str) -> None:
        """Run code that came from elsewhere: the learner has agreed to exactly this."""
        self.coach.agree()
        self.coach.edit(code)

    def keep_draft(self, code: str) -> None:
        """Remember the code as it is now."""
        self.coach.keep_draft(code)

    def forget_reply(self) -> None:
        """Say no more what came of code that is not there any more."""
        self.coach.forget_reply()

    def keep_editing(self, is_editing: bool) -> None:
        """Remember whether the code is open in the editor."""
        self.coach.keep_editing(is_editing)
        self._write_down()

    def go_on(self) -> None:
        """After a wrong answer, the same question anew; after success, the next exercise."""
        self.coach.go_on()

    def hint(self) -> None:
        """One more hint."""
        self.coach.hint()
        self._write_down()

    def show_solution(self) -> None:
        """How it is done; after a try."""
        self.coach.show_solution()

    def skip(self) -> None:
        """`I know this`: on to the next exercise."""
        self.coach.skip()

    def unskip(self) -> None:
        """Take the last skip back: begin that exercise after all."""
        self.pause()
        self.coach.unskip()

    def leave_exercise(self) -> None:
        """Back to the lesson's own run, as it was."""
        self.coach.leave()

    def _write_down(self) -> None:
        """Where the lesson stands; while an exercise is on, where its own run stood."""
        attempt, held = self.attempt, self.coach.held or hold(self.talk)
        if held is not None and (self.has_begun or self._is_kept):
            self._is_kept = True
            self._journal.left(held.left(attempt, self.coach.halfway()))
