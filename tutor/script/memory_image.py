"""A copy of all that a script can change, put back into the very same objects.

The script's own stack waits in functions that hold the model and the optimizer: so going back must
change these objects, not replace them. An image holds each mutable object that can be reached from
the script's names, with its content: a list's items, an instance's attributes, a tensor's elements.

An iterator can't be copied; a script that keeps one has no images, and goes back by running again
from its start. Functions and classes of libraries, files, and progress bars are left as they are.
"""

from __future__ import annotations

import copy
import functools
import io
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch

from tutor.script.instrument import PREFIX
from tutor.training.devices import Randomness

_ATOMS = (int, float, complex, str, bytes, type(None), range, slice, BuiltinFunctionType, Enum)
_ATOMS_OF_TORCH = (torch.dtype, torch.device, torch.Size, np.generic, np.dtype)
_LEFT_ALONE = ("tqdm", "matplotlib", "logging", "torch.utils.tensorboard", "PIL", "threading")
"""Modules whose objects show or write something, and compute nothing."""

_LARGE = 4 * 2**20
"""Bytes above which data are only compared until they change: a data set is not kept."""

_SAMPLES = 2**16
"""Elements that stand for all of a large array when it is compared."""

_OBJECT = 100
"""Estimated bytes of an object besides its content."""

Restore: TypeAlias = Callable[[], None]


class CannotCopy(Exception):
    """An object that can't be copied: an iterator, or one in memory of another program."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedObject:
    """An object, and its content as references."""

    thing: Any
    content: Any
    put_back: Callable[[Any, Any], None]


@dataclass(frozen=True, slots=True, eq=False)
class SavedElements:
    """The memory of tensors and arrays that share it, and a copy of its elements."""

    memory: Any
    """A flat tensor or array of bytes over all of it."""
    elements: Any
    """The copy; None of a large one that has never been seen to change."""
    sample: int
    """Of a large one: a number that is another one if it has changed."""

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
        return self.elements is not None or _sample(self.memory) == self.sample


@dataclass(frozen=True, slots=True, eq=False)
class MemoryImage:
    """All that a script could change, as it was at one moment."""

    objects: Sequence[SavedObject]
    memories: Sequence[SavedElements]
    randomness: Randomness
    device: str

    def restore(self) -> bool:
        """Make everything what it was; False, and nothing changes, if something is not kept."""
        if not all(memory.is_as_it_was for memory in self.memories):
            return False
        for saved in self.objects:
            saved.put_back(saved.thing, saved.content)
        with torch.no_grad():
            for memory in self.memories:
                memory.put_back()
        self.randomness.restore(self.device)
        return True

    def parts(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another image may share the memories'."""
        yield id(self.objects), sum(_OBJECT + 8 * _length(s.content) for s in self.objects)
        for memory in self.memories:
            yield id(memory), _OBJECT + (0 if memory.elements is None else memory.memory.nbytes)
        yield from self.randomness.parts()


def take_image(
    roots: Iterable[Any], filename: str, device: str, before: MemoryImage | None, limit: int
) -> MemoryImage | None:
    """An image of all that the roots lead to; what equals `before` is shared with it.

    None if something can't be copied, or if more than `limit` bytes would be new.
    """
    walk = _Walk(filename)
    try:
        walk.follow(roots)
        memories = _memories(walk.memories, before, limit)
    except KeyboardInterrupt:
        raise
    except Exception:  # noqa: BLE001 - whatever a script's objects raise when they are read
        return None
    randomness = Randomness.now(device)
    if before is not None:
        randomness = randomness.sharing(before.randomness)
    return MemoryImage(walk.objects, memories, randomness, device)


# ── Finding the objects ─────────────────────────────────────────────────────────────


