r"""The working of an answer: `w - learning_rate * gradient["w"]` with a number for each name.

Operations, powers, sums, means and a few functions are written as they are; every other part of
the expression is a leaf, in whose place its number stands.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from tutor.errors import WorkingError

LeafNumbers: TypeAlias = Mapping[str, tuple[float, ...]]
"""The number of each leaf, or the numbers of an array that is added up, by the leaf's source."""

LONGEST = 300
"""Characters of the expression: more could not be read."""
_MOST_TERMS = 8
"""The most terms of a sum or a mean that are written out."""

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4
"""The binding strength of a term."""
_BINDINGS = {
    **{"Add": _SUM, "Sub": _SUM, "sum": _SUM, "Mult": _PRODUCT, "Div": _PRODUCT, "Pow": _POWER},
    **{"negative": _PRODUCT, "mean": _PRODUCT},
}
_BINARY: Mapping[str, tuple[str, Callable[[float, float], float]]] = {
    "Add": ("{} + {}", operator.add),
    "Sub": ("{} - {}", operator.sub),
    "Mult": (r"{} \cdot {}", operator.mul),
    "Div": ("{} / {}", operator.truediv),
    "Pow": ("{}^{{{}}}", math.pow),
}
"""The operators by their name in Python's syntax tree."""
_FUNCTIONS: Mapping[str, tuple[str, Callable[..., float]]] = {
    "abs": (r"\left| {} \right|", abs),
    "exp": (r"\exp({})", math.exp),
    "log": (r"\log({})", math.log),
    "sqrt": (r"\sqrt{{{}}}", math.sqrt),
    "tanh": (r"\tanh({})", math.tanh),
    "sigmoid": (r"\sigma({})", lambda x: 1 / (1 + math.exp(-x))),
    "max": (r"\max({})", max),
    "min": (r"\min({})", min),
}
_OF_SEVERAL = ("max", "min")
_MODULES = ("np", "torch", "math")


# ── Reading the expression ──────────────────────────────────────────────────────────


class _Term(msgspec.Struct, frozen=True):
    """An operation or a function, with its operands."""

    name: str
    """A key of _BINARY or _FUNCTIONS, or `negative`, `sum`, `mean`."""
    of: tuple[_Node, ...]


_Node: TypeAlias = "float | str | _Term"
"""A number, the source of a leaf, or a term."""


def _read(expression: str) -> _Node:
    with warnings.catch_warnings(action="ignore"):  # on what a learner may type: 1if
        tree = ast.parse(expression.strip(), mode="eval")
    return _node(tree.body)


def _node(tree: ast.expr, *, is_term: bool = False) -> _Node:
    """The node of an expression, perhaps `is_term` of a sum: a sum within it is a leaf."""
    match tree:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.BinOp(left=left, op=op, right=right) if type(op).__name__ in _BINARY:
            sides = (_node(side, is_term=is_term) for side in (left, right))
            return _Term(type(op).__name__, tuple(sides))
        case ast.UnaryOp(op=ast.USub(), operand=of):
            return _Term("negative", (_node(of, is_term=is_term),))
        case ast.UnaryOp(op=ast.UAdd(), operand=of):
            return _node(of, is_term=is_term)
        case ast.Call(func=ast.Name(id=name), args=of, keywords=[]):
            return _call(tree, name, of, is_term)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name), args=of) if (
            module in _MODULES and not tree.keywords
        ):
            return _call(tree, name, of, is_term)
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=[], keywords=[]):
            return _call(tree, name, [owner], is_term)
    return ast.unparse(tree)


def _call(tree: ast.Call, name: str, of: Sequence[ast.expr], is_term: bool) -> _Node:
    """A function or a method; a leaf if it is none of those that are written out."""
    match name, of:
        case "float" | "item", [inner]:
            return _node(inner, is_term=is_term)
        case "sum" | "mean", [inner] if not is_term:
            return _Term(name, (_node(inner, is_term=True),))
        case _, [_, *more] if name in _FUNCTIONS and bool(more) == (name in _OF_SEVERAL):
            return _Term(name, tuple(_node(inner, is_term=is_term) for inner in of))
    return ast.unparse(tree)


def leaves(expression: str) -> tuple[str, ...]:
    """The parts of an expression in whose place their numbers stand, each once."""
    return tuple(dict.fromkeys(_leaves(_read(expression))))


