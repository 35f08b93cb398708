"""The picture of a formula; one that is too wide is broken into lines, and else folded.

A line is broken before relations, before + and −, and then before any factor that a blank
stands before. What is still too wide (a matrix, a tall fraction) is folded: its right part
stands below its left part, and each cut is marked with `…`. Nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from tutor.formula.box import DISPLAY_STYLE, Box, Placed, compose, table_box, text_box
from tutor.formula.layout import Typesetter
from tutor.formula.nodes import (
    Break,
    Fenced,
    Formula,
    FormulaPicture,
    Node,
    NodeKind,
    RowNode,
    Styled,
    Sym,
    TableNode,
    single,
)
from tutor.formula.spacing import Spaced, spaced, with_parentheses
from tutor.plain import cell_width

FEWEST_CELLS = 4
"""The narrowest fold: a mark, a wide character, a mark."""


def folded(box: Box, width: int, *, ascii: bool) -> Box:
    """The box, or its parts below each other, none wider than `width` (4 cells at least).

    A part that goes on ends in `…` (`~` in ASCII), and the next one begins with it.
    """
    if box.width <= width:
        return box
    sign = text_box("~" if ascii else "…")
    placed: list[tuple[int, int, Box]] = []
    start = top = 0
    while start < box.width:
        room = width - int(start > 0)
        end = box.width if box.width - start <= room else _cut(box, start, start + room - 1)
        part = _part(box, start, end)
        placed.append((top, int(start > 0), part))
        if start:
            placed.append((top + box.baseline, 0, sign))
        if end < box.width:
            placed.append((top + box.baseline, int(start > 0) + part.width, sign))
        start, top = end, top + part.height + int(part.height > 1)
    return compose(placed, box.baseline)


def _cut(box: Box, start: int, latest: int) -> int:
    """The column to cut before: a blank one if there is one, and none inside a value."""
    for is_good in (_is_blank, _is_between_values, _is_between_characters):
        for column in range(latest, start + (latest - start) // 2, -1):
            if is_good(box, column):
                return column
    return latest


def _is_blank(box: Box, column: int) -> bool:
    here = "".join(text for row in box.rows for text in _between(row, column, column + 1))
    return _is_between_values(box, column) and not here.strip()


def _is_between_values(box: Box, column: int) -> bool:
    is_inside = any(mark.start < column < mark.end for mark in box.marks)
    return not is_inside and _is_between_characters(box, column)


def _is_between_characters(box: Box, column: int) -> bool:
    """Whether no wide character would be cut in two."""
    return all(row.startswith("".join(_between(row, 0, column))) for row in box.rows)


def _part(box: Box, start: int, end: int) -> Box:
    """The columns from `start` to `end`; half of a wide character becomes a blank."""
    rows = tuple("".join(_between(row, start, end)) for row in box.rows)
    marks = tuple(
        replace(m, start=max(m.start, start) - start, end=min(m.end, end) - start)
        for m in box.marks
        if m.start < end and m.end > start
    )
    return Box(rows, end - start, box.baseline, marks=marks)


def _between(row: str, start: int, end: int) -> Iterator[str]:
    at = 0
    for character in row:
        cells = cell_width(character)
        last = at + max(cells, 1)
        if cells == 0:
            if start < at <= end:
                yield character
        elif start <= at and last <= end:
            yield character
        elif at < end and last > start:
            yield " " * (min(last, end) - max(at, start))
        at += cells


_INDENT = 2


def draw(
    formula: Formula, values: Mapping[str, str] | None, width: int | None, *, ascii: bool
) -> FormulaPicture:
    """Draw a formula, as `tutor.formula.draw` does, which calls this."""
    setter = Typesetter(values or {}, ascii)
    if width is not None:
        width = max(width, FEWEST_CELLS)
    lines: list[list[Node]] = [[]]
    for item in _items(formula.root):
        if isinstance(item, Break):
            lines.append([])
        else:
            lines[-1].append(item)
    box = _stacked([(0, _line(setter, line, width)) for line in lines if line])
    box = box if width is None else folded(box, width, ascii=ascii)
    return FormulaPicture(box.rows, box.width, box.baseline, box.marks)


def _items(node: Node) -> tuple[Node, ...]:
    node = single(node)
    if isinstance(node, Styled) and node.display:
        return _items(node.body)
    return node.items if isinstance(node, RowNode) else (node,)


def _line(setter: Typesetter, items: Sequence[Node], width: int | None) -> Box:
    """One line of the formula, itself broken if it is too wide."""
    only = single(RowNode(tuple(items)))
    box = setter.box(only, DISPLAY_STYLE)
    if width is None or box.width <= width:
        return box
    if isinstance(only, TableNode) and only.display:
        return table_box(
            only,
            lambda cell, start: _broken_row(setter, _items(cell), width - start),
            ascii=setter.ascii,
        )
    return _broken_row(setter, items, width)


def _broken_row(setter: Typesetter, items: Sequence[Node], width: int) -> Box:
    row = spaced(with_parentheses(items, lambda fraction: fraction.compact))
    whole = setter.row(row, DISPLAY_STYLE)
    if not row or whole.width <= width:
        return whole
    return _Breaker(setter, max(width, FEWEST_CELLS), row).box()


def _stacked(lines: Sequence[tuple[int, Box]]) -> Box:
    """Lines below each other at their indents, a blank row where tall ones would touch."""
    placed: list[Placed] = []
    top = 0
    for index, (indent, box) in enumerate(lines):
        if index and (lines[index - 1][1].depth or box.baseline):
            top += 1
        placed.append((top, indent, box))
        top += box.height
    return compose(placed, lines[0][1].baseline if lines else 0)


class _Breaker:
    """Fills lines with the parts between relations and operators, as many as fit."""

    def __init__(self, setter: Typesetter, width: int, row: Sequence[Spaced]) -> None:
        self.setter = setter
        self.width = width
        self.chunks = _split(row, NodeKind.REL)
        self.indent = self._relation_column()
        self.lines: list[tuple[int, list[Spaced]]] = [(0, [])]

    def box(self) -> Box:
        """The lines as one box."""
        for chunk in self.chunks:
            if not self._add(chunk, self.indent, whole=True):
                for part in _split(chunk, NodeKind.BIN):
                    self._add_part(part)
        return _stacked([(indent, self._set(items)) for indent, items in self.lines])

    def _relation_column(self) -> int:
        """The column of continued relations: below the first one, if it is not far right."""
        if len(self.chunks) < 2 or self.chunks[0][0].kind is NodeKind.REL:
            return _INDENT
        left = self._set(self.chunks[0]).width + 1
        return left if left <= self.width // 3 else _INDENT

    def _add_part(self, part: list[Spaced]) -> None:
        """Put a term on a line of its own, or, if it is too wide, its factors on several."""
        indent = self._part_indent(part)
        if not self._add(part, indent, whole=True):
            deeper = indent + _INDENT * (part[0].kind is NodeKind.REL)
            for number, factor in enumerate(_factors(self.setter, part)):
                self._add(factor, deeper if number else indent, whole=False)

    def _part_indent(self, part: list[Spaced]) -> int:
        """The column of a continued term: behind its relation, if there is one."""
        belongs = len(self.chunks) > 1 and part[0].kind is not NodeKind.REL
        return self.indent + _INDENT if belongs else self.indent

    def _add(self, part: list[Spaced], indent: int, *, whole: bool) -> bool:
        """Put a part on the current line or on a new one; a whole one only if it fits there."""
        at, line = self.lines[-1]
        if at + self._set([*line, *part]).width <= self.width:
            line.extend(part)
            return True
        if whole and indent + self._set(part).width > self.width:
            return False
        left_side = len(self.lines) == 1 and line == self.chunks[0] and part[0].kind is NodeKind.REL
        gains_nothing = left_side and self._set(line).width + 1 <= self.indent
        if not line or gains_nothing:
            line.extend(part)
        else:
            self.lines.append((indent, list(part)))
        return True

    def _set(self, items: Sequence[Spaced]) -> Box:
        if not items:
            return self.setter.row([], DISPLAY_STYLE)
        return self.setter.row([replace(items[0], gap=0), *items[1:]], DISPLAY_STYLE)


def _split(row: Sequence[Spaced], kind: NodeKind) -> list[list[Spaced]]:
    """Cut before each node of a kind, so that it begins a part."""
    parts: list[list[Spaced]] = [[]]
    for item in row:
        if item.kind is kind and parts[-1]:
            parts.append([])
        parts[-1].append(item)
    return parts


def _factors(setter: Typesetter, part: Sequence[Spaced]) -> list[list[Spaced]]:
    """A term cut before each blank in it, also inside parentheses that are one row high."""
    factors: list[list[Spaced]] = [[]]
    for item in _opened(setter, part):
        is_behind_sign = bool(factors[-1]) and factors[-1][-1].kind in (NodeKind.BIN, NodeKind.REL)
        if item.gap > 0 and factors[-1] and not is_behind_sign:
            factors.append([])
        factors[-1].append(item)
    return factors


def _opened(setter: Typesetter, part: Sequence[Spaced]) -> list[Spaced]:
    """The row's items; parentheses one row high are replaced by their two signs and their body."""
    items: list[Spaced] = []
    for item in part:
        node = item.node
        if isinstance(node, Fenced) and not isinstance(single(node.body), TableNode):
            box = setter.box(node, DISPLAY_STYLE)
            if not (box.above or box.below):
                inside = spaced(with_parentheses(_items(node.body), lambda f: f.compact))
                items.append(replace(item, node=Sym(node.opening, NodeKind.OPEN)))
                items += _opened(setter, inside)
                items.append(Spaced(0, Sym(node.closing, NodeKind.CLOSE), NodeKind.CLOSE))
                continue
        items.append(item)
    return items
