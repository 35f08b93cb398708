"""Keeps what the learner does in the progress file, from a thread of its own.

The screen never waits for it: what happens is noted in memory and written a moment later by the
one thread that knows the file. Loads SQLite only there, beside the first paint.

Records that wait to be written, and when they are due.

Not to be used by two threads at once: whoever shares it has the lock.
"""

from __future__ import annotations

import math
import os
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from uuid import uuid4

from tutor.errors import ProgressError
from tutor.plain import one_line
from tutor.progress.records import (
    RANK,
    DeedRecord,
    DraftRecord,
    Record,
    free_name,
    now,
    progress_file,
)
from tutor.session.journal import Bookmark, Draft, ExerciseResult, packed, unpacked

if TYPE_CHECKING:
    from tutor.progress.seal import Seals
    from tutor.progress.store import Store


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

    results: tuple[DeedRecord, ...]
    lefts: Lefts
    drafts: Drafts


class PendingWrites:
    """All results, and of places and drafts the latest. True while there are any.

    Times are seconds of one steady clock.
    """

    def __init__(self) -> None:
        self.since = 0.0
        """When the oldest of it came."""
        self.due = 0.0
        """When it is to be written."""
        self._results: list[DeedRecord] = []
        self._lefts: Lefts = {}
        self._drafts: Drafts = {}
        self._came = self._tried = self._not_before = -math.inf

    def __bool__(self) -> bool:
        return bool(self._results or self._lefts or self._drafts)

    def add_result(self, result: DeedRecord, clock: float) -> None:
        """To be written at once."""
        self._tell(clock, clock)
        self._results.append(result)

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
        return WriteBatch(tuple(self._results), dict(self._lefts), dict(self._drafts))

    def written(self, batch: WriteBatch, clock: float) -> None:
        """Forget the batch; what has come meanwhile stays."""
        self._tried = self.since = clock
        del self._results[: len(batch.results)]
        for slug, written in batch.lefts.items():
            if self._lefts[slug] is written:
                del self._lefts[slug]
        for key, draft in batch.drafts.items():
            if self._drafts[key] is draft:
                del self._drafts[key]
        # What is left came while the batch was being written, and so fast behind it.
        self.due = clock if self._results else clock + PAUSE

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


PATIENCE = 2.0
"""Seconds that a first question waits for the file to be read.

That takes some hundredths; on a machine that is busy with other things, a second.
"""

STUCK = 5.0
"""Seconds after which it is told that the file system does not answer."""

BUSY = 0.8
"""Seconds to wait for another program that is writing the file: less than closing may take."""

_AGAIN = 0.05
"""Seconds between two tries to write while it is being closed."""


