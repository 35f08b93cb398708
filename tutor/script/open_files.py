"""Files that a script holds open, put back to the place where they stood at an epoch's end."""

from __future__ import annotations

import io
import os
from pathlib import PurePath
from typing import Any, NamedTuple


class FilePlace(NamedTuple):
    """The place at which an open file stood."""

    position: int
    size: int
    """In bytes. What is written behind this is cut off on the way back."""


def file_place(thing: io.IOBase) -> FilePlace | None:
    """The place of a file that the script has opened; None of all other streams.

    Raises OSError where a text file that is being iterated over can't tell its place.
    """
    if thing.closed or not _is_opened_file(thing):
        return None
    if thing.writable():
        thing.flush()
    return FilePlace(thing.tell(), os.fstat(thing.fileno()).st_size)


def _is_opened_file(thing: io.IOBase) -> bool:
    """Whether it was opened by its name: not standard output, no pipe, no stream in memory."""
    name = getattr(thing, "name", None)
    is_named = isinstance(name, str | bytes | PurePath) and not str(name).startswith("<")
    return is_named and thing.seekable()


def set_file_place(thing: Any, place: FilePlace | None) -> None:
    """Put a file back to its place. Raises ValueError if it has been closed since."""
    if place is None:
        return
    if thing.writable():
        thing.flush()
        if os.fstat(thing.fileno()).st_size > place.size:
            os.ftruncate(thing.fileno(), place.size)
    thing.seek(place.position)
