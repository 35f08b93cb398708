"""The operation of NumPy that made the first number that is not finite, found by repeating it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutor.training.values import is_finite

_OPERATIONS: Mapping[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.MatMult: "matmul",
}
_PURE = (ast.Name, ast.Attribute, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Call, ast.Subscript,
         ast.Slice, ast.Tuple, ast.Compare, ast.keyword, ast.operator, ast.unaryop, ast.cmpop,
         ast.expr_context)  # fmt: skip
"""The nodes of an expression that can be computed again."""


@dataclass(frozen=True, slots=True)
class BadOperation:
    """An operation whose arguments are finite and whose result is not."""

    operation: str
    line: int
    argument: float | None
    """The number that it was computed from, if there is one."""
    result: float


def first_not_finite(
    statements: Iterable[ast.stmt], namespace: Mapping[str, Any]
) -> BadOperation | None:
    """The first operation in these statements that makes NaN or infinity of finite numbers.

    Each right-hand side is computed again, part by part, with the values that the names have now:
    only where it calls nothing but NumPy and methods of arrays.
    """
    for statement in sorted(statements, key=lambda statement: statement.lineno):
        if not isinstance(statement, ast.Assign | ast.AugAssign):
            continue
        for part in _parts(statement.value):
            found = _bad(part, namespace)
            if found is not None:
                return found
        found = _bad_statement(statement, namespace)
        if found is not None:
            return found
    return None


def _bad_statement(
    statement: ast.Assign | ast.AugAssign, namespace: Mapping[str, Any]
) -> BadOperation | None:
    """The bad operation of a whole statement, whose functions can't be computed again."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    names = {n.id for n in ast.walk(statement.value) if isinstance(n, ast.Name)}
    if not isinstance(target, ast.Name) or target.id in names:
        return None
    result, known = namespace.get(target.id), _finite([namespace.get(n) for n in names])
    if not known or not _is_numeric(result) or is_finite(result):
        return None
    numbers = np.asarray(result, np.float64)
    largest = max((a.flat[int(np.abs(a).argmax())] for a in known), key=abs)
    code = ast.unparse(statement.value)
    name = _name_of(statement.value) if isinstance(statement.value, ast.Call) else code
    found = float(numbers[~np.isfinite(numbers)][0])
    return BadOperation(name, statement.lineno, float(largest), found)


def _finite(things: Iterable[Any]) -> list[Any]:
    """The arrays and numbers among these as arrays; none if one of them is not all finite."""
    found = [np.asarray(thing, np.float64) for thing in things if _is_numeric(thing)]
    found = [array for array in found if array.size]
    return found if all(bool(np.isfinite(array).all()) for array in found) else []


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """The operations in an expression, those inside others first."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.keyword):
            yield from _parts(child.value)
        elif isinstance(child, ast.expr):
            yield from _parts(child)
    if isinstance(node, ast.BinOp | ast.Call):
        yield node


def _bad(part: ast.expr, namespace: Mapping[str, Any]) -> BadOperation | None:
    result = value_of(part, namespace)
    if not _is_numeric(result) or is_finite(result):
        return None
    known = _finite([value_of(argument, namespace) for argument in _arguments(part)])
    if not known:
        return None
    numbers = np.asarray(result, np.float64)
    bad = tuple(np.argwhere(~np.isfinite(numbers))[0])
    argument = element_like(known[0], bad, numbers.shape)
    return BadOperation(_name_of(part), part.lineno, argument, float(numbers[bad]))


def _arguments(part: ast.expr) -> list[ast.expr]:
    if isinstance(part, ast.BinOp):
        return [part.right, part.left] if isinstance(part.op, ast.Div) else [part.left, part.right]
    assert isinstance(part, ast.Call)
    receiver = [part.func.value] if isinstance(part.func, ast.Attribute) else []
    return [*receiver, *part.args]


def _name_of(part: ast.expr) -> str:
    if isinstance(part, ast.BinOp):
        return _OPERATIONS.get(type(part.op), "")
    assert isinstance(part, ast.Call)
    return ast.unparse(part.func).rpartition(".")[2]


def element_like(array: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> float:
    """The element of an array that belongs to this index of a result of that shape.

    Of an array that was reduced it is the element farthest from 0.
    """
    try:
        return float(np.broadcast_to(array, shape)[index])
    except ValueError:
        return float(array.flat[int(np.abs(array).argmax())])


def value_of(node: ast.expr, namespace: Mapping[str, Any]) -> Any:
    """The value of an expression, or None where it is not safe to compute again, or fails."""
    if not all(isinstance(n, _PURE) and _is_safe(n, namespace) for n in ast.walk(node)):
        return None
    code = compile(ast.Expression(node), "<again>", "eval")
    try:
        with np.errstate(all="ignore"):
            # With Python's own names: NumPy imports modules when a method is called.
            return eval(code, {}, dict(namespace))
    except Exception:  # noqa: BLE001 - the namespace's own objects may raise anything
        return None


def _is_safe(node: ast.AST, namespace: Mapping[str, Any]) -> bool:
    """Whether a call is one of NumPy's functions that compute, or of an array's methods."""
    if not isinstance(node, ast.Call):
        return True
    if any(k.arg == "out" for k in node.keywords):
        return False
    match node.func:
        case ast.Name(id=name):
            return isinstance(namespace.get(name), np.ufunc) or (
                getattr(namespace.get(name), "__module__", "") == "numpy"
            )
        case ast.Attribute(value=ast.Name(id=name), attr=method) if namespace.get(name) is np:
            return isinstance(getattr(np, method, None), np.ufunc) or method in _METHODS
        case ast.Attribute(attr=method):
            return method in _METHODS
    return False


_METHODS = frozenset(
    {"sum", "mean", "dot", "reshape", "max", "min", "std", "var", "prod", "where", "clip", "astype"}
    | {"transpose", "squeeze", "expand_dims", "outer", "maximum", "minimum", "round", "copy"}
)


def _is_numeric(thing: Any) -> bool:
    if isinstance(thing, bool | int | float):
        return True
    return isinstance(thing, np.ndarray | np.generic) and np.asarray(thing).dtype.kind in "biuf"
