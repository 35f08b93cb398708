"""The state with which a batch begins: copies by name, and the way to put them into another loop.

Both loops have run the same Setup, each in a namespace of its own. Values go into the objects that
are there already: closures, optimizers and lists that hold these objects see the new values too,
and a float64 stays one. Unlike a Snapshot, a copy leaves out what can't be copied, and fits another
mode or precision; it does not keep which names share an object.

An iterator (a DataLoader's, a generator) can neither be copied nor go back. A ReplayedIterator
takes its place: it remembers what it has yielded for as long as a copy of it has yet to come there.
The items are copied, and what drawing them did to the random numbers is done again when they are
yielded again.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Collection, Mapping
from io import IOBase
from itertools import zip_longest
from typing import Any, TypeAlias

import msgspec
import numpy as np
import torch

from tutor.training.devices import Randomness
from tutor.training.program import Program
from tutor.training.snapshot import LESSON_MODULE, Namespace
from tutor.training.values import Array, is_spoiled

ValueCopy: TypeAlias = Any
"""A number, text, a copied tensor or array, one of the states below, or a container of them."""

SCALARS = (bool, int, float, str, bytes, type(None), np.generic, torch.dtype, torch.device)
GENERATORS = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)
STEPPED = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
SEQUENCES = (list, tuple, deque)
_DEEPEST = 6
"""Levels of lists, dicts and objects that are copied."""


class _NotCopied(msgspec.Struct, frozen=True):
    """Stands for a thing that can't be copied: a function, a file, a module of Python's."""


NOT_COPIED = _NotCopied()


class ModuleState(msgspec.Struct, frozen=True):
    """The state of a module."""

    tensors: Mapping[str, torch.Tensor]
    attributes: Mapping[str, Mapping[str, ValueCopy]]
    """A submodule → its `training`, and its attributes of the lesson's own."""


class SteppedState(msgspec.Struct, frozen=True):
    """The state of an optimizer, or of a scheduler of its learning rate."""

    state: dict[str, Any]


class GeneratorState(msgspec.Struct, frozen=True):
    """The state of a random number generator of the lesson's own."""

    kind: str
    """Only a generator of the same kind can take the state."""
    state: Any


class ObjectState(msgspec.Struct, frozen=True):
    """The state of an object of one of the lesson's own classes."""

    attributes: Mapping[str, ValueCopy]


# ── Iterators ───────────────────────────────────────────────────────────────────────


class _Link(msgspec.Struct):
    """A place in the chain of yielded items; the last one has no next."""

    item: Any = None
    before: Randomness | None = None
    after: Randomness | None = None
    next: _Link | None = None


