"""The workers of a DataLoader, which take turns in the script's own process.

What is run again has to come out the same, and no process may outlive a step. So no worker is a
process here, but each has what makes its batches its own: its seeds, its number, a copy of the
dataset, and its iterator over an IterableDataset. The batches, and the random numbers in them, are
those that processes load. The workers share the script's global variables, what can't be copied,
and large tensors and arrays.
"""

from __future__ import annotations

import copy
import functools
import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterDataPipe, MapDataPipe, _utils
from torch.utils.data.dataloader import (
    _BaseDataLoaderIter,
    _DatasetKind,
    _sharding_worker_init_fn,
)

from tutor.script.memory_image import PLAIN_TYPES
from tutor.training.devices import Randomness

_KINDS: Any = _DatasetKind
_UTILS: Any = _utils
_CPU = "cpu"
_SHARED = (FunctionType, BuiltinFunctionType, ModuleType, type)
_HOW_COPIED = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__deepcopy__")
_MOST_COPIED = 2**26
"""Bytes of tensors and arrays that are copied for one worker: it shares those beyond."""


class WorkersInTurn(_BaseDataLoaderIter):
    """The batches of a DataLoader with workers."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        start = loader.worker_init_fn
        if isinstance(self._dataset, IterDataPipe | MapDataPipe):
            start = functools.partial(_sharding_worker_init_fn, start, self._world_size, self._rank)
        count, seed = self._num_workers, int(self._base_seed)
        given = self._dataset, self._collate_fn
        self._workers = [_Worker(n, count, seed, given, start) for n in range(count)]
        self._most_ahead = count * (loader.prefetch_factor or 1)
        self._begin()

    def _begin(self) -> None:
        """Stand before the first batch."""
        for worker in self._workers:
            worker.begin(self._fetcher_of)
        self._turns = deque(self._workers)
        self._indices: deque[Any] = deque()
        for _ in range(self._most_ahead):
            self._draw_index()

    def _reset(self, loader: DataLoader[Any] | None = None, first_iter: bool = False) -> None:
        if loader is None:  # it is asked for a batch once more after its end
            raise StopIteration
        super()._reset(loader, first_iter)
        self._begin()

    def _fetcher_of(self, dataset: Any, collate_fn: Any) -> Any:
        """The fetcher, in torch's sense, that loads the batches of one worker."""
        return _KINDS.create_fetcher(
            self._dataset_kind, dataset, self._auto_collation, collate_fn, self._drop_last
        )

    def _draw_index(self) -> None:
        """Draw the indices of a batch as early as a DataLoader with worker processes does."""
        try:
            self._indices.append(next(self._sampler_iter))
        except StopIteration:
            return

    def _next_data(self) -> Any:
        while self._turns and self._indices:
            worker = self._turns[0]
            self._turns.rotate(-1)
            try:
                data = worker.fetch(self._indices.popleft())
            except StopIteration:
                if self._dataset_kind != _KINDS.Iterable:
                    raise
                self._turns.remove(worker)
                continue
            finally:
                self._draw_index()
            if self._pin_memory:
                data = _UTILS.pin_memory.pin_memory(data, self._pin_memory_device)
            return data
        # A generator can't be copied for going back, and a persistent iterator outlives its end.
        self._sampler_iter = None
        for worker in self._workers:
            worker.end()
        raise StopIteration


class _Worker:
    """One worker: its random numbers, its copy of the dataset, and what fetches its batches."""

    def __init__(
        self,
        number: int,
        count: int,
        base_seed: int,
        given: tuple[Any, Any],
        start: Callable[[int], object] | None,
    ) -> None:
        """`given` are the dataset and the function that collates its items."""
        seed = base_seed + number
        dataset, self._collate_fn = _OwnCopy().of(given)
        self._info = _UTILS.worker.WorkerInfo(
            id=number, num_workers=count, seed=seed, dataset=dataset
        )
        self._fetcher: Any = None
        self._randomness: Randomness | None = None
        with self._turn():
            random.seed(seed)
            torch.default_generator.manual_seed(seed)
            np.random.seed(_UTILS.worker._generate_state(base_seed, number))
            if start is not None:
                start(number)

    def begin(self, fetcher_of: Callable[[Any, Any], Any]) -> None:
        """Begin with the dataset, anew in each epoch."""
        with self._turn():
            self._fetcher = fetcher_of(self._info.dataset, self._collate_fn)

    def fetch(self, index: Any) -> Any:
        """Load one batch."""
        with self._turn():
            return self._fetcher.fetch(index)

    def end(self) -> None:
        """Let go of the iterator over the dataset."""
        self._fetcher = None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A span in which code runs as in the worker's process."""
        module, outside = _UTILS.worker, Randomness.now(_CPU)
        info, threads = module._worker_info, torch.get_num_threads()
        module._worker_info = self._info
        torch.set_num_threads(1)
        if self._randomness is not None:
            self._randomness.restore(_CPU)
        try:
            yield
        finally:
            self._randomness = Randomness.now(_CPU)
            outside.restore(_CPU)
            torch.set_num_threads(threads)
            module._worker_info = info


