"""Progress as a text file, and the seals of drafts that were written on this machine.

The file has a header and one JSON object a line. A draft is code that runs when its exercise
begins. A draft from elsewhere (imported, or in another database) has no seal of this machine and
must not run unasked. A seal is an HMAC of the draft under a key in the platform's data folder,
outside of the progress file, which may come from anywhere.
"""

from __future__ import annotations

import codecs
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import platformdirs

from tutor import APP
from tutor.errors import ProgressError
from tutor.progress.records import DraftRecord, Record, Timestamp, now

FORMAT = "gradient-tutor progress"
VERSION = 1

T = TypeVar("T")


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    exported: Timestamp


_header = msgspec.json.Decoder(_Header)
_record = msgspec.json.Decoder(Record)


def lines_of(records: Iterable[Record]) -> Iterator[str]:
    """The file's lines, each with its end."""
    for thing in (_Header(format=FORMAT, version=VERSION, exported=now()), *records):
        yield msgspec.json.encode(_unsealed(thing)).decode() + "\n"


def read_lines(lines: Iterable[bytes], name: str) -> list[Record]:
    """The records of a file of this name. Raises ProgressError that names the bad line.

    A time in the future becomes now: it would win in every later merge.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    _check_header(*next(numbered, (1, b"")), name)
    return [_read(line, f"{name}:{number}") for number, line in numbered]


def _check_header(number: int, line: bytes, name: str) -> None:
    try:
        header = _header.decode(line.removeprefix(codecs.BOM_UTF8))  # some editors put it there
    except (msgspec.DecodeError, UnicodeDecodeError):
        header = None
    if header is None or header.format != FORMAT:
        raise ProgressError("not_exported", place=f"{name}:{number}")
    if header.version > VERSION:
        raise ProgressError("exported_by_newer", place=f"{name}:{number}")


def _read(line: bytes, where: str) -> Record:
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
