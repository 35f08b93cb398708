"""A real engine, started once for all tests that ask: loading torch takes seconds."""

from __future__ import annotations

import io
import queue
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from tests import shipped as lessons
from tests.training.conftest import FRONT, lesson_text
from tests.waiting import PATIENCE
from tutor.engine import client, process
from tutor.engine.child import Interrupts
from tutor.engine.client import EngineClient
from tutor.engine.server import Server
from tutor.lesson.document import parse
from tutor.protocol.commands import Command, FramePainted, Inspect, OpenLesson
from tutor.protocol.events import Event, FrameShown, OutputPrinted, ProcessEnded

E = TypeVar("E", bound=Event)


class Conversation:
    """A client, and what has been heard from it."""

    def __init__(self, client: EngineClient | None = None) -> None:
        self.client = client or EngineClient()
        self.events: queue.Queue[Event] = queue.Queue()
        self.heard: list[Event] = []
        self.client.start(self.events.put)

    def next(self) -> Event:
        event = self.events.get(timeout=PATIENCE)
        if isinstance(event, FrameShown) and not event.answers:
            self.client.send(FramePainted())
        self.heard.append(event)
        return event

    def ask(self, command: Command) -> Event:
        """Send a command and wait for its answer, or for the end of the process."""
        number = self.client.send(command)
        return self.answer_to(number)

    def answer_to(self, number: int) -> Event:
        while True:
            event = self.next()
            if event.answers == number or isinstance(event, ProcessEnded):
                return event

    def wait_for(self, kind: type[E]) -> E:
        while True:
            event = self.next()
            if isinstance(event, kind):
                return event

    def open(self, front: str = FRONT, **phases: str) -> Event:
        """Open a lesson made of phases given by name."""
        return self.ask(OpenLesson(lesson=parse(lesson_text(front, **phases), Path("test.md"))))

    def open_shipped(self, slug: str, mode: str) -> FrameShown:
        """Open a shipped lesson."""
        return self.shown(OpenLesson(lesson=lessons.lesson(slug), mode=mode))

    def printed(self) -> list[OutputPrinted]:
        """What the lesson has printed, as far as it was heard."""
        return [event for event in self.heard if isinstance(event, OutputPrinted)]

    def printed_text(self) -> str:
        """The same as one text."""
        return "".join(event.text for event in self.printed())

    def shown(self, command: Command) -> FrameShown:
        """The answer to a command that must succeed."""
        event = self.ask(command)
        assert isinstance(event, FrameShown), event
        return event


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lesson that can be interrupted is not killed because the machine is slow.

    One that has ended is started again at once, however often: the tests share it.
    """
    monkeypatch.setattr(client, "LONG_ENOUGH", 0.0)
    monkeypatch.setattr(client, "INTERRUPT_SECONDS", PATIENCE)
    monkeypatch.setattr(process, "DUMP_SECONDS", PATIENCE)
    monkeypatch.setattr(process, "DUMP_PAUSE", 0.5)
    monkeypatch.setattr(client, "BACK_OFF", (0.0,) * len(client.BACK_OFF))


@pytest.fixture(scope="session")
def _engine() -> Iterator[Conversation]:
    conversation = Conversation()
    yield conversation
    conversation.client.close()


@pytest.fixture
def engine(_engine: Conversation) -> Conversation:
    """The engine, nothing remembered of earlier tests, and nothing looked at."""
    _engine.ask(Inspect())
    _engine.heard.clear()
    return _engine


def server_here() -> tuple[Server, io.BytesIO]:
    """A server in this process, which has no lesson open, and all that it writes."""
    capture: Any = SimpleNamespace(muted=nullcontext, renew=lambda: None, take=lambda: ("", 0))
    inbox: Any = SimpleNamespace(has_painted=True, interrupts=Interrupts())
    clean: Any = SimpleNamespace(restore=lambda: "")
    out = io.BytesIO()
    return Server(inbox, out, capture, clean=clean), out
