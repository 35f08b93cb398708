"""Headlines and lessons that were read before, kept in the platform's cache folder.

Parsing and checking a lesson takes longer than all else at the start of the app. The result is used
again while the lesson's text, the tutor's code and the libraries are the same. A cache that can't
be read or written costs nothing but that time.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
import platformdirs

from tutor import APP
from tutor.lesson import library
from tutor.lesson.languages import ORIGINAL, language_of
from tutor.lesson.library import Headline
from tutor.lesson.model import Lesson

T = TypeVar("T")
_Headlines: TypeAlias = dict[str, tuple[str, Headline]]
"""The state of each file, and its headline, by path."""


class _Kept(msgspec.Struct):
    """The content of a cache file."""

    reader: str
    """The state of the code that made it."""
    content: msgspec.Raw


def headlines(language: str = ORIGINAL) -> tuple[Headline, ...]:
    """`library.headlines`, reading only the files that have changed."""
    file = _folder() / f"headlines-{language}"
    known, found = _load(file, _Headlines) or {}, _Headlines()

    def read(path: Path, languages: tuple[str, ...]) -> Headline:
        state = _state_of(path)
        kept_state, headline = known.get(str(path), ("", None))
        if headline is None or not state or state != kept_state or headline.languages != languages:
            headline = library.headline(path, languages)
        found[str(path)] = (state, headline)
        return headline

    listed = library.headlines(language, read)
    if found != known:
        _save(file, found)
    return listed


def headline(path: Path) -> Headline:
    """`library.headline`, reading the file only if it has changed since it was listed."""
    known = _load(_folder() / f"headlines-{language_of(path)}", _Headlines) or {}
    state, found = known.get(str(path), ("", None))
    return found if found is not None and state == _state_of(path) else library.headline(path)


def read(path: Path) -> Lesson:
    """`document.read`, parsing only a text that has changed. Raises the same errors."""
    import hashlib  # noqa: PLC0415 - loads OpenSSL; the menu needs no digest

    source = library.load(path)
    file = _folder() / hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    kept = _load(file, Lesson)
    digest = hashlib.sha256(source.encode()).hexdigest()
    if kept is not None and (kept.digest, kept.path) == (digest, path):
        return kept
    from tutor.lesson.document import parse  # noqa: PLC0415 - loads the parsers

    lesson = parse(source, path)
    _save(file, lesson)
    return lesson


def _folder() -> Path:
    return platformdirs.user_cache_path(APP)


def _state_of(path: Path) -> str:
    """The identity, size and times of a file; empty if there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return ""
    return repr((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


@cache
def _reader() -> str:
    """The state of all that reads lessons: the tutor's files, the libraries, Python's version."""
    libraries = os.stat(Path(msgspec.__file__).parents[1]).st_mtime_ns  # an update changes it
    files = [(file.path, file.stat().st_size, file.stat().st_mtime_ns) for file in _read_by()]
    return repr((sys.version, libraries, files))


def _read_by() -> list[os.DirEntry[str]]:
    """The tutor's code, and its tables, that a parsed lesson depends on."""
    package = Path(__file__).parents[1]
    folders = (package, package / "lesson", package / "formula")
    found = [entry for folder in folders for entry in os.scandir(folder) if entry.is_file()]
    return sorted(found, key=lambda entry: entry.path)


def _load(file: Path, kind: type[T]) -> T | None:
    """The content of a cache file; None if other code made it or it can't be read."""
    try:
        kept = msgspec.msgpack.decode(file.read_bytes(), type=_Kept)
        if kept.reader != _reader():
            return None
        return msgspec.msgpack.decode(
            kept.content, type=kind, dec_hook=lambda _, value: Path(os.fsdecode(value))
        )
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
        return None


def _save(file: Path, content: object) -> None:
    """Write atomically; another tutor may read it meanwhile."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError, UnicodeEncodeError):  # such a name (with a surrogate) is not cached
        raw = msgspec.Raw(msgspec.msgpack.encode(content, enc_hook=os.fsencode))
        data = msgspec.msgpack.encode(_Kept(_reader(), raw))
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.replace(file)
