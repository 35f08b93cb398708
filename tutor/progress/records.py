"""What is kept, as plain data: deeds, places and drafts. Knows no SQLite.

A deed is never changed once it is written; of places and drafts only the latest is kept.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import msgspec

DeedName: TypeAlias = Literal["tried", "hinted", "shown", "done", "skipped"]

RANK: tuple[DeedName, ...] = ("hinted", "tried", "shown", "skipped", "done")
"""What says more about an exercise comes later: its state is the last of these that happened."""

Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time that knows its offset from UTC."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class DeedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="deed", forbid_unknown_fields=True):
    """Something that happened at an exercise, once."""

    id: UUID
    """Random: the same deed is known again wherever it is copied to."""
    lesson: str
    exercise: str
    kind: str
    """Of the exercise: `predict`, `repair` …"""
    deed: DeedName
    at: Moment


class PlaceRecord(
    msgspec.Struct, frozen=True, kw_only=True, tag="place", forbid_unknown_fields=True
):
    """Where a lesson was left: a few words for a person, and what it takes to go on there."""

    lesson: str
    at: Moment
    mode: str = ""
    device: str = ""
    learning_rate: float | None = None
    epoch: Count = 0
    step: Count = 0
    fork: str = ""
    """The name of the run; empty where there is but one."""
    exercise: str = ""
    data: bytes = b""
    """Opaque here."""


class DraftRecord(
    msgspec.Struct, frozen=True, kw_only=True, tag="draft", forbid_unknown_fields=True
):
    """Code that the learner left unfinished."""

    lesson: str
    exercise: str
    code: str
    at: Moment


Record: TypeAlias = DeedRecord | PlaceRecord | DraftRecord


class Counts(msgspec.Struct, frozen=True):
    """How many records of each kind."""

    deeds: int = 0
    places: int = 0
    drafts: int = 0

    @property
    def all(self) -> int:
        """Of any kind."""
        return self.deeds + self.places + self.drafts


class ExerciseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All that has happened at one exercise."""

    lesson: str
    exercise: str
    kind: str
    state: DeedName
    tries: int
    hints: int
    first_done: datetime | None
    last: datetime
    """When anything happened here last."""
    was_shown_first: bool
    """Whether the solution was seen before the exercise was done (or is not done yet)."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def text_of(at: datetime) -> str:
    """A time so that texts sort as times do. Raises OverflowError beyond the years 1 to 9999."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
