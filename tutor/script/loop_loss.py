"""The loss of a training loop, and the prediction that it compares with the target."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tutor.script.code_unit import LOSS, PREDICT, CodeUnit
from tutor.script.data_flow import (
    flat_targets,
    is_gradient,
    is_loss,
    loss_rank,
    named_text,
    statements,
    text_of,
    variable,
    writes,
)
from tutor.script.hand_changes import bare
from tutor.script.syntax_nodes import called_name, last_name
from tutor.script.training_signs import GRADIENT

_DEEPEST = 3
_MOVING = re.compile(
    r"to|cuda|cpu|float|long|double|view|reshape|unsqueeze|squeeze|tensor|as_tensor|from_numpy|"
    r"Variable|FloatTensor|LongTensor"
)
_LIBRARIES = frozenset({"F", "torch", "np", "functional", "jnp"})
_THROUGH = frozenset({"sum", "zip", "abs", "float", "enumerate", "max", "min", "pow", "len", "int"})
"""Functions of Python whose arguments are looked at: others may be models."""


def loss_of(units: list[CodeUnit]) -> str:
    """The expression whose gradient is taken; in code by hand, the name of the error."""
    taken = [loss for unit in units for loss in unit.losses]
    if taken:
        return text_of(taken[0])
    named = [name for unit in units for name in _named_losses(unit)]
    return min(named, key=lambda name: loss_rank(name.rpartition(".")[2]), default="")


def _named_losses(unit: CodeUnit) -> Iterator[str]:
    for node in statements(unit.body):
        if unit.kinds.get(node) == GRADIENT:  # `gradients, loss = grad_and_value(f)(w)`
            beside = [t for t in flat_targets(node) if variable(t) and is_loss(variable(t))]
            yield from (text_of(t) for t in beside if len(flat_targets(node)) > 1)
        elif unit.kinds.get(node) == LOSS:
            tested = ast.walk(node.test) if isinstance(node, ast.If) else ()
            targets = [t for t in flat_targets(node) if variable(t)]
            targets += [n.target for n in tested if isinstance(n, ast.NamedExpr)]
            named = [t for t in targets if is_loss(variable(t).rpartition(".")[2])]
            yield from (text_of(bare(t)) for t in named or targets)


def prediction_of(units: list[CodeUnit]) -> str:
    """The name that the loss compares with the target; "" if the code does not tell."""
    for unit in units:
        nodes = [n for n in statements(unit.body) if unit.kinds.get(n) == LOSS]
        values = [value for n in nodes for value in _values(n)]
        search = _PredictionSearch(unit)
        if beside := [name for n in nodes for name in _beside(n)]:
            return beside[0]
        for expression in [*values, *unit.losses]:
            if name := search.within(expression, _DEEPEST):
                return "" if _is_part_of_loss(name) else name
    return ""


def _is_part_of_loss(name: str) -> bool:
    """Whether a name stands for a loss of its own, and not for an error that is squared."""
    last = name.rpartition(".")[2]
    return "loss" in last.lower() or (is_loss(last) and "." in name)


def _beside(node: ast.stmt) -> list[str]:
    """The names that get a value together with the loss: `logits, loss = model(x, y)`."""
    targets = flat_targets(node)
    names = [text_of(t) for t in targets if len(targets) > 1 and variable(t)]
    return [n for n in names if n != "_" and not is_loss(n) and not is_gradient(n)]


class _PredictionSearch:
    """Finds the prediction in the expression of a loss."""

    def __init__(self, unit: CodeUnit) -> None:
        nodes = [n for n in statements(unit.body) if unit.kinds.get(n) == PREDICT]
        self._values = {
            name: value
            for node in nodes
            if (value := getattr(node, "value", None)) is not None and _is_computed(value)
            for name in writes(node)
        }
        """By variable: what it is computed from, if it is more than data that are moved."""

    def within(self, expression: ast.expr, deepest: int) -> str:
        """The name of the prediction in an expression."""
        if any(called_name(n) == "log_prob" for n in ast.walk(expression)):
            return ""  # of a policy: an action is compared with nothing
        node = self._compared(expression)
        if node is None and not (node := self._only_name(expression)):
            return ""
        value = self._values[variable(node)]
        if deepest and (_is_error(value) or is_loss(variable(node))):
            return self.within(value, deepest - 1) or named_text(node)
        return named_text(node)

    def _compared(self, expression: ast.expr) -> ast.expr | None:
        """A side of a difference, or an argument of a function that compares."""
        for node in _nodes(expression):
            match node:
                case ast.BinOp(left=left, op=ast.Sub(), right=right):
                    sides = [left, right]
                case ast.Call(args=[ast.Call(func=func, args=[first, *_]), *args]) if _is_library(
                    func
                ):
                    plain = first.left if isinstance(first, ast.BinOp) else first
                    sides = [plain, *args]  # F.kl_div(F.log_softmax(logits), targets)
                case ast.Call(func=func, args=args) if len(args) > 1 or _is_library(func):
                    is_named = bool(args) and named_text(args[0]) != ""
                    sides = args[: 2 if is_named else 1]
                case _:
                    continue
            if found := [s for s in sides if self._is_known(s)]:
                return found[0]
        return None

    def _is_known(self, node: ast.expr) -> bool:
        """Whether an expression names a computed value."""
        return variable(node) in self._values and named_text(node) != ""

    def _only_name(self, expression: ast.expr) -> ast.expr | None:
        """The one computed name in an expression; of several, a part of the loss."""
        nodes = list(_nodes(expression))
        if any(isinstance(n, ast.Call) and _may_be_model(n) for n in nodes):
            return None
        names = [n for n in nodes if isinstance(n, ast.Name | ast.Attribute)]
        known = {
            variable(n): n
            for n in names
            if variable(n) in self._values and named_text(n) and not is_gradient(variable(n))
        }
        parts = [node for name, node in known.items() if is_loss(name)]
        return next(iter(parts or known.values())) if parts or len(known) == 1 else None


def _is_error(value: ast.expr) -> bool:
    """Whether an expression is a difference, or a list of differences."""
    value = value.elt if isinstance(value, ast.ListComp) else value
    return isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub)


def _may_be_model(call: ast.Call) -> bool:
    """Whether a call is one of a plain name that may be a model: its arguments are its own."""
    return isinstance(call.func, ast.Name) and call.func.id not in _THROUGH


def _is_library(func: ast.expr) -> bool:
    """Whether a function is one of a library for numbers: `F.mse_loss`, `np.square`."""
    return isinstance(func, ast.Attribute) and last_name(func.value) in _LIBRARIES


def _is_computed(value: ast.expr) -> bool:
    """Whether an expression computes, and does not only move or cut out the data."""
    if isinstance(value, ast.Call) and _MOVING.fullmatch(called_name(value)):
        return isinstance(value.func, ast.Attribute) and _is_computed(value.func.value)
    if isinstance(value, ast.Subscript):
        return isinstance(value.value, ast.Call)
    return isinstance(value, ast.Call | ast.BinOp | ast.ListComp)


def _values(node: ast.stmt) -> list[ast.expr]:
    """The targets that a statement, or the condition of an `if`, assigns."""
    if isinstance(node, ast.If):
        return [n.value for n in ast.walk(node.test) if isinstance(n, ast.NamedExpr)]
    value = getattr(node, "value", None)
    return [value] if isinstance(value, ast.expr) else []


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of an expression, without arguments of functions that may be models."""
    yield node
    children = ast.iter_child_nodes(node)
    match node:
        case ast.Call() if _may_be_model(node):
            return
        case ast.Call(func=ast.Attribute(value=value), args=args):
            children = iter([*([] if isinstance(value, ast.Name) else [value]), *args])
            if isinstance(value, ast.Name) and not args:
                children = iter([value])
        case ast.Attribute():
            return
    for child in children:
        yield from _nodes(child)
