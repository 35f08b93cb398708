"""The progress file as a store of records, which several tutors may use at once.

A store belongs to the thread that made it. Its records can be written to a text file, which has a
header and one JSON object a line. A draft is code that runs when its exercise begins: one from
elsewhere (imported, or in another database) has no seal of this machine and must not run unasked. A
seal is an HMAC of the draft under a key in the platform's data folder, outside of the progress
file, which may come from anywhere.
"""

from __future__ import annotations

import codecs
import hashlib
import hmac
import os
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import platformdirs

from tutor import APP
from tutor.errors import ProgressError
from tutor.progress import (
    RANK,
    Counts,
    DraftRecord,
    ExerciseSummary,
    PlaceRecord,
    Record,
    Timestamp,
    database,
    now,
)
from tutor.progress.database import (
    check_whole,
    connect_to_read,
    connect_to_write,
    damage,
    is_damage,
    only_one,
    reason,
    salvage,
    set_aside,
    system_words,
    write_safely,
)

_EVENTS = (*RANK, "unskipped")
_BEST = " ".join(f"WHEN '{deed}' THEN {i}" for i, deed in enumerate(RANK) if deed != "skipped")
_SKIPPED = """
    max(CASE deed WHEN 'skipped' THEN at END)
    > coalesce(max(CASE deed WHEN 'unskipped' THEN at END), '')
"""
"""The SQL for whether the last skip was not taken back."""

_QUESTION = f"""
    SELECT lesson, exercise,
        max(kind) AS kind,
        nullif(max(
            coalesce(max(CASE deed {_BEST} END), -1),
            CASE WHEN {_SKIPPED} THEN {RANK.index("skipped")} ELSE -1 END
        ), -1) AS state,
        sum(deed = 'tried') AS tries,
        sum(deed = 'hinted') AS hints,
        min(CASE deed WHEN 'done' THEN at END) AS first_done,
        min(CASE deed WHEN 'shown' THEN at END) AS first_shown,
        max(at) AS last
    FROM deeds
    WHERE deed IN ({", ".join(f"'{deed}'" for deed in _EVENTS)})
    GROUP BY lesson, exercise
    HAVING state IS NOT NULL
    ORDER BY min(at)
"""


def exercises(connection: sqlite3.Connection) -> list[ExerciseSummary]:
    """A summary of each exercise that has events, in the order in which they were begun."""
    found = []
    answer = connection.execute(_QUESTION)
    names = [column[0] for column in answer.description]
    for row in answer:
        with suppress(msgspec.ValidationError):  # an invalid row costs only itself
            found.append(_summary(dict(zip(names, row, strict=True))))
    return found


def _summary(row: dict[str, Any]) -> ExerciseSummary:
    shown, done = row.pop("first_shown"), row["first_done"]
    was_shown_first = shown is not None and (done is None or shown < done)
    row.update(state=RANK[row["state"]], was_shown_first=was_shown_first)
    return msgspec.convert(row, ExerciseSummary)


T = TypeVar("T")


class SetAside(NamedTuple):
    """A damaged file that was set aside."""

    name: str
    """The name that it has now."""
    saved: int
    """The number of its records that could be read, and are in the new file."""


