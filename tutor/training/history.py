"""What a run remembers of its epochs: the loss of each, a trail, and a snapshot now and then.

Knows nothing of how an epoch is run. The snapshots are thinned out as the run grows, so
that they stay within a budget; where that leaves long stretches between them, the end of
the run and the last place that was sought have some closer by, for going back from there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tutor.training.frame import Value
from tutor.training.losses import MAX_EXACT, LossColumn
from tutor.training.randomness import Randomness
from tutor.training.snapshot import Snapshot, size_of
from tutor.training.trail import Trail

SNAPSHOT_BYTES = 64 * 2**20
"""Budget for the snapshots of a run; with its losses (20 MiB) and trail well below 128 MB."""

KEPT_BYTES = 12 * 2**20
"""The same for a run that is kept beside the current one: three of them take 36 MiB."""

KEPT_LOSSES = 2**18
"""Losses that a kept run has one by one (2 MiB, and 4 MiB for the blocks of the others)."""

INTERVAL = 0.03
"""Seconds of training between two snapshots."""

_LATEST = 4
"""So many snapshots of the end of the run are kept whatever comes."""


@dataclass(frozen=True, slots=True)
class Keyframe:
    """The end of an epoch, from which a run can go on: a snapshot and what was set there."""

    epoch: int
    mode: str
    device_wanted: str
    learning_rate: float
    set_up_with: float
    """The learning rate when this mode's Setup ran."""
    seed: int
    applied: int
    """How many of the record's changes lie before it."""
    fresh: Randomness
    """The generators' state when this mode or seed began: has one moved since?"""
    has_drawn: bool
    """Whether one had moved before that."""
    boxed: Mapping[str, dict[str, Value]]
    """The values in Setup's formulas: no replay from here runs Setup."""
    snapshot: Snapshot


@dataclass(slots=True)
class History:
    """The losses, the trail and the keyframes of one run."""

    losses: LossColumn = field(default_factory=LossColumn)
    trail: Trail = field(default_factory=Trail)
    budget: int = SNAPSHOT_BYTES
    interval: float = INTERVAL
    """Seconds of training between two snapshots that stay; doubled each time they are thinned."""
    spacing: float = INTERVAL
    """Seconds of training between two that are taken."""
    size: int = 0
    """Bytes that the snapshots take, about."""
    _keyframes: list[Keyframe] = field(default_factory=list)
    _latest: list[Keyframe] = field(default_factory=list)
    """Those after the last of `_keyframes`, with INTERVAL between them."""
    _waited: float = 0.0
    """Seconds of training between the last of `_keyframes` and the first of `_latest`."""
    _steps: list[float] = field(default_factory=list)
    """Seconds of training before each of `_latest`."""
    _near: list[Keyframe] = field(default_factory=list)
    """On the way to the last place that was sought."""

    @property
    def latest(self) -> Keyframe | None:
        """The keyframe of the latest epoch that has one."""
        every = self._latest or self._keyframes
        return every[-1] if every else None

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs whose end has a keyframe, ascending."""
        return tuple(k.epoch for k in [*self._keyframes, *self._latest])

    @property
    def largest(self) -> int:
        """Bytes that the next snapshot may add: after the first, at least ten have to fit in."""
        return self.budget // (10 if self.latest else 2)

    def keep(self, keyframe: Keyframe, seconds: float = INTERVAL) -> None:
        """Add a keyframe, of a later epoch than all that are kept, after so much training."""
        latest = self.latest
        before = [latest.snapshot] if latest else []
        self.size += size_of([*before, keyframe.snapshot]) - size_of(before)
        self._latest.append(keyframe)
        self._steps.append(seconds)
        if len(self._latest) > _LATEST:
            self._settle()
        self.fit()

    def _settle(self) -> None:
        """The oldest of the latest stays, if it is far enough from those before; or it goes."""
        oldest, self._waited = self._latest.pop(0), self._waited + self._steps.pop(0)
        # Half an interval too early is better than half an interval too late.
        if not self._keyframes or self._waited > self.interval * 0.75:
            self._keyframes.append(oldest)
            self._waited = 0.0
            return
        sides = [self._keyframes[-1].snapshot, self._latest[0].snapshot]
        self.size -= size_of([*sides, oldest.snapshot]) - size_of(sides)

    def fit(self) -> None:
        """Drop every second keyframe until the rest is within the budget."""
        while self.size > self.budget and len(self._keyframes) > 1:
            self._keyframes = self._keyframes[::2]
            self.interval *= 2
            self._measure()

    def keep_near(self, keyframes: Sequence[Keyframe]) -> None:
        """Keep these in place of those near the last place that was sought."""
        room = self.budget // 4
        self._near = [k for k in keyframes if size_of([k.snapshot]) * len(keyframes) <= room]

    def before(self, epoch: int) -> Keyframe | None:
        """The latest keyframe of `epoch` or of an earlier one."""
        found = [_before(each, epoch) for each in (self._keyframes, self._latest, self._near)]
        return max((k for k in found if k is not None), key=_epoch_of, default=None)

    def cut(self, epoch: int, *, whole: bool) -> None:
        """Forget what came after a change in `epoch`, or at its end if that is `whole`.

        A keyframe of that very epoch does not know of the change: it goes, too.
        """
        before = epoch - 1
        self.losses.cut(epoch if whole else max(before, 0))
        self.trail.cut(epoch if whole else before)
        for each in (self._keyframes, self._latest, self._near):
            del each[bisect_right(each, before, key=_epoch_of) :]
        del self._steps[len(self._latest) :]
        if not self._latest:
            self._waited = 0.0
        self._measure()

    def copy(self, *, portable: bool) -> History:
        """The same for a run that is kept: smaller, and cutting one does not cut the other.

        `portable`: only with the keyframes that can be restored in another namespace.
        """
        new = History(self.losses.copy(KEPT_LOSSES), self.trail.copy(), KEPT_BYTES, self.interval)
        every = [*self._keyframes, *self._latest]
        new._keyframes = [k for k in every if not portable or k.snapshot.home is None]
        new._measure()
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

    def _measure(self) -> None:
        self.size = size_of(k.snapshot for k in [*self._keyframes, *self._latest])


def _before(keyframes: Sequence[Keyframe], epoch: int) -> Keyframe | None:
    found = bisect_right(keyframes, epoch, key=_epoch_of) - 1
    return keyframes[found] if found >= 0 else None


def _epoch_of(keyframe: Keyframe) -> int:
    return keyframe.epoch
