"""Spoken English for tables: matrices, cases, and the lines of a displayed formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tutor.formula.nodes import Node, RowNode, Sym, TableNode, TextNode
from tutor.formula.words_glyphs import phrase
from tutor.formula.words_patterns import STOP, PhrasePart, PhraseRole, flat

Whole: TypeAlias = Callable[[Node], str]
"""Says a node as a text of its own."""

_JOINS = (PhraseRole.RELATION, PhraseRole.OPERATOR)
"""Roles of a part that joins two lines into one statement."""


def cases(table: TableNode, whole: Whole) -> str:
    """The words for cases, or for equations that hold together."""
    if all(len(row) == 1 for row in table.rows):
        return phrase("system", ", and ".join(whole(row[0]) for row in table.rows))
    rows = (", ".join(_case(row, whole)) for row in table.rows)
    return phrase("cases", ", or ".join(rows))


def _case(row: Sequence[Node], whole: Whole) -> list[str]:
    """A value, and the condition for it with an `if`."""
    value, *conditions = row
    said = [whole(value)]
    for condition in conditions:
        items = flat(condition)
        is_bare = bool(items) and not any(isinstance(item, TextNode) for item in items)
        text = whole(condition)
        said.append(phrase("condition", text) if is_bare else text)
    return [text for text in said if text]


def matrix(table: TableNode, whole: Whole) -> str:
    """The words for a matrix, row by row; for a vector in one go."""
    rows = [[whole(cell) for cell in row] for row in table.rows]
    height, width = len(rows), max(map(len, rows), default=0)
    if height == 1:
        return phrase("row vector", width, ", ".join(rows[0]))
    if width == 1:
        return phrase("column vector", height, ", ".join(row[0] for row in rows))
    said = (phrase("matrix row", i, ", ".join(row)) for i, row in enumerate(rows, 1))
    return phrase("matrix", height, width, "; ".join(said))


def lines(
    table: TableNode, parts_of: Callable[[Sequence[Node]], list[PhrasePart]]
) -> list[PhrasePart]:
    """Displayed lines: statements, or one that continues from line to line."""
    parts: list[PhrasePart] = []
    for row in table.rows:
        is_new_row = True
        for index, cell in enumerate(row):
            said = parts_of(flat(cell))
            if parts and said:
                parts += _between(parts[-1], said[0], cell, index, is_new_row)
            parts += said
            is_new_row = is_new_row and not said
    return parts


def _between(
    before: PhrasePart, after: PhrasePart, cell: Node, index: int, is_new_row: bool
) -> list[PhrasePart]:
    """The mark between the words of two cells, the second of which has this index in its row."""
    goes_on = index > 0 and isinstance(cell, RowNode) and cell.items[:1] == (Sym(""),)
    goes_on |= after.role in _JOINS or before.role in _JOINS
    comma = [PhrasePart(",", PhraseRole.MARK)]
    if after.role is PhraseRole.TEXT and index > 0:
        return comma
    if before.role is PhraseRole.TEXT and is_new_row:
        return comma if goes_on else [STOP]
    return [] if goes_on else [STOP]
