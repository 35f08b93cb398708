"""A damaged file: set aside under a dated name, and what can still be read of it.

Nothing is ever deleted here.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tutor.progress import rows
from tutor.progress.connection import connect
from tutor.progress.paths import free_name
from tutor.progress.records import Record

_WITH_IT = ("-wal", "-shm", "-journal", "")
"""What belongs to a database file, the file itself last: without it the rest is nothing."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Two tutors that find the same damage at once set it aside one after the other."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def set_aside(file: Path) -> Path:
    """Rename the file, and what belongs to it; returns where it is now. Raises OSError."""
    aside = free_name(file, "damaged")
    for suffix in _WITH_IT:
        with suppress(FileNotFoundError):
            os.rename(f"{file}{suffix}", f"{aside}{suffix}")
    return aside


def salvage(file: Path) -> list[Record]:
    """The records that can be read from a damaged file. Never raises for its content.

    Each table is read from both ends, up to the damage.
    """
    # Without a log nothing is to be created beside the file, which nobody else has open.
    how = {} if os.path.exists(f"{file}-wal") else {"immutable": "1"}
    found: dict[Record, None] = {}
    with suppress(sqlite3.Error), closing(connect(file, 0, mode="ro", **how)) as connection:
        connection.execute("PRAGMA writable_schema = ON")  # or a cut off file is not read at all
        for kind in rows.KINDS:
            for backwards in (False, True):
                with suppress(sqlite3.Error):
                    for record in rows.read(connection, kind, backwards=backwards):
                        found[record] = None
    return list(found)
