"""Copies of the memory of tensors and arrays, shared with an earlier copy where nothing changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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