class ReplayedIterator:
    """An iterator whose copies yield the items that it yields itself from then on."""

    def __init__(
        self, source: Any, link: _Link | None = None, change: Callable[[Any], Any] | None = None
    ) -> None:
        """`change` is applied to each item."""
        self.source, self._link, self._change = source, link or _Link(), change

    def __iter__(self) -> ReplayedIterator:
        return self

    def __next__(self) -> Any:
        link = self._link
        if link.next is None:
            item = self._drawn(link)
        else:
            if link.before == Randomness.now("cpu") and link.after is not None:
                link.after.restore("cpu")
            item = _copied_item(link.item)
        assert link.next is not None
        self._link = link.next
        return item if self._change is None else self._change(item)

    def _drawn(self, link: _Link) -> Any:
        before = Randomness.now("cpu")
        item = next(self.source)
        link.item, link.before, link.after = _copied_item(item), before, Randomness.now("cpu")
        link.next = _Link()
        return item

    def __len__(self) -> int:
        return len(self.source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an iterator's source can't be copied: a run goes there from its start")

    def copied(self, change: Callable[[Any], Any] | None = None) -> ReplayedIterator:
        """A copy that yields the items that this one will yield, `change` applied to each."""
        return ReplayedIterator(self.source, self._link, change or self._change)


def make_replayable(namespace: dict[str, Any]) -> None:
    """Put a ReplayedIterator in the place of each iterator that a name stands for."""
    for name, thing in namespace.items():
        if hasattr(type(thing), "__next__") and not isinstance(thing, (ReplayedIterator, IOBase)):
            namespace[name] = ReplayedIterator(thing)


def _copied_item(item: Any) -> Any:
    try:
        return copy.deepcopy(item)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException:  # noqa: BLE001 - what can't be copied (mid-graph, an open file) is shared
        return item


# ── Copying ────────────────────────────────────────────────────────────────────


def value_copy(thing: Any, depth: int = 0) -> ValueCopy:
    """A copy of a thing's value: code may change the thing later."""
    try:
        return _copied(thing, depth)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException:  # noqa: BLE001 - a lesson's class may raise anything when it is copied
        return NOT_COPIED


def _copied(thing: Any, depth: int) -> ValueCopy:
    if isinstance(thing, ReplayedIterator):
        return thing.copied()
    if isinstance(thing, SCALARS):
        return thing
    if isinstance(thing, torch.Tensor):
        return _copy_of(thing)
    if isinstance(thing, np.ndarray):
        return thing.copy()
    if isinstance(thing, torch.nn.Module):
        return _module_state(thing, depth)
    if isinstance(thing, STEPPED):
        return SteppedState(copy.deepcopy(thing.state_dict()))
    if isinstance(thing, GENERATORS):
        return generator_state(thing)
    return _container_copy(thing, depth + 1) if depth < _DEEPEST else NOT_COPIED


def _container_copy(thing: Any, depth: int) -> ValueCopy:
    if type(thing) in SEQUENCES:
        return filled(thing, [value_copy(item, depth) for item in thing])
    if type(thing) is set:
        return thing.copy()
    if type(thing) is dict:
        return {key: value_copy(item, depth) for key, item in thing.items()}
    if _is_the_lessons(thing):
        return ObjectState({key: value_copy(item, depth) for key, item in vars(thing).items()})
    return NOT_COPIED


def filled(like: Any, items: list[Any]) -> Any:
    """A list, tuple or deque like this one, with these items."""
    return deque(items, like.maxlen) if isinstance(like, deque) else type(like)(items)


def _is_the_lessons(thing: Any) -> bool:
    return type(thing).__module__ == LESSON_MODULE and hasattr(thing, "__dict__")


def _module_state(module: torch.nn.Module, depth: int) -> ModuleState:
    kept = {**module.state_dict(), **dict(module.named_buffers())}  # some are not in the former
    tensors = {name: t.detach().clone() for name, t in kept.items()}
    if depth >= _DEEPEST:
        return ModuleState(tensors, {})
    attributes = {
        name: {
            key: value_copy(a, depth + 1)
            for key, a in vars(part).items()
            if not key.startswith("_")
        }
        for name, part in module.named_modules()
    }
    return ModuleState(tensors, attributes)


def generator_state(thing: Any) -> ValueCopy:
    """The state of one of the GENERATORS."""
    match thing:
        case np.random.Generator():
            state = copy.deepcopy(thing.bit_generator.state)
            return GeneratorState(str(state["bit_generator"]), state)
        case np.random.RandomState():
            state = thing.get_state(legacy=False)
            return GeneratorState(f"RandomState {state['bit_generator']}", state)
        case torch.Generator():
            return GeneratorState(f"torch {thing.device}", thing.get_state())
        case random.SystemRandom():  # it has no state: it draws from the operating system
            return NOT_COPIED
        case _:
            return GeneratorState("random", random.Random.getstate(thing))


def _copy_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(is_trained_leaf(tensor))


def in_float64(kept: ValueCopy) -> ValueCopy:
    """The copy on the CPU, with every float in it as float64."""

    def changed(thing: Any, _: Any) -> Any:
        if isinstance(thing, torch.Tensor):
            return as_float64(thing.detach().cpu()).requires_grad_(thing.requires_grad)
        kind = thing.dtype.kind if isinstance(thing, np.ndarray | np.generic) else ""
        dtypes = {"f": np.float64, "c": np.complex128}
        return thing.astype(dtypes[kind]) if kind in dtypes else thing

    return _mapped(kept, None, changed)


def moved(kept: ValueCopy, mine: ValueCopy, device: str) -> ValueCopy:
    """The copy with each tensor on the device of its counterpart in `mine`.

    A tensor without one goes to `device`. Modules and optimizers move their state themselves.
    """

    def changed(thing: Any, counterpart: Any) -> Any:
        if not isinstance(thing, torch.Tensor):
            return thing
        there = counterpart.device if isinstance(counterpart, torch.Tensor) else device
        return thing.detach().to(there).requires_grad_(thing.requires_grad)

    return _mapped(kept, mine, changed)


def _mapped(kept: ValueCopy, mine: ValueCopy, change: Callable[[Any, Any], Any]) -> ValueCopy:
    """The copy with `change` done to each value in it and the value's counterpart in `mine`."""
    if isinstance(kept, ObjectState):
        theirs = mine.attributes if isinstance(mine, ObjectState) else {}
        return ObjectState(_mapped(dict(kept.attributes), dict(theirs), change))
    if isinstance(kept, dict):
        theirs = mine if isinstance(mine, dict) else {}
        return {key: _mapped(item, theirs.get(key), change) for key, item in kept.items()}
    if type(kept) in SEQUENCES:
        items = list(mine)[: len(kept)] if type(mine) is type(kept) else ()
        return filled(kept, [_mapped(*pair, change) for pair in zip_longest(kept, items)])
    if isinstance(kept, ReplayedIterator):
        return kept.copied(lambda item: _mapped(item, None, change))
    return change(kept, mine)


def as_float64(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as float64, or as complex128 if it is complex; one of whole numbers as it is."""
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def is_trained_leaf(tensor: torch.Tensor) -> bool:
    """Whether an update may change the tensor in place."""
    return not is_spoiled(tensor) and tensor.is_leaf and tensor.requires_grad


# ── Restoring ────────────────────────────────────────────────────────────────────


def restored(kept: ValueCopy, mine: Any) -> Any:
    """The value to bind here: `mine` with the content of `kept` where possible, else a copy.

    `mine` is what stands here so far; None if there is nothing.
    """
    match kept:
        case _NotCopied():
            return mine
        case ModuleState():
            return _into_module(kept, mine)
        case SteppedState():
            if isinstance(mine, STEPPED):
                mine.load_state_dict(copy.deepcopy(kept.state))
            return mine
        case GeneratorState():
            set_generator_state(mine, kept)
            return mine
        case ObjectState():
            if _is_the_lessons(mine):
                _into_attributes(kept.attributes, mine)
            return mine
        case ReplayedIterator():
            return kept.copied()
        case torch.Tensor():
            return _into_tensor(kept, mine)
        case np.ndarray():
            return _into_array(kept, mine)
        case _:
            return _into_container(kept, mine)


def _into_container(kept: ValueCopy, mine: Any) -> Any:
    if isinstance(kept, SEQUENCES):
        same = type(mine) is type(kept) and len(mine) == len(kept)
        old = mine if same else [None] * len(kept)
        new = [restored(item, was) for item, was in zip(kept, old, strict=True)]
        if isinstance(kept, tuple) or type(mine) is not type(kept):
            return filled(kept, new)
        mine.clear()
        mine.extend(new)
        return mine
    if isinstance(kept, set):
        if type(mine) is not set:
            return kept.copy()
        mine.clear()
        mine.update(kept)
        return mine
    if isinstance(kept, dict):
        here = mine if type(mine) is dict else {}
        found = {key: restored(item, here.get(key)) for key, item in kept.items()}
        here.clear()
        here.update(found)
        return here
    return kept


def _into_module(kept: ModuleState, mine: Any) -> Any:
    if not isinstance(mine, torch.nn.Module):
        return mine
    mine.load_state_dict(kept.tensors, strict=False)
    for name, buffer in mine.named_buffers():
        was = kept.tensors.get(name)
        if was is not None and was.shape == buffer.shape:
            buffer.data.copy_(was)
    for parameter in mine.parameters():
        parameter.grad = None  # left over from an earlier trial here
    for name, part in mine.named_modules():
        _into_attributes(kept.attributes.get(name, {}), part)
    return mine


def _into_attributes(kept: Mapping[str, ValueCopy], mine: Any) -> None:
    own = vars(mine)  # so that the lesson's class does not act on the attribute being set
    own.update({key: restored(item, own.get(key)) for key, item in kept.items()})


def set_generator_state(mine: Any, kept: ValueCopy) -> None:
    """Put a generator into a state, if that is one of its own kind."""
    now = value_copy(mine)
    if not isinstance(now, GeneratorState) or now.kind != getattr(kept, "kind", None):
        return
    match mine:
        case np.random.Generator():
            mine.bit_generator.state = copy.deepcopy(kept.state)
        case np.random.RandomState() | torch.Generator():
            mine.set_state(kept.state)
        case random.Random():
            random.Random.setstate(mine, kept.state)


def _into_tensor(kept: torch.Tensor, mine: Any) -> Any:
    fits = isinstance(mine, torch.Tensor) and mine.is_leaf
    if not fits or mine.shape != kept.shape or mine.dtype != kept.dtype:
        return _copy_of(kept)
    with torch.no_grad():
        mine.copy_(kept)
    mine.grad = None
    return mine


def _into_array(kept: Array, mine: Any) -> Any:
    fits = isinstance(mine, np.ndarray) and mine.flags.writeable
    if not fits or mine.shape != kept.shape or mine.dtype != kept.dtype:
        return kept.copy()
    mine[...] = kept
    return mine


class BatchStart(msgspec.Struct, frozen=True):
    """The state at the beginning of a batch, as copies."""

    values: Mapping[str, Array]
    """The parameters."""
    gradients: Mapping[str, Array | None]
    """The parameters' `.grad` (or `dw`); None where there is none."""
    randomness: Randomness
    """The state of the generators that the program may draw from."""
    carried: Mapping[str, ValueCopy]
    """All else that an epoch hands on to the next."""
    names: Namespace | None = None
    """Copies of all names that a script's phases read, in place of `carried`."""
    learning_rate: float | None = None
    """The learning rate of a lesson at that moment."""
    things: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The things themselves that `carried` has copies of: a batch may bind their names anew."""

    def is_whole(self, program: Program) -> bool:
        """Whether all that a batch changes could be copied: an open file can't be."""
        return all(_is_whole(kept) for n, kept in self.carried.items() if n in program.volatile)


def _is_whole(kept: ValueCopy) -> bool:
    if isinstance(kept, ObjectState):
        return _is_whole(dict(kept.attributes))
    parts = kept.values() if isinstance(kept, dict) else kept if type(kept) in SEQUENCES else ()
    return kept is not NOT_COPIED and all(map(_is_whole, parts))


def volatile_values(
    names: Collection[str], program: Program, namespace: Namespace
) -> dict[str, ValueCopy]:
    """Copies of all generators, and of the names among `names` that an epoch reads and writes."""
    found = {
        n: value_copy(namespace[n]) for n in program.volatile.intersection(names) if n in namespace
    }
    generators = {
        n: value_copy(t)
        for n, t in namespace.items()
        if isinstance(t, (*GENERATORS, ReplayedIterator))
    }
    return found | generators


def carried_values(program: Program, namespace: Namespace) -> dict[str, ValueCopy]:
    """Copies of all that an epoch hands on to the next, but for the parameters.

    Data that the epoch only reads are not copied but taken as they are.
    """
    liveness = program.liveness
    skip = {*program.parameters, "batch", "device", "loss", "__builtins__"} | liveness.rewritten
    return {
        name: thing if name in liveness.only_read and is_data(thing) else value_copy(thing)
        for name, thing in namespace.items()
        if name not in skip and not liveness.is_idle(name)
    }


def is_data(thing: Any) -> bool:
    """Whether a thing is an array, or a tensor that no optimizer changes."""
    if type(thing) is torch.Tensor:
        return not is_spoiled(thing) and not thing.requires_grad
    return type(thing) is np.ndarray
