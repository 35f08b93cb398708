"""PyTorch's optimizers, spared its compiler.

The first optimizer of a process loads `torch._dynamo`, only to say that it is not to be compiled.
That takes nearly as long as to load torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, wraps
from types import FunctionType
from typing import Any

import torch
from torch.optim import Optimizer

_COMPILER = "torch._dynamo"
_MARK = "__dynamo_disable"
"""The attribute of a function in which PyTorch keeps the one that is not compiled."""


@cache
def spare_compiler() -> None:
    """Have PyTorch's own optimizers ask for the compiler only where something has loaded it.

    What another version of PyTorch writes otherwise is left as it is.
    """
    for method in vars(Optimizer).values():
        if isinstance(method, FunctionType) and method.__globals__["__name__"] == "torch._compile":
            plain = method.__wrapped__  # type: ignore[attr-defined]
            setattr(plain, _MARK, _uncompiled(plain, method))
    for kind in Optimizer.__subclasses__():
        step = vars(kind).get("step")
        if isinstance(step, FunctionType) and step.__code__.co_name == "_use_grad":
            kind.step = _uncompiled_step(step)  # type: ignore[method-assign]


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