class _Walk:
    """Goes from object to object, each once."""

    def __init__(self, filename: str) -> None:
        self.objects: list[SavedObject] = []
        self.memories: dict[int, Any] = {}
        """The memory of tensors and arrays, by its address."""
        self._filename = filename
        self._seen: set[int] = set()
        self._alive: list[Any] = []
        """Objects made on the way, so that no other gets their id."""

    def follow(self, roots: Iterable[Any]) -> None:
        """Note all objects that the roots lead to. Raises CannotCopy."""
        waiting = list(roots)
        while waiting:
            thing = waiting.pop()
            if isinstance(thing, _ATOMS) or id(thing) in self._seen:
                continue
            self._seen.add(id(thing))
            waiting += self._inside(thing)

    def _note(self, thing: Any, content: Any, put_back: Callable[[Any, Any], None]) -> None:
        self.objects.append(SavedObject(thing, content, put_back))

    def _inside(self, thing: Any) -> Iterable[Any]:
        """Note a thing; returns what it leads to."""
        if isinstance(thing, torch.Tensor):
            return self._tensor(thing)
        if isinstance(thing, np.ndarray):
            return self._array(thing)
        if isinstance(thing, dict):
            return self._dict(thing)
        if isinstance(thing, list | set | deque | bytearray):
            self._note(thing, tuple(thing), _set_items)
            return [*thing, *self._attributes(thing)]
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
        generator = _generator_state(thing)
        if generator is not None:
            self._note(thing, generator, _set_generator)
            return ()
        module = type(thing).__module__
        if isinstance(thing, io.IOBase) or module.startswith(_LEFT_ALONE):
            return ()
        if hasattr(type(thing), "__next__"):
            raise CannotCopy(type(thing).__name__)
        return self._attributes(thing)

    def _attributes(self, thing: Any) -> Iterable[Any]:
        """The attributes of an instance: those in its `__dict__`, and those in slots."""
        own = getattr(thing, "__dict__", None)
        found = [own] if type(own) is dict else []
        names = [n for cls in type(thing).__mro__ for n in _slots(cls) if hasattr(thing, n)]
        if names:
            content = {name: getattr(thing, name) for name in names}
            self._note(thing, content, _set_slots)
            found += content.values()
        return found

    def _tensor(self, thing: torch.Tensor) -> Iterable[Any]:
        if thing.grad_fn is not None or thing.layout is not torch.strided:
            return (vars(thing),) if vars(thing) else ()
        storage = thing.untyped_storage()
        memory = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        self.memories.setdefault(memory.data_ptr() or id(storage), memory)
        content = (thing.detach(), thing.grad, thing.requires_grad)
        self._note(thing, content, _set_tensor)
        return [g for g in (thing.grad, vars(thing)) if g is not None]

    def _array(self, thing: np.ndarray[Any, Any]) -> Iterable[Any]:
        if thing.dtype.hasobject:
            self._note(thing, thing.copy(), _set_array)
            return thing.ravel().tolist()
        root = thing
        while isinstance(root.base, np.ndarray):
            root = root.base
        if root.flags.writeable and root.flags.forc:
            memory = root.ravel(order="K").view(np.uint8) if root.size else root
            self.memories.setdefault(root.__array_interface__["data"][0] or id(root), memory)
        return ()


def _is_hidden(key: Any) -> bool:
    return isinstance(key, str) and (key.startswith(PREFIX) or key == "__builtins__")


def _slots(cls: type) -> Sequence[str]:
    found = cls.__dict__.get("__slots__", ())
    names = (found,) if isinstance(found, str) else tuple(found)
    return [n for n in names if n not in ("__dict__", "__weakref__")]


