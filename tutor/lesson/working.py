r"""The working of an answer: `w - learning_rate * gradient["w"]` with a number for each name.

Operations, powers, sums, means and a few functions are written as they are; every other part of
the expression is a leaf, in whose place its number stands.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Numbers: TypeAlias = Mapping[str, tuple[float, ...]]
"""By the source of a leaf: its number, or those of an array that is added up."""

LONGEST = 300
"""Characters of the expression: more could not be read."""
_MOST_TERMS = 8
"""Of a sum or a mean."""

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4
"""How tightly a term binds."""
_BINARY: Mapping[type[ast.operator], tuple[str, int, Callable[[float, float], float]]] = {
    ast.Add: ("{} + {}", _SUM, lambda a, b: a + b),
    ast.Sub: ("{} - {}", _SUM, lambda a, b: a - b),
    ast.Mult: (r"{} \cdot {}", _PRODUCT, lambda a, b: a * b),
    ast.Div: ("{} / {}", _PRODUCT, lambda a, b: a / b),
    ast.Pow: ("{}^{{{}}}", _POWER, math.pow),
}
_FUNCTIONS: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "abs": (r"\left| {} \right|", abs),
    "exp": (r"\exp({})", math.exp),
    "log": (r"\log({})", math.log),
    "sqrt": (r"\sqrt{{{}}}", math.sqrt),
    "tanh": (r"\tanh({})", math.tanh),
    "sigmoid": (r"\sigma({})", lambda x: 1 / (1 + math.exp(-x))),
}
_OF_SEVERAL: Mapping[str, Callable[..., float]] = {"max": max, "min": min}
_MODULES = ("np", "torch", "math")


# ── Reading the expression ──────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Leaf:
    source: str


@dataclass(frozen=True, slots=True)
class _Operation:
    kind: type[ast.operator]
    left: _Node
    right: _Node


@dataclass(frozen=True, slots=True)
class _Negative:
    of: _Node


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    of: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Total:
    """The sum of an array's elements, or their mean."""

    of: _Node
    is_mean: bool


_Node: TypeAlias = "float | _Leaf | _Operation | _Negative | _Function | _Total"


def _read(expression: str) -> _Node:
    return _node(ast.parse(expression.strip(), mode="eval").body)


def _node(tree: ast.expr, *, is_term: bool = False) -> _Node:
    """The node of an expression, perhaps `is_term` of a sum: a sum within it is a leaf."""
    match tree:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            first, second = (_node(side, is_term=is_term) for side in (left, right))
            return _Operation(type(op), first, second)
        case ast.UnaryOp(op=ast.USub(), operand=of):
            return _Negative(_node(of, is_term=is_term))
        case ast.Call(func=ast.Name(id=name), args=of, keywords=[]):
            return _call(tree, name, of, is_term)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name), args=of) if (
            module in _MODULES and not tree.keywords
        ):
            return _call(tree, name, of, is_term)
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=[], keywords=[]):
            return _call(tree, name, [owner], is_term)
    return _Leaf(ast.unparse(tree))


def _call(tree: ast.Call, name: str, of: Sequence[ast.expr], is_term: bool) -> _Node:
    """A function or a method; a leaf if it is none of those that are written out."""
    match name, of:
        case "float" | "item", [inner]:
            return _node(inner, is_term=is_term)
        case "sum" | "mean", [inner] if not is_term:
            return _Total(_node(inner, is_term=True), name == "mean")
        case _, [inner] if name in _FUNCTIONS:
            return _Function(name, (_node(inner, is_term=is_term),))
        case _, [_, _, *_] if name in _OF_SEVERAL:
            return _Function(name, tuple(_node(inner, is_term=is_term) for inner in of))
    return _Leaf(ast.unparse(tree))


def leaves(expression: str) -> tuple[str, ...]:
    """The parts of an expression in whose place their numbers stand, each once."""
    return tuple(dict.fromkeys(_leaves(_read(expression))))


def _leaves(node: _Node) -> Iterator[str]:
    match node:
        case _Leaf(source):
            yield source
        case _Operation(_, left, right):
            yield from _leaves(left)
            yield from _leaves(right)
        case _Negative(of) | _Total(of):
            yield from _leaves(of)
        case _Function(_, several):
            for of in several:
                yield from _leaves(of)


def has_calculation(expression: str) -> bool:
    """Whether there is more to show than a number."""
    return not isinstance(_read(expression), float | _Leaf)


