"""The facts about one name of the lesson's code, at the place where a loop stands.

Looks without touching: no code of the lesson runs, no property, no `__repr__`. Changes
nothing, and prints nothing (a tensor in mid-graph, asked for `.grad`, would).
"""

from __future__ import annotations

import builtins
import inspect
import reprlib
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from tutor.digits import significant
from tutor.lesson.code_checks import codes_in
from tutor.lesson.model import gradient_variable
from tutor.plain import one_line
from tutor.protocol.frame import NONE, Remark, Value
from tutor.protocol.inspections import VariableInfo
from tutor.training.loop import Loop
from tutor.training.program import Program
from tutor.training.snapshot import LESSON_MODULE
from tutor.training.state_copy import ReplayedIterator
from tutor.training.values import (
    has_gradient_variable,
    is_spoiled,
    stored_gradient,
    text_value,
    value_of,
)

_LONGEST_TYPE = 60
_PLAIN = (bool, int, float, type(None), torch.Tensor, np.ndarray, np.generic)
"""The types whose values `values.value_of` shows as numbers."""


class _Missing:
    """Stands for an attribute that is missing, or can't be read without running code."""


_MISSING = _Missing()

_OF_TENSORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "grad": lambda t: t.grad if t.is_leaf or t.retains_grad else _MISSING,
    "data": lambda t: t.detach(),
    "T": lambda t: t.detach().T if t.ndim == 2 else _MISSING,
    "shape": lambda t: tuple(t.shape),
    "ndim": lambda t: t.ndim,
    "dtype": lambda t: t.dtype,
    "device": lambda t: t.device,
    "requires_grad": lambda t: t.requires_grad,
    "is_leaf": lambda t: t.is_leaf,
    "grad_fn": lambda t: t.grad_fn,
}
"""The attributes of a tensor that may be asked for; the rest of them are methods."""
_OF_ARRAYS = frozenset({"T", "shape", "ndim", "size", "dtype"})


class _ShortRepr(reprlib.Repr):
    """A repr that stays short whatever it is of, and runs no code of the lesson."""

    def repr1(self, x: Any, level: int) -> str:
        """The repr of a value inside another one."""
        if isinstance(x, torch.Tensor | np.ndarray) and x.ndim:
            return f"{type(x).__name__} of shape {tuple(x.shape)}"
        if isinstance(x, torch.Tensor):
            return significant(x.item()) if not x.is_complex() else "complex tensor"
        if isinstance(x, np.generic | torch.dtype | torch.device | torch.Size):
            return str(x)
        if type(x).__module__ == "builtins" and not callable(x):
            return super().repr1(x, level)
        return _description(x)


def info_of(loop: Loop, name: str) -> VariableInfo:
    """The present value of `name`, which may have dots (`w.grad`, `model.linear.weight`).

    A name that nothing bears now has the value NO_VALUE and a remark that says why.
    """
    first, *attributes = name.split(".")
    if unbound := _why_unbound(loop, first):
        return VariableInfo(name=name, remark=unbound)
    thing = loop.namespace.get(first, getattr(builtins, first, None))
    for attribute in attributes:
        thing = _attribute(thing, attribute)
        if thing is _MISSING:
            remark = Remark("no_attribute", {"attribute": one_line(attribute)})
            return VariableInfo(name=name, remark=remark)
    found = _facts(name, thing)
    is_parameter = name in loop.program.parameters
    has_variable = has_gradient_variable(thing, stores_grad=loop.program.stores_grad)
    if is_parameter and has_variable and stored_gradient(thing) is None:
        return _with_gradient_by_hand(found, loop, gradient_variable(name))
    return found


# ── Names ───────────────────────────────────────────────────────────────────────────


def _why_unbound(loop: Loop, name: str) -> Remark | None:
    """The reason why nothing bears this name at this moment; None if something does."""
    is_pending = name in _pending(loop)
    if not is_pending and name in loop.namespace:
        return None
    if (phase := _who_binds(loop.program, name)) or is_pending:
        return Remark("not_computed", {"phase": phase})
    if name in _inner_names(loop.program):
        return Remark("inner_name")
    return None if hasattr(builtins, name) else Remark("unknown_name")


def _pending(loop: Loop) -> frozenset[str]:
    """The names whose value is of an earlier batch: no phase has bound them in this one."""
    if loop.at_end and loop.step:
        return frozenset()
    done = loop.phases_done
    bound = {name for phase in loop.program.loop[:done] for name in phase.binds}
    return loop.program.pending(done) - bound


