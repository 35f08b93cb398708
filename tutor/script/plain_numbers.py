"""The names of a script that stand for one number, and the rate and the gradient of a step."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from tutor.python_syntax import (
    FUNCTIONS,
    FunctionCode,
    default_options,
    defaults_of,
    last_name,
    own_nodes,
    targets_of,
)
from tutor.script.code_index import CodeIndex
from tutor.script.data_flow import is_compound, is_gradient, is_rate, reads, variables, writes
from tutor.script.hand_changes import HandChange, candidates, factors_of


class PlainNumbers:
    """The numbers that the names of a file stand for, where the code says them."""

    def __init__(self, index: CodeIndex) -> None:
        self.index = index
        self._known: dict[str, float | None] = {}
        nodes = (n for n in index.nodes if isinstance(n, ast.AugAssign))
        self._counted = {name for node in nodes for name in writes(node)}
        self._options = default_options(index.tree)

    def whole(self, node: ast.expr) -> int | None:
        """The whole number that an expression stands for."""
        number = self.number(node)
        return None if number is None or number != int(number) else int(number)

    def number(self, node: ast.expr) -> float | None:
        """The finite number that an expression stands for."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value if abs(value) < _MOST else None
            case ast.Call(func=ast.Name(id="int" | "float"), args=[one]):
                return self.number(one)
            case ast.BinOp(left=left, op=op, right=right):
                first, second = self.number(left), self.number(right)
                return None if first is None or second is None else _computed(op, first, second)
            case ast.Attribute(value=ast.Name(id=holder), attr=name) if not self._is_known(
                node.value, holder
            ):
                return self.number(self._options[name]) if name in self._options else None
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(), attr=name):
                if name not in self._known:
                    self._known[name] = None  # while it is looked up
                    self._known[name] = self._constant(name, node)
                return self._known[name]
        return None

    def _is_known(self, node: ast.expr, holder: str) -> bool:
        """Whether an object is of a class of the file, so that the file says all that is in it."""
        return holder in self.index.classes or bool(self.index.classes_of(node))

    def _constant(self, name: str, at: ast.expr) -> float | None:
        """The number that a name stands for, if the file gives it only one."""
        if name in self._counted or f"self.{name}" in self._counted:
            return None
        values = list(self.index.bindings.get(name, ()))
        scopes = [n for n in self.index.ancestors(at) if isinstance(n, FUNCTIONS)]
        if (own := self.index.own_class(at)) is not None:
            scopes += self.index.methods(own.name, "__init__")
        for scope in scopes:
            default = defaults_of(scope).get(name)
            if default is not None and not self._is_always_given(scope, name):
                values.append(default)
        numbers = {self.number(value) for value in values if not _is_itself(value, name)}
        return numbers.pop() if len(numbers) == 1 else None

    def _is_always_given(self, function: FunctionCode, name: str) -> bool:
        """Whether each call of a function in the file gives this argument."""
        calls = [c for c in self.index.calls if function in self.index.callees(c.func)]
        return bool(calls) and all(name in self.index.arguments(function, c) for c in calls)

    # ── A learning rate, whatever its name

    def rate_in(self, term: ast.expr) -> ast.expr | None:
        """The factor of a step that is its learning rate; None if only its name can tell.

        `L` of `L * dw`, where `L` stands for one number, and no other code computes with it: a
        number of the data goes into the prediction, too.
        """
        factors = list(factors_of(term))
        if any(is_rate(last_name(f)) for f in factors):
            return None
        found = [f for f in factors if self._may_be_rate(f, term)]
        rest = [f for f in factors if f not in found and not isinstance(f, ast.Constant)]
        return found[0] if len(found) == 1 and rest else None

    def _may_be_rate(self, factor: ast.expr, term: ast.expr) -> bool:
        if not isinstance(factor, ast.Name | ast.Attribute) or self.number(factor) is None:
            return False
        name = last_name(factor)
        again = [n for n in ast.walk(term) if n is not factor and last_name(n) == name]
        return not again and not is_gradient(name) and name not in self._computed_with

    @cached_property
    def _computed_with(self) -> set[str]:
        """The names that code calculates with, but for steps: `w - L * dw`, `step = L * dw`."""
        nodes = [n for n in self.index.nodes if isinstance(n, ast.stmt)]
        simple = {n: list(candidates(n)) for n in nodes if not is_compound(n)}
        terms = [term for changes in simple.values() for c in changes for term in c.terms]
        steps = {last_name(term) for sign, term in terms if sign < 0}
        others = [n for n, changes in simple.items() if not changes]
        counted = [
            part
            for node in others
            if not steps & set(map(last_name, targets_of(node)))
            for part in own_nodes([node])
            if isinstance(part, ast.BinOp)
        ]
        return {last_name(n) for part in counted for n in ast.walk(part)} - {""}