# ── Writing it in numbers ───────────────────────────────────────────────────────────


def result(expression: str, numbers: Numbers) -> float:
    """The value of the working.

    Raises ValueError, its text fit to show, where that is nothing, a leaf has not the one number
    that it needs, or a sum has too many terms.
    """
    return _written(expression, numbers, str)[1]


def latex(expression: str, numbers: Numbers, text: Callable[[float], str]) -> str:
    """The working as LaTeX, each number as `text` does it. Raises what `result` raises."""
    return _written(expression, numbers, text)[0]


def _written(expression: str, numbers: Numbers, text: Callable[[float], str]) -> tuple[str, float]:
    try:
        return _Writer(numbers, text).write(_read(expression))
    except (ArithmeticError, ValueError) as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes nodes as LaTeX; each with its value."""

    numbers: Numbers
    text: Callable[[float], str]
    index: int | None = None
    """Of the element of an array, in a term of a sum."""

    def write(self, node: _Node, *, is_first: bool = True) -> tuple[str, float]:
        """A negative number stands in parentheses unless it comes first."""
        match node:
            case float():
                return self._number(node, is_first)
            case _Leaf(source):
                return self._number(self._value(source), is_first)
            case _Operation(kind, left, right):
                return self._operation(kind, left, right, is_first)
            case _Negative(of):
                written, value = self._operand(of, _PRODUCT)
                return f"-{written}" if is_first else f"(-{written})", -value
            case _Function(name, several) if name in _OF_SEVERAL:
                pairs = [self.write(of) for of in several]
                written = ", ".join(written for written, _ in pairs)
                return rf"\{name}({written})", _OF_SEVERAL[name](value for _, value in pairs)
            case _Function(name, (of,)):
                form, function = _FUNCTIONS[name]
                written, value = self.write(of)
                return form.format(written), function(value)
            case _Total():
                return self._total(node, is_first)
        raise AssertionError(node)

    def _number(self, number: float, is_first: bool) -> tuple[str, float]:
        written = self.text(number)
        return written if is_first or number >= 0 else f"({written})", number

    def _value(self, source: str) -> float:
        found = self.numbers[source]
        if len(found) > 1 and self.index is not None:
            return found[self.index]
        if len(found) != 1:
            raise ValueError(f"`{source}` is not one number")
        return found[0]

    def _operand(self, node: _Node, needed: int, *, is_first: bool = False) -> tuple[str, float]:
        is_loose = _binding(node) < needed
        written, value = self.write(node, is_first=is_first or is_loose)
        if isinstance(node, float | _Leaf) and r"\cdot" in written:  # 1e-5 as a power of ten
            is_loose = needed > _PRODUCT and not written.startswith("(")
        return f"({written})" if is_loose else written, value

    def _operation(
        self, kind: type[ast.operator], left: _Node, right: _Node, is_first: bool
    ) -> tuple[str, float]:
        form, binding, function = _BINARY[kind]
        is_power = kind is ast.Pow
        base, a = self._operand(left, binding + is_power, is_first=is_first and not is_power)
        needed = binding + (kind is not ast.Add)
        other, b = self.write(right) if is_power else self._operand(right, needed)
        return form.format(base, other), function(a, b)

    def _total(self, node: _Total, is_first: bool) -> tuple[str, float]:
        counts = {len(self.numbers[source]) for source in _leaves(node.of)} - {1}
        if len(counts) > 1:
            raise ValueError("the arrays in a sum have not the same number of elements")
        count = counts.pop() if counts else 1
        if not 1 <= count <= _MOST_TERMS:
            raise ValueError(f"a sum of {count} terms; write out 1 to {_MOST_TERMS}")
        written, total = "", 0.0
        for index in range(count):
            term, value = _Writer(self.numbers, self.text, index)._operand(
                node.of, _PRODUCT, is_first=bool(index) or is_first or node.is_mean
            )
            sign, term = ("-", term[1:]) if term.startswith("-") else ("+", term)
            written += f" {sign} {term}" if index else term if sign == "+" else f"-{term}"
            total += value
        return (f"({written}) / {count}", total / count) if node.is_mean else (written, total)


def _binding(node: _Node) -> int:
    match node:
        case _Operation(kind):
            return _BINARY[kind][1]
        case _Negative() | _Total(is_mean=True):
            return _PRODUCT
        case _Total():
            return _SUM
    return _ATOM
