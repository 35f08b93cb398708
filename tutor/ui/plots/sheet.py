"""The interface of a drawing: its room, its title and lines, and the place of its legend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.style import Style

from tutor.ui.text_styles import DIM, line
from tutor.wording.number_format import number, setting

SIDE_FROM = 50
"""Columns from which a legend stands at the right side, where it costs no row."""

MIN_WIDTH, MIN_HEIGHT = 20, 4

GUTTER = 7
"""Columns that the numbers of the vertical axis and the axis itself take, as a rule."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The room for a drawing below its title."""

    width: int
    height: int
    ascii_only: bool = False

    @property
    def is_too_small(self) -> bool:
        """Whether nothing could be made out."""
        return self.width < MIN_WIDTH or self.height < MIN_HEIGHT


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished drawing: its title, and its lines from top to bottom."""

    title: str
    lines: tuple[Content, ...]


def placeholder(title: str, why: str) -> Drawing:
    """The message that takes the place of a drawing, with the reason."""
    return Drawing(title, (line((why, DIM)),))


def figure(x: float) -> str:
    """A number for a legend: five significant digits, and no zeros after them."""
    return setting(float(f"{x:.5g}")) if math.isfinite(x) else number(x)


@dataclass(frozen=True, slots=True)
class Note:
    """One entry of a legend: what a mark stands for, or a number by its name."""

    mark: str
    style: Style
    label: str
    value: str = ""

    def fitted(self, width: int) -> Content:
        """The note in so many cells. The label gives way to the value, which is the point."""
        room = width - cell_len(self.mark) - (cell_len(self.value) + 1 if self.value else 0) - 1
        label = line((self.label, DIM)).truncate(max(0, room), ellipsis=True)
        end = (" " if self.label else "") + self.value if self.value else ""
        whole = line((self.mark, self.style), " ") + label + line(end)
        return whole.truncate(width, ellipsis=True)


def with_notes(
    sheet: Sheet, notes: Sequence[Note], plot: Callable[[Sheet], Sequence[Content]]
) -> tuple[Content, ...]:
    """A plot with a legend at its right side, or on one line above it where it is narrow."""
    if sheet.width < SIDE_FROM:
        legend = line((" · ", DIM)).join([note.fitted(sheet.width) for note in notes])
        rest = Sheet(sheet.width, sheet.height - 1, sheet.ascii_only)
        return (legend.truncate(sheet.width, ellipsis=True), *plot(rest))
    side = 22 if sheet.width >= 70 else 18
    rows = plot(Sheet(sheet.width - side - 2, sheet.height, sheet.ascii_only))
    beside = [note.fitted(side) for note in notes]
    beside += [line()] * (len(rows) - len(beside))
    return tuple(row + line("  ") + note for row, note in zip(rows, beside, strict=False))
