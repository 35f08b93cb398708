"""The progress of a stepped loop: its items so far, its loss, and its place within an epoch."""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import torch

from tutor.lesson.model import GRADIENT, GRADIENT_CHANGES, MANUAL, SETUP, UPDATE
from tutor.script.outline import ScriptPhase, TrainingLoop
from tutor.training.devices import Randomness

_MOST_BYTES = 64 * 2**20
"""Bytes of items that are kept; the oldest go first."""
_MOST_ITEMS = 2**18
"""Items of plain iterators that are kept."""

_EMPTY: tuple[Any, ...] = (range(0), range(2**70), [], (), set(), "", {}, {}.values(), {}.items())
_PLAIN_ITERATORS = {type(reversed([])), *(type(iter(thing)) for thing in _EMPTY)}
"""Iterators that compute nothing and draw nothing."""


class LoopItems:
    """The items of an iterable, each asked for once."""

    def __init__(self, iterable: Any, device: Callable[[], str]) -> None:
        """`device`: where random numbers may be drawn besides the CPU, once that is known."""
        self._range = iterable if type(iterable) is range else None
        """The range, if it is one: its items need not be kept."""
        self._iterator: Iterator[Any] = iter(iterable)
        self._device = device
        is_bar = type(iterable).__module__.startswith("tqdm")
        shown: Any = iterable.iterable if is_bar else None
        self._length = len(shown) if type(shown) in (range, list, tuple) else None
        """The number of items behind a progress bar."""
        self.is_plain = _computes_nothing(shown if is_bar else self._iterator)
        """Whether to ask for the next item changes nothing else, and depends on nothing."""
        self._known: deque[Any] = deque()
        self._sizes: deque[int] = deque()
        self._states: deque[Randomness | None] = deque()
        """The random generators after each item, if it has drawn from them."""
        self._gone = 0
        """Items before the first that is known."""
        self._bytes = 0
        self._error: BaseException | None = None

    @property
    def count(self) -> int:
        """The number of items so far."""
        return self._gone + len(self._known)

    def has(self, index: int) -> bool:
        """Whether there is an item with this index, from 0; asks the iterator if need be.

        Raises what the iterator raises, each time.
        """
        if self._range is not None:
            return index < len(self._range)
        if index < self.count:
            state = None if self.is_plain else self._states[index - self._gone]
            if state is not None:
                state.restore(self._device())
            return True
        if self._error is not None:
            raise self._error
        try:
            self._ask()
        except StopIteration:
            return False
        except BaseException as error:
            self._error = error
            raise
        return True

    def __getitem__(self, index: int) -> Any:
        return self._known[index - self._gone] if self._range is None else self._range[index]

    def keeps(self, index: int) -> bool:
        """Whether the items from here on can be gone through again."""
        return index >= self._gone

    def left(self, index: int) -> int | None:
        """The number of items from here on; None if that is not known."""
        if self._range is not None:
            return len(self._range) - index
        if self._length is not None:
            return self._length - index
        left = items_in(self._iterator) if self.is_plain else None
        return None if left is None else self.count + left - index

    def _ask(self) -> None:
        if self.is_plain:
            self._known.append(next(self._iterator))
            if len(self._known) > _MOST_ITEMS:
                self._known.popleft()
                self._gone += 1
            return
        device = self._device()
        before = Randomness.now(device)
        item = next(self._iterator)
        after = Randomness.now(device)
        size = _bytes_of(item) + (0 if after == before else 10_000)
        self._known.append(item)
        self._sizes.append(size)
        self._states.append(None if after == before else after)
        self._bytes += size
        while self._bytes > _MOST_BYTES and len(self._known) > 1:
            self._bytes -= self._sizes.popleft()
            self._known.popleft()
            self._states.popleft()
            self._gone += 1


class LoopCondition:
    """The passes of a `while` loop as items: its condition is asked before each, also once more."""

    is_plain, count = False, 0

    def __init__(self, condition: Callable[[], Any]) -> None:
        self._condition = condition

    def __iter__(self) -> Iterator[None]:
        return self

    def __next__(self) -> None:
        if not self._condition():
            raise StopIteration

    def has(self, _: int) -> bool:
        """Whether there is another pass."""
        return bool(self._condition())

    def __getitem__(self, _: int) -> None:
        return None

    def keeps(self, _: int) -> bool:
        """True: the condition can be asked again."""
        return True

    def left(self, _: int) -> None:
        """None: the number of passes to come is not known."""


