"""The progress file as a database: its tables and their versions, and how it is opened.

A damaged file is renamed with a date, and its readable records are kept.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from tutor.plain import one_line
from tutor.progress import (
    Counts,
    DraftRecord,
    ExerciseRecord,
    PlaceRecord,
    Record,
    free_name,
    time_text,
)

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
"""The statements that lead from each version to the next; the first make version 1."""

VERSION = len(_MIGRATIONS)

RECORD_TYPES: tuple[type[Record], ...] = (ExerciseRecord, PlaceRecord, DraftRecord)
_TABLES: dict[type, str] = dict(zip(RECORD_TYPES, ("deeds", "places", "drafts"), strict=True))
_KEYS = {"deeds": "id", "places": "lesson", "drafts": "lesson, exercise"}
COLUMNS: dict[str, tuple[str, ...]] = {
    _TABLES[kind]: kind.__struct_fields__ for kind in RECORD_TYPES
}
"""The columns of each table in the latest version, named like the record's fields."""

DatabaseState = Literal["empty", "older", "current", "newer", "foreign", "broken"]


def state_of(connection: sqlite3.Connection) -> DatabaseState:
    """The state of a database for this version of the tutor.

    `foreign`: of another program. `broken`: ours, but without some table or column.
    """
    connection.execute("BEGIN")  # of one moment: another tutor may begin the file right now
    try:
        version = _version(connection)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.rollback()
    if version == 0:
        return "foreign" if tables else "empty"
    if version > VERSION:
        return "newer" if tables >= {"deeds", "places", "drafts"} else "foreign"
    if version < VERSION:
        return "older"
    return "current" if _has_all_columns(connection) else "broken"


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all that is done meanwhile, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            connection.rollback()
        raise


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an empty or older database to this version, all of it or nothing."""
    with transaction(connection):
        # The version is read again: another tutor may have migrated it meanwhile.
        for statements in _MIGRATIONS[_version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _has_all_columns(connection: sqlite3.Connection) -> bool:
    return all(
        {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} >= set(columns)
        for table, columns in COLUMNS.items()
    )


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
        connection.execute(f"DELETE FROM {table} WHERE lesson = coalesce(?, lesson)", (lesson,))


def row_of(record: Record) -> Row:
    """The record as a row."""
    columns = COLUMNS[_TABLES[type(record)]]
    return tuple(_cell(getattr(record, column)) for column in columns)


def _cell(value: object) -> str | int | float | bytes | None:
    if isinstance(value, datetime):
        return time_text(value)
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


_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_ROOM = 64 * 1024
_READ_A_LITTLE = "SELECT count(*) FROM sqlite_master"


class NotOrdinary(sqlite3.OperationalError):
    """The error for a pipe, a socket or a device in the file's place."""


def connect(file: Path, patience: float, **query: str) -> sqlite3.Connection:
    """Open the file, without automatic transactions.

    `patience`: seconds to wait for another program that is writing. `query`: as in SQLite's
    URIs, `mode="ro"`. Raises sqlite3.Error.
    """
    # A pipe would be waited for. (These raise nothing where a folder may not be looked into.)
    if os.path.exists(file) and not (os.path.isfile(file) or os.path.isdir(file)):
        raise NotOrdinary
    words = "&".join(f"{key}={value}" for key, value in query.items())
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(file))}?{words}",
        uri=True,
        timeout=patience,
        isolation_level=None,
    )
    connection.text_factory = _text
    return connection


