"""The loss of each epoch and the trail of two parameters, in bounded memory.

The latest losses are kept one by one. Far back in a very long run, only the least and the greatest
loss of each block are kept: a plot has no columns for more.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from tutor.protocol.frame import Curve
from tutor.training.values import value_of

MAX_EXACT = 2**21
"""Epochs whose losses are kept one by one: 16 MiB."""
MAX_BLOCKS = 2**18
"""Blocks whose least and greatest loss are kept: 4 MiB."""

_BLOCK = 256
_BUNDLE = 256

Float64Array = np.ndarray[Any, np.dtype[np.float64]]


class UnreadNumbers:
    """Numbers copied on the GPU, and read from there all at once.

    To read each by itself would make the CPU wait for the GPU, and then the GPU for the CPU.
    """

    def __init__(self) -> None:
        self._tensors: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._tensors)

    def add(self, tensor: torch.Tensor) -> None:
        """Keep the numbers of a real tensor as they are now: code may change it in place."""
        self._tensors.append(tensor.detach().clone().reshape(-1))

    def take(self) -> list[float]:
        """All numbers in order, which are then forgotten here."""
        tensors, self._tensors = self._tensors, []
        if len({(t.device, t.dtype) for t in tensors}) == 1:
            tensors = [torch.cat(tensors)]
        # To float64 on the CPU: mps has not got it.
        return [n for t in tensors for n in t.cpu().to(torch.float64).tolist()]


def is_readable_later(thing: Any) -> bool:
    """Whether it is a tensor of real numbers, as UnreadNumbers copies them."""
    if not isinstance(thing, torch.Tensor) or thing.layout is not torch.strided:
        return False
    return not (thing.is_complex() or thing.is_quantized or thing.is_nested or thing.is_meta)


class EpochNumbers:
    """One number of each epoch, such as its loss, epoch 1 first, as float64.

    A GPU's are read in bundles.
    """

    def __init__(self, max_exact: int = MAX_EXACT) -> None:
        """`max_exact`: as many are kept one by one, at least two blocks."""
        self.max_exact = max_exact
        self._exact = array("d")
        """The numbers from epoch `_gone` + 1 on; NaN where they are no longer known."""
        self._gone = 0
        """Epochs before the first of `_exact`: whole blocks."""
        self._low, self._high = array("d"), array("d")
        """Least and greatest of each whole block, from epoch 1 on, as far as computed."""
        self._block = _BLOCK
        self._first_bad: int | None = None
        """The first epoch whose number is not finite, among the first `_scanned`."""
        self._scanned = 0
        self._waiting = UnreadNumbers()

    def __len__(self) -> int:
        return self._gone + len(self._exact) + len(self._waiting)

    def append(self, number: Any, *, on_cpu: bool = True) -> None:
        """Add an epoch's number: it, or a tensor or array of one element; else NaN."""
        if not on_cpu and is_readable_later(number) and number.numel() == 1:
            self._waiting.add(number)
            if len(self._waiting) >= _BUNDLE:
                self._fetch()
            return
        if self._waiting:
            self._fetch()
        self._exact.append(_number(number))
        if len(self._exact) > self.max_exact:
            self._let_go()

    def cut(self, epochs: int) -> None:
        """Forget all but the first `epochs`."""
        self._fetch()
        self._fold()
        whole = min(epochs // self._block, len(self._low))
        del self._low[whole:], self._high[whole:]
        if epochs < self._gone:
            # The single numbers of the block that is cut in two are no longer known.
            self._gone = whole * self._block
            self._exact = array("d", [math.nan] * (epochs - self._gone))
        else:
            del self._exact[epochs - self._gone :]
        self._scanned = min(self._scanned, epochs)
        if self._first_bad is not None and self._first_bad > epochs:
            self._first_bad = None

    def copy(self, max_exact: int | None = None) -> EpochNumbers:
        """The same numbers again; cutting one does not cut the other."""
        self._fetch()
        new = deepcopy(self)
        new.limit(max_exact or self.max_exact)
        return new

    def limit(self, max_exact: int) -> None:
        """Keep at most `max_exact` numbers one by one from now on."""
        self._fetch()
        self.max_exact = max_exact
        if len(self._exact) > max_exact:
            self._let_go()

    @property
    def last(self) -> float:
        """The number of the last epoch; NaN if there is none."""
        self._fetch()
        return self._exact[-1] if self._exact else math.nan

    def first_not_finite(self) -> int | None:
        """The first epoch whose number is NaN or infinite; None if all are finite."""
        self._fetch()
        start = max(self._scanned, self._gone)
        if self._first_bad is None and start < len(self):
            found = np.flatnonzero(~np.isfinite(self._view()[start - self._gone :]))
            self._first_bad = start + int(found[0]) + 1 if len(found) else None
        self._scanned = len(self)
        return self._first_bad

    def numbers(self) -> Float64Array:
        """The numbers that are kept one by one, as a new array."""
        self._fetch()
        return self._view().copy()

    def until(self, epoch: int) -> Float64Array:
        """The number of each epoch up to `epoch`, NaN where it is not known by itself any more."""
        self._fetch()
        known = self._view()[: max(epoch - self._gone, 0)]
        return np.concatenate((np.full(min(self._gone, epoch), math.nan), known))

    def curve(self, columns: int, here: int) -> Curve:
        """The numbers in at most `columns` columns: least and greatest of each.

        Costs little however long the run: of many epochs whole blocks are looked at, and
        then a column begins where a block does.
        """
        self._fetch()
        last = len(self)
        if last == 0 or columns <= 0:
            return Curve((), (), (), last, here)
        self._fold()
        size = 1 if not self._gone and last <= 4 * columns * self._block else self._block
        low, high = self._in_blocks() if size > 1 else (self._view(), self._view())
        starts = np.linspace(0, len(low), min(columns, len(low)), endpoint=False).astype(int)
        starts = np.unique(starts)
        return Curve(
            epochs=tuple((starts * size + 1).tolist()),
            low=tuple(np.fmin.reduceat(low, starts).tolist()),
            high=tuple(np.fmax.reduceat(high, starts).tolist()),
            last_epoch=last,
            here=here,
        )

    def _in_blocks(self) -> tuple[Float64Array, Float64Array]:
        """Least and greatest of each block; the last may be a part of one."""
        rest = self._view()[len(self._low) * self._block - self._gone :]
        low, high = _numbers(self._low), _numbers(self._high)
        if not len(rest):
            return low, high
        return np.append(low, np.fmin.reduce(rest)), np.append(high, np.fmax.reduce(rest))

    # ── Blocks ──────────────────────────────────────────────────────────────────────

    def _fold(self) -> None:
        """Take least and greatest of each whole block that has come since."""
        first = len(self._low) * self._block - self._gone
        count = (len(self._exact) - first) // self._block
        if count > 0:
            blocks = self._view()[first : first + count * self._block].reshape(count, self._block)
            low, high = np.fmin.reduce(blocks, axis=1), np.fmax.reduce(blocks, axis=1)
            del blocks  # an array that is looked at can't grow
            self._low.frombytes(low.tobytes())
            self._high.frombytes(high.tobytes())

    def _let_go(self) -> None:
        """Keep only the blocks of the older half of the single numbers."""
        self.first_not_finite()
        self._fold()
        while len(self._low) > MAX_BLOCKS:
            self._pair_up()
        count = max(len(self._exact) // 2, len(self._exact) - self.max_exact)
        gone = min((self._gone + count) // self._block, len(self._low)) * self._block
        del self._exact[: max(gone - self._gone, 0)]
        self._gone = max(gone, self._gone)

    def _pair_up(self) -> None:
        """Make blocks twice as long."""
        even = len(self._low) // 2 * 2
        if self._gone % (2 * self._block):  # its last block has no other to be paired with
            self._exact = array("d", [math.nan] * self._block) + self._exact
            self._gone -= self._block
        low = np.fmin.reduce(_numbers(self._low)[:even].reshape(-1, 2), axis=1)
        high = np.fmax.reduce(_numbers(self._high)[:even].reshape(-1, 2), axis=1)
        self._low, self._high = array("d", low.tobytes()), array("d", high.tobytes())
        self._block *= 2

    def _view(self) -> Float64Array:
        """The single numbers where they lie. While it is held, no number can be added."""
        return _numbers(self._exact)

    def _fetch(self) -> None:
        if self._waiting:
            self._exact.extend(self._waiting.take())
            if len(self._exact) > self.max_exact:
                self._let_go()


def _numbers(column: array[float]) -> Float64Array:
    return np.frombuffer(column, dtype=np.float64) if column else np.empty(0)


def _number(thing: Any) -> float:
    """The one number in `thing`, or NaN."""
    try:
        # Both torch's and numpy's item() refuse what has more than one element.
        return float(thing.item())
    except AttributeError:
        return value_of(thing).data[0] if isinstance(thing, int | float) else math.nan
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan


PER_OCTAVE = 32
"""Places kept while the number of epochs doubles."""

NO_EPOCH = 2**62
"""The number of an epoch that never comes."""

Point = tuple[float, float]


class Trail:
    """The two parameters' values at the end of some epochs, ascending: a contour plot's path.

    Early epochs are all kept, later ones ever more thinly, so that a run ten times as long takes a
    few hundred places more.
    """

    def __init__(self) -> None:
        self.next_epoch = 0
        """The next epoch whose end is added; NO_EPOCH if the parameters are not two numbers."""
        self._epochs: list[int] = []
        self._points: list[Point] = []
        """The places of the first `_epochs`; the places of the others are still on a GPU."""
        self._waiting = UnreadNumbers()

    def add(self, epoch: int, parameters: Mapping[str, Any], *, on_cpu: bool = True) -> None:
        """Keep the parameters as they are now, at the end of `epoch`."""
        things = list(parameters.values())
        if not on_cpu and all(map(is_readable_later, things)):
            if sum(thing.numel() for thing in things) != 2:
                self.next_epoch = NO_EPOCH
                return
            for thing in things:
                self._waiting.add(thing)
        else:
            self._read()
            numbers = [number for thing in things for number in _floats(thing)]
            if len(numbers) != 2:
                self.next_epoch = NO_EPOCH
                return
            self._points.append((numbers[0], numbers[1]))
        self._epochs.append(epoch)
        self.next_epoch = epoch + stride(epoch)

    def up_to(self, epoch: int) -> tuple[Point, ...]:
        """The places until the end of `epoch`, oldest first."""
        self._read()
        return tuple(self._points[: bisect_right(self._epochs, epoch)])

    def cut(self, epoch: int) -> None:
        """Forget all that came after the end of `epoch`."""
        self._read()
        count = bisect_right(self._epochs, epoch)
        del self._epochs[count:], self._points[count:]
        self.next_epoch = self._epochs[-1] + stride(self._epochs[-1]) if self._epochs else 0

    def copy(self) -> Trail:
        """Another trail of the same places."""
        self._read()
        return deepcopy(self)

    def _read(self) -> None:
        numbers = self._waiting.take()
        self._points += zip(numbers[::2], numbers[1::2], strict=True)


def stride(epoch: int) -> int:
    """The number of epochs between this place and the next that is kept."""
    return int(max(1, 2 ** (epoch.bit_length() - PER_OCTAVE.bit_length())))


def _floats(thing: Any) -> list[float]:
    """The one or two numbers in a parameter; else three zeros, as a sign that no path is kept."""
    value = value_of(thing)
    return list(value.data) if len(value.data) == value.size <= 2 else [0.0] * 3