_MOST = 1e300
"""A larger number has no place among settings."""


def _is_itself(value: ast.expr, name: str) -> bool:
    """Whether a name is bound to a name of its own spelling: `fit(epochs=epochs)`."""
    return last_name(value) == name and isinstance(value, ast.Name)


def _computed(op: ast.operator, one: float, other: float) -> float | None:
    match op:
        case ast.Add():
            return one + other
        case ast.Sub():
            return one - other
        case ast.Mult():
            return one * other
        case ast.Div() if other:
            return one / other
        case ast.FloorDiv() if other:
            return one // other
        case ast.Pow() if abs(other) < 10 and 0 < abs(one) < 1000:
            found = one**other
            return None if isinstance(found, complex) else found
    return None


# ── The gradient in a change by hand ─────────────────────────────────────────────────────


def rates_in(node: ast.stmt) -> Iterator[ast.expr]:
    """The learning rates that a statement reads, as they stand in the code."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name | ast.Attribute | ast.Subscript) and _is_rate(inner):
            yield inner


def _is_rate(node: ast.expr) -> bool:
    match node:
        case ast.Subscript(slice=ast.Constant(value=str() as key)):
            return is_rate(key)
        case ast.Name() | ast.Attribute():
            return is_rate(last_name(node))
    return False


def gradient_expression(
    change: HandChange, code: Sequence[ast.stmt], numbers: PlainNumbers
) -> ast.expr | None:
    """The expression g of a change `w -= lr * g`; None if the code does not tell it exactly.

    Of momentum, the gradient that goes into it. `code` is the code around the change.
    """
    if len(change.terms) != 1:
        return None
    sign, term = change.terms[0]
    rate = change.rate
    rest = _without_rate(term) if rate is None else _without(term, lambda node: node is rate)
    near = _sources(term, code)
    own = set() if change.is_iterated else {change.variable}
    if any(_is_running(name, code) for name in near - own):
        return _inside(term, code)
    if rest is None:
        is_scaled = any(is_rate(name.rpartition(".")[2]) for name in near) or any(
            _is_scaled(s, numbers) for s in code if writes(s) & variables([term])
        )
        rest = None if is_scaled else term
    if rest is None:
        return None
    return rest if sign < 0 else ast.UnaryOp(ast.USub(), rest)


def _is_scaled(node: ast.stmt, numbers: PlainNumbers) -> bool:
    """Whether a statement computes a step, and no gradient: `step = L * dw`."""
    value = getattr(node, "value", None)
    is_named = any(is_gradient(name.rpartition(".")[2]) for name in writes(node))
    return isinstance(value, ast.expr) and not is_named and numbers.rate_in(value) is not None


def _sources(node: ast.expr, code: Sequence[ast.stmt]) -> set[str]:
    """The variables that an expression reads, and those that these are computed from directly."""
    near = variables([node])
    return near | {n for s in code if writes(s) & near for n in reads(s)}


def _without_rate(term: ast.expr) -> ast.expr | None:
    """A product without its learning rate: a named rate, else a number that it begins with."""
    found = _without(term, _is_rate)
    if found is None and not any(_is_rate(n) for n in ast.walk(term) if isinstance(n, ast.expr)):
        found = _without(term, lambda node: isinstance(node, ast.Constant))
    return found


def _without(term: ast.expr, is_dropped: Callable[[ast.expr], bool]) -> ast.expr | None:
    """A product without its first factor of a kind; None if it has none."""
    match term:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            if is_dropped(left):
                return right
            if (rest := _without(left, is_dropped)) is not None:
                return ast.BinOp(rest, ast.Mult(), right)
            if is_dropped(right):
                return left
            if (rest := _without(right, is_dropped)) is not None:
                return ast.BinOp(left, ast.Mult(), rest)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            if (rest := _without(left, is_dropped)) is not None:
                return ast.BinOp(rest, ast.Div(), right)
    return None


def _is_running(name: str, code: Sequence[ast.stmt]) -> bool:
    """Whether a variable carries its value on from pass to pass: a velocity, a mean."""
    makers = [n for n in code if name in writes(n) and not isinstance(n, ast.For)]
    return any(name in reads(n) for n in makers if not isinstance(n, ast.AugAssign)) or any(
        isinstance(n, ast.AugAssign) and isinstance(n.op, ast.Mult) for n in makers
    )


def _inside(node: ast.expr, code: Sequence[ast.stmt]) -> ast.expr | None:
    """The one gradient by name that an expression is computed from."""
    names, found = variables([node]), set[str]()
    for _ in range(3):
        found = {n for n in names if is_gradient(n.rpartition(".")[2])}
        if found:
            break
        names = {n for s in code if writes(s) & names for n in reads(s)}
    return ast.parse(found.pop(), mode="eval").body if len(found) == 1 else None
