"""The exercises of the open lesson: begins one, passes answers on, and goes to the next.

An exercise has a run of its own; meanwhile the learner's run of the lesson is paused, as the data
that is needed to open it again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tutor.lesson.exercise import BeAutograd, Choose, Exercise, Predict, Reach, Repair, kind_of
from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.protocol.frame import Frame, Position, RunRecipe
from tutor.protocol.inspections import RunInfo
from tutor.protocol.messages import (
    AnyCommand,
    AnyEvent,
    CommandRefused,
    FrameShown,
    LessonFailed,
    ProcessEnded,
    StoppedAt,
)
from tutor.session.attempt import Attempt, noted, recalled
from tutor.session.be_autograd_handler import BeAutogradHandler
from tutor.session.choose_handler import ChooseHandler
from tutor.session.engine_session import EngineSession
from tutor.session.exercise_handler import ExerciseHandler
from tutor.session.feedback import code_place
from tutor.session.journal import Bookmark, Deed, Journal, UnfinishedAttempt, next_to_do
from tutor.session.predict_handler import PredictHandler
from tutor.session.reach_handler import ReachHandler
from tutor.session.repair_handler import RepairHandler
from tutor.session.run_view import Notice, Start

_HANDLERS: Mapping[type[Exercise], type[ExerciseHandler[Any]]] = {
    Predict: PredictHandler,
    Reach: ReachHandler,
    Repair: RepairHandler,
    BeAutograd: BeAutogradHandler,
    Choose: ChooseHandler,
}

MOST_SEEDS = 1000
"""A seed that is drawn is below this: short enough to be remembered."""


@dataclass(frozen=True, slots=True)
class PausedRun:
    """The learner's own run of the lesson while an exercise is on."""

    lesson: Lesson
    record: RunRecipe
    at: Position
    runs: tuple[RunInfo, ...]
    """Without their curves."""
    goal: int
    before: Frame | None = None
    """What the present frame is compared with."""

    @property
    def has_begun(self) -> bool:
        """Whether the learner has done anything: where nothing was, there is nothing to keep."""
        return self.at > Position(0, 0) or bool(self.record.changes) or len(self.runs) > 1

    def left(self, attempt: Attempt | None, others: tuple[UnfinishedAttempt, ...] = ()) -> Bookmark:
        """The unfinished attempts to save: the present one and the others."""
        lesson = self.lesson
        return Bookmark(
            slug=lesson.slug,
            path=one_line(str(lesson.path)),
            raw_path=b"" if str(lesson.path).isprintable() else bytes(lesson.path),
            fingerprint=lesson.fingerprint(),
            language=lesson.language,
            record=self.record,
            at=self.at,
            before=self._place_before(),
            goal=self.goal,
            runs=self.runs,
            exercise=attempt.exercise.id if attempt else "",
            round=attempt.round + (attempt.state == "wrong") if attempt else 0,
            step=attempt.step if attempt else 0,
            tries=attempt.tries if attempt else 0,
            hints=len(attempt.hints) if attempt else 0,
            typed=attempt.typed if attempt else "",
            is_editing=attempt.is_editing if attempt else False,
            halfway=others,
        )

    def _place_before(self) -> Position | None:
        """Where the frame before is to be had again: nowhere if this run has never been there."""
        place = self.before.at if self.before else None
        reached = next((run.reached for run in self.runs if run.is_current), None)
        is_there = place is not None and reached is not None and place <= reached
        return place if is_there and place != self.at else None


