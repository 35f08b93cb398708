"""The learner's own run of a lesson, set aside while an exercise is on, and its bookmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.protocol.frame import Frame, Position, RunRecipe
from tutor.protocol.inspections import RunInfo
from tutor.session.bookmark import Bookmark, UnfinishedAttempt, UnfinishedRun, key_of

if TYPE_CHECKING:
    from tutor.session.attempt import Attempt
    from tutor.session.engine_session import EngineSession


@dataclass(frozen=True, slots=True)
class PausedRun:
    """The learner's own run of the lesson while an exercise is on."""

    lesson: Lesson
    recipe: RunRecipe
    at: Position
    runs: tuple[RunInfo, ...]
    """All runs, without their curves."""
    target_epoch: int
    before: Frame | None = None
    """The frame that the present one is compared with."""

    @property
    def has_begun(self) -> bool:
        """Whether the learner has done anything that a bookmark would keep."""
        return self.at > Position(0, 0) or bool(self.recipe.changes) or len(self.runs) > 1

    def reopen(self, engine_session: EngineSession) -> None:
        """Open the run again, as it was."""
        place = (self.at, self.runs, self.target_epoch)
        engine_session.open_run(self.lesson, self.recipe, *place, before=self.before)

    def bookmark(
        self, attempt: Attempt | None = None, unfinished: tuple[UnfinishedAttempt, ...] = ()
    ) -> Bookmark:
        """The bookmark of this run and the current attempt, which is among the unfinished ones."""
        lesson = self.lesson
        return Bookmark(
            slug=key_of(lesson),
            path=one_line(str(lesson.path)),
            raw_path=b"" if str(lesson.path).isprintable() else bytes(lesson.path),
            fingerprint=lesson.fingerprint(),
            script=lesson.script and msgspec.structs.replace(lesson.script, modules=None),
            language=lesson.language,
            recipe=self.recipe,
            at=self.at,
            before=self._position_before(),
            target_epoch=self.target_epoch,
            runs=self.runs,
            exercise=attempt.exercise.id if attempt else "",
            is_editing=attempt is not None and attempt.is_editing,
            unfinished=unfinished,
        )

    def _position_before(self) -> Position | None:
        """The position of the frame before; None if this run has never been there."""
        place = self.before.at if self.before else None
        reached = next((run.reached for run in self.runs if run.is_current), None)
        is_there = place is not None and reached is not None and place <= reached
        return place if is_there and place != self.at else None


def paused_run(engine_session: EngineSession) -> PausedRun | None:
    """The present run; None while there is none."""
    view, recipe = engine_session.view, engine_session.recipe
    if view is None or view.frame is None or recipe is None:
        return None
    runs = tuple(msgspec.structs.replace(run, curve=None) for run in view.runs)
    return PausedRun(view.lesson, recipe, view.frame.at, runs, view.target_epoch, view.before)


def unfinished_run(engine_session: EngineSession) -> UnfinishedRun | None:
    """The present run as an exercise resumes it; None while there is none."""
    run = paused_run(engine_session)
    if run is None:
        return None
    return UnfinishedRun(recipe=run.recipe, at=run.at, runs=run.runs, target_epoch=run.target_epoch)


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
