"""A session with an engine, driven without a screen: events come one after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.ui.fake_engine import FakeEngine
from tutor.lesson.model import Lesson
from tutor.progress import ExerciseResult
from tutor.protocol.commands import Command
from tutor.protocol.events import Event
from tutor.protocol.frame import Frame, Position
from tutor.session.bookmark import Bookmark, UnfinishedAttempt
from tutor.session.journal import Draft, Journal
from tutor.session.run_view import RunView
from tutor.session.session import Session


def current_attempt(bookmark: Bookmark) -> UnfinishedAttempt:
    """The attempt at the current exercise, as the bookmark has it."""
    (found,) = [a for a in bookmark.unfinished if a.exercise == bookmark.exercise]
    return found


class Notebook(Journal):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.results: list[tuple[str, ExerciseResult]] = []
        self.drafts: dict[str, Draft] = {}
        self.places: list[Bookmark] = []

    def record_result(self, lesson: str, exercise: str, kind: str, result: ExerciseResult) -> None:
        self.results.append((exercise, result))

    def save_bookmark(self, bookmark: Bookmark) -> None:
        self.places.append(bookmark)

    def save_draft(self, lesson: str, exercise: str, draft: Draft) -> None:
        self.drafts[exercise] = draft

    def draft_of(self, lesson: str, exercise: str) -> Draft | None:
        return self.drafts.get(exercise)

    def results_of(self, lesson: str) -> dict[str, ExerciseResult]:
        counted = ("done", "skipped", "unskipped")
        found = {e: result for e, result in self.results if result in counted}
        return {e: result for e, result in found.items() if result != "unskipped"}


class Driven:
    """The session, which has heard all that the engine has said whenever it is looked at."""

    def __init__(
        self,
        engine: FakeEngine,
        opened: Lesson | None = None,
        *,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With a lesson that is opened at once, or none."""
        self.engine = engine
        self._session = Session(engine, clock, journal=journal or Journal())
        self._events: deque[Event] = deque()
        engine.start(self._events.append)
        if opened is not None:
            self.opens(opened)

    def hear(self) -> None:
        while self._events:
            self._session.receive(self._events.popleft())

    @property
    def session(self) -> Session:
        self.hear()
        return self._session

    def __getattr__(self, name: str) -> Any:
        """What the session has, or can do."""
        return getattr(self.session, name)

    def opens(self, opened: Lesson) -> None:
        self.session.open(opened)
        self.hear()

    def sent(self, *kinds: type[Command]) -> list[Any]:
        """The commands of these kinds that the engine was sent."""
        return [command for command in self.engine.sent if isinstance(command, kinds)]

    @property
    def view(self) -> RunView:
        assert self.session.view is not None
        return self.session.view

    @property
    def frame(self) -> Frame:
        assert self.view.frame is not None
        return self.view.frame

    @property
    def at(self) -> Position:
        return self.frame.at
