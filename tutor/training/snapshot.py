"""An exact copy of a training loop's namespace, and the way back to it.

All names are copied but those that are dead between epochs, with what belongs to them (modules,
optimizers and their state, gradients) and the random number generators. Identity is kept: `w` stays
the very object that the optimizer updates, and a view stays one.

A snapshot is made of three parts: a pickle of the objects, in which a number stands for each
tensor, array, NumPy number, function, class and module; the layout, with a row for each number; and
the elements of the tensors and arrays, as bytes. A part that equals that of the snapshot before is
shared with it, so that a long run keeps little but numbers.
Functions and classes are not copied but named: so a snapshot can also be restored where
the same Setup has run in another namespace.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True, eq=False)
class SetupNamespace:
    """The namespace that a program runs in, as its Setup left it."""

    names: Namespace
    """The `globals` of the functions that were made in it. The loop works on this very dict."""
    idle: Namespace = field(default_factory=dict)
    """The names that no code reads after Setup."""
    definitions: Namespace = field(default_factory=dict)
    """The functions and classes that Setup made or fetched."""
    definition_names: dict[int, str] = field(default_factory=dict)
    """The name of each definition in Setup, by id."""
    draws: bool = False
    """Whether Setup has drawn random numbers."""
    on_other_ranks: HeldByRanks | None = None
    """The namespaces like this one on the other ranks; None if there is one rank."""

    def remember(self, liveness: Liveness, *, draws: bool) -> None:
        """Remember the state after Setup."""
        things = self.names.items()
        self.idle = {k: v for k, v in things if liveness.is_idle(k)}
        self.definitions = {k: v for k, v in things if isinstance(v, FunctionType | type)}
        self.definition_names = {id(v): k for k, v in self.definitions.items()}
        self.draws = draws


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A namespace at the end of an epoch; never handed out but as a copy."""

    objects: bytes
    layout: tuple[LayoutRow, ...]
    elements: tuple[Elements, ...]
    aliases: tuple[tuple[str, int], ...]
    """The idle names of tensors and arrays that have a row in the layout, with its number."""
    only_namespace: SetupNamespace | None
    """The only namespace that it can be restored in; None: in any of the same program."""
    randomness: Randomness
    device: str

    @property
    def can_be_restored(self) -> bool:
        """True: all its parts are here. `RankedSnapshot` has some on other ranks."""
        return True

    def restore(self, setup_namespace: SetupNamespace) -> Namespace:
        """Restore this namespace (the same dict object), and return it."""
        things = _things_of(self.layout, self.elements, setup_namespace)
        restored = _Unpickler(io.BytesIO(self.objects), things).load()
        names = setup_namespace.names
        compiled = {k: v for k, v in names.items() if k.startswith(_COMPILED)}
        names.clear()
        names.update(compiled)
        names.update(setup_namespace.idle | restored)
        names.update((name, things[number]) for name, number in self.aliases)
        self.randomness.restore(self.device)
        return names

    def part_sizes(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another snapshot may share all but the first."""
        yield id(self), 4 * _OBJECT + 8 * len(self.elements)
        yield id(self.objects), len(self.objects) + _OBJECT
        yield id(self.layout), 4 * _OBJECT * len(self.layout)
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

    Names that are dead between epochs are left out, and idle ones, which never change. Generators
    and tensors in mid-graph can't be copied: only running again from an earlier place gets there.
    The elements that it does not share with `before` may take `limit` bytes.
    """
    names = {
        k: v
        for k, v in setup_namespace.names.items()
        if k not in liveness.dead and not k.startswith(_COMPILED) and not liveness.is_idle(k)
    }
    out = io.BytesIO()
    pickler = _Pickler(out, setup_namespace)
    try:
        pickler.dump(names)
        elements = _elements(pickler.storages, before, limit)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - whatever a lesson's objects raise when copied: no snapshot
        return None
    randomness = Randomness.now(device)
    aliases = tuple(
        (k, n)
        for k in setup_namespace.idle
        for n in pickler.number_of(setup_namespace.names.get(k))
    )
    objects, layout = out.getvalue(), tuple(pickler.layout)
    if before is not None:
        objects = before.objects if objects == before.objects else objects
        layout = before.layout if layout == before.layout else layout
        aliases = before.aliases if aliases == before.aliases else aliases
        randomness = randomness.sharing(before.randomness)
    only_namespace = setup_namespace if pickler.refers_to_namespace else None
    return Snapshot(objects, layout, elements, aliases, only_namespace, randomness, device)


def size_of(snapshots: Iterable[SavedState]) -> int:
    """Bytes, about, that all of them take together."""
    return sum({part: size for s in snapshots for part, size in s.part_sizes()}.values())


# ── The layout ──────────────────────────────────────────────────────────────────────


class TensorRow(msgspec.Struct, frozen=True):
    """A tensor as a part of a memory, which other tensors may share."""

    kind: type
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    requires_grad: bool
    gradient: int | None
    """The number of its gradient, which is less than its own."""
    memory: int
    """The number of its memory's elements."""


class ArrayRow(msgspec.Struct, frozen=True):
    """An array as a part of a memory, which other arrays may share."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    is_writeable: bool
    memory: int
    """The number of its memory's elements."""


class ScalarRow(msgspec.Struct, frozen=True):
    """A number of NumPy, which is an element by itself."""

    element: int


class DefinitionRow(msgspec.Struct, frozen=True):
    """A function or class of Setup: in each namespace its own."""

    name: str


class UncopiedRow(msgspec.Struct, frozen=True):
    """Any other function, class or module: it stays the same object."""

    thing: Any


LayoutRow: TypeAlias = TensorRow | ArrayRow | ScalarRow | DefinitionRow | UncopiedRow


# ── Taking apart ────────────────────────────────────────────────────────────────────


class _Pickler(pickle.Pickler):
    """Pickles objects, with a number for each thing that has a row in the layout."""

    def __init__(self, out: io.BytesIO, setup_namespace: SetupNamespace) -> None:
        super().__init__(out, protocol=5)
        self.layout: list[LayoutRow] = []
        self.storages: list[Any] = []
        """Torch storages, numpy arrays and numbers, whose elements are to be copied."""
        self.refers_to_namespace = False
        """Whether a function or class is pickled that works in this very namespace."""
        self._setup_namespace = setup_namespace
        self._numbers: dict[int, int] = {}
        """The number of each thing in the layout, by id."""
        self._numbered: list[Any] = []
        """The things in the layout: while they are kept, nothing else can get their ids."""
        self._storage_at: dict[tuple[str, int], int] = {}
        """The number of each storage, by its kind and address."""

    def persistent_id(self, thing: Any) -> int | None:
        """The number of a thing that is kept beside the pickle; None for all other things."""
        number = self._numbers.get(id(thing))
        if number is not None:
            return number
        row = self._row_of(thing)
        if row is None:
            return None
        # `_row_of` may have numbered the tensor's gradient: the next free number is taken now.
        self._numbers[id(thing)] = len(self.layout)
        self._numbered.append(thing)
        self.layout.append(row)
        return len(self.layout) - 1

    def number_of(self, thing: Any) -> tuple[int, ...]:
        """The number of a tensor or array that stands in what was pickled; else nothing."""
        number = self._numbers.get(id(thing))
        if number is None or not isinstance(thing, torch.Tensor | np.ndarray):
            return ()
        return (number,)

    def _row_of(self, thing: Any) -> LayoutRow | None:
        """The row of a thing in the layout; None for a thing that is pickled."""
        if isinstance(thing, torch.nn.parallel.DistributedDataParallel):
            raise TypeError("a copy would have lost the hooks that it calls in the backward pass")
        if isinstance(thing, torch.Tensor):
            return self._tensor(thing)
        if type(thing) is np.ndarray and thing.dtype.hasobject is False:
            return self._array(thing)
        if isinstance(thing, np.generic) and not isinstance(thing, np.void | np.object_):
            self.storages.append(thing)
            return ScalarRow(len(self.storages) - 1)
        if isinstance(thing, type | FunctionType | ModuleType) or _is_free_builtin(thing):
            return self._named_thing(thing)
        return None

    def _named_thing(self, thing: Any) -> DefinitionRow | UncopiedRow:
        name = self._setup_namespace.definition_names.get(id(thing))
        if name is not None:
            return DefinitionRow(name)
        if isinstance(thing, FunctionType):
            own = thing.__globals__ is self._setup_namespace.names
            self.refers_to_namespace |= own or thing.__closure__ is not None
        elif isinstance(thing, type):
            self.refers_to_namespace |= thing.__module__ == LESSON_MODULE
        return UncopiedRow(thing)

    def _tensor(self, tensor: torch.Tensor) -> TensorRow:
        _refuse(tensor)
        gradient = None if tensor.grad is None else self.persistent_id(tensor.grad)
        storage = tensor.untyped_storage()
        return TensorRow(
            kind=type(tensor),
            dtype=tensor.dtype,
            shape=tuple(tensor.shape),
            stride=tensor.stride(),
            offset=int(tensor.storage_offset()),
            requires_grad=tensor.requires_grad,
            gradient=gradient,
            memory=self._storage(str(tensor.device), storage.data_ptr() or id(tensor), storage),
        )

    def _array(self, array: Array) -> ArrayRow:
        root = root_of(array)
        if (root.base is not None and root.flags.writeable) or not root.flags.forc:
            raise TypeError("an array over foreign memory can't be copied")
        start = root.__array_interface__["data"][0]
        return ArrayRow(
            dtype=array.dtype,
            shape=array.shape,
            strides=array.strides,
            offset=array.__array_interface__["data"][0] - start,
            is_writeable=array.flags.writeable,
            memory=self._storage("array", start or id(root), root),
        )

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
        if was is not None and _same(raw, was):
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


def _same(raw: Any, was: Elements) -> bool:
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
    """Puts the things of the layout in the places of their numbers."""

    def __init__(self, source: io.BytesIO, things: Sequence[Any]) -> None:
        super().__init__(source)
        self._things = things

    def persistent_load(self, number: int) -> Any:
        return self._things[number]


def _things_of(
    layout: Sequence[LayoutRow], elements: Sequence[Elements], setup_namespace: SetupNamespace
) -> list[Any]:
    """The thing of each row: tensors, arrays and numbers made anew, the others fetched."""
    memories: dict[int, Any] = {}
    things: list[Any] = []
    for row in layout:
        match row:
            case TensorRow(memory=place):
                if place not in memories:
                    memories[place] = _memory(elements[place])
                things.append(_tensor(row, memories[place], things))
            case ArrayRow(memory=place):
                if place not in memories:
                    memories[place] = np.frombuffer(_as_bytes(elements[place]), np.uint8).copy()
                things.append(_array(row, memories[place]))
            case ScalarRow(element=place):
                things.append(elements[place])
            case DefinitionRow(name=name):
                things.append(setup_namespace.definitions[name])
            case UncopiedRow(thing=thing):
                things.append(thing)
    return things


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


def _tensor(row: TensorRow, memory: torch.Tensor, things: Sequence[Any]) -> torch.Tensor:
    tensor = torch.empty(0, dtype=row.dtype, device=memory.device)
    tensor.set_(memory.untyped_storage(), row.offset, row.shape, row.stride)
    if row.kind is torch.nn.Parameter:
        tensor = torch.nn.Parameter(tensor, row.requires_grad)
    elif row.requires_grad:
        tensor.requires_grad_()
    if row.gradient is not None:
        tensor.grad = things[row.gradient]
    return tensor


def _array(row: ArrayRow, memory: Array) -> Array:
    array: Array = np.ndarray(row.shape, row.dtype, memory, row.offset, row.strides)
    array.flags.writeable = row.is_writeable
    return array


def _size(elements: Elements) -> int:
    return _OBJECT + (len(elements) if isinstance(elements, bytes) else int(elements.nbytes))
