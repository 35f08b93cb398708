"""The bookmarks of a learner's own script: each of its loops has one, for any arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from tutor.lesson.model import Lesson, ScriptOptions
from tutor.progress.records import SCRIPT_KEY

LONGEST_KEY = 200
"""Characters of the key of a bookmark."""

_LENGTH = 12
"""Hex digits that stand for a loop and arguments."""


def script_key(path: Path, options: ScriptOptions | None = None) -> str:
    """The key of a script's bookmark: its whole path, and its loop and arguments where it has any.

    A path that no record may hold, as it is too long or not printable, is replaced by its digest.
    """
    import hashlib  # noqa: PLC0415 - loads OpenSSL; the menu needs no digest

    text = os.path.abspath(path)
    if not text.isprintable() or len(text) > LONGEST_KEY - len(SCRIPT_KEY) - _LENGTH - 1:
        text = hashlib.sha256(os.fsencode(text)).hexdigest()
    run = (options.loop, options.arguments) if options else (1, ())
    if run == (1, ()):
        return SCRIPT_KEY + text
    return f"{SCRIPT_KEY}{text}#{hashlib.sha256(repr(run).encode()).hexdigest()[:_LENGTH]}"


def is_of_script(key: str, script: str) -> bool:
    """Whether a key is that of a script, which is named by its key, in any loop."""
    return key == script or (key.startswith(f"{script}#") and len(key) == len(script) + _LENGTH + 1)


def as_left(lesson: Lesson, left: ScriptOptions | None) -> Lesson:
    """A script in the loop, and with the arguments, that it was left in: itself, if it is there.

    Also itself where it has no longer so many loops.
    """
    own = lesson.script
    if own is None or left is None or (own.loop, own.arguments) == (left.loop, left.arguments):
        return lesson
    options = replace(own, loop=left.loop, arguments=left.arguments)
    if left.loop == own.loop:
        return replace(lesson, script=options)
    from tutor.script.lesson import lesson_of_script  # noqa: PLC0415 - no lesson needs it
    from tutor.script.loops import outline_of  # noqa: PLC0415 - likewise

    outline = outline_of(lesson.source)
    if left.loop > len(outline.loops):
        return lesson
    return lesson_of_script(_Text(lesson.path, lesson.source, lesson.digest), outline, options)


@dataclass(frozen=True, slots=True)
class _Text:
    """A script that has been read already."""

    path: Path
    text: str
    digest: str
