"""The command line run in this process, with a home of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tutor.cli import checking, main
from tutor.engine.proof_messages import Answered
from tutor.lesson.model import Lesson
from tutor.training.check import answers, check
from tutor.training.finding import Finding
from tutor.training.loop import LessonRaised


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Tutor = Callable[..., Done]


class ProofsHere:
    """Proves lessons in this process, which has torch already."""

    answers: tuple[Answered, ...] = ()

    def __enter__(self) -> ProofsHere:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def prove(self, lesson: Lesson, *, with_answers: bool = False) -> tuple[Finding, ...]:
        try:
            found = self.check(lesson)
            if with_answers:
                self.answers = tuple(Answered(*answer) for answer in answers(lesson))
        except LessonRaised as stopped:
            raise KeyboardInterrupt(f"{lesson.path}:{stopped.line}") from None
        return found

    @staticmethod
    def check(lesson: Lesson) -> tuple[Finding, ...]:
        return check(lesson)


@pytest.fixture
def tutor(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tutor:
    """Runs a command line in this process, which has torch already."""
    monkeypatch.setattr(checking, "Proofs", ProofsHere)

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        return Done(status, *capfd.readouterr())

    return run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("TUTOR_LESSONS", raising=False)
    monkeypatch.delenv("TUTOR_PROGRESS", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return tmp_path