class Store:
    """The open and checked file. Making a store never raises: `trouble` says what is wrong.

    Methods that read or write raise ProgressError if they can't; then nothing was written, and
    trying again later may help. A damaged file is set aside and a new one is begun, whenever the
    damage is found.
    """

    def __init__(self, file: Path, patience: float = 2.0) -> None:
        """`patience`: seconds to wait for another program that is writing the file."""
        self.file = file
        self.trouble: ProgressError | None = None
        """The reason why nothing can be written now."""
        self.set_aside: SetAside | None = None
        """The damaged file that was here before."""
        self._patience = patience
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._data_version: int | None = None
        with suppress(ProgressError):  # `trouble` says it
            self._open()

    def add(self, records: Iterable[Record]) -> Counts:
        """Write new records, all or none; returns how many were new."""
        records = list(records)
        return self._write(lambda connection: database.add(connection, records, is_merge=False))

    def merge(self, records: Iterable[Record]) -> Counts:
        """Add records from elsewhere: all exercise records, and later places and drafts."""
        records = list(records)
        return self._write(lambda connection: database.add(connection, records, is_merge=True))

    def forget(self, lesson: str | None, first: Callable[[list[Record]], object]) -> None:
        """Delete the records of a lesson (None: of all lessons).

        `first` gets the records before they are deleted; if it raises, nothing is deleted.
        """

        def forget(connection: sqlite3.Connection) -> None:
            first(_records(connection, lesson))
            database.forget(connection, lesson)

        self._write(forget)

    def records(self, lesson: str | None = None) -> list[Record]:
        """All records (of one lesson)."""
        return self._read(lambda connection: _records(connection, lesson))

    def places(self) -> list[PlaceRecord]:
        """The bookmarks, the latest first."""
        places = self._read(lambda connection: list(database.read(connection, PlaceRecord)))
        return sorted(places, key=lambda place: place.at, reverse=True)

    def drafts(self) -> list[DraftRecord]:
        """All unfinished code."""
        return self._read(lambda connection: list(database.read(connection, DraftRecord)))

    def exercises(self) -> list[ExerciseSummary]:
        """A summary of each exercise, in the order in which they were started."""
        return self._read(exercises)

    def has_news(self) -> bool:
        """Whether another program may have written since the last call; reads no record."""
        if self._connection is None or not self._is_still_there():
            return True
        try:
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:  # the next reading finds out what is wrong
            return True
        before, self._data_version = self._data_version, int(version)
        return before != self._data_version

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._data_version = None  # it belongs to one connection
        if self._connection is not None:
            with suppress(sqlite3.Error):  # all that was committed is there
                self._connection.close()
            self._connection = None

    # ── Access to the file ──────────────────────────────────────────────────────────

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read, also from a file that can't be written."""
        try:
            return self._do(work)
        except ProgressError as error:
            try:
                with closing(connect_to_read(self.file, self._patience)) as connection:
                    return work(connection)
            except sqlite3.Error:
                raise error from None

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def write(connection: sqlite3.Connection) -> T:
            with database.transaction(connection):
                return work(connection)

        return self._do(write)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work; if the file is damaged, set it aside and do the work with a new one."""
        if self._connection is None or not self._is_still_there():
            self._connection = self._open()
        try:
            try:
                result = work(self._connection)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                result = work(self._open(is_damaged=True))
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self.trouble = None
        return result

    def _open(self, is_damaged: bool = False) -> sqlite3.Connection:
        """Open and migrate the file; set it aside if it is damaged."""
        self.close()
        try:
            if not is_damaged:
                try:
                    self._connection = self._opened()
                except sqlite3.Error as error:
                    if not is_damage(error):
                        raise
            if self._connection is None:
                self._connection = self._replacement()
            self._inode = self._inode_now()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._failed(error) from error
        self.trouble = None
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        """The open and checked file. Raises sqlite3.Error, OSError or ProgressError."""
        connection = connect_to_write(self.file, self._patience)
        try:
            state = database.state_of(connection)
            if state in ("newer", "foreign"):
                raise self._failed(state)
            check_whole(connection)
            if state == "broken":
                raise damage("tables are missing")
            write_safely(connection)
            if state != "current":
                database.migrate(connection)
            return connection
        except BaseException:
            connection.close()
            raise

    def _replacement(self) -> sqlite3.Connection:
        """A new file, with the readable records of the damaged one, which is set aside."""
        with only_one(self.file.parent):
            try:
                return self._opened()  # another tutor was faster
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
            try:
                aside = set_aside(self.file)
            except OSError as error:
                raise self._failed("not_set_aside", system_words(error)) from error
            connection = self._opened()
        records = salvage(aside)
        try:
            with database.transaction(connection):
                database.add(connection, records, is_merge=True)
        except sqlite3.Error:  # no room: the damaged file still has them
            records = []
        self.set_aside = SetAside(aside.name, len(records))
        return connection

    def _failed(self, why: Exception | str, words: str = "") -> ProgressError:
        """The error to raise, by its reason; it is kept as `trouble` too."""
        if isinstance(why, Exception):
            words, why = system_words(why), reason(self.file, why)
        self.trouble = ProgressError("not_kept", reason=why, words=words, file=str(self.file))
        return self.trouble

    def _is_still_there(self) -> bool:
        """Whether the open file still has this name: another tutor may have set it aside."""
        return self._inode == self._inode_now()

    def _inode_now(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.file)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _records(connection: sqlite3.Connection, lesson: str | None) -> list[Record]:
    return [
        record
        for kind in database.RECORD_TYPES
        for record in database.read(connection, kind, lesson)
    ]


# ── The records as a text file, and the seals of drafts ─────────────────────────────

FORMAT = "gradient-tutor progress"
FORMAT_VERSION = 1


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    exported: Timestamp


_header = msgspec.json.Decoder(_Header)
_record = msgspec.json.Decoder(Record)


def lines_of(records: Iterable[Record]) -> Iterator[str]:
    """The file's lines, each with its end."""
    for thing in (_Header(format=FORMAT, version=FORMAT_VERSION, exported=now()), *records):
        yield msgspec.json.encode(_unsealed(thing)).decode() + "\n"