def _who_binds(program: Program, name: str) -> str:
    phases = [*program.loop, *([program.report] if program.report else [])]
    return next((p.name for p in phases if name in p.binds), "")


def _inner_names(program: Program) -> frozenset[str]:
    """The names bound in functions and classes, their arguments among them."""
    phases = [program.setup, *program.loop, program.report]
    codes = [phase.code for phase in phases if phase is not None]
    return frozenset(
        n for code in codes for inner in [*codes_in(code)][1:] for n in _bound_in(inner)
    )


def _bound_in(code: CodeType) -> tuple[str, ...]:
    is_function = code.co_flags & inspect.CO_OPTIMIZED
    return (*code.co_varnames, *code.co_cellvars, *(() if is_function else code.co_names))


def _attribute(thing: Any, name: str) -> Any:
    """An attribute that is stored; _MISSING where it would have to be computed."""
    if isinstance(thing, torch.Tensor):
        return _OF_TENSORS[name](thing) if name in _OF_TENSORS else _MISSING
    if isinstance(thing, np.ndarray | np.generic):
        return getattr(thing, name) if name in _OF_ARRAYS else _MISSING
    if isinstance(thing, torch.nn.Module):
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in vars(thing).get(kind, {}):
                return vars(thing)[kind][name]
    try:
        found = inspect.getattr_static(thing, name)
    except AttributeError:
        return _MISSING
    computed = isinstance(found, property) or inspect.isdatadescriptor(found)
    return _MISSING if computed else found


# ── Things ──────────────────────────────────────────────────────────────────────────


def _facts(name: str, thing: Any) -> VariableInfo:
    info = VariableInfo(name=name, value=_value(thing), type=_type(thing))
    if not isinstance(thing, torch.Tensor):
        return info
    info = replace(info, device=str(thing.device))
    if is_spoiled(thing):
        return replace(info, remark=Remark("spoiled_view"))
    keeps = thing.is_leaf or thing.retains_grad
    return replace(
        info,
        requires_grad=thing.requires_grad,
        is_leaf=thing.is_leaf,
        grad_fn=thing.grad_fn.name() if thing.grad_fn is not None else "",
        gradient=value_of(thing.grad) if thing.requires_grad and keeps else None,
        remark=None if keeps else Remark("no_leaf"),
    )


def _with_gradient_by_hand(found: VariableInfo, loop: Loop, gradient: str) -> VariableInfo:
    """A parameter whose gradient is a variable that the lesson computes."""
    has_one = not _why_unbound(loop, gradient)
    return replace(
        found,
        gradient=value_of(loop.namespace[gradient]) if has_one else NONE,
        remark=Remark("gradient_by_hand", {"gradient": gradient}),
    )


def _value(thing: Any) -> Value:
    if isinstance(thing, _PLAIN) and not (isinstance(thing, np.ndarray) and thing.dtype.hasobject):
        return value_of(thing)
    return text_value(one_line(_ShortRepr().repr(thing)))


def _type(thing: Any) -> str:
    """The type as code names it: `torch.nn.Parameter`, `float`, a class of the lesson's own."""
    if isinstance(thing, torch.nn.Parameter):
        return "torch.nn.Parameter"
    kind = type(thing.source if isinstance(thing, ReplayedIterator) else thing)
    module = "" if kind.__module__ in ("builtins", LESSON_MODULE) else f"{kind.__module__}."
    return one_line(f"{module}{kind.__qualname__}")[:_LONGEST_TYPE]


def _description(thing: Any) -> str:
    """A short description of a value, where its repr would run code or be too long."""
    if isinstance(thing, ModuleType):
        return f"module {thing.__name__}"
    if isinstance(thing, type):
        return f"class {thing.__qualname__}"
    if isinstance(thing, torch.nn.Module):
        children = vars(thing).get("_modules", {}).items()
        parts = ", ".join(f"{name}: {type(child).__name__}" for name, child in children)
        return f"{type(thing).__name__}({parts})"
    if isinstance(thing, torch.optim.Optimizer):
        rates = ", ".join(significant(group["lr"]) for group in thing.param_groups)
        return f"{type(thing).__name__}, learning rate {rates}"
    if isinstance(thing, FunctionType | BuiltinFunctionType | MethodType | np.ufunc):
        return f"function {thing.__name__}"
    return f"{type(thing).__name__} object"
