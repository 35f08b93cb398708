"""A formula that is too wide, broken into lines before relations, + and −."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutor.formula.box import Box, Placed, compose
from tutor.formula.cells import width as cell_width
from tutor.formula.model import Mark
from tutor.formula.nodes import Break, Kind, Node, Row, Styled, Table, Unsupported, single
from tutor.formula.spacing import Spaced, spaced
from tutor.formula.style import Setter, Style
from tutor.formula.tables import table_of

_INDENT = 2


def broken(setter: Setter, root: Node, width: int | None) -> Box:
    """The picture of a whole formula, its lines at most `width` cells where that is possible."""
    lines: list[list[Node]] = [[]]
    for item in _items(root):
        if isinstance(item, Break):
            lines.append([])
        else:
            lines[-1].append(item)
    return _stacked([(0, _line(setter, line, width)) for line in lines if line])


def _items(node: Node) -> tuple[Node, ...]:
    node = single(node)
    if isinstance(node, Styled) and node.display:
        return _items(node.body)
    return node.items if isinstance(node, Row) else (node,)


def _line(setter: Setter, items: Sequence[Node], width: int | None) -> Box:
    """One line of the formula, itself broken if it is too wide."""
    only = single(Row(tuple(items)))
    box = setter.box(only, Style())
    if width is None or box.width <= width:
        return box
    if isinstance(only, Unsupported):
        return _wrapped(box, width)
    if isinstance(only, Table) and only.display:
        return table_of(
            setter, only, lambda cell, start: _broken_row(setter, _items(cell), width - start)
        )
    return _broken_row(setter, items, width)


def _broken_row(setter: Setter, items: Sequence[Node], width: int) -> Box:
    row = spaced(items)
    whole = setter.row(row, Style())
    if whole.width <= width:
        return whole
    return _Breaker(setter, width, row).box()


def _wrapped(box: Box, width: int) -> Box:
    """Source text too long for one row, cut at the last cell."""
    text, mark = box.rows[0], box.marks[0]
    rows = [""]
    for character in text:
        if cell_width(rows[-1] + character) > max(width, 2):
            rows.append("")
        rows[-1] += character
    boxes = []
    for row in rows:
        cells = cell_width(row)
        boxes.append(Box((row,), cells, marks=(Mark(0, 0, cells, mark.kind, mark.text),)))
    return _stacked([(0, b) for b in boxes])


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

    def __init__(self, setter: Setter, width: int, row: Sequence[Spaced]) -> None:
        self.setter = setter
        self.width = width
        self.chunks = _split(row, Kind.REL)
        self.indent = self._relation_column()
        self.lines: list[tuple[int, list[Spaced]]] = [(0, [])]

    def box(self) -> Box:
        """The lines as one box."""
        for chunk in self.chunks:
            if not self._add(chunk, self.indent, whole=True):
                for part in _split(chunk, Kind.BIN):
                    self._add(part, self._part_indent(part), whole=False)
        return _stacked([(indent, self._set(items)) for indent, items in self.lines])

    def _relation_column(self) -> int:
        """Where continued relations stand: below the first one, if it is not far right."""
        if len(self.chunks) < 2 or self.chunks[0][0].kind is Kind.REL:
            return _INDENT
        left = self._set(self.chunks[0]).width + 1
        return left if left <= self.width // 3 else _INDENT

    def _part_indent(self, part: list[Spaced]) -> int:
        """Where a continued term stands: behind the relation it belongs to, if there is one."""
        belongs = len(self.chunks) > 1 and part[0].kind is not Kind.REL
        return self.indent + _INDENT if belongs else self.indent

    def _add(self, part: list[Spaced], indent: int, *, whole: bool) -> bool:
        """Put a part on the current line or on a new one; a whole one only if it fits there."""
        at, line = self.lines[-1]
        if at + self._set([*line, *part]).width <= self.width:
            line.extend(part)
            return True
        if whole and indent + self._set(part).width > self.width:
            return False
        left_side = len(self.lines) == 1 and line == self.chunks[0] and part[0].kind is Kind.REL
        gains_nothing = left_side and self._set(line).width + 1 <= self.indent
        if not line or gains_nothing:
            line.extend(part)
        else:
            self.lines.append((indent, list(part)))
        return True

    def _set(self, items: Sequence[Spaced]) -> Box:
        if not items:
            return self.setter.row([], Style())
        return self.setter.row([replace(items[0], gap=0), *items[1:]], Style())


def _split(row: Sequence[Spaced], kind: Kind) -> list[list[Spaced]]:
    """Cut before each node of a kind, so that it begins a part."""
    parts: list[list[Spaced]] = [[]]
    for item in row:
        if item.kind is kind and parts[-1]:
            parts.append([])
        parts[-1].append(item)
    return parts
