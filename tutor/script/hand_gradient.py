"""The gradient and the learning rate in a change by hand: `dw` and `lr` of `w -= lr * dw`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from tutor.script.code_index import last_name
from tutor.script.data_flow import is_gradient, is_rate, reads, variable, variables, writes
from tutor.script.hand_changes import HandChange


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


def gradient_of(change: HandChange, code: Sequence[ast.stmt]) -> str:
    """The expression g of a change `w -= lr * g`; empty if the code does not tell it exactly.

    Of momentum, the gradient that goes into it. `code` is the code around the change.
    """
    if len(change.terms) != 1:
        return ""
    sign, term = change.terms[0]
    rest = _without_rate(term)
    if rest is None:
        return _of_velocity(term, code)
    if name := variable(rest):
        if _is_running(name, code):
            return _of_velocity(rest, code)
    elif any(_is_running(n, code) for n in variables([rest])):
        return next((g for n in variables([rest]) if (g := _inside(n, code))), "")
    text = ast.unparse(rest)
    if sign < 0:
        return text
    return f"-{text}" if isinstance(rest, ast.Name | ast.Attribute) else f"-({text})"


def _without_rate(term: ast.expr) -> ast.expr | None:
    """A product without its learning rate: a named rate, else a number that it begins with."""
    found = _without(term, _is_rate)
    if found is None and not any(_is_rate(n) for n in ast.walk(term) if isinstance(n, ast.expr)):
        found = _without(term, lambda node: isinstance(node, ast.Constant))
    return found


def _without(term: ast.expr, is_dropped: object) -> ast.expr | None:
    """A product without its first factor of a kind; None if it has none."""
    match term:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            if is_dropped(left):  # type: ignore[operator]
                return right
            if (rest := _without(left, is_dropped)) is not None:
                return ast.BinOp(rest, ast.Mult(), right)
            if is_dropped(right):  # type: ignore[operator]
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


def _of_velocity(term: ast.expr, code: Sequence[ast.stmt]) -> str:
    """The gradient that goes into a velocity."""
    name = variable(term)
    return _inside(name, code) if name else ""


def _inside(name: str, code: Sequence[ast.stmt], depth: int = 3) -> str:
    """The one gradient by name that a variable is computed from."""
    if depth == 0:
        return ""
    makers = [n for n in code if name in writes(n)]
    names = {n for maker in makers for n in reads(maker)} - {name}
    gradients = sorted(n for n in names if is_gradient(n.rpartition(".")[2]))
    if len(gradients) == 1:
        return gradients[0]
    deeper = {g for n in names if (g := _inside(n, code, depth - 1))}
    return deeper.pop() if len(deeper) == 1 else ""