class ProgressWriter:
    """A Journal over the progress file. No method ever raises.

    Open it early, and close it at the end. What happens is written at once; only where a run
    or a held key moves on many times a second are the places in between left out. What can't
    be written is tried again from time to time, and lost only when the tutor ends before.
    """

    def __init__(self, file: Path | None = None) -> None:
        """`file`: None for the platform's, or the one that TUTOR_PROGRESS names."""
        self.file = file or progress_file()
        self._news = threading.Condition()
        self._pending = PendingWrites()
        self._results: dict[tuple[str, str], set[ExerciseResult]] = {}
        """By lesson and exercise: what has happened there and counts."""
        self._states: dict[str, dict[str, ExerciseResult]] = {}
        """What says most of it."""
        self._places: dict[str, tuple[datetime, Bookmark | bytes]] = {}
        self._drafts: dict[tuple[str, str], Draft] = {}
        self._trouble = self._notice = ""
        self._unsaved = ""
        """What became of what could not be written by the end: the thread may still be trying."""
        self._closes_at: float | None = None
        self._is_loaded = threading.Event()
        self._is_to_look = False
        """Whether somebody wants to know what others have written."""
        self._patience = PATIENCE
        # A daemon: a file system that hangs must not keep the tutor from ending.
        self._thread = threading.Thread(target=self._keep, name="progress", daemon=True)
        self._thread.start()

    # ── The journal ─────────────────────────────────────────────────────────────────

    def did(self, lesson: str, exercise: str, kind: str, result: ExerciseResult) -> None:
        """Something happened at an exercise of the lesson with this slug, just now."""
        record = DeedRecord(
            id=uuid4(), lesson=lesson, exercise=exercise, kind=kind, deed=result, at=now()
        )
        with self._news:
            self._count_in(lesson, exercise, result)
            self._pending.add_result(record, time.monotonic())
            self._news.notify_all()

    def left(self, left: Bookmark) -> None:
        """The lesson stands here now."""
        at = now()
        with self._news:
            self._places[left.slug] = (at, left)
            self._pending.add_left(left, at, time.monotonic())
            self._news.notify_all()

    def draft(self, lesson: str, exercise: str, draft: Draft) -> None:
        """The learner's code for a Repair, as it is now."""
        with self._news:
            self._drafts[lesson, exercise] = draft
            self._pending.add_draft((lesson, exercise), draft, now(), time.monotonic())
            self._news.notify_all()

    def draft_of(self, lesson: str, exercise: str) -> Draft | None:
        """The code that was left there; None if there is none."""
        self._wait_until_loaded()
        with self._news:
            return self._drafts.get((lesson, exercise))

    def states(self, lesson: str) -> dict[str, ExerciseResult]:
        """By exercise: what says most of all that has happened there (as in RANK)."""
        self._wait_until_loaded()
        with self._news:
            return dict(self._states.get(lesson, {}))

    def refresh(self) -> None:
        """Have the next query include records that another tutor has written."""
        with self._news:
            if self._thread.is_alive():
                self._is_to_look = True
                self._is_loaded.clear()
                self._news.notify_all()

    # ── Where things were left ──────────────────────────────────────────────────────

    def last_left(self) -> Bookmark | None:
        """Where the learner was last, in whatever lesson."""
        self._wait_until_loaded()
        with self._news:
            slugs = sorted(self._places, key=lambda slug: self._places[slug][0])
        return self.left_of(slugs[-1]) if slugs else None

    def left_of(self, lesson: str) -> Bookmark | None:
        """Where this lesson was left; None if it never was, or in no way that can be read."""
        self._wait_until_loaded()
        with self._news:
            _, left = self._places.get(lesson, (None, None))
        return unpacked(left) if isinstance(left, bytes) else left

    def last_visit(self, lesson: str) -> datetime | None:
        """When the lesson was worked at last, in UTC."""
        self._wait_until_loaded()
        with self._news:
            at, _ = self._places.get(lesson, (None, None))
        return at

    # ── How it goes ─────────────────────────────────────────────────────────────────

    @property
    def trouble(self) -> str:
        """Why nothing is kept just now, or what became of a damaged file; mostly empty.

        One line. What stands in the way is told again as soon as it does.
        """
        with self._news:
            if self._unsaved or self._trouble:
                return self._unsaved or self._trouble
            if self._pending and time.monotonic() - self._pending.since > STUCK:
                return one_line(f"progress is not kept yet: waiting for {self.file}")
            return self._notice

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait, for so many seconds at most, until all is written; whether it is."""
        with self._news:
            self._pending.due = time.monotonic()
            self._news.notify_all()
            return self._news.wait_for(lambda: not self._pending, timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Write what is yet to be written, for so many seconds at most; let go of the file.

        What could not be written by then is put into a file beside it, which can be imported.
        """
        with self._news:
            self._closes_at = time.monotonic() + timeout
            self._news.notify_all()
        self._thread.join(timeout)
        with self._news:
            unwritten, why = self._pending.batch(), self._trouble
        if any(unwritten):
            why = why or f"progress is not kept: waiting for {self.file}"
            # A thread, as above: the same file system may hang.
            beside = threading.Thread(target=self._put_beside, args=(unwritten, why), daemon=True)
            beside.start()
            beside.join(BUSY)

    def _put_beside(self, batch: WriteBatch, why: str) -> None:
        """Keep what the progress file did not take, for `tutor progress import`."""
        from tutor.progress.transfer import lines_of  # noqa: PLC0415 - seldom needed

        if self.file.exists() and not self.file.is_file():
            return  # /dev/null, say: nothing is to be kept
        beside = free_name(self.file, "unsaved", ".jsonl")
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "w", encoding="utf-8") as file:
                file.writelines(lines_of(_records(batch)))
            told = f"{why}; what was done since is in {beside}: `tutor progress import` takes it"
        except OSError as error:
            told = f"{why}; what was done since is lost ({error.strerror or error}: {beside})"
        with self._news:
            self._unsaved = one_line(told)

    # ── How ─────────────────────────────────────────────────────────────────────────

    def _wait_until_loaded(self) -> None:
        """Wait for the file to be read; whoever has waited in vain once waits no more."""
        if not self._is_loaded.wait(self._patience):
            self._patience = 0.0

    def _count_in(self, lesson: str, exercise: str, result: ExerciseResult) -> None:
        results, states = self._results.setdefault((lesson, exercise), set()), self._states
        if result == "unskipped":
            results.discard("skipped")
        else:
            results.add(result)
        if results:
            states.setdefault(lesson, {})[exercise] = max(results, key=RANK.index)
        else:
            states.get(lesson, {}).pop(exercise, None)

    # ── The thread ──────────────────────────────────────────────────────────────────

    def _keep(self) -> None:
        try:
            self._keep_on()
        # Whatever goes wrong here, the lesson goes on; that no more is kept is told.
        except Exception as error:  # noqa: BLE001
            with self._news:
                what = f"{type(error).__name__}: {error}"
                self._trouble = one_line(f"progress is not kept: {what} ({self.file})")
        finally:
            self._is_loaded.set()

    def _keep_on(self) -> None:
        # Lazy: SQLite is loaded here, beside the first paint and not before it.
        from tutor.progress.seal import Seals  # noqa: PLC0415
        from tutor.progress.store import Store  # noqa: PLC0415

        seals = Seals()
        store = Store(self.file, patience=BUSY)
        try:
            is_read = self._has_read(store, seals)
            self._is_loaded.set()
            while (batch := self._next_batch()) is not None:
                has_news = self._has_news(store)
                is_read = (is_read and not has_news) or self._has_read(store, seals)
                self._tell_loaded(is_read)
                if any(batch):
                    self._settle(batch, self._has_written(store, seals, batch))
                self._tell_trouble(store)
        finally:
            store.close()

    def _next_batch(self) -> WriteBatch | None:
        """The next batch, once it is due or a refresh is asked for; None at the end."""
        with self._news:
            while self._closes_at is None and not self._is_to_look:
                seconds = self._pending.due - time.monotonic() if self._pending else None
                if seconds is not None and seconds <= 0:
                    break
                self._news.wait(seconds)
            has_time = self._closes_at is None or time.monotonic() < self._closes_at
            if self._closes_at is not None and not self._pending:
                return None
            return self._pending.batch() if has_time else None

    def _has_news(self, store: Store) -> bool:
        """Whether somebody wants to know what others have written, and they have."""
        with self._news:
            is_asked, self._is_to_look = self._is_to_look, False
        return is_asked and store.has_news()

    def _tell_loaded(self, is_read: bool) -> None:
        """Wake those who wait for the file, unless a refresh was asked for meanwhile."""
        with self._news:
            if is_read:
                self._patience = PATIENCE
            if not self._is_to_look:
                self._is_loaded.set()

    def _has_read(self, store: Store, seals: Seals) -> bool:
        """Read what is kept; what has happened here and is yet to be written goes before it."""
        store.has_news()  # it is no news any more
        try:
            exercises, places, drafts = store.exercises(), store.places(), store.drafts()
        except ProgressError:
            return False  # the store tells its trouble
        finally:
            self._tell_trouble(store)
        with self._news:
            ours = self._pending.batch()
            self._results, self._states = {}, {}
            for known in exercises:
                for result in known.deeds:
                    self._count_in(known.lesson, known.exercise, result)
            for did in ours.results:
                self._count_in(did.lesson, did.exercise, did.deed)
            self._places = {place.lesson: (place.at, place.data) for place in places}
            self._places.update(ours.lefts)
            self._drafts = {
                (kept.lesson, kept.exercise): Draft(kept.code, seals.holds(kept)) for kept in drafts
            }
            self._drafts.update((key, draft) for key, (_, draft) in ours.drafts.items())
        return True

    def _has_written(self, store: Store, seals: Seals, batch: WriteBatch) -> bool:
        try:
            store.add(_records(batch, seals))
        except ProgressError:
            return False  # the store tells its trouble
        return True

    def _settle(self, batch: WriteBatch, is_written: bool) -> None:
        with self._news:
            if is_written:
                self._pending.written(batch, time.monotonic())
                self._news.notify_all()
            else:
                self._pending.failed(time.monotonic())
                if self._closes_at is not None:
                    self._news.wait(_AGAIN)

    def _tell_trouble(self, store: Store) -> None:
        with self._news:
            self._trouble, self._notice = store.trouble, store.notice


def _records(batch: WriteBatch, seals: Seals | None = None) -> list[Record]:
    """The records of a batch; drafts typed on this machine carry its seal."""
    records: list[Record] = [*batch.results]
    records += [packed(left, at) for at, left in batch.lefts.values()]
    for (lesson, exercise), (at, draft) in batch.drafts.items():
        record = DraftRecord(lesson=lesson, exercise=exercise, code=draft.code, at=at)
        records.append(seals.sealed(record) if seals and draft.is_own else record)
    return records
