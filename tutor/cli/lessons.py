"""From what was typed to a lesson that may run: found, read and trusted."""

from __future__ import annotations

import sys
from pathlib import Path

from tutor.errors import LessonError
from tutor.lesson import document, library, trust
from tutor.lesson.languages import ORIGINAL
from tutor.lesson.model import Lesson
from tutor.plain import one_line


def trusted_lesson(name: str, *, trust_now: bool, language: str = ORIGINAL) -> Lesson:
    """The lesson of this slug or path, once it is clear that its code may run.

    Named by its slug, it is the one in `language` if it is there in it, else the original.

    Raises LessonError if there is none, it has faults, or it is not trusted and nobody
    is there to be asked.
    """
    return trusted(library.find(name, language), trust_now=trust_now)


def trusted(path: Path, *, trust_now: bool) -> Lesson:
    """The lesson in a file, once it is clear that its code may run. Raises as above."""
    lesson = document.read(path)
    if trust.is_trusted(lesson):
        return lesson
    if not trust_now and not _says_yes(lesson):
        raise LessonError(
            f"{lesson.path} did not come with the tutor and is Python code: read it, "
            "then give --trust to let it run"
        )
    if trouble := trust.trust(lesson):
        print(f"tutor: {trouble}", file=sys.stderr)
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
