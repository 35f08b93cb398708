"""Text as terminal cells, and boxes of it: rows of equal width, put beside or above each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tutor.formula.nodes import MarkKind, PictureMark
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


@dataclass(frozen=True, slots=True)
class Box:
    """Rows of equal width; the row `baseline` is the one that neighbours align to."""

    rows: tuple[str, ...]
    width: int
    baseline: int = 0
    above: int = 0
    """Rows above the baseline that a delimiter must embrace: those of scripts don't count."""
    below: int = 0
    marks: tuple[PictureMark, ...] = ()

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
    marks = () if kind is None else (PictureMark(0, 0, cells, kind, source),)
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
    top = min([baseline, *[row for row, _, _ in boxes]])
    bottom = max([baseline, *[row + len(b.rows) - 1 for row, _, b in boxes]])
    total = max([column + b.width for _, column, b in boxes], default=0)
    segments: list[list[tuple[int, str, int]]] = [[] for _ in range(top, bottom + 1)]
    marks: list[PictureMark] = []
    for row, column, box in boxes:
        for offset, text in enumerate(box.rows):
            segments[row - top + offset].append((column, text, box.width))
        for mark in box.marks:
            start, end = mark.start + column, mark.end + column
            marks.append(replace(mark, row=mark.row + row - top, start=start, end=end))
    rows = tuple(_joined(line, total) for line in segments)
    marks.sort(key=lambda m: (m.row, m.start))
    return Box(rows, total, baseline - top, above, below, tuple(marks))


def _joined(segments: list[tuple[int, str, int]], total: int) -> str:
    parts: list[str] = []
    at = 0
    for column, text, cells in sorted(segments, key=lambda s: s[0]):
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
    """The same box, all of whose rows delimiters must embrace."""
    return replace(box, above=box.baseline, below=box.depth)


def blank(box: Box) -> Box:
    """The room that a box takes."""
    return replace(box, rows=(" " * box.width,) * box.height, marks=())
