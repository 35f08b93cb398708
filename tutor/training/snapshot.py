"""A copy of all that a training loop carries from epoch to epoch, and back again.

Copied: every name of the namespace but those that are dead between epochs, with what
hangs on them (modules, optimizers and their state, gradients), identity kept: `w` stays
the very object that the optimizer updates. With them the state of the random number
generators. What has not changed since the snapshot before is shared with it.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from tutor.training.liveness import Liveness

Namespace = dict[str, Any]

_OBJECT = 600
"""Bytes that a tensor or array is reckoned to cost besides its elements."""


@dataclass(frozen=True, slots=True)
class Randomness:
    """The state of every random number generator that a lesson can reach without asking."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    device: torch.Tensor | None

    @classmethod
    def now(cls, device: str) -> Randomness:
        """The state at this moment, on the CPU and on `device`."""
        on_gpu = torch.cuda.get_rng_state(device) if device.startswith("cuda") else None
        on_gpu = torch.mps.get_rng_state() if device == "mps" else on_gpu
        return cls(
            random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state(), on_gpu
        )

    def restore(self, device: str) -> None:
        """Put the generators back into this state."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.device is not None and device.startswith("cuda"):
            torch.cuda.set_rng_state(self.device, device)
        elif self.device is not None and device == "mps":
            torch.mps.set_rng_state(self.device)

    def same_as(self, other: Randomness) -> bool:
        """Whether no generator has moved between the two."""
        if not torch.equal(self.cpu, other.cpu) or self.python != other.python:
            return False
        mine, theirs = self.numpy["state"], other.numpy["state"]
        return mine["pos"] == theirs["pos"] and np.array_equal(mine["key"], theirs["key"])


def seed_all(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators (torch's on every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A namespace at the end of an epoch; never handed out but as a copy."""

    names: Namespace
    idle: Namespace
    """What nothing looks at after Setup: the things themselves, not copies."""
    home: Namespace
    """The dict it was taken of, which is the `globals` of the functions in it."""
    randomness: Randomness
    device: str
    size: int
    """Bytes, about: what it does not share with the snapshot before."""

    def restore(self) -> Namespace:
        """Make the namespace (the same dict) what it was, and return it."""
        restored = _copy(self.names, {})
        self.home.clear()
        self.home.update(self.idle | restored)
        self.randomness.restore(self.device)
        return self.home


def take(
    namespace: Namespace, liveness: Liveness, device: str, before: Snapshot | None
) -> Snapshot | None:
    """A snapshot of `namespace`: dead names left out, idle ones kept as they are.

    None if something in it can't be copied (a generator, a tensor in mid-graph): then
    only running again from an earlier place gets there.
    """
    alive = {k: v for k, v in namespace.items() if k not in liveness.dead and k != "__builtins__"}
    idle = {k: v for k, v in alive.items() if liveness.is_idle(k)}
    names = {k: v for k, v in alive.items() if k not in idle}
    memo: dict[int, Any] = {}
    for name, thing in names.items():
        old = before.names.get(name) if before is not None else None
        if old is not None and _unchanged(thing, old):
            memo[id(thing)] = old
    shared = set(map(id, memo.values()))
    try:
        copied = _copy(names, memo)
    except Exception:  # noqa: BLE001 - whatever a lesson's own objects raise when copied means: no snapshot
        return None
    randomness = Randomness.now(device)
    if before is not None and randomness.same_as(before.randomness) and randomness.device is None:
        randomness = before.randomness
    size = 2 * _OBJECT + sum(_bytes(v) for k, v in memo.items() if id(v) not in shared)
    return Snapshot(copied, idle, namespace, randomness, device, size)


def _copy(names: Namespace, memo: dict[int, Any]) -> Namespace:
    """A deep copy in which modules stay themselves and parameters keep their gradients."""
    for thing in names.values():
        if isinstance(thing, ModuleType):
            memo[id(thing)] = thing
    copied: Namespace = copy.deepcopy(names, memo)
    # deepcopy keeps all originals alive in this list: the way to meet each of them.
    for original in memo.get(id(memo), []):
        _refuse_hooks(original)
        # nn.Parameter, unlike a plain leaf tensor, leaves its gradient behind.
        twin = memo.get(id(original))
        if isinstance(original, torch.nn.Parameter) and isinstance(twin, torch.Tensor):
            twin.grad = None if original.grad is None else original.grad.detach().clone()
    return copied


def _refuse_hooks(thing: Any) -> None:
    """Raise TypeError for a tensor with hooks: they would be lost in a copy."""
    if isinstance(thing, torch.Tensor) and thing._backward_hooks:
        raise TypeError("a tensor with hooks can't be copied")


def _unchanged(thing: Any, old: Any) -> bool:
    """Whether a plain array or tensor (no gradient about it) equals its earlier copy."""
    if isinstance(thing, np.ndarray) and isinstance(old, np.ndarray):
        same = thing.dtype == old.dtype and thing.shape == old.shape
        return same and thing.tobytes() == old.tobytes()
    if type(thing) is torch.Tensor and type(old) is torch.Tensor and not thing.requires_grad:
        same = thing.dtype == old.dtype and thing.device == old.device
        return same and thing.grad_fn is None and thing.grad is None and torch.equal(thing, old)
    return False


def _bytes(thing: Any) -> int:
    if isinstance(thing, torch.Tensor):
        grad = thing.grad if thing.is_leaf else None
        return _OBJECT + thing.nbytes + (_OBJECT + grad.nbytes if grad is not None else 0)
    return _OBJECT + int(thing.nbytes) if isinstance(thing, np.ndarray) else 0
