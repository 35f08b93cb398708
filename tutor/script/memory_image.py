"""A copy of all that a script can change, put back into the very same objects.

The script's own stack waits in functions that hold the model and the optimizer: so going back must
change these objects, not replace them. An image holds each mutable object that can be reached from
the script's names, with its content: a list's items, an instance's attributes, a tensor's elements.

An iterator can't be copied; a script that keeps one has no images, and goes back by running again
from its start. The same holds for a file that was open and has been closed since; an open one is
cut where it ended. Functions and classes of libraries, and progress bars, are left as they are.
"""

from __future__ import annotations

import array
import functools
import io
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch

from tutor.script.instrument import PREFIX
from tutor.script.redirected_files import RedirectedFiles
from tutor.script.saved_state import (
    SavedElements,
    SavedFiles,
    file_place,
    memory_held_by,
    saved_files,
    saved_memories,
    set_file_place,
)
from tutor.training.devices import Randomness
from tutor.training.snapshot import flat_memory, root_of
from tutor.training.state_copy import GENERATORS, generator_state, set_generator_state

_ATOMS = (int, float, complex, str, bytes, type(None), range, slice, BuiltinFunctionType, Enum)
PLAIN_TYPES = frozenset({int, float, bool, complex, str, bytes, type(None)})
"""Types of objects that never change and hold no others."""
_ATOMS_OF_TORCH = (torch.dtype, torch.device, torch.Size, np.generic, np.dtype)
_LEFT_ALONE = (
    *("tqdm", "rich", "matplotlib", "PIL", "logging", "torch.utils.tensorboard", "tensorboardX"),
    *("wandb", "mlflow", "threading", "multiprocessing", "concurrent", "subprocess", "sqlite3"),
)
"""Modules whose objects show or write something, and compute nothing."""

_OF_PYTHON = ("__builtins__", "__spec__", "__loader__")
"""Names in a module that are not the module's own."""

_OBJECT = 100
"""Estimated bytes of an object besides its content."""

_LARGE_TABLE = 2**20
"""Bytes of a table above which it is not copied for each image."""

_UNSET = object()
"""Stands for the content of an empty slot."""

PutBack: TypeAlias = Callable[[Any, Any], object]


