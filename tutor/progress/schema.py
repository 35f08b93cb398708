"""The tables of the progress file, their versions, and records as rows of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

import msgspec

from tutor.progress.records import Counts, DraftRecord, ExerciseRecord, PlaceRecord, Record, text_of

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
"""By version, from 1: the statements that lead from the version before to it."""

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

    `foreign`: of another program. `broken`: ours, but without some table or column.
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
        # The version is read again: another tutor may have migrated it meanwhile.
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


KINDS: tuple[type[Record], ...] = (ExerciseRecord, PlaceRecord, DraftRecord)

_TABLES: dict[type, str] = dict(zip(KINDS, COLUMNS, strict=True))
_KEYS = {"deeds": "id", "places": "lesson", "drafts": "lesson, exercise"}

R = TypeVar("R", bound=Record)

Row: TypeAlias = tuple[str | int | float | bytes | None, ...]


def read(
    connection: sqlite3.Connection,
    kind: type[R],
    lesson: str | None = None,
    backwards: bool = False,
) -> Iterator[R]:
    """The records of a kind, oldest row first; invalid rows are left out.

    A column that a file of an older version lacks (it can't be migrated where it can't be
    written) has the record's default.
    """
    table = _TABLES[kind]
    there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    columns = [column for column in COLUMNS[table] if column in there]
    where = "" if lesson is None else " WHERE lesson = ?"
    order = "DESC" if backwards else "ASC"
    for row in connection.execute(
        f"SELECT {', '.join(columns)} FROM {table}{where} ORDER BY rowid {order}",
        () if lesson is None else (lesson,),
    ):
        # An invalid row costs only itself.
        with suppress(msgspec.ValidationError):
            named = dict(zip(columns, row, strict=True))
            yield msgspec.convert(named, kind)


def add(connection: sqlite3.Connection, records: Iterable[Record], is_merge: bool) -> Counts:
    """Write records; returns how many were new. Call it within a transaction.

    A known exercise record stays as it is. A place or draft replaces the one before; in a merge
    only if it is later. (Outside a merge it is the latest, even if the clock says otherwise.)
    """
    new = dict.fromkeys(COLUMNS, 0)
    for record in records:
        table = _TABLES[type(record)]
        new[table] += connection.execute(_statement(table, is_merge), row_of(record)).rowcount
    return Counts(**new)


def forget(connection: sqlite3.Connection, lesson: str | None) -> None:
    """Delete the records of a lesson, or of all. Call it within a transaction."""
    for table in COLUMNS:
        if lesson is None:
            connection.execute(f"DELETE FROM {table}")
        else:
            connection.execute(f"DELETE FROM {table} WHERE lesson = ?", (lesson,))


def row_of(record: Record) -> Row:
    """The record as a row."""
    columns = COLUMNS[_TABLES[type(record)]]
    return tuple(_cell(getattr(record, column)) for column in columns)


def _cell(value: object) -> str | int | float | bytes | None:
    if isinstance(value, datetime):
        return text_of(value)
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # SQLite refuses lone surrogates
    if value is None or isinstance(value, (int, float, bytes)):
        return value
    return str(value)  # the UUID


def _statement(table: str, is_merge: bool) -> str:
    columns = COLUMNS[table]
    insert = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({_KEYS[table]}) DO "
    )
    if table == "deeds":
        return insert + "NOTHING"
    update = "UPDATE SET " + ", ".join(f"{column} = {_new(column, is_merge)}" for column in columns)
    return insert + update + (" WHERE excluded.at > at" if is_merge else "")


def _new(column: str, is_merge: bool) -> str:
    """The SQL of a column's value after an update. Equal code keeps its seal."""
    if column == "seal" and is_merge:
        return "CASE WHEN excluded.code = code THEN seal ELSE excluded.seal END"
    return f"excluded.{column}"
