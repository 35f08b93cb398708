"""The writer of the progress file, which works in a thread of its own.

The screen never waits for it: a change is kept in memory and written a moment later by that
thread, which also loads SQLite, beside the first paint.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from uuid import uuid4

from tutor.errors import ProgressError
from tutor.plain import one_line
from tutor.progress import (
    RANK,
    DraftRecord,
    ExerciseRecord,
    ExerciseResult,
    Record,
    free_name,
    is_script_key,
    now,
    progress_file,
)
from tutor.session.bookmark import Bookmark, is_key_of_script, packed, unpacked
from tutor.session.journal import Draft, Journal
from tutor.session.run_view import Notice

if TYPE_CHECKING:
    from tutor.progress.store import Seals, SetAside, Store


BURST_SECONDS = 0.15
"""Seconds between two changes, below which they come from a run or a held key."""

WRITE_SECONDS = 0.3
"""Seconds between two writes of changes that come so fast."""

RETRY = 2.0
"""Seconds until a failed write is tried again."""


class PendingWrite(NamedTuple):
    """A record to be written, and its time."""

    at: datetime
    what: ExerciseRecord | Bookmark | Draft


WriteBatch: TypeAlias = dict[tuple[str, ...], PendingWrite]
"""The data that one transaction writes. A result is named by its id, a bookmark by its lesson, a
draft by its lesson and exercise."""


class PendingWrites:
    """Changes that wait to be written: all results, the latest bookmarks and drafts.

    True while there are any. Times are seconds of one steady clock. Not safe for threads.
    """

    def __init__(self) -> None:
        self.since = 0.0
        """The time of the oldest change."""
        self.due = 0.0
        """The time of the next write."""
        self._waiting: WriteBatch = {}
        self._came = self._tried = self._not_before = -math.inf

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, name: tuple[str, ...], change: PendingWrite, clock: float) -> None:
        """Add a change, in place of an earlier one of that name; a result is due at once."""
        due = clock
        if not isinstance(change.what, ExerciseRecord):
            due = self._tried + WRITE_SECONDS if clock - self._came < BURST_SECONDS else clock
            self._came = clock
        due = max(due, self._not_before)
        if self:
            self.due = min(self.due, due)
        else:
            self.since, self.due = clock, due
        self._waiting[name] = change

    def batch(self) -> WriteBatch:
        """The waiting changes, which stay until they are `written`."""
        return dict(self._waiting)

    def written(self, batch: WriteBatch, clock: float) -> None:
        """Forget the batch, but not the changes that were added meanwhile."""
        self._tried = self.since = clock
        for name, change in batch.items():
            if self._waiting[name] is change:
                del self._waiting[name]
        # The rest was added while the batch was being written, that is, fast.
        has_result = any(isinstance(c.what, ExerciseRecord) for c in self._waiting.values())
        self.due = clock if has_result else clock + WRITE_SECONDS

    def failed(self, clock: float) -> None:
        """Try again later."""
        self._tried = clock
        self.due = self._not_before = clock + RETRY


FILE_SECONDS = 5.0
"""Seconds that a first query waits for the file to be read, which takes hundredths, or a second
on a busy machine; likewise the end, for the file to be written."""

STUCK = 5.0
"""Seconds after which the learner is told that the file system does not answer."""

BUSY = 0.8
"""Seconds to wait while another program writes the file; closing may take longer."""

_AGAIN = 0.05
"""Seconds between two tries to write while it is being closed."""


class ProgressWriter(Journal):
    """A Journal over the progress file. No method ever raises.

    Open it early, and close it at the end. Changes are written at once; of bookmarks that change
    many times a second, some are left out. A failed write is tried again from time to time.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Use this file, or the file that TUTOR_PROGRESS names, or the platform's."""
        self.file = file or progress_file()
        self._changed = threading.Condition()
        self._pending = PendingWrites()
        self._results: dict[str, dict[str, set[ExerciseResult]]] = {}
        """A lesson and an exercise → the results so far."""
        self._places: dict[str, tuple[datetime, Bookmark | bytes]] = {}
        self._drafts: dict[tuple[str, str], Draft] = {}
        self._trouble: ProgressError | None = None
        self._set_aside: SetAside | None = None
        self._unsaved = Notice()
        """The message about records that were not written in time."""
        self._closes_at: float | None = None
        self._is_loaded = threading.Event()
        self._refresh_wanted = False
        """Whether the file is to be read again, for records that others have written."""
        self._file_seconds = FILE_SECONDS
        # A daemon: a file system that hangs must not keep the tutor from ending.
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    # ── The journal ─────────────────────────────────────────────────────────────────

    def record_result(self, lesson: str, exercise: str, kind: str, result: ExerciseResult) -> None:
        """Record a result of an exercise of the lesson with this slug."""
        record = ExerciseRecord(
            id=uuid4(), lesson=lesson, exercise=exercise, kind=kind, deed=result, at=now()
        )
        self._save((str(record.id),), PendingWrite(record.at, record))

    def save_bookmark(self, bookmark: Bookmark) -> None:
        """Save the bookmark of a lesson."""
        self._save(("bookmark", bookmark.slug), PendingWrite(now(), bookmark))

    def save_draft(self, lesson: str, exercise: str, draft: Draft) -> None:
        """Save the learner's code for a Repair."""
        self._save(("draft", lesson, exercise), PendingWrite(now(), draft))

    def _save(self, name: tuple[str, ...], change: PendingWrite) -> None:
        with self._changed:
            self._remember(name, change)
            self._pending.add(name, change, time.monotonic())
            self._changed.notify_all()

    def _remember(self, name: tuple[str, ...], change: PendingWrite) -> None:
        """Let queries find a change."""
        match change.what:
            case ExerciseRecord(lesson=lesson, exercise=exercise, deed=result):
                self._add_known(lesson, exercise, result)
            case Bookmark() as bookmark:
                self._places[bookmark.slug] = (change.at, bookmark)
            case Draft() as draft:
                _, lesson, exercise = name
                self._drafts[lesson, exercise] = draft

    def draft_of(self, lesson: str, exercise: str) -> Draft | None:
        """The learner's code for a Repair; None if there is none."""
        self._wait_until_loaded()
        with self._changed:
            return self._drafts.get((lesson, exercise))

    def results_of(self, lesson: str) -> dict[str, ExerciseResult]:
        """The best result so far, by exercise (see RANK)."""
        self._wait_until_loaded()
        with self._changed:
            known = self._results.get(lesson, {})
            return {id_: max(each, key=RANK.index) for id_, each in known.items() if each}

    def refresh(self) -> None:
        """Let the next query include records that another tutor has written."""
        with self._changed:
            if self._thread.is_alive():
                self._refresh_wanted = True
                self._is_loaded.clear()
                self._changed.notify_all()

    # ── Bookmarks ──────────────────────────────────────────────────────

    def last_bookmark(self) -> Bookmark | None:
        """The latest bookmark of all lessons, scripts aside."""
        return self._latest(lambda key: not is_script_key(key))

    def last_bookmark_of_script(self, script: str) -> Bookmark | None:
        """The latest bookmark of all loops of the script with this key."""
        return self._latest(lambda key: is_key_of_script(key, script))

    def _latest(self, is_wanted: Callable[[str], bool]) -> Bookmark | None:
        self._wait_until_loaded()
        with self._changed:
            keys = filter(is_wanted, self._places)
            key = max(keys, key=lambda key: self._places[key][0], default=None)
        return self.bookmark_of(key) if key is not None else None

    def bookmark_of(self, key: str) -> Bookmark | None:
        """The bookmark with this key; None if there is none that can be read."""
        self._wait_until_loaded()
        with self._changed:
            _, place = self._places.get(key, (None, None))
        return unpacked(place) if isinstance(place, bytes) else place

    def last_visit(self, lesson: str) -> datetime | None:
        """The time of the last work on a lesson, in UTC."""
        self._wait_until_loaded()
        with self._changed:
            at, _ = self._places.get(lesson, (None, None))
        return at

    # ── The end, and trouble ─────────────────────────────────────────────────────────────────

    @property
    def trouble(self) -> Notice:
        """The reason why nothing is saved now, or the fate of a damaged file; mostly empty."""
        with self._changed:
            if self._unsaved.code:
                return self._unsaved
            if self._trouble is not None:
                return Notice("progress_error", {"error": self._trouble})
            if self._set_aside is not None:
                return Notice("progress_set_aside", {"set_aside": self._set_aside})
            is_stuck = self._pending and time.monotonic() - self._pending.since > STUCK
            return Notice("progress_waits", {"file": str(self.file)}) if is_stuck else Notice()

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait up to `timeout` seconds until all is written; returns whether it is."""
        with self._changed:
            self._pending.due = time.monotonic()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._pending, timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Write the waiting records, and close the file.

        Records that it does not take within `timeout` seconds go into a file beside it, which can
        be imported; while nothing is known to be wrong, it is waited for FILE_SECONDS more.
        """
        with self._changed:
            self._closes_at = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout)
        if not self._trouble:
            self._thread.join(FILE_SECONDS)
        with self._changed:
            unwritten, why = self._pending.batch(), self._trouble
        if unwritten:
            # A thread, as above: the same file system may hang.
            beside = threading.Thread(target=self._put_beside, args=(unwritten, why), daemon=True)
            beside.start()
            beside.join(FILE_SECONDS)

    def _put_beside(self, batch: WriteBatch, why: ProgressError | None) -> None:
        """Write the records into another file, for `tutor progress import`."""
        from tutor.progress.store import lines_of  # noqa: PLC0415 - seldom needed

        if os.path.exists(self.file) and not os.path.isfile(self.file):
            return  # such as /dev/null: the learner wants no file
        beside = free_name(self.file, "unsaved", ".jsonl")
        values = {"why": why, "file": str(self.file), "beside": str(beside)}
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "w", encoding="utf-8") as file:
                file.writelines(lines_of(_records(batch)))
            notice = Notice("progress_put_beside", values)
        except OSError as error:
            notice = Notice("progress_lost", {**values, "reason": error.strerror or str(error)})
        with self._changed:
            self._unsaved = notice

    # ── Helpers ─────────────────────────────────────────────────────────────────────────

    def _wait_until_loaded(self) -> None:
        """Wait for the file to be read; after one wait in vain, wait no more."""
        if not self._is_loaded.wait(self._file_seconds):
            self._file_seconds = 0.0

    def _add_known(self, lesson: str, exercise: str, result: ExerciseResult) -> None:
        results = self._results.setdefault(lesson, {}).setdefault(exercise, set())
        if result == "unskipped":
            results.discard("skipped")
        else:
            results.add(result)

    # ── The thread ──────────────────────────────────────────────────────────────────

    @cached_property
    def _seals(self) -> Seals:
        """The seals of drafts; they are loaded, with OpenSSL, when there is a draft."""
        from tutor.progress.store import Seals  # noqa: PLC0415

        return Seals()

    def _run(self) -> None:
        try:
            self._write_until_closed()
        # An error here must not end the lesson; `trouble` reports it.
        except Exception as error:  # noqa: BLE001
            with self._changed:
                words = one_line(f"{type(error).__name__}: {error}")
                self._trouble = ProgressError(
                    "not_kept", reason="system", words=words, file=str(self.file)
                )
        finally:
            self._is_loaded.set()

    def _write_until_closed(self) -> None:
        # Lazy: SQLite is loaded here, beside the first paint and not before it.
        from tutor.progress.store import Store  # noqa: PLC0415

        store = Store(self.file, patience=BUSY)
        try:
            is_read = self._read(store)
            self._is_loaded.set()
            while (batch := self._next_batch()) is not None:
                has_news = self._has_news(store)
                is_read = (is_read and not has_news) or self._read(store)
                self._set_loaded(is_read)
                if batch:
                    self._finish(batch, self._write(store, batch))
                self._take_trouble(store)
        finally:
            store.close()

    def _next_batch(self) -> WriteBatch | None:
        """The next batch, once it is due or a refresh is asked for; None at the end."""
        with self._changed:
            while self._closes_at is None and not self._refresh_wanted:
                seconds = self._pending.due - time.monotonic() if self._pending else None
                if seconds is not None and seconds <= 0:
                    break
                self._changed.wait(seconds)
            has_time = self._closes_at is None or time.monotonic() < self._closes_at
            has_time |= not self._trouble  # nothing was tried: there was no time
            if self._closes_at is not None and not self._pending:
                return None
            return self._pending.batch() if has_time else None

    def _has_news(self, store: Store) -> bool:
        """Whether a refresh is wanted, and others have written."""
        with self._changed:
            is_asked, self._refresh_wanted = self._refresh_wanted, False
        return is_asked and store.has_news()

    def _set_loaded(self, is_read: bool) -> None:
        """Wake the queries that wait for the file, unless another refresh is wanted."""
        with self._changed:
            if is_read:
                self._file_seconds = FILE_SECONDS
            if not self._refresh_wanted:
                self._is_loaded.set()

    def _read(self, store: Store) -> bool:
        """Read the file; waiting records of this process take precedence. False if it failed."""
        store.has_news()  # reset: the whole file is read now
        try:
            exercises, places, drafts = store.exercises(), store.places(), store.drafts()
        except ProgressError:
            return False  # the store has the reason
        finally:
            self._take_trouble(store)
        with self._changed:
            self._results = {}
            for known in exercises:
                for result in known.events:
                    self._add_known(known.lesson, known.exercise, result)
            self._places = {place.lesson: (place.at, place.data) for place in places}
            self._drafts = {
                (kept.lesson, kept.exercise): Draft(kept.code, self._seals.holds(kept))
                for kept in drafts
            }
            for name, change in self._pending.batch().items():
                self._remember(name, change)
        return True

    def _write(self, store: Store, batch: WriteBatch) -> bool:
        try:
            store.add(_records(batch, lambda draft: self._seals.sealed(draft)))
        except ProgressError:
            return False  # the store has the reason
        return True

    def _finish(self, batch: WriteBatch, is_written: bool) -> None:
        with self._changed:
            if is_written:
                self._pending.written(batch, time.monotonic())
                self._changed.notify_all()
            else:
                self._pending.failed(time.monotonic())
                if self._closes_at is not None:
                    self._changed.wait(_AGAIN)

    def _take_trouble(self, store: Store) -> None:
        with self._changed:
            self._trouble, self._set_aside = store.trouble, store.set_aside


def _records(
    batch: WriteBatch, seal: Callable[[DraftRecord], DraftRecord] | None = None
) -> list[Record]:
    """The records of a batch; drafts that were typed on this machine are sealed."""
    records: list[Record] = []
    for name, (at, what) in batch.items():
        match what:
            case ExerciseRecord():
                records.append(what)
            case Bookmark():
                records.append(packed(what, at))
            case Draft(code=code, is_own=is_own):
                _, lesson, exercise = name
                record = DraftRecord(lesson=lesson, exercise=exercise, code=code, at=at)
                records.append(seal(record) if seal and is_own else record)
    return records
