"""The base class of the exercise handlers, and the context that each works in.

A handler sets up a run, waits for an answer and checks it. Its context is the attempt, its run and
the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Generic, TypeVar

import msgspec

from tutor.lesson.exercise import Exercise, Stage, kind_of
from tutor.lesson.model import Lesson
from tutor.protocol.frame import Position
from tutor.protocol.messages import (
    AnyCommand,
    AnyEvent,
    CommandRefused,
    FrameShown,
    LessonFailed,
    ProcessEnded,
)
from tutor.session import feedback
from tutor.session.attempt import Attempt, Wants
from tutor.session.engine_session import EngineSession
from tutor.session.journal import Deed, Draft, Journal
from tutor.training.exercise_start import position_of, standing

Then = Callable[[AnyEvent], None]


class AttemptContext:
    """One attempt, and the questions to the engine that it has given rise to."""

    def __init__(
        self, engine_session: EngineSession, journal: Journal, lesson: Lesson, attempt: Attempt
    ) -> None:
        self.engine_session = engine_session
        self.lesson = lesson
        """As its file has it, whatever code the exercise puts into it."""
        self.attempt = attempt
        self._journal = journal
        self._then: dict[int, Then] = {}
        """By the number of a question: what to do with its answer."""

    # ── The attempt ─────────────────────────────────────────────────────────────────

    def set(self, **changes: object) -> None:
        """Change what the learner sees of it."""
        self.attempt = replace(self.attempt, **changes)  # type: ignore[arg-type]

    def did(self, deed: Deed) -> None:
        """Have it written down."""
        exercise = self.attempt.exercise
        self._journal.did(self.lesson.slug, exercise.id, kind_of(exercise), deed)

    def tried(self) -> None:
        """One more answer was given."""
        self.set(tries=self.attempt.tries + 1)
        self.did("tried")

    def succeed(self, reply: str) -> None:
        """It is done; now it may be explained."""
        self.set(state="done", reply=reply, explain=self.attempt.asked.explain)
        self.did("done")

    def draft(self) -> Draft | None:
        """The code that was left here; none once it is done: then it is broken anew."""
        if self._journal.states(self.lesson.slug).get(self.attempt.exercise.id) == "done":
            return None
        return self._journal.draft_of(self.lesson.slug, self.attempt.exercise.id)

    def keep_draft(self, code: str) -> None:
        """Remember the code as it is now; what was made of code from elsewhere is so, too."""
        self.set(code=code)
        draft = Draft(code, is_own=not self.attempt.is_from_elsewhere)
        self._journal.draft(self.lesson.slug, self.attempt.exercise.id, draft)

    # ── Its run ─────────────────────────────────────────────────────────────────────

    def ask(self, command: AnyCommand, then: Then) -> None:
        """Ask the engine, and go on with its answer."""
        number = self.engine_session.send(command)
        if number is not None:
            self._then[number] = then

    def open(
        self,
        stage: Stage,
        then: Then,
        *,
        at: Position | None = None,
        code: str | None = None,
        keep_settings: bool = False,
        seed: int | None = None,
    ) -> None:
        """Set up a run at `stage` (or `at` a place of it), with the learner's `code`.

        With `keep_settings` its mode, learning rate and seed are those that hold now; a `seed`
        goes before.
        """
        view = self.engine_session.view
        device = view.device if view else "cpu"
        begun = standing(self.lesson, self.attempt.exercise, stage=stage, code=code, device=device)
        record = begun.record
        if keep_settings and view is not None and (frame := view.frame) is not None:
            record = msgspec.structs.replace(
                record, mode=frame.mode, learning_rate=frame.learning_rate, seed=frame.seed
            )
        if seed is not None:
            record = msgspec.structs.replace(record, seed=seed)
        self._then.clear()
        place = begun.at if at is None else at
        number = self.engine_session.open_run(begun.lesson, record, place, aside=True)
        if number is not None:
            self._then[number] = then

    def heard(self, event: AnyEvent) -> bool:
        """Go on with what was waited for; whether the event was that."""
        then = self._then.pop(event.answers, None)
        if then is None:
            return False
        then(event)
        return True

    def forget(self) -> None:
        """Nothing that was asked will be answered any more."""
        self._then.clear()


E = TypeVar("E", bound=Exercise)


class ExerciseHandler(Generic[E]):
    """Base class of the handlers: a run is set up, then an answer is awaited."""

    wants: ClassVar[Wants] = "number"

    def __init__(self, exercise: E, context: AttemptContext) -> None:
        self.exercise = exercise
        self.context = context

    @property
    def stage(self) -> Stage:
        """The run that is asked about."""
        return self.exercise.stage

    @property
    def place(self) -> Position:
        """Where it is asked."""
        return position_of(self.context.lesson, self.stage)

    def begin(self) -> None:
        """Set up the run, and ask."""
        self.context.open(self.stage, self.opened)

    def opened(self, event: AnyEvent) -> None:
        """The run stands, or can't be set up."""
        if isinstance(event, CommandRefused):
            self.context.set(reply=f"It can't be set up: {feedback.reason(event)}")
        if self.context.attempt.state == "opening":
            self.context.set(state="asking")

    def answer(self, text: str) -> None:
        """Check what was typed. Raises ValueError, fit to show, if it can't be read."""

    def go_on(self) -> None:
        """Ask again after a wrong answer, where that is another question."""

    def rested(self, command: AnyCommand | None) -> None:
        """The run has come to rest somewhere."""

    def ended(self, event: ProcessEnded) -> None:
        """The process that ran it has ended; if another comes, begin there."""
        if event.restarting:
            self.begin()

    def why(self, event: AnyEvent) -> str:
        """Why something was not done; where code failed, its line is quoted."""
        if isinstance(event, LessonFailed):
            return feedback.code_failed(self.place_of(event.phase, event.line), event.message)
        return feedback.reason(event)

    def place_of(self, phase: str, line: int | None) -> str:
        """A line of a phase's code, as the learner can find it."""
        is_own = feedback.is_own(self.exercise, phase)
        quoted = "" if is_own else feedback.code_at(self.context.lesson, line)
        return feedback.place_in_code(phase, line, quoted, is_own=is_own)

    def notice(self, event: AnyEvent) -> str:
        """A notice on code that failed or was stopped; empty for other events."""
        if isinstance(event, LessonFailed):
            return f"{event.phase} failed{self._at(event.phase, event.line)} · R starts again"
        if stopped := feedback.stopped_in(event):
            back = "; its changes were undone" if isinstance(event, FrameShown) else ""
            return f"Stopped: {stopped[0]} was still running{self._at(*stopped)}{back}"
        return ""

    def _at(self, phase: str, line: int | None) -> str:
        """To be said behind the phase: ` (line 2 of your code)`, ` at loss = …`."""
        if feedback.is_own(self.exercise, phase):
            return f" (line {line} of your code)" if line else ""
        quoted = feedback.code_at(self.context.lesson, line)
        return f" at {quoted}" if quoted else ""

    def show_solution(self) -> None:
        """How it is done."""
        self.context.set(solution=self.solution())
        self.context.did("shown")

    def solution(self) -> str:
        """In words or code."""
        return ""