def connect_to_write(file: Path, patience: float) -> sqlite3.Connection:
    """Open the file, or create it; nothing is written into it yet.

    Raises sqlite3.Error, or OSError where there can be no folder for it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    is_new = not os.path.lexists(file)
    connection = connect(file, patience, mode="rwc")
    try:
        if is_new:
            with suppress(OSError):  # deleted meanwhile, or no permissions here
                file.chmod(0o600)
        _touch(connection)
        return connection
    except BaseException:
        connection.close()
        raise


def write_safely(connection: sqlite3.Connection) -> None:
    """Set up the database so that a kill or a power cut loses no committed record.

    With a write-ahead log (WAL), where the file system supports it, readers and a writer don't
    wait for each other. Raises sqlite3.Error if nothing can be written.
    """
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if _code(error) not in _BUSY:  # another tutor does the same right now
            raise


def connect_to_read(file: Path, patience: float) -> sqlite3.Connection:
    """Open a file that can't be written. Raises sqlite3.Error.

    Where the index of the log can't be written, the file is read as if no program wrote it.
    """
    connection = connect(file, patience, mode="ro")
    try:
        connection.execute(_READ_A_LITTLE)
        return connection
    except sqlite3.OperationalError:
        connection.close()
    return connect(file, patience, mode="ro", immutable="1")


def check_whole(connection: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError, as for any damage, if a page of the file is damaged."""
    result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if result != "ok":
        raise damage(str(result))


def damage(what: str) -> sqlite3.DatabaseError:
    """An error like SQLite's for a damaged file, for damage that SQLite does not see."""
    error = sqlite3.DatabaseError(one_line(what))
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def is_damage(error: Exception) -> bool:
    """Whether an error means that the file's content is damaged."""
    return _code(error) in _DAMAGE


def reason(file: Path, error: Exception) -> str:
    """The code of the reason why the file can't be used; `system` for what the system says."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "file_for_folder"
    if isinstance(error, OSError):
        return "system"
    if os.path.isdir(file):
        return "is_folder"
    if isinstance(error, NotOrdinary):
        return "not_ordinary"
    code = _code(error)
    if code in _DAMAGE:
        return "damaged"
    if code in _BUSY:
        return "file_busy"
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(file.parent)):
        return "disk_full"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return "read_only"
    return "system"


def system_words(error: Exception) -> str:
    """The system's words for an error."""
    if isinstance(error, OSError):
        return one_line(error.strerror or str(error)).lower()
    return one_line(str(error))


def _touch(connection: sqlite3.Connection) -> None:
    """Read a little. Raises sqlite3.Error if that can't be done."""
    try:
        connection.execute(_READ_A_LITTLE)
    except sqlite3.OperationalError as error:
        if _code(error) in _BUSY:
            raise
        try:
            _leave_log(connection)
        except sqlite3.Error:
            raise error from None


def _leave_log(connection: sqlite3.Connection) -> None:
    """Change a file with a log back to a journal, on a file system without shared memory.

    On a network file system, for example, only one program could use the log.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA locking_mode = NORMAL")
    connection.execute(_READ_A_LITTLE)


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for other errors."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_full(folder: Path) -> bool:
    """Whether the disk has no room for SQLite's shared memory, which has no error code."""
    try:
        return shutil.disk_usage(folder).free < _ROOM
    except OSError:
        return False


def _text(raw: bytes) -> str:
    """The text, with a replacement for each damaged byte."""
    return raw.decode(errors="replace")


_WITH_IT = ("-wal", "-shm", "-journal", "")
"""Endings of the files of a database; the file itself is last."""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """A lock, so that two tutors that find the same damage handle it one after the other."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def set_aside(file: Path) -> Path:
    """Rename the file and the files of its log; returns the new path. Raises OSError."""
    aside = free_name(file, "damaged")
    for suffix in _WITH_IT:
        with suppress(FileNotFoundError):
            os.rename(f"{file}{suffix}", f"{aside}{suffix}")
    return aside


def salvage(file: Path) -> list[Record]:
    """The readable records of a damaged file. Never raises for its content.

    Each table is read from both ends, up to the damage.
    """
    # Without a log nothing must be created beside the file; no other program has it open.
    how = {} if os.path.exists(f"{file}-wal") else {"immutable": "1"}
    found: dict[Record, None] = {}
    with suppress(sqlite3.Error), closing(connect(file, 0, mode="ro", **how)) as connection:
        connection.execute("PRAGMA writable_schema = ON")  # or a cut off file is not read at all
        for kind in RECORD_TYPES:
            for backwards in (False, True):
                with suppress(sqlite3.Error):
                    for record in read(connection, kind, backwards=backwards):
                        found[record] = None
    return list(found)
