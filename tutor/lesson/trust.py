"""Trust in lessons: those that came with the tutor, and content that the learner allowed.

A lesson is a program. One that did not ship runs only after the learner has agreed once to that
exact content.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path

import platformdirs

from tutor import APP
from tutor.errors import LessonError, LessonFileError
from tutor.lesson import library
from tutor.lesson.library import is_shipped
from tutor.lesson.model import Lesson
from tutor.plain import one_line


def default_store() -> Path:
    """The file of what was allowed: a digest and a path on each line."""
    return platformdirs.user_data_path(APP) / "trusted-lessons"


_agreed: set[str] = set()
"""The digests allowed in this session, whether they could be written to the store or not."""


def is_trusted(lesson: Lesson, store: Path | None = None) -> bool:
    """Whether the lesson may run without a question."""
    return (
        lesson.digest in _agreed
        or _is_as_shipped(lesson)
        or lesson.digest.encode() in _digests(store or default_store())
    )


def _is_as_shipped(lesson: Lesson) -> bool:
    """Whether the content, not only the path, belongs to a file that came with the tutor.

    The path may be a link that led elsewhere when the lesson was read.
    """
    if not is_shipped(lesson.path):
        return False
    try:
        source = library.load(lesson.path.resolve())
    except (LessonError, OSError, RuntimeError):
        return False
    return hashlib.sha256(source.encode()).hexdigest() == lesson.digest


def trust(lesson: Lesson, store: Path | None = None) -> LessonFileError | None:
    """Let this exact content run: from now on, or for this session if that can't be written.

    Returns the reason why it is only for this session; None where it is remembered.
    """
    _agreed.add(lesson.digest)
    file = store or default_store()
    line = f"{lesson.digest}  {one_line(str(lesson.path))}\n".encode()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _append(file, line)
    except OSError as error:
        words, name = error.strerror or str(error), lesson.path.name
        return LessonFileError("not_remembered", file=str(file), words=words, name=name)
    return None


def _append(file: Path, line: bytes) -> None:
    """Append under a lock and in one write, so that two tutors at once lose nothing."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with suppress(OSError):  # a file system without locks: one write is safe enough
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.write(handle, _repair(handle) + line) < len(line):
            raise OSError("the disk is full")
    finally:
        os.close(handle)


def _repair(handle: int) -> bytes:
    """A newline, if the file's last line was cut off: ours must stand on a line of its own."""
    size = os.lseek(handle, 0, os.SEEK_END)
    if not size:
        return b""
    os.lseek(handle, size - 1, os.SEEK_SET)
    return b"" if os.read(handle, 1) == b"\n" else b"\n"


def _digests(store: Path) -> frozenset[bytes]:
    """The digests that the file allows; none if it is missing or can't be read."""
    try:
        lines = store.read_bytes().splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.split(b" ", 1)[0] for line in lines)
