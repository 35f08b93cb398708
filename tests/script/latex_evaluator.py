"""Evaluates LaTeX as mathematicians read it, to prove that a formula is what the code computes.

A matrix product is written side by side and binds more strongly than ⊙ and ·; a sum reaches to
the end of the product behind it; a minus sign negates a whole product.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

_TOKEN = re.compile(
    r"\s*(\\left\\?[(\[{.]|\\left\\[lr]?[vV]ert|\\right\\?[)\].]|\\right\\[lr]?[vV]ert"
    r"|\\operatorname\{[a-z]+\}|\\text\{[^}]*\}|\\[A-Za-z]+|[A-Za-z]|\d+(?:\.\d+)?|.)"
)


def evaluate(latex: str, names: Mapping[str, Any]) -> Any:
    """The value of a formula; `names` are the values by their LaTeX."""
    reader = _Reader([t for t in _TOKEN.findall(latex) if t.strip()], names)
    value = reader.sum()
    assert reader.at == len(reader.tokens), latex
    return value


class _Reader:
    def __init__(self, tokens: list[str], names: Mapping[str, Any]) -> None:
        self.tokens, self.names, self.at = tokens, names, 0

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.next
        assert not wanted or token == wanted, (token, wanted)
        self.at += 1
        return token

    def sum(self) -> Any:
        sign = self.take() if self.next == "-" else ""
        value = -self.product() if sign else self.product()
        while self.next in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self) -> Any:
        value = self.side_by_side()
        while self.next in (r"\cdot", r"\odot"):
            sign = self.take()
            other = self.side_by_side()
            is_scalar = np.ndim(value) == 0 or np.ndim(other) == 0
            assert is_scalar or sign == r"\odot"
            value = value * other
        return value

    def side_by_side(self) -> Any:
        is_number = self.next[:1].isdigit()
        value = self.factor()
        if is_number and self.starts_factor():
            return value * self.side_by_side()
        while self.starts_factor():
            value = value @ self.factor()
        return value

    def starts_factor(self) -> bool:
        if self.next.startswith(r"\right") or self.next in (r"\cdot", r"\odot", ""):
            return False
        return self.next not in "+-}^_,"

    def factor(self) -> Any:
        value = self.atom()
        while self.next == "^":
            self.take()
            if self.tokens[self.at + 1] == r"\top":
                self.at += 3
                value = np.transpose(value)
            else:
                value = value ** self.group()
        return value

    def group(self) -> Any:
        self.take("{")
        value = self.sum()
        self.take("}")
        return value

    def atom(self) -> Any:
        token = self.take()
        if token == r"\left(":
            value = self.sum()
            self.take(r"\right)")
            return value
        if token == r"\left\lvert":
            value = abs(self.sum())
            self.take(r"\right\rvert")
            return value
        if token == r"\frac":
            return self.group() / self.group()
        if token == r"\sqrt":
            return self.group() ** 0.5
        if token == r"\sum":
            return np.sum(self.product())
        if token in _FUNCTIONS:
            self.take(r"\left(")
            arguments = [self.sum()]
            while self.next == ",":
                self.take()
                arguments.append(self.sum())
            self.take(r"\right)")
            return _FUNCTIONS[token](*arguments)
        if token[0].isdigit():
            return Fraction(token)
        if self.next == "_":
            start = self.at
            while self.take() != "}":
                pass
            token += "".join(self.tokens[start : self.at])
        return self.names[token]


_FUNCTIONS = {r"\operatorname{mean}": np.mean, r"\max": np.maximum, r"\min": np.minimum}
