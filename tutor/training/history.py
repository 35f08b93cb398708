"""The history of a run: its losses, its trail, and keyframes to go back from.

Memory is bounded. Snapshots are thinned out to a budget; the end of the run and the last place that
was sought keep some closer by, for going back from there.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from tutor.protocol.frame import Position, Value
from tutor.training.devices import Randomness
from tutor.training.loop import Loop
from tutor.training.loss_and_trail import MAX_EXACT, EpochNumbers, Trail
from tutor.training.snapshot import SavedState, size_of

SNAPSHOT_BYTES = 64 * 2**20
"""Budget for the snapshots of a run; with its losses (20 MiB) and trail well below 128 MB."""

KEPT_BYTES = 12 * 2**20
"""Budget for the snapshots of a run kept beside the current one: three of them take 36 MiB."""

KEPT_LOSSES = 2**18
"""Losses that a kept run has one by one (2 MiB, and 4 MiB for the blocks of the others)."""

INTERVAL = 0.03
"""Seconds of training between two snapshots."""

_LATEST = 4
"""Snapshots of the end of the run that are always kept."""


_COST = 80
"""The next snapshot waits for this many times the seconds that the last one took."""


class RunSettings(msgspec.Struct, frozen=True):
    """The settings of a run at one place, besides the mode and the loop's own state."""

    device_wanted: str
    """The device asked for; the loop's own device is cpu where the mode is NumPy's."""
    learning_rate: float
    set_up_with: float
    """The learning rate when this mode's Setup ran."""
    seed: int
    """The seed of the random numbers that are drawn now."""
    fresh: Randomness
    """The generators' state when this mode or seed began."""
    has_drawn_before: bool = False
    """Whether a random number had been drawn before that."""
    applied: int = 0
    """The number of the recipe's changes before this place."""


class Keyframe(msgspec.Struct, frozen=True):
    """The end of an epoch, from which a run can continue: a snapshot and the settings there."""

    epoch: int
    mode: str
    settings: RunSettings
    boxed: Mapping[str, dict[str, Value]]
    """The values in Setup's formulas: no replay from here runs Setup."""
    snapshot: SavedState
    seconds: float = 0.0
    """The seconds of training up to it, counted from any keyframe before it."""


class KeyframeClock:
    """The times of the last keyframe and of the next one."""

    started = due = 0.0

    def start(self, spacing: float, cost: float = 0.0) -> None:
        """Begin to wait for the next keyframe: longer, the more seconds the last one cost.

        With a spacing of 0 there is a keyframe after each epoch, whatever it costs.
        """
        self.started = time.perf_counter()
        self.due = self.started + (max(spacing, _COST * cost) if spacing else 0.0)


