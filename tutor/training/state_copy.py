"""Copies of a loop's state besides its parameters, to carry into another loop.

Both loops have run the same Setup, each in a namespace of its own. Values go into the things that
are there already: whatever else knows these things (closures, optimizers, lists) sees the new
values too, and a float64 stays one.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import get_rng_state, set_rng_state

from tutor.training.iterators import ReplayedIterator
from tutor.training.program import Program
from tutor.training.randomness import Randomness
from tutor.training.snapshot import LESSON_MODULE, Namespace
from tutor.training.values import is_spoiled, to_numpy

Kept: TypeAlias = Any
"""A number, text, a copied tensor or array, one of the states below, or a container of them."""

_SCALAR = (bool, int, float, str, bytes, type(None), np.generic, torch.dtype, torch.device)
_GENERATOR = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)
_LARGE = 2**16
"""Bytes that are copied without a thought."""
_DEEPEST = 6
"""How deep into lists, dicts and objects it is worth going."""


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Stands for what can't be taken along: a function, a file, a module of Python's."""


_NOTHING = _Nothing()


@dataclass(frozen=True, slots=True)
class _ModuleState:
    tensors: Mapping[str, torch.Tensor]
    attributes: Mapping[str, Mapping[str, Kept]]
    """By submodule: `training`, and what the lesson itself has put there."""


@dataclass(frozen=True, slots=True)
class _OptimizerState:
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _GeneratorState:
    kind: str
    """Only a generator of the same kind can take the state."""
    state: Any


@dataclass(frozen=True, slots=True)
class _ObjectState:
    """Of an object of one of the lesson's own classes."""

    attributes: Mapping[str, Kept]


# ── Random numbers ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class GeneratorStates:
    """Where the random number generators stand, of those that a program may draw from."""

    cpu: torch.Tensor
    """torch's own, on the CPU: the one state that is quick to have."""
    all: Randomness | None

    @classmethod
    def now(cls, program: Program, device: str) -> GeneratorStates:
        """At this moment."""
        everything = Randomness.now(device) if program.draws or device != "cpu" else None
        return cls(get_rng_state(), everything)

    def restore(self, device: str) -> None:
        """Put the generators back to where they stood."""
        if self.all is not None:
            self.all.restore(device)
        set_rng_state(self.cpu)


# ── When a batch begins ─────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class BatchStart:
    """The state that a batch changes, as it was at its start."""

    generator_states: GeneratorStates
    carried: Mapping[str, Kept]

    @property
    def is_whole(self) -> bool:
        """Whether all of it could be copied: an open file, or an iterator in a list, can't."""
        return _is_whole(dict(self.carried))

    @classmethod
    def of(cls, program: Program, namespace: Namespace, device: str) -> BatchStart:
        """Now, as a batch begins."""
        listed = {id(namespace.get(name)) for name in program.parameters}
        liveness = program.liveness
        trained = {
            name: keep(thing)
            for name, thing in namespace.items()
            if name not in liveness.dead
            and not liveness.is_idle(name)
            and _is_trained(thing, listed)
        }
        return cls(
            GeneratorStates.now(program, device),
            trained | volatile(program.volatile, program, namespace),
        )


def _is_whole(kept: Kept) -> bool:
    if isinstance(kept, _ObjectState):
        return _is_whole(dict(kept.attributes))
    parts = kept.values() if isinstance(kept, dict) else kept if type(kept) in (list, tuple) else ()
    return kept is not _NOTHING and all(map(_is_whole, parts))


def volatile(names: Collection[str], program: Program, namespace: Namespace) -> dict[str, Kept]:
    """Copies of those of these names that an epoch reads and writes, and of its generators."""
    found = {n: keep(namespace[n]) for n in program.volatile.intersection(names) if n in namespace}
    generators = {
        n: keep(t) for n, t in namespace.items() if isinstance(t, (*_GENERATOR, ReplayedIterator))
    }
    return found | generators


def _is_trained(thing: Any, listed: Collection[int]) -> bool:
    """Whether an update changes more of a thing than the parameters with these ids."""
    try:
        return _has_more_to_train(thing, listed)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException:  # noqa: BLE001 - a lesson's class may raise anything when it is asked
        return False


