"""Where two parameters have been, by epoch: the path that a contour plot draws.

Early epochs are all kept, later ones ever more thinly, so that a run ten times as long takes a
few hundred places more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tutor.training.values import value_of

PER_OCTAVE = 32
"""Places kept while the number of epochs doubles."""

FAR = 2**62
"""An epoch that never comes."""

Point = tuple[float, float]


class Trail:
    """The two parameters' values at the end of some epochs, ascending."""

    def __init__(self) -> None:
        self.next_epoch = 0
        """The next epoch whose end is to be added; FAR if there are not two numbers."""
        self._epochs: list[int] = []
        self._points: list[Any] = []
        """Each a Point, or the tensors from which it has yet to be read."""

    def add(self, epoch: int, namespace: Mapping[str, Any], names: Sequence[str]) -> None:
        """Keep the parameters as they are now, at the end of `epoch`."""
        things = [namespace.get(name) for name in names]
        waiting = any(isinstance(t, torch.Tensor) and not t.is_cpu for t in things)
        if waiting:
            # What is on a GPU is read when somebody asks: it must not wait for the CPU now.
            tensors = [t for t in things if isinstance(t, torch.Tensor)]
            self._points.append([t.detach().clone() for t in tensors])
            count = sum(t.numel() for t in tensors)
        else:
            self._points.append(tuple(x for thing in things for x in _floats(thing)))
            count = len(self._points[-1])
        if count != 2:
            self._points.pop()
            self.next_epoch = FAR
            return
        self._epochs.append(epoch)
        self.next_epoch = epoch + stride(epoch)

    def up_to(self, epoch: int) -> tuple[Point, ...]:
        """The places until the end of `epoch`, oldest first."""
        count = bisect_right(self._epochs, epoch)
        for i, point in enumerate(self._points[:count]):
            if isinstance(point, list):
                self._points[i] = tuple(x for tensor in point for x in _floats(tensor))
        return tuple(self._points[:count])

    def cut(self, epoch: int) -> None:
        """Forget all that came after the end of `epoch`."""
        count = bisect_right(self._epochs, epoch)
        del self._epochs[count:], self._points[count:]
        if not self._epochs:
            self.next_epoch = 0
        else:
            self.next_epoch = self._epochs[-1] + stride(self._epochs[-1])

    def copy(self) -> Trail:
        """Another trail of the same places; cutting one does not cut the other."""
        new = Trail()
        new.next_epoch = self.next_epoch
        new._epochs, new._points = self._epochs[:], self._points[:]
        return new


def stride(epoch: int) -> int:
    """How many epochs lie between this place and the next that is kept."""
    return int(max(1, 2 ** (epoch.bit_length() - PER_OCTAVE.bit_length())))


def _floats(thing: Any) -> list[float]:
    """The numbers in a parameter; three zeros where there are not one or two: none is kept."""
    value = value_of(thing)
    return list(value.data) if len(value.data) == value.size <= 2 else [0.0] * 3
