"""The learner's progress, saved in a SQLite file: its records as plain data, and the file's path.

Records are exercise events, bookmarks and drafts. This module loads no SQLite; `store` does, which
the screen imports after its first paint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import msgspec
import platformdirs

from tutor import APP

FILE = "TUTOR_PROGRESS"
"""The environment variable that names another file."""


def progress_file() -> Path:
    """The file in the platform's data folder, or the one that TUTOR_PROGRESS names."""
    named = os.environ.get(FILE)
    if named:
        return Path(os.path.abspath(os.path.expanduser(named)))
    return platformdirs.user_data_path(APP) / "progress.sqlite3"


def free_name(file: Path, what: str, suffix: str = "") -> Path:
    """An unused name beside the file, with a word and the time in it."""
    stem = f"{file.name}.{what}-{datetime.now():%Y%m%d-%H%M%S}"
    names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
    paths = (file.with_name(name + suffix) for name in names)
    return next(path for path in paths if not os.path.lexists(path))


ExerciseResult: TypeAlias = Literal["tried", "hinted", "shown", "done", "skipped", "unskipped"]
"""An answer was given; a hint or the solution was seen; done; skipped; and that taken back."""

RANK: tuple[ExerciseResult, ...] = ("hinted", "tried", "shown", "skipped", "done")
"""The states of an exercise in ascending order: its state is the last of these that happened.

`unskipped` is no state: it cancels the `skipped` before it.
"""

Timestamp: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its offset from UTC."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Dated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record that belongs to a lesson and has a time."""

    lesson: str
    at: Timestamp

    def __post_init__(self) -> None:
        if not 1970 <= self.at.year < 9000:  # else no clock could show it in another time zone
            raise ValueError(f"a time in the year {self.at.year}")


class ExerciseRecord(_Dated, frozen=True, kw_only=True, tag="deed"):
    """One result of an exercise."""

    id: UUID
    """Random: identifies the event in every copy."""
    exercise: str
    kind: str
    """The kind of the exercise: `predict`, `repair` …"""
    deed: ExerciseResult


SCRIPT_KEY = "script:"
"""The beginning of the key of a learner's own script, which is no lesson."""


def is_script_key(key: str) -> bool:
    """Whether a bookmark's key belongs to a script. The slug of a lesson has no colon."""
    return key.startswith(SCRIPT_KEY)


class PlaceRecord(_Dated, frozen=True, kw_only=True, tag="place"):
    """The bookmark of a lesson or script: its position for people, and the data to resume it."""

    mode: str = ""
    device: str = ""
    learning_rate: float | None = None
    epoch: Count = 0
    step: Count = 0
    fork: str = ""
    """The name of the run; empty if there is only one."""
    exercise: str = ""
    data: bytes = b""
    """The bookmark as the session encodes it."""


class DraftRecord(_Dated, frozen=True, kw_only=True, tag="draft", omit_defaults=True):
    """Code that the learner left unfinished."""

    exercise: str
    code: str
    seal: str = ""
    """Shows that the code was typed, or agreed to, on this machine (see `Seals`).

    Empty for code from elsewhere; it is never exported.
    """


Record: TypeAlias = ExerciseRecord | PlaceRecord | DraftRecord


class Counts(msgspec.Struct, frozen=True):
    """The number of records of each kind."""

    deeds: int = 0
    places: int = 0
    drafts: int = 0

    @property
    def all(self) -> int:
        """The number of all records."""
        return self.deeds + self.places + self.drafts


class ExerciseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of all events of one exercise."""

    lesson: str
    exercise: str
    kind: str
    state: ExerciseResult
    tries: int
    hints: int
    first_done: datetime | None
    last: datetime
    """The time of the last event."""
    was_shown_first: bool
    """Whether the solution was shown before the exercise was done."""

    @property
    def events(self) -> Iterator[ExerciseResult]:
        """The state, and the states before it, to which a command can take it back."""
        yield self.state
        if self.tries:
            yield "tried"
        if self.hints:
            yield "hinted"
        if self.was_shown_first:
            yield "shown"


EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""The earliest time that is kept; an earlier clock was never set."""


def now() -> datetime:
    """The time in UTC, at least EARLIEST."""
    return max(datetime.fromtimestamp(time.time(), UTC), EARLIEST)


def time_text(at: datetime) -> str:
    """The time as text that sorts by time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
