"""A recorded operation spelled out: `(y_pred - y) ** 2`, where a node of the graph says `(…) ** 2`.

For who looks at one operation alone, and not at the graph in which what is left out is the
next node.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any

import torch

from tutor.analysis.graph_recorder import KnownValue, tensors_in
from tutor.analysis.graph_words import UNNAMED, OperationWords

_DEEPEST = 4
"""So many operations inside of each other are spelled out."""


class Spelling(OperationWords):
    """Names and texts, what has no name put into the text where it stands."""

    _depth = 0

    def label(self, known: KnownValue) -> str:
        """The label of the node's output (or of the leaf): its name, or else its expression."""
        return self.name_of(known) or self.says(known)

    def says(self, known: KnownValue) -> str:
        """The expression that the node computed, with no more parentheses than Python needs."""
        text = super().says(known)
        body = _parsed(text)
        return ast.unparse(body) if body is not None else text

    def operands(self, known: KnownValue) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors that the operation was called with, and what each is called."""
        if known.call is not None:
            for tensor in tensors_in((known.call.args, known.call.kwargs)):
                yield self._argument(tensor, known.call.code), tensor

    def _operand(self, thing: Any, code: CodeType) -> str:
        text = super()._operand(thing, code)
        inner = self._spelled_out(thing) if text == UNNAMED else ""
        return (f"({inner})" if _binds_loosely(inner) else inner) or text

    def _argument(self, thing: Any, code: CodeType) -> str:
        """Between commas: no parentheses are needed."""
        text = super()._operand(thing, code)
        inner = self._spelled_out(thing) if text == UNNAMED else text
        return inner or "…"

    def _spelled_out(self, thing: Any) -> str:
        tensor, call = self._made.get(id(thing), (None, None))
        if tensor is not thing or call is None or self._depth >= _DEEPEST:
            return ""
        self._depth += 1
        try:
            return self._text(call)
        finally:
            self._depth -= 1


def element_of(text: str, place: Sequence[int]) -> str:
    """The name of one element of an expression's value: `y_pred[3]`, `(y_pred - y)[3, 0]`."""
    body = _parsed(text)
    index = ", ".join(map(str, place))
    if body is None:
        return f"{text}[{index}]"
    where = ast.parse(index, mode="eval").body
    return ast.unparse(ast.Subscript(body, where, ast.Load()))


def _binds_loosely(text: str) -> bool:
    body = _parsed(text)
    return " " in text if body is None else isinstance(body, ast.BinOp | ast.UnaryOp)


def _parsed(text: str) -> ast.expr | None:
    """None where something is left out of the text, or it is in words."""
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
