"""Typed arithmetic: the value of `2*(1-2)*1`, `-log(1/2)`, `sqrt(2)`.

Reads numbers, + - * / ** ( ), log or ln, exp, sqrt, e and pi, and nothing else: whatever was
typed can do no more than calculate.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,  # of floats: no power takes longer than another
}
_UNARY: Mapping[type[ast.unaryop], Callable[[float], float]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    "log": math.log,
    "ln": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
}
_CONSTANTS: Mapping[str, float] = {"e": math.e, "pi": math.pi}


def result(text: str) -> float:
    """The value of typed arithmetic, perhaps an infinity or NaN.

    Raises SyntaxError where it is no sum of these, and ArithmeticError or ValueError where it
    comes to nothing (a division by 0, the log of 0).
    """
    try:
        return _value(ast.parse(text.strip().replace("^", "**"), mode="eval").body)
    except (RecursionError, MemoryError):  # what the parser raises for deep nesting
        raise SyntaxError("it is nested too deeply") from None


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
            return _BINARY[type(operation)](_value(left), _value(right))
        case ast.Call(func=ast.Name(id=name), args=[operand], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_value(operand))
    raise SyntaxError("it is no sum of numbers")
