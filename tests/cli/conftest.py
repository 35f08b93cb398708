"""The command line run in this process, with a home of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tutor.cli import checking, exporting, main, running
from tutor.cli.training_child import train
from tutor.engine.command_messages import AnswerComputed, Event, LessonStopped, TrainLesson
from tutor.engine.streams import Capture
from tutor.lesson.model import Lesson
from tutor.training.loop import LessonRaised
from tutor.validation.finding import Finding
from tutor.validation.lesson_check import answers, check


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Tutor = Callable[..., Done]


class CheckerHere:
    """Proves lessons in this process, which has torch already."""

    answers: tuple[AnswerComputed, ...] = ()

    def __enter__(self) -> CheckerHere:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def prove(self, lesson: Lesson, *, with_answers: bool = False) -> tuple[Finding, ...]:
        try:
            found = self.check(lesson)
            if with_answers:
                self.answers = tuple(AnswerComputed(*answer) for answer in answers(lesson))
        except LessonRaised as stopped:
            raise KeyboardInterrupt(f"{lesson.path}:{stopped.line}") from None
        return found

    @staticmethod
    def check(lesson: Lesson) -> tuple[Finding, ...]:
        return check(lesson)


class TrainingHere(running.Training):
    """Trains in this process, which has torch already."""

    def __init__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return

    def go(self, wish: TrainLesson, write: Callable[[str], object], *, quiet: bool = False) -> None:
        told: list[Event] = []
        capture = Capture()
        try:
            train(wish, told.append, capture)
        finally:
            capture.close()
        for event in told:
            if isinstance(event, LessonStopped):
                raise KeyboardInterrupt
            running._pass_on(event, write, quiet)


@pytest.fixture
def tutor(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tutor:
    """Runs a command line in this process, which has torch already."""
    monkeypatch.setattr(checking, "LessonChecker", CheckerHere)
    for command in (running, exporting):
        monkeypatch.setattr(command, "Training", TrainingHere)

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