class CannotCopy(Exception):
    """An object that can't be copied: an iterator, or one whose state is not Python's."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedObject:
    """An object, and its content as references."""

    thing: Any
    content: Any
    put_back: PutBack


@dataclass(frozen=True, slots=True, eq=False)
class SavedGraph:
    """A tensor that is part of a computation graph: it can be kept, but not made anew."""

    tensor: torch.Tensor
    grad_fn: Any
    version: int
    """Counts the changes in place."""

    @property
    def is_as_it_was(self) -> bool:
        """Whether it is still an unchanged part of that graph."""
        return self.tensor.grad_fn is self.grad_fn and self.tensor._version == self.version


@dataclass(frozen=True, slots=True, eq=False)
class MemoryImage:
    """All that a script could change, as it was at one moment."""

    objects: Sequence[SavedObject]
    memories: Sequence[SavedElements]
    graphs: Sequence[SavedGraph]
    held: Mapping[int, int]
    """Bytes of each memory that only the graphs hold, by address."""
    randomness: Randomness
    device: str
    files: SavedFiles | None = None
    """The files that the script has written; None where they are the learner's."""

    def restore(self) -> bool:
        """Restore everything; False if something is not kept, or can't be put back."""
        try:
            parts: tuple[SavedGraph | SavedElements, ...] = (*self.graphs, *self.memories)
            if not all(part.is_as_it_was for part in parts):
                return False
            for saved in self.objects:
                saved.put_back(saved.thing, saved.content)
            with torch.no_grad():
                for memory in self.memories:
                    memory.put_back()
            if self.files is not None:  # after the open ones, which write their buffers
                self.files.put_back()
        except KeyboardInterrupt:
            raise
        except Exception:  # noqa: BLE001 - whatever a script's objects raise when they are set
            return False
        self.randomness.restore(self.device)
        return True

    def part_sizes(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another image may share the memories'."""
        yield id(self.objects), sum(_OBJECT + 8 * _length(s.content) for s in self.objects)
        for memory in self.memories:
            yield id(memory), _OBJECT + memory.size
        yield from self.held.items()
        yield from self.randomness.part_sizes()
        if self.files is not None:
            yield from self.files.part_sizes()


def take_image(
    roots: Iterable[Any],
    filename: str,
    device: str,
    before: MemoryImage | None,
    limit: float,
    owner: RedirectedFiles | None = None,
) -> MemoryImage | None:
    """An image of all things that the roots lead to; equal parts are shared with `before`.

    `owner` holds the files that the script writes, unless it writes them in their own places.
    Returns None if something can't be copied, or if more than `limit` bytes would be new.
    """
    walk = _Walk(filename)
    try:
        walk.follow(roots)
        held = walk.held()
        old = before.held if before else {}
        limit -= sum(size for address, size in held.items() if address not in old)
        files = None
        if owner is not None:
            files = saved_files(owner, before.files if before else None)
        memories = saved_memories(
            walk.memories, walk.trained, before.memories if before else (), limit
        )
    except KeyboardInterrupt:
        raise
    except Exception:  # noqa: BLE001 - whatever a script's objects raise when they are read
        return None
    randomness = Randomness.now(device)
    if before is not None:
        randomness = randomness.sharing(before.randomness)
    return MemoryImage(walk.objects, memories, walk.graphs, held, randomness, device, files)


# ── Finding the objects ─────────────────────────────────────────────────────────────


class _Walk:
    """Goes from object to object, each once."""

    def __init__(self, filename: str) -> None:
        self.objects: list[SavedObject] = []
        self.memories: dict[int, Any] = {}
        """The memory of tensors and arrays, by its address."""
        self.trained: set[int] = set()
        """The addresses of memory that an optimizer changes, or may change."""
        self.graphs: list[SavedGraph] = []
        self._filename = filename
        self._seen: set[int] = set()
        self._alive: list[Any] = []
        """The objects on the way, so that no other gets their id."""

    def follow(self, roots: Iterable[Any]) -> None:
        """Note all objects that the roots lead to. Raises CannotCopy."""
        waiting = list(roots)
        while waiting:
            thing = waiting.pop()
            if isinstance(thing, _ATOMS) or id(thing) in self._seen:
                continue
            self._seen.add(id(thing))
            self._alive.append(thing)
            waiting += self._inside(thing)

    def held(self) -> dict[int, int]:
        """Bytes of each memory that only graphs hold. Drops the graphs of views of other memory."""
        self.graphs = [g for g in self.graphs if _storage_of(g.tensor) not in self.memories]
        found: dict[int, int] = {}
        for graph in self.graphs:
            found |= memory_held_by(graph.tensor, self.memories)
        return found

    def _note(self, thing: Any, content: Any, put_back: PutBack) -> None:
        self.objects.append(SavedObject(thing, content, put_back))

    def _inside(self, thing: Any) -> Iterable[Any]:
        """Note a thing; returns the things that it leads to."""
        if isinstance(thing, torch.Tensor):
            return self._tensor(thing)
        if isinstance(thing, np.ndarray):
            return self._array(thing)
        if isinstance(thing, dict):
            return self._dict(thing)
        if isinstance(thing, list | set | deque | bytearray | array.array):
            content = tuple(thing)
            self._note(thing, content, _set_items)
            inner = () if PLAIN_TYPES.issuperset(map(type, content)) else content
            return [*inner, *self._attributes(thing)]
        if isinstance(thing, tuple | frozenset):
            return thing
        if isinstance(thing, _ATOMS_OF_TORCH):
            return ()
        return self._other(thing)

    def _other(self, thing: Any) -> Iterable[Any]:
        if isinstance(thing, CellType):
            content = _content(thing)
            self._note(thing, content, _set_cell)
            return content
        if isinstance(thing, FunctionType):
            return self._function(thing)
        if isinstance(thing, MethodType):
            return thing.__self__, thing.__func__
        if isinstance(thing, functools.partial):
            return thing.func, thing.args, thing.keywords
        if isinstance(thing, type):
            return self._class(thing)
        if isinstance(thing, ModuleType):
            return self._module(thing)
        return self._instance(thing)

    def _dict(self, thing: dict[Any, Any]) -> Iterable[Any]:
        content = {k: v for k, v in thing.items() if not _is_hidden(k)}
        self._note(thing, content, _set_dict)
        return [*content.values(), *content, *self._attributes(thing)]

    def _function(self, thing: FunctionType) -> Iterable[Any]:
        if thing.__code__.co_filename != self._filename:
            return ()
        return thing.__closure__ or (), thing.__defaults__, thing.__kwdefaults__, thing.__dict__

    def _class(self, thing: type) -> Iterable[Any]:
        if thing.__module__ != "__main__":
            return ()
        content = {k: v for k, v in vars(thing).items() if not k.startswith("__")}
        self._note(thing, content, _set_class)
        return content.values()

    def _module(self, thing: ModuleType) -> Iterable[Any]:
        """A module that stands beside the script is as much its own as its file."""
        folder = self._filename.rpartition("/")[0]
        file = getattr(thing, "__file__", None) or ""
        return (vars(thing),) if folder and file.rpartition("/")[0] == folder else ()

    def _instance(self, thing: Any) -> Iterable[Any]:
        if isinstance(thing, GENERATORS):
            self._note(thing, generator_state(thing), set_generator_state)
            return ()
        if isinstance(thing, io.IOBase):
            self._note(thing, file_place(thing), set_file_place)
            return ()
        module = type(thing).__module__
        if module.startswith("pandas") and hasattr(thing, "_mgr"):
            self._note(thing, _copied_table(thing), _set_table)
            return ()
        if module.startswith(_LEFT_ALONE):
            return ()
        is_iterator = not isinstance(getattr(type(thing), "__next__", _set_items), FunctionType)
        if is_iterator or _is_unsettled(thing):
            raise CannotCopy(type(thing).__name__)
        return self._attributes(thing)

    def _attributes(self, thing: Any) -> list[Any]:
        """The attributes of an instance: those in its `__dict__`, and those in slots."""
        kind = type(thing)
        own = getattr(thing, "__dict__", None)
        found: list[Any] = [own] if type(own) is dict else []
        if kind.__module__ == "__main__":
            found.append(kind)
        names = [name for cls in kind.__mro__ for name in _slots(cls)]
        if names:
            content = {name: getattr(thing, name, _UNSET) for name in names}
            self._note(thing, content, _set_slots)
            found += content.values()
        return found

    def _tensor(self, thing: torch.Tensor) -> Iterable[Any]:
        own = [vars(thing)] if vars(thing) else []
        if thing.layout is not torch.strided:
            if not thing.is_leaf:
                return own
            raise CannotCopy(str(thing.layout))
        if thing.grad_fn is not None:
            self.graphs.append(SavedGraph(thing, thing.grad_fn, thing._version))
            return own
        memory = flat_memory(thing.untyped_storage())
        if memory.nbytes:
            self.memories.setdefault(memory.data_ptr(), memory)
            if thing.requires_grad:
                self.trained.add(memory.data_ptr())
        content = (thing.detach(), thing.grad, thing.requires_grad)
        self._note(thing, content, _set_tensor)
        return own if thing.grad is None else [*own, thing.grad]

    def _array(self, thing: np.ndarray[Any, Any]) -> Iterable[Any]:
        own = [] if type(thing) is np.ndarray else self._attributes(thing)
        if thing.dtype.hasobject:
            self._note(thing, thing.copy(), _set_array)
            return [*own, *thing.ravel().tolist()]
        root = root_of(thing)
        if not root.flags.forc:  # it is itself a view of other memory
            if thing.flags.writeable:
                self._note(thing, thing.copy(), _set_array)
        elif root.flags.writeable and root.size:
            memory = root.ravel(order="K").view(np.ndarray).view(np.uint8)
            self.memories.setdefault(root.__array_interface__["data"][0], memory)
        return own


def _is_unsettled(thing: Any) -> bool:
    """Whether a DistributedDataParallel model will still arrange its gradients anew, for good.

    It does so in its second batch. More than two ranks may sum in another order then.
    """
    if not isinstance(thing, torch.nn.parallel.DistributedDataParallel):
        return False
    is_other_sum = thing.process_group.size() > 2 and not thing.find_unused_parameters
    return bool((thing.static_graph or is_other_sum) and not thing._has_rebuilt_buckets)


def _storage_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _is_hidden(key: Any) -> bool:
    return isinstance(key, str) and (key.startswith(PREFIX) or key in _OF_PYTHON)


@functools.lru_cache(maxsize=1024)
def _slots(cls: type) -> Sequence[str]:
    found = cls.__dict__.get("__slots__", ())
    names = (found,) if isinstance(found, str) else tuple(found)
    owner = cls.__name__.lstrip("_")
    return tuple(
        f"_{owner}{n}" if n.startswith("__") and not n.endswith("__") else n
        for n in names
        if n not in ("__dict__", "__weakref__")
    )


def _content(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # it is empty
        return ()


def _copied_table(thing: Any) -> Any:
    """A copy of a table of pandas, which from version 3 on copies data only on a write."""
    is_lazy = int(sys.modules["pandas"].__version__.partition(".")[0]) >= 3
    if not is_lazy and np.sum(thing.memory_usage()) > _LARGE_TABLE:
        raise CannotCopy("a large table")
    return thing.copy(deep=not is_lazy)


def _length(content: Any) -> int:
    return len(content) if isinstance(content, tuple | dict) else 1


# ── Putting the content back ────────────────────────────────────────────────────────


def _set_items(thing: Any, content: tuple[Any, ...]) -> None:
    if isinstance(thing, set):
        if set.__len__(thing) != len(content) or not all(map(thing.__contains__, content)):
            set.clear(thing)
            set.update(thing, content)
    elif len(thing) != len(content) or any(a is not b for a, b in zip(thing, content)):  # noqa: B905
        if isinstance(thing, deque):
            thing.clear()
            thing.extend(content)
        elif isinstance(thing, array.array):
            thing[:] = array.array(thing.typecode, content)
        elif isinstance(thing, list):
            list.__setitem__(thing, slice(None), content)
        else:
            thing[:] = bytes(content)


def _set_dict(thing: dict[Any, Any], content: dict[Any, Any]) -> None:
    """Set the items without a script's class acting on it; the order is put back, too."""
    kind: Any = OrderedDict if isinstance(thing, OrderedDict) else dict
    keys = [key for key in dict.keys(thing) if not _is_hidden(key)]
    if [*map(id, keys)] != [*map(id, content)]:
        for key in keys:
            kind.__delitem__(thing, key)
    elif all(dict.__getitem__(thing, key) is value for key, value in content.items()):
        return
    for key, value in content.items():
        kind.__setitem__(thing, key, value)


def _set_cell(thing: CellType, content: tuple[Any, ...]) -> None:
    if content:
        thing.cell_contents = content[0]
    elif _content(thing):
        del thing.cell_contents


def _set_class(thing: type, content: dict[str, Any]) -> None:
    now = vars(thing)
    for name in [n for n in now if n not in content and not n.startswith("__")]:
        delattr(thing, name)
    for name, value in content.items():
        if now.get(name, thing) is not value:
            setattr(thing, name, value)


def _set_slots(thing: Any, content: dict[str, Any]) -> None:
    for name, value in content.items():
        if getattr(thing, name, _UNSET) is value:
            continue
        if value is _UNSET:
            object.__delattr__(thing, name)
        else:
            object.__setattr__(thing, name, value)


def _set_tensor(thing: torch.Tensor, content: tuple[torch.Tensor, Any, bool]) -> None:
    alias, gradient, requires_grad = content
    if thing.grad_fn is not None:  # it was changed in place, and has become part of a graph
        thing.detach_()
    if _layout(thing) != _layout(alias):
        thing.data = alias
    if thing.requires_grad != requires_grad:
        thing.requires_grad_(requires_grad)
    if thing.grad is not gradient:
        thing.grad = gradient


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _set_array(thing: np.ndarray[Any, Any], content: np.ndarray[Any, Any]) -> None:
    thing[...] = content


def _set_table(thing: Any, content: Any) -> None:
    object.__setattr__(thing, "_mgr", _copied_table(content)._mgr)
    if hasattr(thing, "_reset_cache"):  # before version 3 a frame keeps its columns as series
        thing._reset_cache()
