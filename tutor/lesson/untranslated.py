"""Parts of a translation that are still word for word the original.

Compares lessons that have been read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tutor.lesson.diagnostics import Diagnostic
from tutor.lesson.exercise import Choose, Exercise, Predict
from tutor.lesson.model import Lesson, Prose

_MATH_OR_CODE = re.compile(r"\$[^$]*\$|`[^`]*`")
_WORD = re.compile(r"[A-Za-z]{2,}")

LEAST = 3
"""Words that make a text which has to be translated; fewer may be a name, or what one types."""


def untranslated(original: Lesson, translation: Lesson) -> Iterator[Diagnostic]:
    """Each text that stands in both, by line of the translation."""
    theirs = {text for text, _ in _texts(original)}
    for text, line in sorted(_texts(translation), key=lambda found: found[1]):
        if text in theirs and len(_WORD.findall(_MATH_OR_CODE.sub("", text))) >= LEAST:
            short = text if len(text) <= 40 else f"{text[:39]}…"
            message = f"this is not translated: “{short}” is word for word that of {original.path}"
            yield Diagnostic(translation.path, line, message)


def _texts(lesson: Lesson) -> Iterator[tuple[str, int]]:
    """All that is said in words, on one line each, and where it stands."""
    for section in lesson.sections:
        yield section.heading, section.line
        for block in section.blocks:
            if isinstance(block, Prose):
                yield " ".join(block.markdown.split()), block.line
    for exercise in lesson.exercises:
        for text, key in _said(exercise):
            yield " ".join(text.split()), exercise.lines.get(key, exercise.line)


def _said(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """Its texts, and the keys of their lines."""
    yield exercise.ask, "ask"
    yield exercise.explain, "explain"
    for number, hint in enumerate(exercise.hints):
        yield hint, f"hints.{number}"
    if isinstance(exercise, Predict):
        for key, choice in exercise.choices.items():
            yield choice, f"choices.{key}"
        for number, wrong in enumerate(exercise.wrong):
            yield wrong.reply, f"wrong.{number}.reply"
        for number, again in enumerate(exercise.again):
            if f"again.{number}.ask" in exercise.lines:
                yield again.ask, f"again.{number}.ask"
    elif isinstance(exercise, Choose):
        for number, one in enumerate(exercise.choices):
            yield one.text, f"choices.{number}.text"
            yield one.reply, f"choices.{number}.reply"
