"""Records as rows of the tables, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec

from tutor.progress.records import Counts, DeedRecord, DraftRecord, PlaceRecord, Record, text_of
from tutor.progress.schema import COLUMNS

KINDS: tuple[type[Record], ...] = (DeedRecord, PlaceRecord, DraftRecord)

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
    """The records of a kind, oldest row first; rows that make no sense are left out.

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
        # Written by nobody we know, or half lost: the rest is still good.
        with suppress(msgspec.ValidationError):
            named = dict(zip(columns, row, strict=True))
            yield msgspec.convert(named, kind)


def add(connection: sqlite3.Connection, records: Iterable[Record], is_merge: bool) -> Counts:
    """Write records down; returns how many were new. To be called within a transaction.

    A deed that is there already stays. A place or draft takes the place of the one before;
    in a merge only if it is later (what this tutor writes is the latest, whatever the clock
    of the machine says).
    """
    new = dict.fromkeys(COLUMNS, 0)
    for record in records:
        table = _TABLES[type(record)]
        new[table] += connection.execute(_statement(table, is_merge), row_of(record)).rowcount
    return Counts(**new)


def forget(connection: sqlite3.Connection, lesson: str | None) -> None:
    """Delete all that is kept of a lesson, or of all. To be called within a transaction."""
    for table in COLUMNS:
        if lesson is None:
            connection.execute(f"DELETE FROM {table}")
        else:
            connection.execute(f"DELETE FROM {table} WHERE lesson = ?", (lesson,))


def row_of(record: Record) -> Row:
    """As it is written."""
    columns = COLUMNS[_TABLES[type(record)]]
    return tuple(_cell(getattr(record, column)) for column in columns)


def _cell(value: object) -> str | int | float | bytes | None:
    if isinstance(value, datetime):
        return text_of(value)
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # SQLite takes no half of a surrogate pair
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
    """The SQL of a column's value after an update. Code that was agreed to stays agreed to."""
    if column == "seal" and is_merge:
        return "CASE WHEN excluded.code = code THEN seal ELSE excluded.seal END"
    return f"excluded.{column}"
