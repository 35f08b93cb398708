"""The settings of a thread that a script and the tutor each have for themselves.

A script that waits in `with torch.no_grad():` has switched gradients off for the whole thread. So
its settings are taken off each time that it begins to wait, and put on again before it goes on.
NumPy's error state is a context variable: greenlets keep those apart by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from typing import Any

import torch

from tutor.training.devices import (
    autocast_depth,
    default_device,
    function_modes,
    set_autocast_depth,
    set_default_device,
    set_function_modes,
)


@dataclass(frozen=True, slots=True)
class ThreadSettings:
    """Torch's settings of this thread, as they were at one moment."""

    grad: bool
    dtype: torch.dtype
    autocast: tuple[tuple[bool, torch.dtype], ...]
    autocast_depth: int
    modes: Sequence[Any]
    device: Any
    """The default device, as PyTorch keeps it beside the mode that is made of it."""

    @classmethod
    def now(cls) -> ThreadSettings:
        """At this moment."""
        is_on, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
        autocast = ((is_on("cpu"), dtype("cpu")), (is_on("cuda"), dtype("cuda")))
        grad, float_type = torch.is_grad_enabled(), torch.get_default_dtype()
        depth = autocast_depth()
        return cls(grad, float_type, autocast, depth, function_modes(), default_device())

    def put_on(self, instead_of: ThreadSettings) -> None:
        """Make these the thread's, where they differ from those that are on."""
        if self == instead_of:
            return
        torch.set_grad_enabled(self.grad)
        torch.set_default_dtype(self.dtype)
        for device, (is_on, dtype) in zip(("cpu", "cuda"), self.autocast, strict=True):
            torch.set_autocast_enabled(device, is_on)
            torch.set_autocast_dtype(device, dtype)
        set_autocast_depth(self.autocast_depth)
        if self.modes != instead_of.modes:
            set_function_modes(self.modes)
        set_default_device(self.device)


@dataclass(frozen=True, slots=True)
class SavedSurroundings:
    """A script's settings at one moment."""

    settings: ThreadSettings | None
    context: Context


class Surroundings:
    """A script's own settings, put on while it runs."""

    def __init__(self) -> None:
        self._own: ThreadSettings | None = None
        """None before it has run at all."""
        self.context = copy_context()
        """The context variables of all its stacks, NumPy's error state among them."""

    @contextmanager
    def on(self) -> Iterator[None]:
        """The script runs inside."""
        ours = ThreadSettings.now()
        if self._own is not None:  # its default device has to be the lowest of all modes
            replace(self._own, modes=[*self._own.modes, *ours.modes]).put_on(ours)
        try:
            yield
        finally:
            now = ThreadSettings.now()
            ours.put_on(now)
            self._own = replace(now, modes=[m for m in now.modes if m not in ours.modes])

    def saved(self) -> SavedSurroundings:
        """The settings as they are while the script waits."""
        return SavedSurroundings(self._own, self.context.copy())

    def restore(self, saved: SavedSurroundings) -> None:
        """Make them what they were. The context stays itself: a `with` block may rely on it."""
        self._own = saved.settings
        for variable, value in saved.context.items():
            if self.context.get(variable) is not value:
                self.context.run(variable.set, value)
