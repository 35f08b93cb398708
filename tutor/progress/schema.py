"""The tables of the file and their versions.

To change the tables: append a migration. What is in the field is never edited.
"""

from __future__ import annotations

import sqlite3
from typing import Literal

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE deeds (
            id TEXT NOT NULL PRIMARY KEY, -- a random UUID
            lesson TEXT NOT NULL,
            exercise TEXT NOT NULL,
            kind TEXT NOT NULL,
            deed TEXT NOT NULL,
            at TEXT NOT NULL -- ISO 8601, UTC, with microseconds: sorts by time
        )""",
        "CREATE INDEX deeds_by_exercise ON deeds (lesson, exercise)",
        """CREATE TABLE places (
            lesson TEXT NOT NULL PRIMARY KEY,
            at TEXT NOT NULL,
            mode TEXT NOT NULL,
            device TEXT NOT NULL,
            learning_rate REAL,
            epoch INTEGER NOT NULL,
            step INTEGER NOT NULL,
            fork TEXT NOT NULL,
            exercise TEXT NOT NULL,
            data BLOB NOT NULL
        )""",
        """CREATE TABLE drafts (
            lesson TEXT NOT NULL,
            exercise TEXT NOT NULL,
            code TEXT NOT NULL,
            at TEXT NOT NULL,
            PRIMARY KEY (lesson, exercise)
        )""",
    ),
    ("ALTER TABLE drafts ADD COLUMN seal TEXT NOT NULL DEFAULT ''",),
)
"""By version, from 1: the statements that lead to it from the one before."""

VERSION = len(_MIGRATIONS)

COLUMNS: dict[str, tuple[str, ...]] = {
    "deeds": ("id", "lesson", "exercise", "kind", "deed", "at"),
    "places": (
        "lesson",
        "at",
        "mode",
        "device",
        "learning_rate",
        "epoch",
        "step",
        "fork",
        "exercise",
        "data",
    ),
    "drafts": ("lesson", "exercise", "code", "at", "seal"),
}
"""By table, as they are in the latest version."""

State = Literal["empty", "older", "current", "newer", "foreign", "broken"]


def state_of(connection: sqlite3.Connection) -> State:
    """The state of a database for this version of the tutor.

    `foreign`: another program's. `broken`: it says that it is ours, and lacks what we need.
    """
    version = _version(connection)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if version == 0:
        return "foreign" if tables else "empty"
    if version > VERSION:
        return "newer" if tables >= {"deeds", "places", "drafts"} else "foreign"
    if version < VERSION:
        return "older"
    return "current" if _has_all_columns(connection) else "broken"


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an empty or older database to this version, all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again: another tutor may have done it while this one waited.
        for statements in _MIGRATIONS[_version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _has_all_columns(connection: sqlite3.Connection) -> bool:
    return all(
        {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} >= set(columns)
        for table, columns in COLUMNS.items()
    )
