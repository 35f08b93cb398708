"""From exercise to exercise: begins one, hands on what the learner says, and goes to the next.

An exercise has a run of its own; the learner's run of the lesson is held meanwhile, as all that
it takes to have it again.

The handler of each kind of exercise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from tutor.lesson.exercise import BeAutograd, Choose, Exercise, Predict, Reach, Repair, kind_of
from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.protocol.frame import Frame, Position, RunRecipe
from tutor.protocol.inspections import RunInfo
from tutor.protocol.messages import AnyCommand, AnyEvent, FrameShown, ProcessEnded
from tutor.session import feedback
from tutor.session.answer_handlers import (
    ChooseHandler,
    PredictChoiceHandler,
    PredictHandler,
    SignHandler,
    choices_of,
)
from tutor.session.attempt import Attempt, noted, recalled, why_not
from tutor.session.be_autograd_handler import BeAutogradHandler
from tutor.session.change_handlers import ReachHandler, RepairHandler
from tutor.session.engine_session import EngineSession
from tutor.session.exercise_handler import AttemptContext
from tutor.session.journal import Bookmark, Deed, Journal, UnfinishedAttempt, next_to_do
from tutor.session.run_view import Start

AnyWay = PredictHandler | ReachHandler | RepairHandler | BeAutogradHandler | ChooseHandler


def handler_for(exercise: Exercise, context: AttemptContext) -> AnyWay:
    """The way for an exercise of its kind."""
    match exercise:
        case Predict():
            kinds = {"number": PredictHandler, "sign": SignHandler, "choice": PredictChoiceHandler}
            return kinds[exercise.form](exercise, context)
        case Reach():
            return ReachHandler(exercise, context)
        case Repair():
            return RepairHandler(exercise, context)
        case BeAutograd():
            return BeAutogradHandler(exercise, context)
        case Choose():
            return ChooseHandler(exercise, context)


MOST_SEEDS = 1000
"""A seed that is drawn is below this: short enough to be remembered."""

REPAIR_SECONDS = 10.0
"""So long may fixed code run without a sign of life; then it is stopped."""


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
        self._handler: AnyWay | None = None
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
        return self._handler.context.attempt if self._handler else None

    @property
    def lesson(self) -> Lesson | None:
        """The lesson as its file has it, whatever code an exercise has put into it."""
        if self._handler is not None:
            return self._handler.context.lesson
        return self._engine_session.view.lesson if self._engine_session.view else None

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """Those of the lesson that is open."""
        return self.lesson.exercises if self.lesson else ()

    def deeds(self) -> dict[str, Deed]:
        """By exercise: the best that the learner has done there."""
        return self._journal.states(self.lesson.slug) if self.lesson else {}

    def why_not(self, command: AnyCommand) -> str:
        """Why the exercise that is on doesn't let this be done; empty if it does."""
        view = self._engine_session.view
        if self._handler is None or view is None:
            return ""
        at = view.frame.at if view.frame else Position(0, 0)
        return why_not(self._handler.context.attempt, command, at, self._handler.place)

    # ── From one to the next ────────────────────────────────────────────────────────

    def begin(self, id: str | None = None) -> None:
        """Begin this exercise, or the first that is open, or else was skipped, or is done.

        The lesson's own run is held meanwhile: if it still moves, that is waited for.
        """
        lesson, found = self.lesson, self._exercise(id)
        if lesson is None:
            return
        if found is None:
            none = "This lesson has no exercises"
            self._engine_session.tell(none if not self.exercises else f"There is no exercise {id}")
            return
        if self._handler is None:
            if self._engine_session.is_moving:
                self._wished = found.id
                self._engine_session.tell("The exercise starts when the current run has finished")
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
            choices=choices_of(found),
            round=before.round if before else 0,
            step=before.step if before else 0,
            tries=before.tries if before else 0,
            hints=before.hints if before else (),
            typed=before.typed if before else "",
            is_editing=before.is_editing if before else False,
        )
        context = AttemptContext(self._engine_session, self._journal, lesson, attempt)
        self._handler = handler_for(found, context)
        context.set(wants=self._handler.wants)
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

    def again(self, *, new_seed: bool = False) -> None:
        """Begin the exercise's run again; a Reach keeps the settings that it is now under."""
        if isinstance(self._handler, ReachHandler):
            self._handler.again(random.randrange(1, MOST_SEEDS) if new_seed else None)
        elif self._handler is not None:
            self._handler.begin()

    def _next(self) -> None:
        """The next one that is not done; after the last, back to the lesson."""
        attempt, deeds = self.attempt, self.deeds()
        rest = self.exercises[attempt.number :] if attempt else ()
        following = next((e for e in rest if deeds.get(e.id) not in ("done", "skipped")), None)
        if following is not None:
            self.begin(following.id)
        else:
            self.leave()
            self._engine_session.welcome(self._end_of_the_last())

    def _end_of_the_last(self) -> str:
        """Say which exercises are open or were skipped; else that the next lesson may follow."""
        deeds, every = self.deeds(), list(enumerate(self.exercises, 1))
        left = [n for n, e in every if deeds.get(e.id) not in ("done", "skipped")]
        skipped = [n for n, e in every if deeds.get(e.id) == "skipped"]
        told = (_told(left, "still open"), _told(skipped, "skipped"))
        what = "; ".join(("That was the last exercise", *filter(None, told)))
        keys = ("A shows them" if left or skipped else "", "" if left else "n: the next lesson")
        return " · ".join((what, *filter(None, keys)))

    # ── What the learner says ───────────────────────────────────────────────────────

    def answer(self, text: str) -> None:
        """Check an answer: a number, a sign, or the number of a choice."""
        handler = self._handler
        if handler is None:
            return
        if handler.context.attempt.state in ("wrong", "done"):
            self.go_on()
        elif handler.context.attempt.state == "asking":
            try:
                handler.answer(text)
            except ValueError as error:  # it can't be read: that is no try
                # Submitted, it is half typed no more; the field has it still, to be fixed.
                handler.context.set(reply=feedback.escaped(str(error)), unread=text, typed="")
            else:
                handler.context.set(typed="", unread="")

    def keep_typed(self, text: str) -> None:
        """Remember what stands in the field."""
        if self._handler is not None:
            self._handler.context.set(typed=text)

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
            self._handler.context.keep_draft(code)

    def forget_reply(self) -> None:
        """Say no more what came of code that is not there any more."""
        if (
            isinstance(self._handler, RepairHandler)
            and self._handler.context.attempt.state == "asking"
        ):
            self._handler.context.set(reply="")

    def keep_editing(self, is_editing: bool) -> None:
        """Remember whether a Repair's code is open in the editor."""
        if isinstance(self._handler, RepairHandler):
            self._handler.context.set(is_editing=is_editing)

    def go_on(self) -> None:
        """After a wrong answer, the same question anew; after success, the next exercise."""
        state = self.attempt.state if self.attempt else None
        if state == "wrong" and self._handler is not None:
            self._handler.go_on()
        elif state == "done":
            self._next()

    def hint(self) -> None:
        """One more hint."""
        if self._handler is None:
            return
        context = self._handler.context
        if not context.attempt.hints_left:
            self._engine_session.tell("No more hints")
            return
        self._engine_session.tell("")  # what was said of solutions and hints is so no more
        context.set(hints=context.attempt.asked.hints[: len(context.attempt.hints) + 1])
        context.did("hinted")

    def show_solution(self) -> None:
        """How it is done; only after a try."""
        attempt = self.attempt
        if self._handler is None or attempt is None or attempt.state in ("opening", "judging"):
            return
        if attempt.may_see_solution:
            self._engine_session.tell("")
            self._handler.show_solution()
        else:
            self._engine_session.tell("Try once to unlock the solution")

    def skip(self) -> None:
        """`I know this`: on to the next."""
        attempt = self.attempt
        if self._handler is None or attempt is None:
            return
        is_skipped = attempt.state != "done"
        if is_skipped:
            self._handler.context.did("skipped")
            self._skipped_last = attempt.exercise.id
        self._next()
        if is_skipped:
            told = "" if self.attempt else f" · {self._end_of_the_last()}"
            is_typed = self.attempt is not None and self.attempt.wants in ("number", "sign")
            key = "esc, then K takes that back" if is_typed else "K takes that back"
            self._engine_session.welcome(f"Exercise {attempt.number} is skipped · {key}{told}")

    def unskip(self) -> None:
        """Take the last skip back, and begin that exercise."""
        deeds, lesson = self.deeds(), self.lesson
        skipped = [e for e in self.exercises if deeds.get(e.id) == "skipped"]
        on = self.attempt.exercise.id if self.attempt else ""
        first = (on, self._skipped_last)
        found = next((e for id_ in first for e in skipped if e.id == id_), None)
        found = found or (skipped[-1] if skipped else None)
        if lesson is None or found is None:
            self._engine_session.tell("No exercise of this lesson is skipped")
            return
        self._journal.did(lesson.slug, found.id, kind_of(found), "unskipped")
        self.begin(found.id)

    # ── What the engine tells ───────────────────────────────────────────────────────

    def heard(self, event: AnyEvent, command: AnyCommand | None) -> None:
        """Go on with what was waited for. `command` is what the event answers."""
        handler = self._handler
        if handler is None:
            self._begin_what_is_wished(event)
            return
        if words := handler.notice(event):  # the learner sees no file, and no numbers of its lines
            self._engine_session.notice = replace(self._engine_session.notice, text=one_line(words))
        if isinstance(event, ProcessEnded):
            handler.context.forget()
            handler.ended(event)
        elif (
            not handler.context.heard(event)
            and isinstance(event, FrameShown)
            and event.target is None
        ):
            handler.rested(command)

    def _begin_what_is_wished(self, event: AnyEvent) -> None:
        """As soon as the lesson stands still; if it never came to stand, that is forgotten."""
        if not self._wished or isinstance(event, ProcessEnded) or self._engine_session.is_moving:
            return
        wished, self._wished = self._wished, ""
        if hold(self._engine_session) is not None:
            self.begin(wished)

    def feel_the_pulse(self, silent_for: float) -> None:
        """Stop fixed code that has given no sign of life for too long."""
        handler = self._handler
        if not isinstance(handler, RepairHandler) or handler.context.attempt.state != "judging":
            return
        if silent_for > REPAIR_SECONDS:
            handler.stop(REPAIR_SECONDS)


def _told(numbers: Sequence[int], how: str) -> str:
    """`1, 2 and 4 are skipped`; empty where there are none."""
    *before, last = map(str, numbers) if numbers else ("",)
    named = " and ".join(filter(None, (", ".join(before), last)))
    return f"{named} {'are' if before else 'is'} {how}" if named else ""


def hold(engine_session: EngineSession) -> PausedRun | None:
    """All that it takes to have the present run again; None while there is none."""
    view, record = engine_session.view, engine_session.record
    if view is None or view.frame is None or record is None:
        return None
    runs = tuple(msgspec.structs.replace(run, curve=None) for run in view.runs)
    return PausedRun(view.lesson, record, view.frame.at, runs, view.goal, view.before)