class History(msgspec.Struct):
    """The losses, the trail and the keyframes of one run."""

    losses: EpochNumbers = msgspec.field(default_factory=EpochNumbers)
    trail: Trail = msgspec.field(default_factory=Trail)
    furthest: Position = msgspec.field(default_factory=lambda: Position(0, 0))
    """The furthest place where the run has come to rest: perhaps within an epoch."""
    budget: int = SNAPSHOT_BYTES
    interval: float = INTERVAL
    """Seconds of training between two snapshots that stay; doubled each time they are thinned."""
    spacing: float = INTERVAL
    """Seconds of training between two snapshots that are taken."""
    _keyframes: list[Keyframe] = msgspec.field(default_factory=list)
    _sizes: list[int] = msgspec.field(default_factory=list)
    """Bytes that each of `_keyframes` does not share with the one before it."""
    _near: list[Keyframe] = msgspec.field(default_factory=list)
    """Keyframes on the way to the place that was sought last."""

    @property
    def latest(self) -> Keyframe | None:
        """The keyframe of the latest epoch that has one."""
        return self._keyframes[-1] if self._keyframes else None

    @property
    def keyframe_epochs(self) -> tuple[int, ...]:
        """The epochs whose end has a keyframe, ascending."""
        return tuple(k.epoch for k in self._keyframes)

    @property
    def size(self) -> int:
        """Bytes, about, that the snapshots take."""
        return sum(self._sizes)

    @property
    def room_for_next(self) -> int:
        """Bytes that the next snapshot may add: after the first, at least ten have to fit in."""
        return self.budget // (10 if self.latest else 2)

    def add_epoch(self, loop: Loop) -> None:
        """Keep the numbers of an epoch that has ended for the first time.

        Called for every epoch, also where many run as one piece: it may cost no more than a copy,
        and never waits for a GPU.
        """
        self.losses.append(loop.loss(), on_cpu=loop.device == "cpu")

    # ── The trail ───────────────────────────────────────────────────────────────────

    def start_trail(self, loop: Loop) -> None:
        """Begin the trail with the parameters of Setup, if no epoch has been run."""
        if loop.epoch == 0 and not len(self.losses):
            self.trail.cut(-1)
            self.trail.add(0, loop.parameters(), on_cpu=loop.device == "cpu")

    def follow_trail(self, loop: Loop) -> None:
        """Add the end of an epoch that has been run for the first time, if it is its turn."""
        if loop.epoch >= self.trail.next_epoch:
            self.trail.add(loop.epoch, loop.parameters(), on_cpu=loop.device == "cpu")

    # ── Keyframes ───────────────────────────────────────────────────────────────────

    def keep(self, keyframe: Keyframe, seconds: float) -> None:
        """Add a keyframe, of a later epoch than all that are kept, after so much training."""
        before = self.latest
        seconds += before.seconds if before else 0.0
        self._keyframes.append(replace(keyframe, seconds=seconds))
        self._measure(len(self._keyframes) - 1)
        self._drop_if_close(len(self._keyframes) - _LATEST - 1)
        self.fit()

    def _drop_if_close(self, index: int) -> None:
        """Drop this keyframe, no longer one of the latest, if it follows another too closely."""
        if index < 1:
            return
        waited = self._keyframes[index].seconds - self._keyframes[index - 1].seconds
        # Half an interval too early is better than half an interval too late.
        if waited <= self.interval * 0.75:
            del self._keyframes[index], self._sizes[index]
            self._measure(index)

    def _measure(self, index: int) -> None:
        """Note the bytes that a keyframe does not share with the one before it."""
        old = [k.snapshot for k in self._keyframes[max(index - 1, 0) : index]]
        new = size_of([*old, self._keyframes[index].snapshot]) - size_of(old)
        self._sizes[index : index + 1] = [new]

    def fit(self) -> None:
        """Drop every second keyframe but the latest until the rest is within the budget."""
        while self.size > self.budget and len(self._keyframes) > _LATEST + 1:
            old, latest = self._keyframes[:-_LATEST], self._keyframes[-_LATEST:]
            self._keyframes = [*old[::2], *latest]
            self._sizes = []
            for index in range(len(self._keyframes)):
                self._measure(index)
            self.interval *= 2

    def drop_keyframes(self) -> None:
        """Forget all keyframes: the namespace that they could be restored in is gone."""
        self._keyframes, self._sizes, self._near = [], [], []

    def keep_near(self, keyframes: Sequence[Keyframe]) -> None:
        """Keep these in place of the keyframes near the place that was sought last."""
        room = self.budget // 4
        self._near = [k for k in keyframes if size_of([k.snapshot]) * len(keyframes) <= room]

    def latest_until(self, epoch: int) -> Keyframe | None:
        """The latest keyframe of `epoch` or of an earlier one."""
        found = [k for each in (self._keyframes, self._near) for k in _last(each, epoch)]
        return max(found, key=_epoch_of, default=None)

    # ── The whole ───────────────────────────────────────────────────────────────────

    def cut(self, epoch: int, *, whole: bool) -> None:
        """Forget everything after a change in `epoch`, or at its end if the epoch is `whole`.

        A keyframe of that very epoch does not know of the change: it goes, too.
        """
        before = epoch - 1
        self.losses.cut(epoch if whole else max(before, 0))
        self.trail.cut(epoch if whole else before)
        self.furthest = Position(0, 0)
        for each in (self._keyframes, self._near):
            del each[bisect_right(each, before, key=_epoch_of) :]
        del self._sizes[len(self._keyframes) :]

    def copy(self) -> History:
        """A smaller history, for a run that is kept: cutting one does not cut the other.

        Its keyframes come along where all of them can be restored in another namespace.
        """
        new = History(self.losses.copy(KEPT_LOSSES), self.trail.copy(), self.furthest)
        new.budget, new.interval = KEPT_BYTES, self.interval
        if all(k.snapshot.only_namespace is None for k in self._keyframes):
            new._keyframes, new._sizes = self._keyframes[:], self._sizes[:]
        new.fit()
        return new

    def shrink(self) -> None:
        """Take no more room than a kept run may."""
        self.budget, self._near = KEPT_BYTES, []
        self.losses.limit(KEPT_LOSSES)
        self.fit()

    def grow(self) -> None:
        """Take as much room as the current run may."""
        self.budget = SNAPSHOT_BYTES
        self.losses.limit(MAX_EXACT)


def _last(keyframes: Sequence[Keyframe], epoch: int) -> Sequence[Keyframe]:
    """The last of these keyframes that is not later than `epoch`, alone; empty without one."""
    count = bisect_right(keyframes, epoch, key=_epoch_of)
    return keyframes[max(count - 1, 0) : count]


def _epoch_of(keyframe: Keyframe) -> int:
    return keyframe.epoch
