"""Text laid out by its width in cells: tables with as much detail as fits, and wrapped rows.

A row may also end between two characters of which one is wide, as in Chinese, but it does not begin
with a closing mark or end with an opening one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate, takewhile
from typing import TypeVar

from tutor.plain import cell_width

WIDEST = 60
"""The widest column in cells; a longer text moves the rest of its own row."""
GAP = "  "
"""Between two columns."""

Layout = TypeVar("Layout")

_WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60"
    "\U00020000-\U0003fffd"
)
_OPENING = "（《「『【〈〔“‘"
_CLOSING = r",.;:!?)\]}%，。、；：！？）》」』】〉〕”’…—·％"
_UNIT = (
    rf"(?s:(?:(?:[{_OPENING}]|[(\[{{](?=[{_WIDE}]))*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}]+)|.)"
    rf"[{_CLOSING}]*\s*)"
)
HAS_WIDE = re.compile(f"[{_WIDE}]")
"""Finds a character that takes two cells, as in Chinese."""


def units(text: str) -> Iterator[re.Match[str]]:
    """The units that no row splits: a wide character or a word, with its marks; then blanks."""
    return re.finditer(_UNIT, text)  # compiled here: that takes milliseconds


def wrap(text: str, width: int) -> list[str]:
    """Rows of at most `width` cells; a wider word is cut."""
    rows: list[str] = []
    row = ""
    for unit in (found[0] for found in units(text)):
        if row.strip() and cell_width(row + unit.rstrip()) > width:
            rows.append(row.rstrip())
            row = ""
        row += unit
        while cell_width(row.rstrip()) > width:
            start = _fitting(row, width)
            rows.append(start)
            row = row[len(start) :]
    return [*rows, row.rstrip()] if row.strip() else rows


def is_wide(character: str) -> bool:
    """Whether a character takes two cells, as in Chinese; an empty text does not."""
    return bool(HAS_WIDE.match(character))


def _fitting(text: str, width: int) -> str:
    """The first characters that fit; at least one."""
    end = 1
    while end < len(text) and cell_width(text[: end + 1]) <= width:
        end += 1
    return text[:end]


def aligned(rows: Sequence[Sequence[str]], to_the_right: Collection[int] = ()) -> list[list[str]]:
    """The rows with blanks in their cells: a column is as wide as its widest text up to WIDEST.

    The last text of a row widens no column. Columns with an index in `to_the_right` are aligned
    at the right.
    """
    widths: dict[int, int] = {}
    for row in rows:
        for at, text in enumerate(row[:-1]):
            cells = cell_width(text)
            widths[at] = max(widths.get(at, 0), cells if cells <= WIDEST else 0)
    return [
        [*(padded(t, widths[at], at in to_the_right) for at, t in enumerate(row[:-1])), *row[-1:]]
        for row in rows
    ]


def columns(rows: Sequence[Sequence[str]], to_the_right: Collection[int] = ()) -> list[str]:
    """A line for each row, its cells aligned."""
    return [GAP.join(row).rstrip() for row in aligned(rows, to_the_right)]


def padded(text: str, width: int, to_the_right: bool = False) -> str:
    """The text with blanks after it, or before it, up to a width in cells."""
    blanks = " " * (width - cell_width(text))
    return blanks + text if to_the_right else text + blanks


def first_fitting(
    layouts: Iterable[Layout], width_of: Callable[[Layout], int], width: int
) -> Layout:
    """The first layout that is not too wide; the last one if all are."""
    for layout in layouts:
        if width_of(layout) <= width:
            break
    return layout


def cut(line: str, width: int) -> str:
    """The line, cut with … if it is wider."""
    if cell_width(line) <= width:
        return line
    ends = accumulate(map(cell_width, line))
    fitting = sum(1 for _ in takewhile(lambda end: end <= width - 1, ends))
    return line[:fitting].rstrip() + "…"
