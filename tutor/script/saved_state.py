"""The memory of tensors and arrays, and the files, that an image of a script's state keeps.

A copy is shared with an earlier one where nothing has changed.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from tutor.script.redirected_files import RedirectedFiles

LARGE = 4 * 2**20
"""Bytes above which data are only compared until they change: a data set is not kept."""

_ROW = 4093
"""Words in a row when large data are summed up by rows and by columns: a prime."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedElements:
    """The memory of tensors and arrays that share it, and a copy of its elements."""

    memory: Any
    """A flat tensor or array of bytes over the whole memory."""
    elements: Any
    """The copy; None for a large memory that has never been seen to change."""
    checksum: int
    """A number that changes when the elements of a large memory change."""

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
    now: Mapping[int, Any], trained: Collection[int], before: Sequence[SavedElements], limit: float
) -> Sequence[SavedElements]:
    """A copy of each memory; the copy in `before` serves again where nothing has changed.

    `now` has the memories by address; at the addresses `trained` they are sure to change. Raises
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


def _address(memory: Any) -> int:
    if isinstance(memory, torch.Tensor):
        return memory.data_ptr()
    return int(memory.__array_interface__["data"][0])


def _saved(memory: Any, was: SavedElements | None, is_trained: bool) -> SavedElements:
    if was is not None and was.memory.nbytes != memory.nbytes:
        was = None
    if was is not None and was.elements is not None:
        is_same = _is_equal(memory, was.elements)
        return was if is_same else SavedElements(memory, _memory_copy(memory), was.checksum)
    if memory.nbytes <= LARGE or is_trained:
        return SavedElements(memory, _memory_copy(memory), 0)
    checksum = _checksum(memory)
    if was is None:
        return SavedElements(memory, None, checksum)
    return (
        was if was.checksum == checksum else SavedElements(memory, _memory_copy(memory), checksum)
    )


def _is_equal(memory: Any, elements: Any) -> bool:
    if isinstance(memory, torch.Tensor):
        return torch.equal(memory, elements)
    return np.array_equal(memory, elements)


def _memory_copy(memory: Any) -> Any:
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


def memory_held_by(tensor: torch.Tensor, known: Collection[int]) -> dict[int, int]:
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
        for name in _saved_attributes(type(node)):
            found.update(_memories(_attribute(node, name)))
    return {address: size for address, size in found.items() if address not in known}


@lru_cache(maxsize=1024)
def _saved_attributes(kind: type) -> tuple[str, ...]:
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


# ── The files that a script has written ───────────────────────────────────────────────────

MOST_BYTES = 64 * 2**20
"""Bytes of files that are kept for one image, besides what others hold."""
_LARGE_FILE = 2**20
"""Bytes from which a file is not read again while its times and size stay the same."""
_ENTRY = 200
"""Estimated bytes of a file besides its content."""

_Stamp: TypeAlias = tuple[int, int, int]


class TooManyBytes(Exception):
    """More content than may be kept."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedFile:
    """The content of one file."""

    content: bytes
    stamp: _Stamp

    def is_at(self, path: Path) -> bool:
        """Whether a file still has this content."""
        stamp = _stamp_of(path)
        if stamp[0] >= _LARGE_FILE and stamp == self.stamp:
            return True
        return stamp[0] == len(self.content) and path.read_bytes() == self.content

    def put_back(self, path: Path) -> None:
        """Give a file this content again, in place: the script may hold it open."""
        if path.exists():
            if self.is_at(path):
                return
            mode = "r+b"
        else:
            mode = "wb"
        with open(path, mode) as file:
            file.write(self.content)
            file.truncate()
        os.utime(path, ns=(self.stamp[1], self.stamp[1]))


@dataclass(frozen=True, slots=True, eq=False)
class SavedFiles:
    """All that a script has written to its temporary folder, by path; None for a folder."""

    owner: RedirectedFiles
    files: Mapping[Path, SavedFile | None]

    def put_back(self) -> None:
        """Restore the folder. Raises OSError."""
        for path in reversed([p for p in _entries(self.owner) if p not in self.files]):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        for path, saved in self.files.items():
            if saved is None:
                path.mkdir(exist_ok=True)
            else:
                saved.put_back(path)

    def part_sizes(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another image may share some."""
        for saved in self.files.values():
            if saved is not None:
                yield id(saved), _ENTRY + len(saved.content)


def saved_files(
    owner: RedirectedFiles, before: SavedFiles | None, most: int = MOST_BYTES
) -> SavedFiles:
    """The files that a script has written; those that are as `before` are shared with it.

    Raises TooManyBytes if `most` bytes or more would be new, or if something is neither a file
    nor a folder; OSError.
    """
    found: dict[Path, SavedFile | None] = {}
    old = before.files if before is not None and before.owner is owner else {}
    for path in _entries(owner):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            found[path] = None
            continue
        saved = old.get(path)
        if saved is None or not saved.is_at(path):
            most -= path.lstat().st_size
            if most <= 0 or not stat.S_ISREG(mode):
                raise TooManyBytes(path)
            saved = SavedFile(path.read_bytes(), _stamp_of(path))
        found[path] = saved
    return SavedFiles(owner, found)


def _entries(owner: RedirectedFiles) -> list[Path]:
    """All that is in the temporary folder, each folder before what is in it."""
    return sorted(owner.folder.rglob("*")) if owner.folder is not None else []


def _stamp_of(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


# ── The files that a script holds open ────────────────────────────────────────────────────


class FilePlace(NamedTuple):
    """The place at which an open file stood."""

    position: int
    size: int
    """In bytes. What is written behind this is cut off on the way back."""


def file_place(thing: io.IOBase) -> FilePlace | None:
    """The place of a file that the script has opened; None of all other streams.

    Raises OSError where a text file that is being iterated over can't tell its place.
    """
    if thing.closed or not _is_opened_file(thing):
        return None
    if thing.writable():
        thing.flush()
    return FilePlace(thing.tell(), os.fstat(thing.fileno()).st_size)


def _is_opened_file(thing: io.IOBase) -> bool:
    """Whether it was opened by its name: not standard output, no pipe, no stream in memory."""
    name = getattr(thing, "name", None)
    is_named = isinstance(name, str | bytes | PurePath) and not str(name).startswith("<")
    return is_named and thing.seekable()


def set_file_place(thing: Any, place: FilePlace | None) -> None:
    """Put a file back to its place. Raises ValueError if it has been closed since."""
    if place is None:
        return
    if thing.writable():
        thing.flush()
        if os.fstat(thing.fileno()).st_size > place.size:
            os.ftruncate(thing.fileno(), place.size)
    thing.seek(place.position)