def _content(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # it is empty
        return ()


def _generator_state(thing: Any) -> Any:
    """The state of a random number generator; None of all else."""
    if isinstance(thing, torch.Generator):
        return thing.get_state()
    if isinstance(thing, np.random.Generator):
        return copy.deepcopy(thing.bit_generator.state)
    if isinstance(thing, np.random.RandomState):
        return thing.get_state()
    return thing.getstate() if isinstance(thing, random.Random) else None


def _length(content: Any) -> int:
    return len(content) if isinstance(content, tuple | dict) else 1


# ── Putting the content back ────────────────────────────────────────────────────────


def _set_items(thing: Any, content: tuple[Any, ...]) -> None:
    if isinstance(thing, list | bytearray):
        if len(thing) != len(content) or any(a is not b for a, b in zip(thing, content)):  # noqa: B905
            thing[:] = content
        return
    thing.clear()
    (thing.update if isinstance(thing, set) else thing.extend)(content)


def _set_dict(thing: dict[Any, Any], content: dict[Any, Any]) -> None:
    for key in [key for key in dict.keys(thing) if key not in content and not _is_hidden(key)]:
        dict.__delitem__(thing, key)
    dict.update(thing, content)


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
        if getattr(thing, name, content) is not value:
            object.__setattr__(thing, name, value)


def _set_tensor(thing: torch.Tensor, content: tuple[torch.Tensor, Any, bool]) -> None:
    alias, gradient, requires_grad = content
    if thing.grad_fn is not None:  # it was changed in place, and has become part of a graph
        thing.detach_()
    if thing.data_ptr() != alias.data_ptr() or thing.shape != alias.shape:
        thing.data = alias
    if thing.requires_grad != requires_grad:
        thing.requires_grad_(requires_grad)
    if thing.grad is not gradient:
        thing.grad = gradient


def _set_array(thing: np.ndarray[Any, Any], content: np.ndarray[Any, Any]) -> None:
    thing[...] = content


def _set_generator(thing: Any, state: Any) -> None:
    if isinstance(thing, torch.Generator):
        thing.set_state(state)
    elif isinstance(thing, np.random.Generator):
        thing.bit_generator.state = state
    elif isinstance(thing, np.random.RandomState):
        thing.set_state(state)
    else:
        thing.setstate(state)


# ── Elements ────────────────────────────────────────────────────────────────────────


def _memories(
    now: dict[int, Any], before: MemoryImage | None, limit: int
) -> Sequence[SavedElements]:
    """A copy of each memory, or the copy before where it is the same. Raises MemoryError."""
    old = {_address(saved.memory): saved for saved in before.memories} if before else {}
    found: list[SavedElements] = []
    for address, memory in now.items():
        saved = _saved(memory, old.get(address))
        if saved is not old.get(address) and saved.elements is not None:
            limit -= memory.nbytes
            if limit < 0:
                raise MemoryError("an image of this would be too large")
        found.append(saved)
    return found


def _address(memory: Any) -> int:
    if isinstance(memory, torch.Tensor):
        return memory.data_ptr()
    return int(memory.__array_interface__["data"][0])


def _saved(memory: Any, was: SavedElements | None) -> SavedElements:
    is_same_place = was is not None and was.memory.nbytes == memory.nbytes
    if memory.nbytes <= _LARGE:
        if was is not None and is_same_place and _is_equal(memory, was.elements):
            return was
        return SavedElements(memory, _copied(memory), 0)
    sample = _sample(memory)
    if was is None or not is_same_place:
        return SavedElements(memory, None, sample)
    if was.sample == sample:
        return was
    return SavedElements(memory, _copied(memory), sample)


def _is_equal(memory: Any, elements: Any) -> bool:
    if elements is None:
        return False
    if isinstance(memory, torch.Tensor):
        return isinstance(elements, torch.Tensor) and torch.equal(memory, elements)
    return isinstance(elements, np.ndarray) and np.array_equal(memory, elements)


def _copied(memory: Any) -> Any:
    return memory.clone() if isinstance(memory, torch.Tensor) else memory.copy()


def _sample(memory: Any) -> int:
    step = max(1, memory.nbytes // _SAMPLES) | 1
    some = memory[::step]
    return hash((some.cpu().numpy() if isinstance(some, torch.Tensor) else some).tobytes())
