"""Scales and axes of a drawing; level lines of numbers over a plane."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from textual.content import Content

from tutor.ui.plots.canvas import GUTTER, Canvas, Dot, Pen
from tutor.ui.text_styles import DIM, line
from tutor.wording.number_format import number

ALIKE = 1e-12
"""A relative spread below which numbers are shown as one."""

SMALL = 1e-3
"""On a linear scale, a smaller fraction of the greatest number is shown as 0."""

Tick: TypeAlias = tuple[float, str]
"""A place on an axis, from 0 to 1, and what is written there."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From numbers to places: `low` is at 0 and `high` at 1; all at 0.5 if they are one."""

    low: float
    high: float
    log: bool = False
    """Then both are above 0, and whatever is 0 is put at the lower end."""

    def of(self, value: float) -> float:
        """Where a number stands; NaN if it can't stand anywhere."""
        if not math.isfinite(value) or (self.log and value < 0):
            return math.nan
        if self.high == self.low:
            return 0.5
        if self.log and value == 0:
            return 0.0
        measure = math.log10 if self.log else float
        low, high, at = measure(self.low), measure(self.high), measure(value)
        # Halved first: the difference of two huge numbers must not overflow.
        span = high / 2 - low / 2
        if not span:  # two numbers so small that half of them is 0
            return 0.5
        place = (at / 2 - low / 2) / span
        return place if math.isfinite(place) else math.nan

    def at(self, place: float) -> float:
        """The number at a place."""
        if place in (0.0, 1.0):
            return self.high if place else self.low
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return float(10 ** (low * (1 - place) + high * place))
        return self.low * (1 - place) + self.high * place

    def ticks(self, places: Sequence[float]) -> tuple[Tick, ...]:
        """The labels at these places; a single label if all numbers are equal."""
        if self.high == self.low:
            return ((0.5, number(self.low, 4)),)
        return tuple((place, number(self._round(self.at(place)), 3)) for place in places)

    def _round(self, value: float) -> float:
        """0 for what is next to nothing beside the other end of a linear scale."""
        small = not self.log and abs(value) < SMALL * max(abs(self.low), abs(self.high))
        return 0.0 if small else value

    def upright(self, rows: int) -> tuple[Tick, ...]:
        """The ticks of a vertical axis: its ends, and the middle where there is room."""
        return self.ticks((0.0, 0.5, 1.0) if rows >= 5 else (0.0, 1.0))


def scale_over(numbers: Iterable[float]) -> Scale | None:
    """A linear scale that holds all the numbers that are finite; None if none is."""
    found = [x for x in numbers if math.isfinite(x)]
    if not found:
        return None
    low, high = min(found), max(found)
    if high / 2 - low / 2 <= ALIKE * max(abs(low), abs(high)):
        high = low
    return Scale(low, high)


def gutter(ticks: Iterable[Tick]) -> int:
    """How many columns stand to the left of a canvas with these numbers beside it."""
    return max(GUTTER, *(len(text) + 1 for _, text in ticks))


def framed(canvas: Canvas, upright: Sequence[Tick], along: Sequence[Tick]) -> list[Content]:
    """The rows of a canvas with its two axes: one row and `gutter` columns more."""
    left = gutter(upright)
    beside = {canvas.cell_at((0.0, place))[1]: text for place, text in upright}
    rows = []
    for y in range(canvas.height):
        text = beside.get(y)
        edge = f"{text or '':>{left - 1}}{'│' if text is None else '┤'}"
        rows.append(line((edge, DIM)) + canvas.row(y))
    rows.append(line((" " * (left - 1) + "└" + _ruler(canvas.width, along), DIM)))
    return rows


def _ruler(width: int, ticks: Sequence[Tick]) -> str:
    """The horizontal axis: each number below its place; those that find no room are left out."""
    cells = ["─"] * width
    free = 0
    for at, text in _by_place(ticks):
        start = max(0, min(round(at * (width - 1) - len(text) / 2 + 0.5), width - len(text)))
        if start >= free and len(text) <= width:
            cells[start : start + len(text)] = text
            free = start + len(text) + 1
    return "".join(cells)


def _by_place(ticks: Sequence[Tick]) -> Iterator[Tick]:
    return iter(sorted(ticks, key=lambda tick: tick[0]))


@dataclass(frozen=True, slots=True)
class ScalarField:
    """A number at each crossing of `xs` and `ys` (both ascending): a row for each of `ys`."""

    xs: Sequence[float]
    ys: Sequence[float]
    rows: Sequence[Sequence[float]]

    def sampled(self, xs: Sequence[float], ys: Sequence[float]) -> list[list[float]]:
        """The numbers at other places, bilinearly between the four around each.

        A row for each of `ys`. NaN where one of the four is no finite number.
        """
        across, down = _between(self.xs, xs), _between(self.ys, ys)
        found = []
        for i, v in down:
            low, high = self.rows[i], self.rows[min(i + 1, len(self.ys) - 1)]
            # Each weight first: the difference of two huge numbers must not overflow.
            mixed = [a if a == b else a * (1 - v) + b * v for a, b in zip(low, high, strict=True)]
            last = len(mixed) - 1
            found.append([mixed[j] * (1 - u) + mixed[min(j + 1, last)] * u for j, u in across])
        return found


def _between(known: Sequence[float], wanted: Sequence[float]) -> list[tuple[int, float]]:
    """For each wanted place: which known one lies before it, and how far on towards the next."""
    found = []
    for at in wanted:
        i = min(max(bisect_right(known, at) - 1, 0), max(len(known) - 2, 0))
        gap = known[min(i + 1, len(known) - 1)] - known[i]
        found.append((i, min(max((at - known[i]) / gap, 0.0), 1.0) if gap else 0.0))
    return found


def on_dots(field: ScalarField, canvas: Canvas, xs: Scale, ys: Scale) -> list[list[float]]:
    """The field at every dot of the canvas, the top row first."""
    across, down = canvas.dot_places()
    return field.sampled([xs.at(x) for x in across], [ys.at(y) for y in down])


def on_cells(field: ScalarField, canvas: Canvas, xs: Scale, ys: Scale) -> list[list[float]]:
    """The field in the middle of every cell of the canvas, the top row first."""
    across, down = canvas.cell_places()
    return field.sampled([xs.at(x) for x in across], [ys.at(y) for y in down])


def bands(numbers: Sequence[Sequence[float]], levels: Sequence[float]) -> list[list[int]]:
    """How many of the levels (ascending) each number has reached; -1 where it is no number."""
    return [[bisect_right(levels, x) if math.isfinite(x) else -1 for x in row] for row in numbers]


def borders(bands: Sequence[Sequence[int]]) -> list[tuple[Dot, int]]:
    """The dots at which one band ends, and the level that is crossed there (from 0)."""
    found = []
    for y, row in enumerate(bands):
        below = bands[y + 1] if y + 1 < len(bands) else row
        for x, band in enumerate(row):
            right = row[x + 1] if x + 1 < len(row) else band
            for other in (right, below[x]):
                if other != band and min(other, band) >= 0:
                    found.append(((x, y), max(other, band) - 1))
                    break
    return found


def draw_borders(canvas: Canvas, found: Sequence[tuple[Dot, int]], pen: Pen) -> None:
    """Those dots; a cell that showed a shade shows the line now."""
    for dot, _ in found:
        canvas.dot(dot, pen)
