"""A listener over a simulated engine: commands in, lines out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TextIO

import msgspec

from tests.session.test_exercise_controller import Notebook
from tests.ui.fake_engine import FakeEngine
from tests.ui.lessons import HEADLINES, lesson, section
from tutor.errors import LessonError
from tutor.lesson.exercise import Exercise
from tutor.lesson.model import Lesson
from tutor.plain_mode import CommandReader, LessonSource
from tutor.protocol.commands import Command, RunTo
from tutor.session.run_view import Start


class Finishing(FakeEngine):
    """A run is at its end at once."""

    def send(self, command: Command) -> int:
        number = super().send(command)
        if isinstance(command, RunTo):
            self.advance(command.epoch)
        return number


def open_lesson(*exercises: Exercise):
    """A shelf's way to open the listed lessons, these exercises in each."""

    def opened(name: str) -> Lesson:
        slug = name.rpartition("/")[2].removesuffix(".md")
        if slug not in [h.slug for h in HEADLINES if not h.fault]:
            raise LessonError(f"no lesson is named `{name}`")
        base = lesson(slug)
        if not exercises:
            return base
        return msgspec.structs.replace(base, sections=(*base.sections, section("", 60, *exercises)))

    return opened


def said(
    *lines: str,
    exercises: Sequence[Exercise] = (),
    engine: FakeEngine | None = None,
    notebook: Notebook | None = None,
    name: str | None = "line",
    width: int | None = None,
    is_attended: bool = False,
    keyboard: TextIO | None = None,
    script: Lesson | None = None,
) -> str:
    """All that is said when these lines are typed."""
    out = io.StringIO()
    opened = open_lesson(*exercises) if script is None else lambda _: script
    reader = CommandReader(
        engine or Finishing(),
        notebook or Notebook(),
        LessonSource(opened, lambda: HEADLINES),
        keyboard or io.StringIO("".join(f"{line}\n" for line in lines)),
        out,
        width=width,
        is_attended=is_attended,
    )
    reader.read(name, Start(mode="autograd"))
    return out.getvalue()


def answer_to(*lines: str, **options: object) -> str:
    """What is said to the last of these lines."""
    whole = said(*lines, **options)  # type: ignore[arg-type]
    return whole.removeprefix(said(*lines[:-1], **options)).strip()  # type: ignore[arg-type]
