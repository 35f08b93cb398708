"""The bytes of a lesson file as text, or one clear line about why there are none."""

from __future__ import annotations

import stat
from pathlib import Path

from tutor.errors import LessonError
from tutor.plain import one_line

MAX_BYTES = 256 * 1024
"""A lesson is some pages of text; what is larger is some other file."""

BOM = "\ufeff"


def load(path: Path) -> str:
    """The file's text as it is, byte order mark and carriage returns included.

    Raises LessonError, one line, if the file is missing, not a plain file, empty, too
    large, unreadable or not UTF-8.
    """
    try:
        data = _bytes(path)
    except FileNotFoundError:
        raise _error(path, "there is no such file; `tutor list` shows the lessons") from None
    except PermissionError:
        raise _error(path, "you may not read it; change its permissions") from None
    except OSError as error:
        raise _error(path, f"it can't be read ({error.strerror or error})") from None
    except ValueError as error:  # a path with a NUL character in it
        raise _error(path, f"it can't be read ({error})") from None
    if not data.strip():
        raise _error(path, "the file is empty; begin it with front matter between --- lines")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LessonError(
            one_line(
                f"{path}:{line}: byte 0x{data[error.start]:02x} at offset {error.start} "
                "is not UTF-8; save the file as UTF-8"
            )
        ) from None


def slug_of(path: Path) -> str:
    """The slug of the lesson in a file: its name without `.md`, made safe to show and to keep."""
    return one_line(path.stem)


def normal(text: str) -> str:
    """The text without a byte order mark, every line ended by a plain newline."""
    return text.removeprefix(BOM).replace("\r\n", "\n").replace("\r", "\n")


def _bytes(path: Path) -> bytes:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise _error(path, "this is a directory; name a .md file in it")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
        raise _error(path, "this is not a plain file; name a .md file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _error(path, "the file is larger than 256 KB; a lesson is a few pages of text")
    return data


def _error(path: Path, message: str) -> LessonError:
    return LessonError(one_line(f"{path}: {message}"))