def _has_more_to_train(thing: Any, listed: Collection[int]) -> bool:
    if isinstance(thing, torch.Tensor):
        return id(thing) not in listed and _is_trained_leaf(thing)
    if isinstance(thing, torch.nn.Module):
        parts = [*thing.parameters(), *thing.buffers()]
        return any(id(part) not in listed for part in parts)
    if isinstance(thing, torch.optim.Optimizer):
        return bool(thing.state) or _will_have_state(thing)
    return isinstance(thing, list | tuple) and any(_is_trained(part, listed) for part in thing)


def _will_have_state(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its first step leaves something behind: all do but SGD without momentum."""
    groups = optimizer.param_groups
    return not isinstance(optimizer, torch.optim.SGD) or any(g["momentum"] for g in groups)


def _is_trained_leaf(tensor: torch.Tensor) -> bool:
    return not is_spoiled(tensor) and tensor.is_leaf and tensor.requires_grad


def carried(program: Program, namespace: Namespace) -> dict[str, Kept]:
    """Copies of all that an epoch hands on to the next, but for the parameters.

    Large data that the epoch only reads are not copied but taken as they are.
    """
    liveness = program.liveness
    skip = {*program.parameters, "batch", "device", "loss", "__builtins__"} | liveness.dead
    found: dict[str, Kept] = {}
    for name, thing in namespace.items():
        if name in skip or liveness.is_idle(name):
            continue
        kept = thing if name in liveness.fixed and is_large_data(thing) else keep(thing)
        if kept is not _NOTHING:
            found[name] = kept
    return found


def is_large_data(thing: Any) -> bool:
    """Whether it costs more to copy than is spent lightly (an optimizer changes no such thing)."""
    if isinstance(thing, torch.Tensor) and (is_spoiled(thing) or thing.requires_grad):
        return False
    if isinstance(thing, torch.Tensor):
        if thing.layout is not torch.strided or thing.is_nested:
            return False
        return thing.nbytes > _LARGE
    return isinstance(thing, np.ndarray) and thing.nbytes > _LARGE


# ── Taking along ────────────────────────────────────────────────────────────────────


def keep(thing: Any, depth: int = 0) -> Kept:
    """The value of a thing, safe from what is done to the thing later."""
    try:
        return _kept(thing, depth)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException:  # noqa: BLE001 - a lesson's class may raise anything when it is copied
        return _NOTHING


def _kept(thing: Any, depth: int) -> Kept:
    if isinstance(thing, ReplayedIterator):
        return thing.copied()
    if isinstance(thing, _SCALAR):
        return thing
    if isinstance(thing, torch.Tensor):
        return _copy_of(thing)
    if isinstance(thing, np.ndarray):
        return thing.copy()
    if isinstance(thing, torch.nn.Module):
        return _keep_module(thing, depth)
    if isinstance(thing, torch.optim.Optimizer):
        return _OptimizerState(copy.deepcopy(thing.state_dict()))
    if isinstance(thing, _GENERATOR):
        return _keep_generator(thing)
    return _keep_container(thing, depth + 1) if depth < _DEEPEST else _NOTHING


def _keep_container(thing: Any, depth: int) -> Kept:
    if type(thing) in (list, tuple):
        return type(thing)(keep(item, depth) for item in thing)
    if type(thing) is dict:
        return {key: keep(item, depth) for key, item in thing.items()}
    if _is_the_lessons(thing):
        return _ObjectState({key: keep(item, depth) for key, item in vars(thing).items()})
    return _NOTHING


def _is_the_lessons(thing: Any) -> bool:
    return type(thing).__module__ == LESSON_MODULE and hasattr(thing, "__dict__")


def _keep_module(module: torch.nn.Module, depth: int) -> _ModuleState:
    tensors = {name: t.detach().clone() for name, t in module.state_dict().items()}
    if depth >= _DEEPEST:
        return _ModuleState(tensors, {})
    attributes = {
        name: {key: keep(a, depth + 1) for key, a in vars(part).items() if not key.startswith("_")}
        for name, part in module.named_modules()
    }
    return _ModuleState(tensors, attributes)


def _keep_generator(thing: Any) -> Kept:
    match thing:
        case np.random.Generator():
            state = copy.deepcopy(thing.bit_generator.state)
            return _GeneratorState(str(state["bit_generator"]), state)
        case np.random.RandomState():
            state = thing.get_state(legacy=False)
            return _GeneratorState(f"RandomState {state['bit_generator']}", state)
        case torch.Generator():
            return _GeneratorState(f"torch {thing.device}", thing.get_state())
        case random.SystemRandom():  # it has no state: it draws from the operating system
            return _NOTHING
        case _:
            return _GeneratorState("random", thing.getstate())


def _copy_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(_is_trained_leaf(tensor))


def in_float64(kept: Kept) -> Kept:
    """The same on the CPU, with every float of it a float64."""
    if isinstance(kept, torch.Tensor):
        kept = kept.detach().cpu().requires_grad_(kept.requires_grad)
        return doubled(kept.detach()).requires_grad_(kept.requires_grad)
    if isinstance(kept, np.floating) or (isinstance(kept, np.ndarray) and kept.dtype.kind != "c"):
        return kept.astype(np.float64) if kept.dtype.kind == "f" else kept
    if isinstance(kept, np.ndarray | np.complexfloating):
        return kept.astype(np.complex128) if kept.dtype.kind == "c" else kept
    if isinstance(kept, ReplayedIterator):
        return kept.copied(in_float64)
    if isinstance(kept, list | tuple):
        return type(kept)(map(in_float64, kept))
    if isinstance(kept, dict):
        return {key: in_float64(item) for key, item in kept.items()}
    return kept


# ── From one mode to another ────────────────────────────────────────────────────────


def shared(
    theirs: Mapping[str, Kept], mine: Mapping[str, Kept], program: Program, *, is_numpy: bool
) -> dict[str, Kept]:
    """The part of another mode's kept state that a loop of `program` can take over.

    `mine` is what was kept of its own. Taken over is what is of the same kind and size there
    (a tensor in place of an array where the mode has a tensor), and what its code only makes on
    its way, in an earlier batch. Its parameters, their gradients, its settings and the data that
    it only reads stay its own. `is_numpy`: its parameters are.
    """
    own = {*program.parameters, *(f"d{name}" for name in program.parameters), *_SETTINGS}
    found = {}
    for name, kept in theirs.items():
        if name in own or (name in program.liveness.fixed and _is_data(kept)):
            continue
        if name in mine:
            kept = _as_mine(kept, mine[name])
        elif name not in program.volatile:
            continue
        elif is_numpy and isinstance(kept, torch.Tensor):
            kept = kept.detach().cpu().numpy()
        if kept is not _NOTHING:
            found[name] = kept
    return found


_SETTINGS = ("batch", "device", "learning_rate", "loss", "__builtins__")
_DATA = (*_SCALAR, np.ndarray, torch.Tensor, list, tuple, dict)
"""A module is none: its buffers change where no code of the lesson does it."""


def _is_data(kept: Kept) -> bool:
    return isinstance(kept, _DATA)


def _as_mine(kept: Kept, mine: Kept) -> Kept:
    """A kept value of another mode in the form of `mine`; _NOTHING if that can't be."""
    arrays = (np.ndarray, torch.Tensor)
    if isinstance(kept, arrays) and isinstance(mine, arrays):
        return _as_array(kept, mine)
    if type(kept) is not type(mine):
        return _NOTHING
    if isinstance(kept, _ModuleState):  # there may be more in it than the parameters
        theirs, shapes = ({n: t.shape for n, t in m.tensors.items()} for m in (kept, mine))
        return kept if theirs == shapes else _NOTHING
    if isinstance(kept, _GeneratorState):
        return kept if kept.kind == mine.kind else _NOTHING
    if isinstance(kept, list | tuple):
        if all(isinstance(item, _SCALAR) for item in kept):
            return kept
        same = len(kept) == len(mine)
        items = [_as_mine(*pair) for pair in zip(kept, mine, strict=True)] if same else [_NOTHING]
        return _NOTHING if any(item is _NOTHING for item in items) else type(kept)(items)
    if isinstance(kept, dict):
        items = [_as_mine(item, mine.get(key, _NOTHING)) for key, item in kept.items()]
        is_whole = all(item is not _NOTHING for item in items)
        return dict(zip(kept, items, strict=True)) if is_whole else _NOTHING
    if isinstance(kept, ReplayedIterator):
        return kept if type(kept.source) is type(mine.source) else _NOTHING
    return kept if isinstance(kept, _SCALAR) else _NOTHING


def _as_array(kept: Kept, mine: Kept) -> Kept:
    """The same numbers in an array, or in a tensor, as `mine` is; _NOTHING if that can't be."""
    if any(isinstance(a, torch.Tensor) and is_spoiled(a) for a in (kept, mine)):
        return _NOTHING
    if tuple(kept.shape) != tuple(mine.shape):
        return _NOTHING
    if isinstance(kept, torch.Tensor) and isinstance(mine, torch.Tensor):
        if _kind(kept) != _kind(mine):
            return _NOTHING
        new = kept.detach().to(device=mine.device, dtype=mine.dtype, copy=True)
        return new.requires_grad_(mine.requires_grad)
    theirs, numbers = to_numpy(kept), to_numpy(mine)
    if theirs is None or numbers is None or theirs.dtype.kind != numbers.dtype.kind:
        return _NOTHING
    array = theirs.astype(numbers.dtype)
    if isinstance(mine, np.ndarray):
        return array
    return torch.from_numpy(array).to(mine.device, mine.dtype).requires_grad_(mine.requires_grad)


def _kind(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.layout, tensor.is_floating_point(), tensor.is_complex(), tensor.dtype.is_signed


def doubled(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers as float64, or as complex128; whole ones as they are."""
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


# ── Setting down ────────────────────────────────────────────────────────────────────


def set_down(kept: Kept, mine: Any) -> Any:
    """The value to bind here: `mine` with the content of `kept` where possible, else a copy.

    `mine` is what stands here so far; None if there is nothing.
    """
    match kept:
        case _Nothing():
            return mine
        case _ModuleState():
            return _into_module(kept, mine)
        case _OptimizerState():
            if isinstance(mine, torch.optim.Optimizer):
                mine.load_state_dict(copy.deepcopy(kept.state))
            return mine
        case _GeneratorState():
            _into_generator(kept, mine)
            return mine
        case _ObjectState():
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


def _into_container(kept: Kept, mine: Any) -> Any:
    if isinstance(kept, list | tuple):
        same = type(mine) is type(kept) and len(mine) == len(kept)
        old = mine if same else [None] * len(kept)
        new = [set_down(item, was) for item, was in zip(kept, old, strict=True)]
        if type(mine) is list and isinstance(kept, list):
            mine[:] = new
            return mine
        return type(kept)(new)
    if isinstance(kept, dict):
        here = mine if type(mine) is dict else {}
        found = {key: set_down(item, here.get(key)) for key, item in kept.items()}
        here.clear()
        here.update(found)
        return here
    return kept


def _into_module(kept: _ModuleState, mine: Any) -> Any:
    if not isinstance(mine, torch.nn.Module):
        return mine
    mine.load_state_dict(kept.tensors, strict=False)
    for parameter in mine.parameters():
        parameter.grad = None  # left over from what was tried here before
    for name, part in mine.named_modules():
        _into_attributes(kept.attributes.get(name, {}), part)
    return mine


def _into_attributes(kept: Mapping[str, Kept], mine: Any) -> None:
    own = vars(mine)  # past whatever the lesson's class does when an attribute is set
    own.update({key: set_down(item, own.get(key)) for key, item in kept.items()})


def _into_generator(kept: _GeneratorState, mine: Any) -> None:
    now = keep(mine)
    if not isinstance(now, _GeneratorState) or now.kind != kept.kind:
        return
    match mine:
        case np.random.Generator():
            mine.bit_generator.state = copy.deepcopy(kept.state)
        case np.random.RandomState() | torch.Generator():
            mine.set_state(kept.state)
        case random.Random():
            mine.setstate(kept.state)


def _into_tensor(kept: torch.Tensor, mine: Any) -> Any:
    fits = isinstance(mine, torch.Tensor) and mine.is_leaf
    if not fits or mine.shape != kept.shape or mine.dtype != kept.dtype:
        return _copy_of(kept)
    with torch.no_grad():
        mine.copy_(kept)
    mine.grad = None
    return mine


def _into_array(kept: np.ndarray[Any, Any], mine: Any) -> Any:
    fits = isinstance(mine, np.ndarray) and mine.flags.writeable
    if not fits or mine.shape != kept.shape or mine.dtype != kept.dtype:
        return kept.copy()
    mine[...] = kept
    return mine
