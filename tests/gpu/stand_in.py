"""A GPU played by the CPU, for the tests of a machine without one.

It is the CPU under the name `cpu:0`. What a run computes on it rounds otherwise than on the CPU, as
on a GPU, which adds in another order; and it can refuse float64, as Apple's mps does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tutor.training import devices
from tutor.training.loop import Loop

NAME = "cpu:0"

_SUMS = ("sum", "mean", "mm", "addmm", "bmm", "mv", "dot", "var", "logsumexp", "var_mean")
"""Operations that add many numbers, in an order of their own."""


class UncompiledMode(TorchDispatchMode):
    """A mode for which PyTorch does not load its compiler, only to say what is not compiled."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class OtherRounding(UncompiledMode):
    """Flips the last bit of every second float32 sum: always of the same ones."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in _SUMS:
            for tensor in found if isinstance(found, tuple) else (found,):
                _flip(tensor)
        return found


def _flip(tensor: torch.Tensor) -> None:
    if tensor.dtype is torch.float32 and tensor.is_contiguous():
        bits = tensor.detach().view(torch.int32)
        bits ^= (bits >> 7) & 1 & (bits != 0).to(torch.int32)  # exact zeros stay


class NoFloat64(TorchFunctionMode):
    """Refuses to put a float64 on the device, in mps's words."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        named = [*args, *(kwargs or {}).values()]
        if any(isinstance(a, str) and a == NAME for a in named) and (
            isinstance(found, torch.Tensor) and found.dtype is torch.float64
        ):
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't "
                "support float64. Please use float32 instead."
            )
        return found


@contextmanager
def stand_in(*, has_float64: bool = True) -> Iterator[str]:
    """The name of the device, which is there meanwhile."""
    execute, run_epochs = Loop.execute, Loop.run_epochs

    def rounding(loop: Loop) -> AbstractContextManager[object]:
        return OtherRounding() if loop.device == NAME else nullcontext()

    def execute_there(loop: Loop, code: Any) -> None:
        with rounding(loop):
            execute(loop, code)

    def run_epochs_there(loop: Loop, count: int, after: Callable[[], object]) -> None:
        with rounding(loop):
            run_epochs(loop, count, after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "available", lambda: ("cpu", NAME))
        patch.setattr(Loop, "execute", execute_there)
        patch.setattr(Loop, "run_epochs", run_epochs_there)
        with nullcontext() if has_float64 else NoFloat64():
            yield NAME
