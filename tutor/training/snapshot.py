"""An exact copy of a training loop's namespace, and the way back to it.

All names are copied but those that each epoch rewrites, with what belongs to them (modules,
optimizers and their state, gradients) and the random number generators. Identity is kept: `w` stays
the very object that the optimizer updates, and a view stays one.

A snapshot is made of two parts: a pickle of the objects, in which a number stands for each memory
that tensors and arrays lie in; and the elements in these memories, as bytes. A part that equals
that of the snapshot before is shared with it, so that a long run keeps little but numbers.
Functions and classes are not copied but named: so a snapshot can also be restored where
the same Setup has run in another namespace.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Iterator, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec
import numpy as np
import torch

from tutor.training.devices import Randomness
from tutor.training.liveness import Liveness
from tutor.training.values import Array

if TYPE_CHECKING:
    from tutor.training.rank_group import HeldByRanks

Namespace = dict[str, Any]
Elements: TypeAlias = "bytes | torch.Tensor | np.generic"
"""A copy of the memory of arrays or CPU tensors, or of tensors elsewhere; or a number of NumPy."""

LESSON_MODULE = "__lesson__"
"""The `__module__` of a lesson's classes."""

_COMPILED = ("__builtins", "__compiled_", "__resume_at_", "__import_")
"""Prefixes of the names that torch.compile adds to a namespace and that its code calls."""

_OBJECT = 60
"""Estimated bytes of a Python object besides its elements."""


class SetupNamespace(msgspec.Struct, eq=False):
    """The namespace that a program runs in, as its Setup left it."""

    names: Namespace
    """The `globals` of the functions that were made in it. The loop works on this very dict."""
    idle: Namespace = msgspec.field(default_factory=dict)
    """The names that no code reads after Setup."""
    definitions: Namespace = msgspec.field(default_factory=dict)
    """The functions and classes that Setup made or fetched."""
    definition_names: dict[int, str] = msgspec.field(default_factory=dict)
    """The name of each definition in Setup, by id."""
    setup_has_drawn: bool = False
    """Whether Setup has drawn random numbers."""
    on_other_ranks: HeldByRanks | None = None
    """The namespaces like this one on the other ranks; None if there is one rank."""

    def remember(self, liveness: Liveness, *, setup_has_drawn: bool) -> None:
        """Remember the state after Setup."""
        things = self.names.items()
        self.idle = {k: v for k, v in things if liveness.is_idle(k)}
        self.definitions = {k: v for k, v in things if isinstance(v, FunctionType | type)}
        self.definition_names = {id(v): k for k, v in self.definitions.items()}
        self.setup_has_drawn = setup_has_drawn


