"""Records that wait to be written, and when they are due.

Not to be used by two threads at once: whoever shares it has the lock.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import NamedTuple, TypeAlias

from tutor.progress.records import DeedRecord
from tutor.session.journal import Bookmark, Draft

FAST = 0.15
"""Seconds: what follows the one before sooner comes of a run or a held key."""

PAUSE = 0.3
"""Seconds between two writings of what comes so fast."""

RETRY = 2.0
"""Seconds until what could not be written is tried again."""

Lefts: TypeAlias = dict[str, tuple[datetime, Bookmark]]
Drafts: TypeAlias = dict[tuple[str, str], tuple[datetime, Draft]]


class WriteBatch(NamedTuple):
    """Records that are written in one transaction."""

    deeds: tuple[DeedRecord, ...]
    lefts: Lefts
    drafts: Drafts


class PendingWrites:
    """All deeds, and of places and drafts the latest. True while there are any.

    Times are seconds of one steady clock.
    """

    def __init__(self) -> None:
        self.since = 0.0
        """When the oldest of it came."""
        self.due = 0.0
        """When it is to be written."""
        self._deeds: list[DeedRecord] = []
        self._lefts: Lefts = {}
        self._drafts: Drafts = {}
        self._came = self._tried = self._not_before = -math.inf

    def __bool__(self) -> bool:
        return bool(self._deeds or self._lefts or self._drafts)

    def add_deed(self, deed: DeedRecord, clock: float) -> None:
        """To be written at once."""
        self._tell(clock, clock)
        self._deeds.append(deed)

    def add_left(self, left: Bookmark, at: datetime, clock: float) -> None:
        """In place of the one before of this lesson."""
        self._tell_often(clock)
        self._lefts[left.slug] = (at, left)

    def add_draft(self, of: tuple[str, str], draft: Draft, at: datetime, clock: float) -> None:
        """In place of the one before `of` this lesson and exercise."""
        self._tell_often(clock)
        self._drafts[of] = (at, draft)

    def batch(self) -> WriteBatch:
        """The waiting records; they stay until they are `written`."""
        return WriteBatch(tuple(self._deeds), dict(self._lefts), dict(self._drafts))

    def written(self, batch: WriteBatch, clock: float) -> None:
        """Forget the batch; what has come meanwhile stays."""
        self._tried = self.since = clock
        del self._deeds[: len(batch.deeds)]
        for slug, written in batch.lefts.items():
            if self._lefts[slug] is written:
                del self._lefts[slug]
        for key, draft in batch.drafts.items():
            if self._drafts[key] is draft:
                del self._drafts[key]
        # What is left came while the batch was being written, and so fast behind it.
        self.due = clock if self._deeds else clock + PAUSE

    def failed(self, clock: float) -> None:
        """It could not be written: not again at once."""
        self._tried = clock
        self.due = self._not_before = clock + RETRY

    def _tell_often(self, clock: float) -> None:
        is_fast = clock - self._came < FAST
        self._came = clock
        self._tell(clock, self._tried + PAUSE if is_fast else clock)

    def _tell(self, clock: float, due: float) -> None:
        due = max(due, self._not_before)
        if self:
            self.due = min(self.due, due)
        else:
            self.since, self.due = clock, due
