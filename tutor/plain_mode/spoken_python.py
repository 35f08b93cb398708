"""A Python expression in words: `((y_pred - y) ** 2)[3]` is number 4 of the square of it.

For screen readers, which leave operators out. What has no operator in it is a name, and stays as
it is written.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

_OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "plus",
    ast.Sub: "minus",
    ast.Mult: "times",
    ast.Div: "over",
    ast.MatMult: "times, as matrices,",
    ast.Pow: "to the power of",
    ast.Gt: "is greater than",
    ast.Lt: "is less than",
    ast.GtE: "is at least",
    ast.LtE: "is at most",
    ast.Eq: "equals",
    ast.NotEq: "is not",
}
_FUNCTIONS = {"mean": "the mean", "sum": "the sum", "abs": "the absolute value"}
_SAID = ast.BinOp | ast.UnaryOp | ast.Subscript | ast.Compare
"""What has to be said otherwise than it is written."""


def spoken_python(code: str) -> str:
    """The expression in words; as it is written, where it needs none or there are none."""
    try:
        tree = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code
    if not any(isinstance(node, _SAID) for node in ast.walk(tree)):
        return code
    return _said(tree) or code


def _said(node: ast.expr) -> str:
    """Empty where a part of it has no words."""
    match node:
        case ast.Constant() | ast.Name() | ast.Attribute(value=ast.Name()):
            return ast.unparse(node)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _joined(["minus", _grouped(operand)])
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=2)):
            return _joined(["the square of", _grouped(left)])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _joined([_grouped(left), _OPERATORS[type(op)], _grouped(right)])
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _joined([_grouped(left), _OPERATORS[type(op)], _grouped(right)])
        case ast.Subscript(value=value, slice=ast.Constant(value=int(at))) if at >= 0:
            return _joined([f"number {at + 1} of", _grouped(value)])
        case ast.Subscript(
            value=value,
            slice=ast.Tuple(elts=[ast.Constant(value=int(row)), ast.Constant(value=int(column))]),
        ) if min(row, column) >= 0:
            return _joined([f"row {row + 1}, column {column + 1} of", _grouped(value)])
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))):
            return f"{name} of {key}"
        case ast.Call(func=ast.Name(id=name), args=[one], keywords=[]):
            return _joined([f"{_FUNCTIONS.get(name, name)} of", _grouped(one)])
        case ast.Call(func=ast.Name(id=name), args=[_, _, *_] as several, keywords=[]):
            inner = [_said(argument) for argument in several]
            return f"{name} of ({', '.join(inner)})" if all(inner) else ""
        case ast.Call(func=ast.Attribute(value=of, attr=name), args=[], keywords=[]):
            return _joined([f"{_FUNCTIONS.get(name, name)} of", _grouped(of)])
    return ""


def _grouped(node: ast.expr) -> str:
    """In parentheses where one could not hear where it ends."""
    words = _said(node)
    is_open = isinstance(node, ast.BinOp | ast.Compare | ast.UnaryOp) and not words.startswith(
        "the square"
    )
    return f"({words})" if words and is_open else words


def _joined(words: Sequence[str]) -> str:
    return " ".join(words) if all(words) else ""
