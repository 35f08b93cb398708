"""Text as terminal cells, boxes of it, and the boxes of matrices, cases and aligned lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from tutor.formula.nodes import FormulaMark, MarkKind, Node, NodeKind, RowNode, Sym, TableNode
from tutor.plain import cell_width

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINING = frozenset(
    [*range(0x1F3FB, 0x1F400), *range(0x1F1E6, 0x1F200), *range(0xFE00, 0xFE10), 0x20E3]
)
"""Emoji modifiers, flags, variation selectors: their width depends on their neighbours."""

REPLACEMENT = "\ufffd"


def visible(text: str) -> str:
    """`text` with every control character turned into visible, harmless text.

    An escape becomes `^[`; what steers the direction of writing or joins its neighbours
    becomes the replacement character. Composed to NFC, so that ŷ is one character.
    """
    text = unicodedata.normalize("NFC", text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible_character(c) for c in text)


def _visible_character(character: str) -> str:
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    if unicodedata.category(character) in _UNSAFE_CATEGORIES or code in _JOINING:
        return REPLACEMENT
    return " " if character.isspace() else character


def struck(text: str) -> str:
    """`text` with a stroke through each of its characters."""
    return "".join(c if c.isspace() or not cell_width(c) else c + "\u0338" for c in text)


class Box(msgspec.Struct, frozen=True):
    """Rows of equal width; the row `baseline` is the one that neighbours align to."""

    rows: tuple[str, ...]
    width: int
    baseline: int = 0
    above: int = 0
    """Rows above the baseline that a delimiter must embrace; the rows of scripts don't count."""
    below: int = 0
    marks: tuple[FormulaMark, ...] = ()

    @property
    def height(self) -> int:
        """The number of its rows."""
        return len(self.rows)

    @property
    def depth(self) -> int:
        """The number of rows below the baseline."""
        return len(self.rows) - self.baseline - 1


def text_box(text: str, kind: MarkKind | None = None, source: str = "") -> Box:
    """One row of text, marked as `kind` if given. The text must be free of controls."""
    cells = cell_width(text)
    marks = () if kind is None else (FormulaMark(0, 0, cells, kind, source),)
    return Box((text,), cells, marks=marks)


def column_box(rows: Sequence[str], baseline: int) -> Box:
    """Rows of text of equal width, all of which delimiters must embrace."""
    below = len(rows) - baseline - 1
    return Box(tuple(rows), cell_width(rows[0]), baseline, baseline, below)


Placed: TypeAlias = tuple[int, int, Box]
"""Row and column of a box's upper left cell, and the box."""


def compose(placed: Iterable[Placed], baseline: int, *, above: int = 0, below: int = 0) -> Box:
    """One box of boxes at given places (rows may be negative); `baseline` counts likewise."""
    boxes = [p for p in placed if p[2].rows]
    top = bottom = baseline
    total = 0
    for row, column, box in boxes:
        top, bottom = min(top, row), max(bottom, row + len(box.rows) - 1)
        total = max(total, column + box.width)
    segments: list[list[tuple[int, str, int]]] = [[] for _ in range(top, bottom + 1)]
    marks: list[FormulaMark] = []
    for row, column, box in boxes:
        for offset, text in enumerate(box.rows):
            segments[row - top + offset].append((column, text, box.width))
        for mark in box.marks:
            start, end = mark.start + column, mark.end + column
            marks.append(replace(mark, row=mark.row + row - top, start=start, end=end))
    rows = tuple([_joined(line, total) for line in segments])
    marks.sort(key=attrgetter("row", "start"))
    return Box(rows, total, baseline - top, above, below, tuple(marks))


def _joined(segments: list[tuple[int, str, int]], total: int) -> str:
    parts: list[str] = []
    at = 0
    for column, text, cells in sorted(segments, key=itemgetter(0)):
        parts.append(" " * (column - at) + text)
        at = column + cells
    return "".join(parts) + " " * (total - at)


def beside(boxes: Sequence[tuple[int, Box]]) -> Box:
    """Boxes in a row with aligned baselines; each with the blank cells before it."""
    placed: list[Placed] = []
    column = 0
    for gap, box in boxes:
        column += gap
        placed.append((-box.baseline, column, box))
        column += box.width
    above = max([b.above for _, b in boxes], default=0)
    below = max([b.below for _, b in boxes], default=0)
    return compose(placed, 0, above=above, below=below)


def centred(box: Box, width: int) -> int:
    """The column at which `box` stands in the middle of `width` cells."""
    return (width - box.width) // 2


def embraced(box: Box) -> Box:
    """The box, all rows of which a delimiter has to embrace."""
    return replace(box, above=box.baseline, below=box.depth)


def blank(box: Box) -> Box:
    """A blank box of the same size."""
    return replace(box, rows=(" " * box.width,) * box.height, marks=())


class Style(msgspec.Struct, frozen=True):
    """The place of a node in the formula."""

    display: bool = True
    """Whether limits go above and below."""
    script: bool = False
    """Whether it is a sub- or superscript or a limit: set tightly."""