def _leaves(node: _Node) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, _Term):
        for of in node.of:
            yield from _leaves(of)


def has_calculation(expression: str) -> bool:
    """Whether there is more to show than a number."""
    return isinstance(_read(expression), _Term)


# ── Writing it in numbers ───────────────────────────────────────────────────────────


def result(expression: str, numbers: LeafNumbers) -> float:
    """The value of the working.

    Raises WorkingError where that is nothing, a leaf has not the one number that it needs, or a
    sum has too many terms.
    """
    return _written(expression, numbers, str)[1]


def latex(expression: str, numbers: LeafNumbers, text: Callable[[float], str]) -> str:
    """The working as LaTeX, each number as `text` does it. Raises what `result` raises."""
    return _written(expression, numbers, text)[0]


def _written(
    expression: str, numbers: LeafNumbers, text: Callable[[float], str]
) -> tuple[str, float]:
    try:
        return _Writer(numbers, text).write(_read(expression))
    except (ArithmeticError, ValueError) as error:
        raise WorkingError("working_fails", error=str(error)) from None


class _Writer(msgspec.Struct, frozen=True):
    """Writes nodes as LaTeX; each with its value."""

    numbers: LeafNumbers
    text: Callable[[float], str]
    index: int | None = None
    """The index of the array's element, in a term of a sum."""

    def write(self, node: _Node, *, is_first: bool = True) -> tuple[str, float]:
        """A negative number stands in parentheses unless it comes first."""
        match node:
            case float():
                return self._number(node, is_first)
            case str():
                return self._number(self._value(node), is_first)
            case _Term("negative", (of,)):
                written, value = self._operand(of, _PRODUCT)
                return f"-{written}" if is_first else f"(-{written})", -value
            case _Term("sum" | "mean" as name, (of,)):
                return self._total(name, of, is_first)
            case _Term(name, (left, right)) if name in _BINARY:
                return self._operation(name, left, right, is_first)
            case _Term(name, several):
                form, function = _FUNCTIONS[name]
                texts, values = zip(*(self.write(of) for of in several), strict=True)
                return form.format(", ".join(texts)), function(*values)

    def _number(self, number: float, is_first: bool) -> tuple[str, float]:
        written = self.text(number)
        return written if is_first or number >= 0 else f"({written})", number

    def _value(self, source: str) -> float:
        found = self.numbers[source]
        if len(found) > 1 and self.index is not None:
            return found[self.index]
        if len(found) != 1:
            raise WorkingError("working_not_one_number", source=source)
        return found[0]

    def _operand(self, node: _Node, needed: int, *, is_first: bool = False) -> tuple[str, float]:
        is_loose = isinstance(node, _Term) and _BINDINGS.get(node.name, _ATOM) < needed
        written, value = self.write(node, is_first=is_first or is_loose)
        if not isinstance(node, _Term) and r"\cdot" in written:  # 1e-5 as a power of ten
            is_loose = needed > _PRODUCT and not written.startswith("(")
        return f"({written})" if is_loose else written, value

    def _operation(self, name: str, left: _Node, right: _Node, is_first: bool) -> tuple[str, float]:
        (form, function), binding, is_power = _BINARY[name], _BINDINGS[name], name == "Pow"
        base, a = self._operand(left, binding + is_power, is_first=is_first and not is_power)
        needed = binding + (name != "Add")
        other, b = self.write(right) if is_power else self._operand(right, needed)
        return form.format(base, other), function(a, b)

    def _total(self, name: str, of: _Node, is_first: bool) -> tuple[str, float]:
        counts = {len(self.numbers[source]) for source in _leaves(of)} - {1}
        if len(counts) > 1:
            raise WorkingError("working_lengths_differ")
        count = counts.pop() if counts else 1
        if not 1 <= count <= _MOST_TERMS:
            raise WorkingError("working_terms", terms=count, most=_MOST_TERMS)
        written, total = "", 0.0
        for index in range(count):
            term, value = _Writer(self.numbers, self.text, index)._operand(
                of, _PRODUCT, is_first=bool(index) or is_first or name == "mean"
            )
            sign, term = ("-", term[1:]) if term.startswith("-") else ("+", term)
            written += f" {sign} {term}" if index else term if sign == "+" else f"-{term}"
            total += value
        return (f"({written}) / {count}", total / count) if name == "mean" else (written, total)