class SavedState(Protocol):
    """A state at the end of an epoch: a lesson's Snapshot, or a script's ScriptSnapshot."""

    @property
    def only_namespace(self) -> object | None:
        """The only namespace in which it can be restored; None if it can be in any."""

    @property
    def can_be_restored(self) -> bool:
        """Whether it is still whole: the ranks that keep parts of it may have ended."""

    @property
    def randomness(self) -> Randomness:
        """The state of the random number generators."""

    @property
    def device(self) -> str:
        """The device of the tensors."""

    def part_sizes(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another state may share some."""


class Snapshot(msgspec.Struct, frozen=True):
    """A namespace at the end of an epoch; never handed out but as a copy."""

    objects: bytes
    """The pickle of the names, then that of the idle names whose tensors or arrays are in it."""
    elements: tuple[Elements, ...]
    uncopied: tuple[Any, ...]
    """The functions, classes and modules that are not Setup's: they stay the same objects."""
    only_namespace: SetupNamespace | None
    """The only namespace that it can be restored in; None: in any of the same program."""
    randomness: Randomness
    device: str
    on_other_ranks: HeldByRanks | None = None
    """The other ranks' snapshots of that moment; None if there is one rank."""

    @property
    def can_be_restored(self) -> bool:
        """Whether the other ranks still hold their parts."""
        return self.on_other_ranks is None or not self.on_other_ranks.group.is_closed

    def restore(self, setup_namespace: SetupNamespace) -> None:
        """Restore this namespace (the same dict object), on this rank."""
        unpickler = _Unpickler(self, setup_namespace)
        restored, aliases = unpickler.load(), unpickler.load()
        names = setup_namespace.names
        compiled = {k: v for k, v in names.items() if k.startswith(_COMPILED)}
        names.clear()
        names.update(compiled)
        names.update(setup_namespace.idle | restored | aliases)
        self.randomness.restore(self.device)

    def part_sizes(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another snapshot may share all but the first."""
        yield id(self), 4 * _OBJECT + 8 * (len(self.elements) + len(self.uncopied))
        yield id(self.objects), len(self.objects) + _OBJECT
        yield from ((id(e), _size(e)) for e in self.elements)
        yield from self.randomness.part_sizes()


def take_snapshot(
    setup_namespace: SetupNamespace,
    liveness: Liveness,
    device: str,
    before: Snapshot | None,
    limit: float,
) -> Snapshot | None:
    """A snapshot of a namespace; None if it can't be copied, or would be too large.

    Rewritten and idle names are left out: the one has no value yet, the other never changes.
    Generators and tensors in mid-graph can't be copied: only running again from an earlier place
    gets there. The elements that it does not share with `before` may take `limit` bytes.
    """
    names = {
        k: v
        for k, v in setup_namespace.names.items()
        if k not in liveness.rewritten and not k.startswith(_COMPILED) and not liveness.is_idle(k)
    }
    out = io.BytesIO()
    pickler = _Pickler(out, setup_namespace)
    try:
        pickler.dump(names)
        pickler.dump({k: v for k, v in setup_namespace.idle.items() if id(v) in pickler.copied})
        elements = _elements(pickler.storages, before, limit)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - whatever a lesson's objects raise when copied: no snapshot
        return None
    objects, randomness = out.getvalue(), Randomness.now(device)
    if before is not None:
        objects = before.objects if objects == before.objects else objects
        randomness = randomness.sharing(before.randomness)
    only_namespace = setup_namespace if pickler.refers_to_namespace else None
    return Snapshot(objects, elements, tuple(pickler.uncopied), only_namespace, randomness, device)


def size_of(snapshots: Iterable[SavedState]) -> int:
    """Bytes, about, that all of them take together."""
    return sum({part: size for s in snapshots for part, size in s.part_sizes()}.values())


# ── Taking apart ────────────────────────────────────────────────────────────────────


class _Pickler(pickle.Pickler):
    """Pickles objects without the elements of tensors and arrays."""

    def __init__(self, out: io.BytesIO, setup_namespace: SetupNamespace) -> None:
        super().__init__(out, protocol=5)
        self.storages: list[Any] = []
        """Torch storages, numpy arrays and numbers, whose elements are to be copied."""
        self.uncopied: list[Any] = []
        self.copied: set[int] = set()
        """The ids of tensors and arrays; as long as this lives, nothing else can get them."""
        self.refers_to_namespace = False
        """Whether a function or class is pickled that works in this very namespace."""
        self._setup_namespace = setup_namespace
        self._storage_at: dict[tuple[str, int], int] = {}
        """The number of each storage, by its kind and address."""

    def reducer_override(self, thing: Any) -> Any:
        """The method of _Unpickler that makes a thing, and its arguments; else NotImplemented.

        Called once for each object that is no container or constant of Python's own.
        """
        if isinstance(thing, torch.nn.parallel.DistributedDataParallel):
            raise TypeError("a copy would have lost the hooks that it calls in the backward pass")
        if isinstance(thing, torch.Tensor):
            return _Unpickler.tensor, self._tensor(thing)
        if type(thing) is np.ndarray and thing.dtype.hasobject is False:
            return _Unpickler.array, self._array(thing)
        if isinstance(thing, np.generic) and not isinstance(thing, np.void | np.object_):
            self.storages.append(thing)
            return _Unpickler.number, (len(self.storages) - 1,)
        if isinstance(thing, type | FunctionType | ModuleType) or _is_free_builtin(thing):
            return self._definition(thing)
        return NotImplemented

    def _definition(self, thing: Any) -> Any:
        name = self._setup_namespace.definition_names.get(id(thing))
        if name is not None:
            return _Unpickler.definition, (name,)
        if isinstance(thing, FunctionType):
            if thing.__module__ == __name__:  # a method of _Unpickler
                return NotImplemented
            own = thing.__globals__ is self._setup_namespace.names
            self.refers_to_namespace |= own or thing.__closure__ is not None
        elif isinstance(thing, type):
            self.refers_to_namespace |= thing.__module__ == LESSON_MODULE
        return self._by_reference(thing)

    def _by_reference(self, thing: Any) -> Any:
        self.uncopied.append(thing)
        return _Unpickler.same, (len(self.uncopied) - 1,)

    def _tensor(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        _refuse(tensor)
        self.copied.add(id(tensor))
        storage = tensor.untyped_storage()
        memory = self._storage(str(tensor.device), storage.data_ptr() or id(tensor), storage)
        place = (int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())
        is_parameter = type(tensor) is torch.nn.Parameter
        return memory, tensor.dtype, place, is_parameter, tensor.requires_grad, tensor.grad

    def _array(self, array: Array) -> tuple[Any, ...]:
        root = root_of(array)
        if (root.base is not None and root.flags.writeable) or not root.flags.forc:
            raise TypeError("an array over foreign memory can't be copied")
        self.copied.add(id(array))
        start = root.__array_interface__["data"][0]
        memory = self._storage("array", start or id(root), root)
        offset = array.__array_interface__["data"][0] - start
        place = (array.shape, array.dtype, offset, array.strides)
        return memory, place, array.flags.writeable

    def _storage(self, kind: str, address: int, storage: Any) -> int:
        """The number of a storage, which is added if it has none."""
        place = self._storage_at.get((kind, address))
        if place is None:
            other = "array" if kind == "cpu" else "cpu"
            if (other, address) in self._storage_at:
                raise TypeError("a tensor and an array share their memory: they can't be copied")
            place = self._storage_at[kind, address] = len(self.storages)
            self.storages.append(storage)
        return place


def _refuse(tensor: torch.Tensor) -> None:
    """Raise TypeError for a tensor of which a copy would not be the same."""
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and not tensor.__dict__
    hooks = tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None)
    if not plain or hooks or tensor.grad_fn is not None or tensor.layout is not torch.strided:
        raise TypeError("a tensor with hooks, attributes or a graph can't be copied")
    if tensor.is_conj() or tensor.is_neg() or tensor.is_quantized:
        raise TypeError("a tensor that is read through a conjugation can't be copied")


def _is_free_builtin(thing: Any) -> bool:
    """Whether it is a built-in function, and no method of an object that has to be copied."""
    if not isinstance(thing, BuiltinFunctionType):
        return False
    return thing.__self__ is None or isinstance(thing.__self__, ModuleType | type)


def _elements(
    storages: Sequence[Any], before: Snapshot | None, limit: float
) -> tuple[Elements, ...]:
    """A copy of each storage, or the earlier copy where it equals that."""
    old: Sequence[Elements | None] = before.elements if before is not None else ()
    if len(old) != len(storages):
        old = [None] * len(storages)
    found: list[Elements] = []
    for new, was in zip(storages, old, strict=True):
        raw = _raw(new)
        if was is not None and _is_unchanged(raw, was):
            found.append(was)
            continue
        limit -= raw.nbytes
        if limit < 0:
            raise MemoryError("a snapshot of this would be too large")
        found.append(_elements_of(raw))
    return tuple(found)


def _raw(storage: Any) -> Any:
    """The elements where they lie: a number, bytes of an array, or a tensor of bytes elsewhere."""
    if isinstance(storage, np.generic):
        return storage
    if isinstance(storage, np.ndarray):
        return storage.ravel(order="K").view(np.uint8) if storage.size else _NOTHING
    flat = flat_memory(storage)
    return flat.numpy() if storage.device.type == "cpu" else flat


def flat_memory(storage: torch.UntypedStorage) -> torch.Tensor:
    """All the memory that a tensor is a part of, as bytes."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def root_of(array: Array) -> Array:
    """The array whose memory this one is a view of, perhaps of all of it."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _is_unchanged(raw: Any, was: Elements) -> bool:
    if isinstance(raw, np.ndarray):
        if not isinstance(was, bytes) or len(was) != len(raw):
            return False
        return bool(np.array_equal(raw, np.frombuffer(was, dtype=np.uint8)))
    if isinstance(raw, np.generic):
        return type(was) is type(raw) and was.tobytes() == raw.tobytes()
    return isinstance(was, torch.Tensor) and was.shape == raw.shape and torch.equal(was, raw)


def _elements_of(raw: Any) -> Elements:
    if isinstance(raw, np.ndarray):
        return raw.tobytes()
    return raw.clone() if isinstance(raw, torch.Tensor) else raw


_NOTHING = np.empty(0, dtype=np.uint8)


# ── Putting together ────────────────────────────────────────────────────────────────


class _Unpickler(pickle.Unpickler):
    """Makes the objects of a snapshot anew; fetches functions, classes and modules."""

    def __init__(self, snapshot: Snapshot, setup_namespace: SetupNamespace) -> None:
        super().__init__(io.BytesIO(snapshot.objects))
        self._snapshot, self._setup_namespace = snapshot, setup_namespace
        self._memories: dict[int, Any] = {}
        """The memory of tensors and arrays that has been made so far."""

    def find_class(self, module: str, name: str) -> Any:
        """A method of this object for those of this class."""
        own = module == __name__
        return getattr(self, name.rpartition(".")[2]) if own else super().find_class(module, name)

    def tensor(
        self,
        memory: int,
        dtype: torch.dtype,
        place: tuple[Any, ...],
        is_parameter: bool,
        requires_grad: bool,
        gradient: torch.Tensor | None,
    ) -> torch.Tensor:
        """A tensor as a part of a memory, which other tensors may share."""
        elements = self._snapshot.elements[memory]
        if memory not in self._memories:
            self._memories[memory] = _memory(elements)
        storage = self._memories[memory].untyped_storage()
        tensor = torch.empty(0, dtype=dtype, device=storage.device).set_(storage, *place)
        if is_parameter:
            tensor = torch.nn.Parameter(tensor, requires_grad)
        elif requires_grad:
            tensor.requires_grad_()
        if gradient is not None:
            tensor.grad = gradient
        return tensor

    def array(self, memory: int, place: tuple[Any, ...], is_writeable: bool) -> Array:
        """An array as a part of a memory, which other arrays may share."""
        if memory not in self._memories:
            elements = _as_bytes(self._snapshot.elements[memory])
            self._memories[memory] = np.frombuffer(elements, np.uint8).copy()
        shape, dtype, offset, strides = place
        array: Array = np.ndarray(shape, dtype, self._memories[memory], offset, strides)
        array.flags.writeable = is_writeable
        return array

    def number(self, element: int) -> Any:
        """A number of NumPy, which is an element by itself."""
        return self._snapshot.elements[element]

    def definition(self, name: str) -> Any:
        """A function or class of Setup: in each namespace its own."""
        return self._setup_namespace.definitions[name]

    def same(self, number: int) -> Any:
        """Any other function, class or module."""
        return self._snapshot.uncopied[number]


def _memory(elements: Elements) -> torch.Tensor:
    """A tensor of bytes, of its own, with these elements; torch aligns it as any other."""
    if isinstance(elements, torch.Tensor):
        return elements.clone()
    elements = _as_bytes(elements)
    memory = torch.empty(len(elements), dtype=torch.uint8)
    memory.numpy()[:] = np.frombuffer(elements, dtype=np.uint8)
    return memory


def _as_bytes(elements: Elements) -> bytes:
    assert isinstance(elements, bytes)
    return elements


def _size(elements: Elements) -> int:
    return _OBJECT + (len(elements) if isinstance(elements, bytes) else int(elements.nbytes))
