"""The gradient and the learning rate in a change by hand: `dw` and `lr` of `w -= lr * dw`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from tutor.script.data_flow import is_gradient, is_rate, reads, variables, writes
from tutor.script.hand_changes import HandChange
from tutor.script.syntax_nodes import last_name


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


def gradient_of(change: HandChange, code: Sequence[ast.stmt]) -> ast.expr | None:
    """The expression g of a change `w -= lr * g`; None if the code does not tell it exactly.

    Of momentum, the gradient that goes into it. `code` is the code around the change.
    """
    if len(change.terms) != 1:
        return None
    sign, term = change.terms[0]
    rest = _without_rate(term)
    near = _sources(term, code)
    if any(_is_running(name, code) for name in near):
        return _inside(term, code)
    if rest is None:
        is_scaled = any(is_rate(name.rpartition(".")[2]) for name in near)
        rest = None if is_scaled else term
    if rest is None:
        return None
    return rest if sign < 0 else ast.UnaryOp(ast.USub(), rest)


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
    makers = [n for n in code if name in writes(n)]
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
