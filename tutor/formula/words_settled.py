"""A formula without its live values: what it says before a step has run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile

from tutor.formula.nodes import (
    Formula,
    Node,
    NodeKind,
    RowNode,
    Space,
    Sym,
    TableNode,
    ValueNode,
    walk,
)
from tutor.formula.words_patterns import bare, flat

SEPARATES = 3
"""Cells of explicit space from which on two statements stand beside each other."""


def settled(formula: Formula) -> Formula:
    """A formula without its live values, and without what only names them."""
    if not formula.boxed:
        return formula
    kept: list[Node] = []
    for statement in _split(flat(formula.root), lambda n: isinstance(n, Space)):
        sides = _split(statement, lambda n: bare(n) == "=")
        settled = list(takewhile(lambda side: not _is_live(side), sides))
        if settled and (len(settled) > 1 or _is_statement(settled[0])):
            kept += [*([Space(SEPARATES)] if kept else []), *_joined(settled)]
    return replace(formula, root=RowNode(tuple(kept)), boxed=())


def _split(items: Sequence[Node], is_border: Callable[[Node], bool]) -> list[list[Node]]:
    parts: list[list[Node]] = [[]]
    for item in items:
        if is_border(item):
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


def _joined(sides: Sequence[Sequence[Node]]) -> list[Node]:
    """The sides of an equation with the signs between them again."""
    first, *others = sides
    return [*first, *(n for side in others for n in (Sym("=", NodeKind.REL), *side))]


def _is_statement(items: Sequence[Node]) -> bool:
    """Whether it says something without an equals sign: `w ← w − η g`, or all by itself."""
    return any(
        isinstance(i, TableNode) or (isinstance(i, Sym) and i.kind is NodeKind.REL) for i in items
    )


def _is_live(items: Sequence[Node]) -> bool:
    return any(isinstance(node, ValueNode) for item in items for node in walk(item))
