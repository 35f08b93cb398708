"""The workers of a DataLoader, which take turns in the script's own process.

What is run again has to come out the same, and no process may outlive a step. So no worker is a
process here, but each has what makes its batches its own: its seeds, its number, a copy of the
dataset's attributes, and its iterator over an IterableDataset. The batches, and the random numbers
in them, are those that processes load. The workers share what the attributes refer to, except
random number generators: a list that one worker changes is changed for all.
"""

from __future__ import annotations

import copy
import functools
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterDataPipe, MapDataPipe, _utils
from torch.utils.data.dataloader import (
    _BaseDataLoaderIter,
    _DatasetKind,
    _sharding_worker_init_fn,
)

from tutor.training.devices import Randomness

_KINDS: Any = _DatasetKind
_UTILS: Any = _utils
_CPU = "cpu"
_OWN_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


class WorkersInTurn(_BaseDataLoaderIter):
    """The batches of a DataLoader with workers."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        start = loader.worker_init_fn
        if isinstance(self._dataset, IterDataPipe | MapDataPipe):
            start = functools.partial(_sharding_worker_init_fn, start, self._world_size, self._rank)
        count, seed = self._num_workers, int(self._base_seed)
        self._workers = [_Worker(n, count, seed, self._dataset, start) for n in range(count)]
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

    def _fetcher_of(self, dataset: Any) -> Any:
        """The fetcher, in torch's sense, that loads the batches of one worker."""
        return _KINDS.create_fetcher(
            self._dataset_kind, dataset, self._auto_collation, self._collate_fn, self._drop_last
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
        dataset: Any,
        start: Callable[[int], object] | None,
    ) -> None:
        seed = base_seed + number
        self._info = _UTILS.worker.WorkerInfo(
            id=number, num_workers=count, seed=seed, dataset=_own_copy(dataset)
        )
        self._fetcher: Any = None
        self._randomness: Randomness | None = None
        with self._turn():
            random.seed(seed)
            torch.default_generator.manual_seed(seed)
            np.random.seed(_UTILS.worker._generate_state(base_seed, number))
            if start is not None:
                start(number)

    def begin(self, fetcher_of: Callable[[Any], Any]) -> None:
        """Begin with the dataset, anew in each epoch."""
        with self._turn():
            self._fetcher = fetcher_of(self._info.dataset)

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


def _own_copy(dataset: Any) -> Any:
    """A worker's copy of a dataset, which shares all it holds except random number generators."""
    try:
        own = copy.copy(dataset)
        for name, value in list(vars(own).items()):
            if isinstance(value, _OWN_GENERATORS):
                setattr(own, name, copy.deepcopy(value))
            elif isinstance(value, torch.Generator):
                setattr(own, name, value.clone_state())
    except Exception:  # noqa: BLE001 - a script's class may raise anything when it is copied
        return dataset
    return own
