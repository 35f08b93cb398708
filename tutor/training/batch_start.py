"""The state with which a batch begins: enough to compute it again, in a probe or another mode."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from tutor.training.devices import GeneratorStates
from tutor.training.program import Program
from tutor.training.snapshot import Namespace
from tutor.training.state_copy import (
    GENERATORS,
    NOTHING,
    SCALARS,
    GeneratorState,
    Kept,
    ModuleState,
    ObjectState,
    ReplayedIterator,
    keep,
)
from tutor.training.values import is_spoiled, to_numpy

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class BatchStart:
    """All that a batch begins with, as copies."""

    values: Mapping[str, Array]
    """The parameters."""
    gradients: Mapping[str, Array | None]
    """The parameters' `.grad` (or `dw`); None where there is none."""
    generator_states: GeneratorStates
    carried: Mapping[str, Kept]
    """All else that an epoch hands on to the next."""

    def is_whole(self, program: Program) -> bool:
        """Whether all that a batch changes could be copied: an open file can't be."""
        return all(_is_whole(kept) for n, kept in self.carried.items() if n in program.volatile)


def _is_whole(kept: Kept) -> bool:
    if isinstance(kept, ObjectState):
        return _is_whole(dict(kept.attributes))
    parts = kept.values() if isinstance(kept, dict) else kept if type(kept) in (list, tuple) else ()
    return kept is not NOTHING and all(map(_is_whole, parts))


def volatile(names: Collection[str], program: Program, namespace: Namespace) -> dict[str, Kept]:
    """Copies of those of these names that an epoch reads and writes, and of all generators."""
    found = {n: keep(namespace[n]) for n in program.volatile.intersection(names) if n in namespace}
    generators = {
        n: keep(t) for n, t in namespace.items() if isinstance(t, (*GENERATORS, ReplayedIterator))
    }
    return found | generators


def carried(program: Program, namespace: Namespace) -> dict[str, Kept]:
    """Copies of all that an epoch hands on to the next, but for the parameters.

    Data that the epoch only reads are not copied but taken as they are.
    """
    liveness = program.liveness
    skip = {*program.parameters, "batch", "device", "loss", "__builtins__"} | liveness.dead
    return {
        name: thing if name in liveness.fixed and is_data(thing) else keep(thing)
        for name, thing in namespace.items()
        if name not in skip and not liveness.is_idle(name)
    }


def is_data(thing: Any) -> bool:
    """Whether it is an array, or a tensor that no optimizer changes."""
    if type(thing) is torch.Tensor:
        return not is_spoiled(thing) and not thing.requires_grad
    return type(thing) is np.ndarray


# ── From one mode to another ────────────────────────────────────────────────────────


def state_that_fits(
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
        if kept is not NOTHING:
            found[name] = kept
    return found


_SETTINGS = ("batch", "device", "learning_rate", "loss", "__builtins__")
_DATA = (*SCALARS, np.ndarray, torch.Tensor, list, tuple, dict)
"""A module is none: its buffers change where no code of the lesson does it."""


def _is_data(kept: Kept) -> bool:
    return isinstance(kept, _DATA)


def _as_mine(kept: Kept, mine: Kept) -> Kept:
    """A kept value of another mode in the form of `mine`; NOTHING if that can't be."""
    arrays = (np.ndarray, torch.Tensor)
    if isinstance(kept, arrays) and isinstance(mine, arrays):
        return _as_array(kept, mine)
    if type(kept) is not type(mine):
        return NOTHING
    if isinstance(kept, ModuleState):  # there may be more in it than the parameters
        theirs, shapes = ({n: t.shape for n, t in m.tensors.items()} for m in (kept, mine))
        return kept if theirs == shapes else NOTHING
    if isinstance(kept, GeneratorState):
        return kept if kept.kind == mine.kind else NOTHING
    if isinstance(kept, list | tuple):
        if all(isinstance(item, SCALARS) for item in kept):
            return kept
        same = len(kept) == len(mine)
        items = [_as_mine(*pair) for pair in zip(kept, mine, strict=True)] if same else [NOTHING]
        return NOTHING if any(item is NOTHING for item in items) else type(kept)(items)
    if isinstance(kept, dict):
        items = [_as_mine(item, mine.get(key, NOTHING)) for key, item in kept.items()]
        is_whole = all(item is not NOTHING for item in items)
        return dict(zip(kept, items, strict=True)) if is_whole else NOTHING
    if isinstance(kept, ReplayedIterator):
        return kept if type(kept.source) is type(mine.source) else NOTHING
    return kept if isinstance(kept, SCALARS) else NOTHING


def _as_array(kept: Kept, mine: Kept) -> Kept:
    """The same numbers in an array, or in a tensor, as `mine` is; NOTHING if that can't be."""
    if any(isinstance(a, torch.Tensor) and is_spoiled(a) for a in (kept, mine)):
        return NOTHING
    if tuple(kept.shape) != tuple(mine.shape):
        return NOTHING
    if isinstance(kept, torch.Tensor) and isinstance(mine, torch.Tensor):
        if _kind(kept) != _kind(mine):
            return NOTHING
        new = kept.detach().to(device=mine.device, dtype=mine.dtype, copy=True)
        return new.requires_grad_(mine.requires_grad)
    theirs, numbers = to_numpy(kept), to_numpy(mine)
    if theirs is None or numbers is None or theirs.dtype.kind != numbers.dtype.kind:
        return NOTHING
    array = theirs.astype(numbers.dtype)
    if isinstance(mine, np.ndarray):
        return array
    return torch.from_numpy(array).to(mine.device, mine.dtype).requires_grad_(mine.requires_grad)


def _kind(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.layout, tensor.is_floating_point(), tensor.is_complex(), tensor.dtype.is_signed