DISPLAY_STYLE = Style()
TEXT_STYLE = Style(display=False)
SCRIPT_STYLE = Style(display=False, script=True)


_MATRIX_GAP, _PAIR_GAP = 2, 3
"""Cells between the columns of a matrix, and between the pairs of an alignment."""

CellSetter = Callable[[Node, int], Box]
"""Sets a cell, given the column (in cells of text) at which it begins."""


def table_box(table: TableNode, set_cell: CellSetter, *, ascii: bool, middle: bool = False) -> Box:
    """A table whose cells are set by `set_cell`.

    With `middle` its height is odd, for a brace whose point is in the middle.
    """
    columns = max((len(row) for row in table.rows), default=0)
    boxes: list[list[Box]] = [[] for _ in table.rows]
    starts: list[int] = []
    widths: list[int] = []
    at = 0
    for column in range(columns):
        at += _gap(table, column) if column else 0
        for row, cells in enumerate(table.rows):
            if column < len(cells):
                boxes[row].append(set_cell(cells[column], at))
        widths.append(max((r[column].width for r in boxes if column < len(r)), default=0))
        starts.append(at)
        at += widths[-1]
    placed, height = _rows(table, boxes, starts, widths, ascii=ascii, middle=middle)
    placed += _column_lines(table, starts, placed, height, ascii)
    return embraced(compose(placed, _baseline(boxes, placed, height)))


def _gap(table: TableNode, column: int) -> int:
    if not table.display:
        return _MATRIX_GAP + int(_line_before(table, column))
    if column % 2 == 0 and all(_is_sign(row[column - 1]) for row in table.rows if row[column:]):
        return 1  # of `&=&` the middle column holds nothing but the sign
    return 0 if column % 2 else _PAIR_GAP


def _is_sign(cell: Node) -> bool:
    items = cell.items if isinstance(cell, RowNode) else (cell,)
    shown = [item for item in items if item != Sym("")]
    return all(isinstance(i, Sym) and i.kind in (NodeKind.REL, NodeKind.BIN) for i in shown)


def _line_before(table: TableNode, column: int) -> bool:
    return table.column_lines[column - 1 : column] == (True,)


def _rows(
    table: TableNode,
    boxes: list[list[Box]],
    starts: list[int],
    widths: list[int],
    *,
    ascii: bool,
    middle: bool,
) -> tuple[list[Placed], int]:
    """Place the cells row by row; also return the whole height."""
    placed: list[Placed] = []
    top = 0
    line = _row_line(table, starts, starts[-1] + widths[-1] if starts else 0, ascii)
    depth_before = 0
    for index, row in enumerate(boxes):
        above = max((b.baseline for b in row), default=0)
        if index in table.row_lines:
            placed.append((top, 0, line))
            top += 1
        elif index and (above or depth_before):
            top += 1  # keeps a denominator apart from the numerator below it
        elif middle and len(boxes) == 2 * index:
            top += 1
        for column, box in enumerate(row):
            offset = _offset(table, column, box, widths[column])
            placed.append((top + above - box.baseline, starts[column] + offset, box))
        depth_before = max((b.depth for b in row), default=0)
        top += above + 1 + depth_before
    if len(boxes) in table.row_lines:
        placed.append((top, 0, line))
        top += 1
    return placed, top


def _offset(table: TableNode, column: int, box: Box, width: int) -> int:
    align = table.align[column] if column < len(table.align) else "center"
    return {"left": 0, "center": centred(box, width), "right": width - box.width}[align]


def _row_line(table: TableNode, starts: list[int], width: int, ascii: bool) -> Box:
    line, crossing = ("-", "+") if ascii else ("─", "┼")
    columns = _line_columns(table, starts)
    return text_box("".join(crossing if c in columns else line for c in range(width)))


def _line_columns(table: TableNode, starts: list[int]) -> list[int]:
    return [s - 2 for c, s in enumerate(starts) if c and _line_before(table, c)]


def _column_lines(
    table: TableNode, starts: list[int], placed: list[Placed], height: int, ascii: bool
) -> list[Placed]:
    """The cells of the lines between columns, but where a line between rows crosses them."""
    bar = text_box("|" if ascii else "│")
    columns = _line_columns(table, starts)
    if not columns:
        return []
    line = _row_line(table, starts, max(p[1] + p[2].width for p in placed), ascii)
    crossed = {row for row, _, box in placed if box == line}
    return [(r, c, bar) for c in columns for r in range(height) if r not in crossed]


def _baseline(boxes: list[list[Box]], placed: list[Placed], height: int) -> int:
    """The middle row's baseline where there is a middle row, else the middle of the height."""
    if len(boxes) % 2 and boxes[len(boxes) // 2]:
        cell = boxes[len(boxes) // 2][0]
        top = next(row for row, _, box in placed if box is cell)
        return top + cell.baseline
    return max(height - 1, 0) // 2
