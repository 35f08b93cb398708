"""Copies of the memory of tensors and arrays, shared with an earlier copy where nothing changed.

An image of a script that keeps a loss with its graph keeps the graph, too, and all that it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

LARGE = 4 * 2**20
"""Bytes above which data are only compared until they change: a data set is not kept."""

_ROW = 4093
"""Words in a row when large data are summed up by rows and by columns: a prime."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedElements:
    """The memory of tensors and arrays that share it, and a copy of its elements."""

    memory: Any
    """A flat tensor or array of bytes over all of it."""
    elements: Any
    """The copy; None of a large one that has never been seen to change."""
    checksum: int
    """Of a large one: another number if it has changed."""

    def put_back(self) -> None:
        """Write the elements into the memory."""
        if self.elements is None:
            return
        if isinstance(self.memory, torch.Tensor):
            self.memory.copy_(self.elements)
        else:
            self.memory[...] = self.elements

    @property
    def is_as_it_was(self) -> bool:
        """Whether it can be put back, or need not be."""
        return self.elements is not None or _checksum(self.memory) == self.checksum

    @property
    def size(self) -> int:
        """Bytes that the copy takes."""
        return 0 if self.elements is None else int(self.memory.nbytes)


def saved_memories(
    now: Mapping[int, Any], trained: Collection[int], before: Sequence[SavedElements], limit: int
) -> Sequence[SavedElements]:
    """A copy of each memory, or the copy before where it is the same.

    `now` has them by address; those at the addresses `trained` are sure to change. Raises
    MemoryError if the new copies take more than `limit` bytes.
    """
    old = {_address(saved.memory): saved for saved in before}
    found: list[SavedElements] = []
    for address, memory in now.items():
        saved = _saved(memory, old.get(address), address in trained)
        if saved is not old.get(address):
            limit -= saved.size
        if limit < 0:
            raise MemoryError("an image of this would be too large")
        found.append(saved)
    return found


def flat_memory(tensor: torch.Tensor) -> torch.Tensor:
    """All the memory that a tensor is a part of, as bytes."""
    storage = tensor.untyped_storage()
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _address(memory: Any) -> int:
    if isinstance(memory, torch.Tensor):
        return memory.data_ptr()
    return int(memory.__array_interface__["data"][0])


def _saved(memory: Any, was: SavedElements | None, is_trained: bool) -> SavedElements:
    if was is not None and was.memory.nbytes != memory.nbytes:
        was = None
    if was is not None and was.elements is not None:
        is_same = _is_equal(memory, was.elements)
        return was if is_same else SavedElements(memory, _copied(memory), was.checksum)
    if memory.nbytes <= LARGE or is_trained:
        return SavedElements(memory, _copied(memory), 0)
    checksum = _checksum(memory)
    if was is None:
        return SavedElements(memory, None, checksum)
    return was if was.checksum == checksum else SavedElements(memory, _copied(memory), checksum)


def _is_equal(memory: Any, elements: Any) -> bool:
    if isinstance(memory, torch.Tensor):
        return torch.equal(memory, elements)
    return np.array_equal(memory, elements)


def _copied(memory: Any) -> Any:
    return memory.clone() if isinstance(memory, torch.Tensor) else memory.copy()


def _checksum(memory: Any) -> int:
    """A number that is another one when elements have changed, or have changed places."""
    whole = memory.nbytes // 8
    if isinstance(memory, torch.Tensor) and memory.device.type != "cpu":
        words = memory[: whole * 8].view(torch.int64)
        rows = words[: whole // _ROW * _ROW].reshape(-1, _ROW)
        parts = [rows.sum(0), rows.sum(1), words[rows.numel() :], memory[whole * 8 :]]
        return hash(tuple(part.cpu().numpy().tobytes() for part in parts))
    array: np.ndarray[Any, Any] = memory.numpy() if isinstance(memory, torch.Tensor) else memory
    numbers = array[: whole * 8].view(np.int64)
    table = numbers[: whole // _ROW * _ROW].reshape(-1, _ROW)
    sums = [table.sum(axis=0), table.sum(axis=1), numbers[table.size :], array[whole * 8 :]]
    return hash(tuple(part.tobytes() for part in sums))


# ── The memory that graphs hold ───────────────────────────────────────────────────────

_MOST_NODES = 20_000


def held_by(tensor: torch.Tensor, known: Collection[int]) -> dict[int, int]:
    """The bytes of each memory that a non-leaf tensor and its graph hold, by address.

    Without those whose address is `known`. Raises MemoryError for a graph too large to look at.
    """
    found = dict(_memory(tensor))
    waiting, seen = [tensor.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if len(seen) > _MOST_NODES:
            raise MemoryError("a graph of this size is not kept")
        waiting += [following for following, _ in node.next_functions]
        for name in _names(type(node)):
            found.update(_memories(_attribute(node, name)))
    return {address: size for address, size in found.items() if address not in known}


@lru_cache(maxsize=1024)
def _names(kind: type) -> tuple[str, ...]:
    return tuple(n for n in dir(kind) if n.startswith("_saved_") or n == "saved_tensors")


def _attribute(node: Any, name: str) -> Any:
    try:
        return getattr(node, name)
    except RuntimeError:  # the backward pass has let go of it
        return None


def _memories(saved: Any) -> Iterator[tuple[int, int]]:
    for thing in saved if isinstance(saved, list | tuple) else (saved,):
        if isinstance(thing, torch.Tensor):
            yield from _memory(thing)


def _memory(tensor: torch.Tensor) -> Iterator[tuple[int, int]]:
    if tensor.layout is torch.strided:
        storage = tensor.untyped_storage()
        yield storage.data_ptr(), storage.nbytes()
