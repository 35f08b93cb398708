"""Lessons for commands: found by slug or path, read, and trusted to run."""

from __future__ import annotations

import sys
from pathlib import Path

from tutor.cli.output import warn
from tutor.errors import LessonError
from tutor.lesson import document, library, trust
from tutor.lesson.library import ORIGINAL
from tutor.lesson.model import Lesson
from tutor.plain import one_line


def trusted_lesson(name: str, *, trust_now: bool, language: str = ORIGINAL) -> Lesson:
    """The lesson of this slug or path, if it is trusted to run.

    For a slug, it is the lesson in `language`, or else the original. Raises LessonError if
    there is none, something is wrong with it, or it is not trusted and there is no terminal to
    ask at.
    """
    return trusted(library.find(name, language), trust_now=trust_now)


def trusted(path: Path, *, trust_now: bool) -> Lesson:
    """The lesson in a file, if it is trusted to run. Raises LessonError as above."""
    lesson = document.read(path)
    if trust.is_trusted(lesson):
        return lesson
    if not trust_now and not _says_yes(lesson):
        raise LessonError(
            f"{lesson.path} did not come with the tutor and is Python code: read it, "
            "then give --trust to let it run"
        )
    if trouble := trust.trust(lesson):
        warn(trouble)
    return lesson


def _says_yes(lesson: Lesson) -> bool:
    """Ask at the terminal, if there is one."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(
        f"{one_line(str(lesson.path))} did not come with the tutor. It is Python code and "
        "runs with your permissions.",
        file=sys.stderr,
    )
    print("Run exactly this content from now on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