class ExerciseController:
    """One learner at the exercises of the lesson that is open."""

    def __init__(self, engine_session: EngineSession, journal: Journal) -> None:
        self._engine_session = engine_session
        self._journal = journal
        self._handler: ExerciseHandler[Any] | None = None
        self._wished = ""
        """The exercise to begin once the lesson's own run stands."""
        self._known: dict[str, Attempt] = {}
        """By exercise of this lesson: how far the learner had come when it was left."""
        self._skipped_last = ""
        """The exercise that was skipped last in this lesson."""
        self.held: PausedRun | None = None

    # ── What is so ──────────────────────────────────────────────────────────────────

    @property
    def attempt(self) -> Attempt | None:
        """The exercise that the learner is at."""
        return self._handler.attempt if self._handler else None

    @property
    def lesson(self) -> Lesson | None:
        """The lesson as its file has it, whatever code an exercise has put into it."""
        if self._handler is not None:
            return self._handler.lesson
        return self._engine_session.view.lesson if self._engine_session.view else None

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """Those of the lesson that is open."""
        return self.lesson.exercises if self.lesson else ()

    def deeds(self) -> dict[str, Deed]:
        """By exercise: the best that the learner has done there."""
        return self._journal.states(self.lesson.slug) if self.lesson else {}

    def refusal(self, command: AnyCommand) -> Notice | None:
        """The reason why the current exercise does not allow a command; None if it does."""
        view = self._engine_session.view
        if self._handler is None or view is None:
            return None
        return self._handler.refusal(command, view.frame.at if view.frame else Position(0, 0))

    # ── From one to the next ────────────────────────────────────────────────────────

    def begin(self, id: str | None = None) -> None:
        """Begin this exercise, or the first that is open, or else was skipped, or is done.

        The lesson's own run is held meanwhile: if it still moves, that is waited for.
        """
        lesson, found = self.lesson, self._exercise(id)
        if lesson is None:
            return
        if found is None:
            code = "unknown_exercise" if self.exercises else "no_exercises"
            self._engine_session.tell(code, id=id)
            return
        if self._handler is None:
            if self._engine_session.is_moving:
                self._wished = found.id
                self._engine_session.tell("exercise_waits")
                return
            self.held = hold(self._engine_session)
        number = [e.id for e in self.exercises].index(found.id) + 1
        self._remember()
        before = self._known.get(found.id)
        attempt = Attempt(
            exercise=found,
            number=number,
            count=len(self.exercises),
            state="opening",
            wants="number",
            ask=found.ask,
            round=before.round if before else 0,
            step=before.step if before else 0,
            tries=before.tries if before else 0,
            hints=before.hints if before else (),
            typed=before.typed if before else "",
            is_editing=before.is_editing if before else False,
        )
        make = _HANDLERS[type(found)]
        self._handler = make(found, attempt, lesson, self._engine_session, self._journal)
        self._handler.begin()

    def begin_when_open(self, exercise: Exercise) -> None:
        """Begin it once the lesson's own run stands, so that it can be held."""
        self._wished = exercise.id

    def recall(self, left: Bookmark, lesson: Lesson) -> None:
        """Restore the exercises that were left unfinished last time."""
        self._known.update(recalled(left, lesson.exercises))

    def halfway(self) -> tuple[UnfinishedAttempt, ...]:
        """Those that had been begun and left, without the one that is on."""
        on = self.attempt.exercise.id if self.attempt else ""
        return noted(known for id, known in self._known.items() if id != on)

    def _remember(self) -> None:
        """How far the learner has come with the exercise that is on, unless it is done."""
        attempt = self.attempt
        if attempt is None:
            return
        if attempt.state == "done":
            self._known.pop(attempt.exercise.id, None)
        else:
            asked = attempt.round + (attempt.state == "wrong")
            self._known[attempt.exercise.id] = replace(attempt, round=asked)

    def _exercise(self, id: str | None) -> Exercise | None:
        if id is not None:
            return next((e for e in self.exercises if e.id == id), None)
        first = next_to_do((e.id for e in self.exercises), self.deeds())
        return next((e for e in self.exercises if first in (e.id, None)), None)

    def leave(self) -> None:
        """Back to the learner's own run, as it was."""
        held, lesson = self.held, self.lesson
        self._remember()
        self._handler = self.held = None
        self._wished = ""
        if held is not None:
            self._engine_session.open_run(
                held.lesson, held.record, held.at, held.runs, held.goal, before=held.before
            )
        elif lesson is not None:  # it was begun before the lesson's own run came to stand
            self._engine_session.open(lesson, Start())

    def forget(self) -> None:
        """Another lesson is opened: nothing of this one is awaited any more."""
        self._handler = self.held = None
        self._wished = ""
        self._known.clear()
        self._skipped_last = ""

    def restart(self, *, new_seed: bool = False) -> None:
        """Begin the exercise's run again."""
        if self._handler is not None:
            self._handler.restart(random.randrange(1, MOST_SEEDS) if new_seed else None)

    def _next(self) -> None:
        """The next one that is not done; after the last, back to the lesson."""
        attempt, deeds = self.attempt, self.deeds()
        rest = self.exercises[attempt.number :] if attempt else ()
        following = next((e for e in rest if deeds.get(e.id) not in ("done", "skipped")), None)
        if following is not None:
            self.begin(following.id)
        else:
            self.leave()
            left, skipped = self._open_and_skipped()
            self._engine_session.tell_when_open("last_exercise", left=left, skipped=skipped)

    def _open_and_skipped(self) -> tuple[list[int], list[int]]:
        """The numbers of the exercises that are open, and of those that were skipped."""
        deeds, every = self.deeds(), list(enumerate(self.exercises, 1))
        left = [n for n, e in every if deeds.get(e.id) not in ("done", "skipped")]
        return left, [n for n, e in every if deeds.get(e.id) == "skipped"]

    # ── What the learner says ───────────────────────────────────────────────────────

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
            except ValueError as error:
                handler.reject(text, "unreadable", text=str(error))

    def keep_typed(self, text: str) -> None:
        """Remember what stands in the field."""
        if self._handler is not None:
            self._handler.set(typed=text)

    def edit(self, code: str) -> None:
        """Let a Repair's code take its place, and run it."""
        if isinstance(self._handler, RepairHandler):
            self._handler.edit(code)

    def agree(self) -> None:
        """Let a Repair's code run, though it came from elsewhere."""
        if isinstance(self._handler, RepairHandler):
            self._handler.agree()

    def keep_draft(self, code: str) -> None:
        """Remember a Repair's code as the learner has it now."""
        if isinstance(self._handler, RepairHandler):
            self._handler.keep_draft(code)

    def forget_reply(self) -> None:
        """Say no more what came of code that is not there any more."""
        if isinstance(self._handler, RepairHandler) and self._handler.attempt.state == "asking":
            self._handler.set(reply=None)

    def keep_editing(self, is_editing: bool) -> None:
        """Remember whether a Repair's code is open in the editor."""
        if isinstance(self._handler, RepairHandler):
            self._handler.set(is_editing=is_editing)

    def go_on(self) -> None:
        """After a wrong answer, the same question anew; after success, the next exercise."""
        state = self.attempt.state if self.attempt else None
        if state == "wrong" and self._handler is not None:
            self._handler.ask_again()
        elif state == "done":
            self._next()

    def hint(self) -> None:
        """One more hint."""
        if self._handler is None:
            return
        handler, attempt = self._handler, self._handler.attempt
        if not attempt.hints_left:
            self._engine_session.tell("no_more_hints")
            return
        self._engine_session.notice = Notice()  # a notice on hints or solutions is out of date
        handler.set(hints=attempt.asked.hints[: len(attempt.hints) + 1])
        handler.record("hinted")

    def show_solution(self) -> None:
        """How it is done; only after a try."""
        attempt = self.attempt
        if self._handler is None or attempt is None or attempt.state in ("opening", "judging"):
            return
        if attempt.may_see_solution:
            self._engine_session.notice = Notice()
            self._handler.show_solution()
        else:
            self._engine_session.tell("solution_locked")

    def skip(self) -> None:
        """`I know this`: on to the next."""
        attempt = self.attempt
        if self._handler is None or attempt is None:
            return
        is_skipped = attempt.state != "done"
        if is_skipped:
            self._handler.record("skipped")
            self._skipped_last = attempt.exercise.id
        self._next()
        if is_skipped:
            left, skipped = self._open_and_skipped()
            self._engine_session.tell_when_open(
                "exercise_skipped",
                number=attempt.number,
                is_typing=self.attempt is not None and self.attempt.wants in ("number", "sign"),
                is_last=self.attempt is None,
                left=left,
                skipped=skipped,
            )

    def unskip(self) -> None:
        """Take the last skip back, and begin that exercise."""
        deeds, lesson = self.deeds(), self.lesson
        skipped = [e for e in self.exercises if deeds.get(e.id) == "skipped"]
        on = self.attempt.exercise.id if self.attempt else ""
        first = (on, self._skipped_last)
        found = next((e for id_ in first for e in skipped if e.id == id_), None)
        found = found or (skipped[-1] if skipped else None)
        if lesson is None or found is None:
            self._engine_session.tell("none_skipped")
            return
        self._journal.did(lesson.slug, found.id, kind_of(found), "unskipped")
        self.begin(found.id)

    # ── What the engine tells ───────────────────────────────────────────────────────

    def heard(self, event: AnyEvent, command: AnyCommand | None) -> None:
        """Go on with what was waited for. `command` is what the event answers."""
        handler = self._handler
        if handler is None:
            self._begin_wished(event)
            return
        self._locate_notice(event)
        if isinstance(event, ProcessEnded):
            handler.forget_questions()
            handler.process_ended(event)
        elif not handler.receive(event) and isinstance(event, FrameShown) and event.target is None:
            handler.rested(command)

    def _locate_notice(self, event: AnyEvent) -> None:
        """Name the code of a notice as the learner sees it, who sees no file in an exercise."""
        at: LessonFailed | StoppedAt | None = event if isinstance(event, LessonFailed) else None
        if isinstance(event, FrameShown | CommandRefused):
            at = event.stopped
        notice = self._engine_session.notice
        if at is not None and self._handler is not None and "place" in notice.values:
            place = code_place(self._handler.exercise, self._handler.lesson, at)
            values = {**notice.values, "place": place}
            self._engine_session.notice = replace(notice, values=values)

    def _begin_wished(self, event: AnyEvent) -> None:
        """As soon as the lesson stands still; if it never came to stand, that is forgotten."""
        if not self._wished or isinstance(event, ProcessEnded) or self._engine_session.is_moving:
            return
        wished, self._wished = self._wished, ""
        if hold(self._engine_session) is not None:
            self.begin(wished)

    def stop_if_silent(self, seconds: float) -> None:
        """Stop fixed code that has given no sign of life for too long."""
        if isinstance(self._handler, RepairHandler):
            self._handler.stop_if_silent(seconds)


def hold(engine_session: EngineSession) -> PausedRun | None:
    """All that it takes to have the present run again; None while there is none."""
    view, record = engine_session.view, engine_session.record
    if view is None or view.frame is None or record is None:
        return None
    runs = tuple(msgspec.structs.replace(run, curve=None) for run in view.runs)
    return PausedRun(view.lesson, record, view.frame.at, runs, view.goal, view.before)
