"""What a run remembers of its epochs: the loss of each, and a snapshot now and then.

Knows nothing of how an epoch is run. The loss column grows by eight bytes an epoch;
the snapshots are thinned out as the run grows, so that they stay within a budget.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tutor.training.frame import Curve, Value
from tutor.training.snapshot import Snapshot

SNAPSHOT_BYTES = 64 * 2**20
"""Budget for snapshots; with the loss column of a long run well below 128 MB."""

_BUNDLE = 256


class LossColumn:
    """The loss of each epoch, epoch 1 first, as float64.

    A loss on a GPU stays there until a bundle of them has come together: reading each
    by itself would make the GPU wait for the CPU in every epoch.
    """

    def __init__(self) -> None:
        self._read = array("d")
        self._waiting: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._read) + len(self._waiting)

    def append(self, loss: Any, *, on_cpu: bool = True) -> None:
        """Add an epoch's loss: a tensor or array of one element, or a number; else NaN."""
        if not on_cpu and isinstance(loss, torch.Tensor) and loss.numel() == 1:
            self._waiting.append(loss.detach().reshape(()))
            if len(self._waiting) >= _BUNDLE:
                self._fetch()
            return
        if self._waiting:
            self._fetch()
        self._read.append(_number(loss))

    def cut(self, epochs: int) -> None:
        """Forget all but the first `epochs`."""
        self._fetch()
        del self._read[epochs:]

    def first_not_finite(self) -> int | None:
        """The first epoch whose loss is NaN or infinite; None if all are finite."""
        bad = np.flatnonzero(~np.isfinite(self.numbers()))
        return int(bad[0]) + 1 if len(bad) else None

    def numbers(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """All of them, as an array of its own."""
        self._fetch()
        return np.array(self._read, dtype=np.float64)

    def _fetch(self) -> None:
        if self._waiting:
            self._read.extend(torch.stack(self._waiting).to(torch.float64).cpu().tolist())
            self._waiting.clear()


@dataclass(frozen=True, slots=True)
class Keyframe:
    """The end of an epoch, from which a run can go on: a snapshot and what was set there."""

    epoch: int
    mode: str
    device_wanted: str
    learning_rate: float
    applied: int
    """How many of the record's changes lie before it."""
    boxed: Mapping[str, dict[str, Value]]
    """The values in Setup's formulas: no replay from here runs Setup."""
    snapshot: Snapshot


@dataclass(slots=True)
class History:
    """The loss column and the keyframes of one run."""

    losses: LossColumn = field(default_factory=LossColumn)
    budget: int = SNAPSHOT_BYTES
    interval: float = 0.03
    """Seconds of training between two snapshots; doubled each time they are thinned out."""
    size: int = 0
    """Bytes that the snapshots take, about."""
    _keyframes: list[Keyframe] = field(default_factory=list)

    @property
    def latest(self) -> Keyframe | None:
        """The keyframe of the latest epoch that has one."""
        return self._keyframes[-1] if self._keyframes else None

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs whose end has a keyframe, ascending."""
        return tuple(k.epoch for k in self._keyframes)

    def keep(self, keyframe: Keyframe) -> None:
        """Add a keyframe, of a later epoch than all that are kept."""
        self._keyframes.append(keyframe)
        self.size += keyframe.snapshot.size
        while self.size > self.budget and len(self._keyframes) > 2:
            self._thin_out()

    def before(self, epoch: int) -> Keyframe | None:
        """The latest keyframe of `epoch` or of an earlier one."""
        found = bisect_right(self._keyframes, epoch, key=_epoch_of) - 1
        return self._keyframes[found] if found >= 0 else None

    def cut(self, epoch: int, *, whole: bool) -> None:
        """Forget what came after a change in `epoch`, or at its end if that is `whole`.

        A keyframe of that very epoch does not know of the change: it goes, too.
        """
        before = epoch - 1
        self.losses.cut(epoch if whole else max(before, 0))
        del self._keyframes[bisect_right(self._keyframes, before, key=_epoch_of) :]
        self.size = sum(k.snapshot.size for k in self._keyframes)

    def curve(self, columns: int, here: int) -> Curve:
        """The loss by epoch in at most `columns` columns: least and greatest of each."""
        losses = self.losses.numbers()
        last = len(losses)
        if last == 0 or columns <= 0:
            return Curve((), (), (), last, here)
        starts = np.unique(np.linspace(0, last, min(columns, last), endpoint=False).astype(int))
        low, high = np.fmin.reduceat(losses, starts), np.fmax.reduceat(losses, starts)
        epochs = tuple(int(s) + 1 for s in starts)
        return Curve(epochs, tuple(map(float, low)), tuple(map(float, high)), last, here)

    def _thin_out(self) -> None:
        """Drop every second keyframe, but not the first (what all share counts there)."""
        self._keyframes = self._keyframes[::2]
        self.size = sum(k.snapshot.size for k in self._keyframes)
        self.interval *= 2


def _epoch_of(keyframe: Keyframe) -> int:
    return keyframe.epoch


def _number(loss: Any) -> float:
    """The one number in `loss`, or NaN."""
    try:
        # Both torch's and numpy's item() refuse what has more than one element.
        return float(loss.item())
    except AttributeError:
        return float(loss) if isinstance(loss, int | float) else math.nan
    except (TypeError, ValueError, RuntimeError):
        return math.nan