def read_lines(lines: Iterable[bytes], name: str) -> list[Record]:
    """The records of a file of this name. Raises ProgressError that names the bad line.

    A time in the future becomes now: it would win in every later merge.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    _check_header(*next(numbered, (1, b"")), name)
    return [_record_of(line, f"{name}:{number}") for number, line in numbered]


def _check_header(number: int, line: bytes, name: str) -> None:
    try:
        header = _header.decode(line.removeprefix(codecs.BOM_UTF8))  # some editors put it there
    except (msgspec.DecodeError, UnicodeDecodeError):
        header = None
    if header is None or header.format != FORMAT:
        raise ProgressError("not_exported", place=f"{name}:{number}")
    if header.version > FORMAT_VERSION:
        raise ProgressError("exported_by_newer", place=f"{name}:{number}")


def _record_of(line: bytes, where: str) -> Record:
    try:
        record: Record = _record.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProgressError("line_not_exported", place=where, words=str(error)) from None
    return msgspec.structs.replace(_unsealed(record), at=min(record.at, now()))


def _unsealed(thing: T) -> T:
    """The record without the seal of a draft, which has no meaning on another machine."""
    return msgspec.structs.replace(thing, seal="") if isinstance(thing, DraftRecord) else thing


KEY_BYTES = 32


def key_file() -> Path:
    """The file of this machine's key, in the platform's data folder."""
    return platformdirs.user_data_path(APP) / "draft-key"


class Seals:
    """Makes and checks the seals of one machine. Never raises.

    If the key can't be written, it lasts until the tutor ends; later, the learner is asked about
    drafts of this time.
    """

    def __init__(self, file: Path | None = None) -> None:
        """`file`: the key file; None: the one of this machine."""
        self._file = file or key_file()
        self._key = self._read() or self._make()

    def sealed(self, draft: DraftRecord) -> DraftRecord:
        """The draft with this machine's seal."""
        return msgspec.structs.replace(draft, seal=self._seal(draft))

    def holds(self, draft: DraftRecord) -> bool:
        """Whether the draft has a seal of this machine, for exactly this code and exercise."""
        return hmac.compare_digest(draft.seal.encode(errors="replace"), self._seal(draft).encode())

    def _seal(self, draft: DraftRecord) -> str:
        # Lone surrogates are replaced as in the database.
        parts = [
            text.encode(errors="replace") for text in (draft.lesson, draft.exercise, draft.code)
        ]
        return hmac.new(self._key, msgspec.msgpack.encode(parts), hashlib.sha256).hexdigest()

    def _read(self) -> bytes:
        """The key; empty if there is no valid one."""
        with suppress(OSError):
            if self._file.is_file():
                key = self._file.read_bytes()
                return key if len(key) == KEY_BYTES else b""
        return b""

    def _make(self) -> bytes:
        """A new key, written in one step; two tutors that make one at once share it."""
        key, beside = secrets.token_bytes(KEY_BYTES), ""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(prefix=".draft-key-", dir=self._file.parent)
            with open(handle, "wb") as file:
                file.write(key)
            try:
                os.link(beside, self._file)
            except FileExistsError:
                theirs = self._read()
                if theirs:
                    key = theirs
                else:  # the file holds no valid key
                    os.replace(beside, self._file)
            except OSError:  # a file system without links
                os.replace(beside, self._file)
        with suppress(OSError):
            os.unlink(beside)
        return key
