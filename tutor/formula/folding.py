"""A picture that is too wide, folded: its right part below its left part, each cut marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tutor.formula.box import Box, compose, text_box
from tutor.formula.cells import width as cell_width
from tutor.formula.model import PictureMark

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
    inside = (m for m in box.marks if m.start < end and m.end > start)
    marks = tuple(_moved(mark, start, end) for mark in inside)
    return Box(rows, end - start, box.baseline, marks=marks)


def _moved(mark: PictureMark, start: int, end: int) -> PictureMark:
    return replace(mark, start=max(mark.start, start) - start, end=min(mark.end, end) - start)


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