def _computes_nothing(iterator: Any) -> bool:
    if type(iterator) in (*_PLAIN_ITERATORS, range, list, tuple, dict, np.ndarray, torch.Tensor):
        return True
    if type(iterator) is type(iter(np.zeros(1))):  # of anything that has `__getitem__`
        return _computes_nothing(iterator.__reduce__()[1][0])
    return all(map(_computes_nothing, inner)) if (inner := _inner(iterator)) else False


def _inner(iterator: Any) -> tuple[Any, ...]:
    """The iterators within `enumerate` and `zip`."""
    if type(iterator) is enumerate:
        return (iterator.__reduce__()[1][0],)
    return tuple(iterator.__reduce__()[1]) if type(iterator) is zip else ()


def items_in(iterable: Any) -> int | None:
    """The number of items of an iterable that none has been taken from; None if it is not known."""
    kind = type(iterable)
    if kind.__module__.startswith("tqdm"):
        return items_in(iterable.iterable)
    if kind in (range, list, tuple, dict, set, torch.Tensor, np.ndarray):
        return len(iterable)
    if kind.__module__ == "torch.utils.data.dataloader":  # a DataLoader, or its iterator
        try:
            return len(iterable)
        except TypeError:  # its data set has no length
            return None
    if kind in _PLAIN_ITERATORS:
        return operator.length_hint(iterable)
    return _least([items_in(each) for each in _inner(iterable)])


