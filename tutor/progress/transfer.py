"""Progress as a text file: a header and one JSON object a line."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from tutor.errors import ProgressError
from tutor.plain import one_line
from tutor.progress.records import DraftRecord, Moment, Record, now

FORMAT = "gradient-tutor progress"
VERSION = 1

T = TypeVar("T")


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    exported: Moment


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
        raise ProgressError(
            one_line(f"{name}:{number}: this is not a file of `tutor progress export`")
        )
    if header.version > VERSION:
        raise ProgressError(
            one_line(f"{name}:{number}: written by a newer version of the tutor; update this one")
        )


def _read(line: bytes, where: str) -> Record:
    try:
        record: Record = _record.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProgressError(
            one_line(
                f"{where}: not a line that `tutor progress export` writes: {error}; "
                "nothing was imported"
            )
        ) from None
    return msgspec.structs.replace(_unsealed(record), at=min(record.at, now()))


def _unsealed(thing: T) -> T:
    """The record without the seal of a draft, which has no meaning on another machine."""
    return msgspec.structs.replace(thing, seal="") if isinstance(thing, DraftRecord) else thing