class _OwnCopy:
    """A worker's copy of what a process would have for its own."""

    def __init__(self) -> None:
        self._memo: dict[int, Any] = {}
        """The copy of each object by its id, as `copy.deepcopy` keeps them."""
        self._memories: dict[int, Any] = {}
        """The copy of each tensor's memory by its address."""
        self._left = _MOST_COPIED

    def of(self, thing: Any) -> Any:
        """A copy; the thing itself, if that never changes or can't be copied."""
        if type(thing) in PLAIN_TYPES or isinstance(thing, _SHARED):
            return thing
        if id(thing) not in self._memo:
            try:
                return self._new(thing)
            except Exception:  # noqa: BLE001 - a script's class may raise anything when it is copied
                self._memo[id(thing)] = thing
        return self._memo[id(thing)]

    def _new(self, thing: Any) -> Any:
        kind = type(thing)
        if kind is tuple:
            return thing if PLAIN_TYPES.issuperset(map(type, thing)) else tuple(map(self.of, thing))
        if kind is MethodType:
            return MethodType(thing.__func__, self.of(thing.__self__))
        if kind is functools.partial:
            words = {name: self.of(value) for name, value in thing.keywords.items()}
            return functools.partial(self.of(thing.func), *map(self.of, thing.args), **words)
        if isinstance(thing, torch.Tensor | np.ndarray):
            return self._elements(thing)
        if isinstance(thing, torch.Generator):
            return self._noted(thing, thing.clone_state())
        if kind in (list, deque):
            own = self._noted(thing, copy.copy(thing))
            if not PLAIN_TYPES.issuperset(map(type, thing)):
                for at, item in enumerate(thing):
                    own[at] = self.of(item)
            return own
        if kind in (dict, OrderedDict, defaultdict):
            return self._items(thing, copy.copy(thing))
        if _is_copied_plainly(kind):
            with suppress(TypeError):  # of a class that is made in C
                own = object.__new__(kind)
                self._items(vars(thing), vars(self._noted(thing, own)))
                return own
        return copy.deepcopy(thing, self._memo)

    def _noted(self, thing: Any, own: Any) -> Any:
        self._memo[id(thing)] = own
        return own

    def _items(self, thing: Any, own: Any) -> Any:
        """A dictionary, with copies of its values."""
        self._noted(thing, own)
        for key, value in thing.items():
            own[key] = self.of(value)
        return own

    def _elements(self, thing: Any) -> Any:
        """A tensor or an array. Memory that processes share, or that is large, is shared."""
        if type(thing) is torch.Tensor and thing.is_leaf and thing.layout is torch.strided:
            return self._noted(thing, self._tensor(thing))
        if isinstance(thing, torch.Tensor) or thing.nbytes > self._left:
            return self._noted(thing, thing)
        self._left -= thing.nbytes
        return copy.deepcopy(thing, self._memo)

    def _tensor(self, thing: torch.Tensor) -> torch.Tensor:
        """A tensor, which shares its memory with the copies of what it shares it with."""
        memory: Any = thing.untyped_storage()
        if memory.device.type != _CPU or memory.is_shared():
            return thing
        if (own := self._memories.get(memory.data_ptr())) is None:
            if memory.nbytes() > self._left:
                return thing
            self._left -= memory.nbytes()
            own = self._memories[memory.data_ptr()] = memory.clone()
        copied = torch.empty(0, dtype=thing.dtype)
        copied.set_(own, thing.storage_offset(), thing.size(), thing.stride())
        return copied.requires_grad_(thing.requires_grad)


def _is_copied_plainly(kind: type) -> bool:
    """Whether nothing says how instances are copied, and all that they have is in `__dict__`."""
    is_usual = all(getattr(kind, n, None) is getattr(object, n, None) for n in _HOW_COPIED)
    return is_usual and not any(getattr(base, "__slots__", ()) for base in kind.__mro__)