def _least(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return min(known) if counts and len(known) == len(counts) else None


def _bytes_of(item: Any) -> int:
    if isinstance(item, torch.Tensor | np.ndarray):
        return int(item.nbytes)
    parts = item.values() if isinstance(item, dict) else item
    return sum(map(_bytes_of, parts)) if isinstance(item, dict | list | tuple) else 8


# ── The loss ───────────────────────────────────────────────────────────────────────


class PassLoss:
    """The loss that a script's loop is known by, and whether its code trains or evaluates."""

    def __init__(self, with_gradients: Collection[int]) -> None:
        """`with_gradients`: the numbers of the phases that only train where a graph is recorded."""
        self.with_gradients = frozenset(with_gradients)
        self.value: Any = None
        """The object whose gradient was taken last, or that was assigned as the loss.

        At the end of a pass, the first of the two if there is one: code that also evaluates the
        model assigns a loss which nothing is trained with.
        """
        self._is_own = False
        """Whether this pass has come to the loss that the loop is known by."""
        self._trained: Any = None
        """The loss of this pass whose gradient was taken last."""

    def is_evaluating(self) -> bool:
        """Whether a loop that gradients are taken in runs code without them."""
        return bool(self.with_gradients) and not torch.is_grad_enabled()

    def begin_pass(self) -> None:
        """Begin a pass, which has no loss of its own yet."""
        self._is_own, self._trained = False, None

    def keep(self, loss: Any, *, is_trained: bool) -> None:
        """Keep a loss that is assigned, or whose gradient is taken."""
        if is_trained:
            self._trained = loss
        if is_trained or not self.is_evaluating():
            self.value, self._is_own = loss, True

    def keep_other(self, loss: Any) -> None:
        """Keep another loss, a GAN has two, where the pass has not come to the loop's own."""
        if not self._is_own:
            self.value = loss

    def end_pass(self) -> None:
        """End a pass with the loss that trained last."""
        if self._trained is not None:
            self.value = self._trained


# ── The place within an epoch ─────────────────────────────────────────────────────────

PASS_END = -1
"""The end of a pass, where else a phase's number stands."""
_START = ScriptPhase(SETUP, 0, 0, 0)
"""In place of the last phase, while nothing of the loop has run."""


class EpochProgress:
    """The phases and batches of this epoch so far, and how many the last one had.

    How many there are in an epoch is known once one has run, or where the script has told it.
    """

    def __init__(self, loop: TrainingLoop, told: Callable[[], int | None]) -> None:
        """`told` returns the number of this epoch's batches, if the script has told it."""
        self._loop, self._told = loop, told
        self.next = PASS_END
        """The number of the phase that waits to run; PASS_END at the end of the epoch."""
        self.last = _START
        """The phase that has just run."""
        self.steps_known = len(loop.phases)
        """The steps of the last whole epoch; in the first epoch, the steps of one batch."""
        self.batches_known = 1
        self.batches_done = 0
        self.done_in_batch = 0
        self._is_before_batches = False
        """Whether this epoch has only run code before its loop over batches (a reset)."""
        self._has_gradient = False
        self._gradient_batch = self._gradient_batch_now = 1
        """The batch of the last epoch, and of this one, that was the last to take gradients."""

    @property
    def is_ended(self) -> bool:
        """Whether this epoch is at its end."""
        return self.next == PASS_END

    @property
    def batches_in_all(self) -> int | None:
        """The batches of this epoch, if the script has told, or has come to its end."""
        return self._told() or (self.batches_done if self.is_ended else None)

    @property
    def batches_expected(self) -> int:
        """The batches of this epoch, if the script has told; else the last epoch's."""
        return self._told() or self.batches_known

    @property
    def last_gradient(self) -> int:
        """The number of the batch that is expected to be the last to take gradients."""
        return self._told() or self._gradient_batch

    @property
    def part_done(self) -> float:
        """The part of the epoch that has run, as far as the script has told its batches; else 0."""
        told = self._told()
        return max(self.batches_done - 1, 0) / told if told else 0.0

    @property
    def batch_of_next(self) -> int:
        """The number, from 1, of the batch that the next step belongs to."""
        is_first = not self.batches_done
        starts = not self.is_ended and self._loop.phases[self.next].starts_batch
        return self.batches_done + (is_first or (starts and not self._is_before_batches))

    def may_run_past(self, *, for_frame: bool) -> bool:
        """Whether no figure, nor a frame of the epoch's end, needs what the next step computes."""
        phase, last = self._loop.phases[self.next], self.batches_expected
        if phase.name in (GRADIENT, *GRADIENT_CHANGES):
            last = min(last, self.last_gradient)
        elif not (for_frame or self.is_update_by_hand):
            last = sys.maxsize
        return self.batch_of_next < last

    @property
    def is_update_by_hand(self) -> bool:
        """Whether the next step changes parameters without an optimizer."""
        return self._loop.phases[self.next].name == UPDATE and self._loop.mode == MANUAL

    # ── Counting ────────────────────────────────────────────────────────────────────

    def begin_epoch(self) -> None:
        """Stand before the first phase of an epoch."""
        self.next = self.batches_done = self.done_in_batch = 0
        self._is_before_batches = self._has_gradient = False

    def begin_phase(self) -> bool:
        """Count the phase that begins to run; returns whether a batch begins with it."""
        starts = self._loop.phases[self.next].starts_batch
        if self.batches_done and not starts:
            return False
        if not self._is_before_batches:
            self.batches_done += 1
        self._is_before_batches = not starts
        self.done_in_batch = 0
        return True

    def pass_to(self, number: int) -> ScriptPhase:
        """Count the phase that has run, which it returns; the one with this number comes next."""
        self.last = phase = self._loop.phases[self.next]
        self.next = number
        self.done_in_batch += 1
        if phase.name == GRADIENT:
            self._has_gradient, self._gradient_batch_now = True, self.batches_done
        return phase

    def end_epoch(self, steps: int) -> bool:
        """Stand at the end of an epoch that had `steps` steps; whether it has taken a gradient."""
        self.next = PASS_END
        self.steps_known, self.batches_known = steps, max(self.batches_done, 1)
        if self._has_gradient:
            self._gradient_batch = self._gradient_batch_now
        return self._has_gradient

    def stand_at_end(self, steps: int, batches: int, *, is_start: bool) -> None:
        """Stand at the end of an earlier epoch, which had these numbers of steps and batches."""
        self.begin_epoch()
        if is_start:
            self.last = _START
        self.next, self.steps_known, self.batches_known = PASS_END, steps, batches
