"""Diagnostics of a lesson beside the others: its prerequisites, and its original.

No code runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tutor.errors import LessonError
from tutor.lesson import document, front_matter, library
from tutor.lesson.diagnostics import Diagnostic, DiagnosticList
from tutor.lesson.languages import ORIGINAL, TRANSLATED, sibling
from tutor.lesson.map import diagnostic_of
from tutor.lesson.model import Lesson
from tutor.lesson.translation import differences, untranslated


def diagnostics_beside_others(lesson: Lesson) -> tuple[Diagnostic, ...]:
    """Slugs in `builds_on` that are wrong or lead back, and differences from the original."""
    return (*_of_prerequisites(lesson), *_of_translation(lesson))


def _of_prerequisites(lesson: Lesson) -> Iterator[Diagnostic]:
    if lesson.builds_on:
        known = {**_builds_on(lesson), lesson.slug: lesson.builds_on}
        if wrong := diagnostic_of(lesson.slug, known):
            front = front_matter.parse(lesson.source.split("\n"), DiagnosticList(lesson.path))
            yield Diagnostic(lesson.path, front.line("builds_on"), wrong)


def _builds_on(lesson: Lesson) -> Mapping[str, tuple[str, ...]]:
    """The prerequisites of each lesson: of those beside this lesson, and of the shipped ones."""
    folder = lesson.path.absolute().parent
    home = folder.parent if folder.name in TRANSLATED else folder
    beside = (library.headline(path) for path in library.lesson_files(home))
    found = {h.slug: h.builds_on for h in beside}
    return found | {h.slug: h.builds_on for h in library.headlines()}


def _of_translation(lesson: Lesson) -> Iterator[Diagnostic]:
    path = library.original_of(lesson.path)
    if path is None:
        if lesson.language != ORIGINAL:
            where = sibling(lesson.path, ORIGINAL)
            what = f"there is no lesson that this one, in {lesson.language}/, is a translation of"
            yield Diagnostic(
                lesson.path, 1, f"{what}; write {where}, or call this file as that one"
            )
        return
    try:
        original = document.read(path)
    except LessonError:
        message = f"{path} is not a lesson yet, so it can't be compared with this one; fix it first"
        yield Diagnostic(lesson.path, 1, message)
        return
    yield from differences(original, lesson)
    yield from untranslated(original, lesson)
