"""A loop at its start: seeded, its namespace made, and Setup run in it.

PyTorch's optimizers and its DistributedDataParallel are spared its compiler: the first of them in a
process loads `torch._dynamo`, only to say or to ask what is not to be compiled, and that takes
nearly as long as to load torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, wraps
from types import FunctionType, SimpleNamespace
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from tutor.training.devices import seed_all
from tutor.training.loop import Loop, in_namespace
from tutor.training.program import Program

_COMPILER = "torch._dynamo"
_MARK = "__dynamo_disable"
"""The attribute of a function in which PyTorch keeps the one that is not compiled."""
_DDP_MODE = "get_optimize_ddp_mode"
"""The function of the compiler's that DDP asks."""


def set_up(
    program: Program, device: str, learning_rate: float, seed: int, *, alone: bool = True
) -> Loop:
    """Seed, make the namespace and run Setup in it. Raises LessonRaised.

    `alone`: of a lesson on several ranks, only this one's loop, as a probe needs it.
    """
    spare_compiler()
    if program.open_loop is not None:
        opened: Loop = program.open_loop(device, learning_rate, seed)
        return opened
    kind: type[Loop] = Loop
    if program.workers > 1:
        from tutor.training import ranks  # noqa: PLC0415 - few lessons need it

        if not alone:
            return ranks.set_up_together(program, device, learning_rate, seed)
        kind = ranks.LoneLoop
    seed_all(seed)
    return in_namespace(program, device, learning_rate, kind=kind)


# ── Optimizers and DDP without the compiler ─────────────────────────────────────────


@cache
def spare_compiler() -> None:
    """Let PyTorch's optimizers and DDP use the compiler only where something has loaded it.

    What another version of PyTorch writes otherwise is left as it is.
    """
    methods = (*vars(Optimizer).values(), *vars(DistributedDataParallel).values())
    for method in (*methods, *(getattr(method, "__wrapped__", None) for method in methods)):
        if isinstance(method, FunctionType) and method.__globals__["__name__"] == "torch._compile":
            plain = method.__wrapped__  # type: ignore[attr-defined]
            setattr(plain, _MARK, _uncompiled(plain, method))
    for kind in Optimizer.__subclasses__():
        step = vars(kind).get("step")
        if isinstance(step, FunctionType) and step.__code__.co_name == "_use_grad":
            kind.step = _uncompiled_step(step)  # type: ignore[method-assign]
    start = DistributedDataParallel.__init__
    if _DDP_MODE in start.__code__.co_names:
        DistributedDataParallel.__init__ = _uncompiled_ddp(start)  # type: ignore[method-assign]


def _uncompiled(plain: Callable[..., Any], asking: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if _COMPILER not in sys.modules:
            return plain(*arguments, **named)
        delattr(plain, _MARK)
        return asking(*arguments, **named)

    return call


def _uncompiled_step(asking: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(asking)
    def step(self: Optimizer, *arguments: Any, **named: Any) -> Any:
        if _COMPILER in sys.modules:
            return asking(self, *arguments, **named)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return asking.__wrapped__(self, *arguments, **named)  # type: ignore[attr-defined]

    return step


def _uncompiled_ddp(asking: Callable[..., None]) -> Callable[..., None]:
    """DDP's `__init__`, which asks the compiler's settings how its reducer is to be compiled.

    Where nothing has loaded the compiler, nobody has changed these settings.
    """
    usual = SimpleNamespace(utils=SimpleNamespace(**{_DDP_MODE: lambda: "ddp_optimizer"}))

    @wraps(asking)
    def __init__(self: DistributedDataParallel, *arguments: Any, **named: Any) -> None:
        if _COMPILER in sys.modules:
            return asking(self, *arguments, **named)
        vars(torch)["_dynamo"] = usual
        try:
            return asking(self, *arguments, **named)
        finally:
            if vars(torch).get("_dynamo") is usual:
                del torch._dynamo

    return __init__
