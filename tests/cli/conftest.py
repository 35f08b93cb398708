"""The command line run in this process, with a home of the test's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from tutor.cli import checking, main, running, scripts, writing
from tutor.engine import lesson_commands
from tutor.engine.child import Capture
from tutor.engine.command_client import CommandClient, OnEvent, raise_failure
from tutor.engine.lesson_commands import run_lesson
from tutor.protocol.commands import LessonCommand
from tutor.protocol.events import (
    Event,
    LessonStopped,
    OutputPrinted,
)


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Tutor = Callable[..., Done]


class ClientHere(CommandClient):
    """Does commands in this process, which has torch already."""

    def start(self) -> None:
        return

    def do(self, command: LessonCommand, on_event: OnEvent, seconds: float | None = None) -> None:
        events: list[Event] = []
        streams = redirect_stdout(sys.stdout), redirect_stderr(sys.stderr)  # put back at the end
        with streams[0], streams[1], closing(Capture()) as capture:
            capture.renew()

            def send(event: Event) -> None:
                text, left_out = capture.take()
                if text or left_out:
                    events.append(OutputPrinted(text=text, left_out=left_out))
                events.append(event)

            run_lesson(command, send, capture)
        for event in events[:-1]:
            on_event(event)  # type: ignore[arg-type]
        if isinstance(last := events[-1], LessonStopped):
            raise KeyboardInterrupt(last.part)
        raise_failure(last)  # type: ignore[arg-type]


@pytest.fixture
def tutor(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tutor:
    """Runs a command line in this process, which has torch already."""
    for command in (checking, running, scripts, writing):
        monkeypatch.setattr(command, "CommandClient", ClientHere)
    monkeypatch.setattr(lesson_commands, "limit_memory", lambda _: None)  # nor for all other tests

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        return Done(status, *capfd.readouterr())

    return run
