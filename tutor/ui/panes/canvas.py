"""A drawing: its room, its legend, and a canvas of character cells for lines and marks.

What is drawn last lies on top. A coordinate that is no finite number is a gap in a line, never an
error.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import TypeAlias

import msgspec
from rich.cells import cell_len
from textual.content import Content
from textual.style import Style

from tutor.digits import AXIS_DIGITS, EXACT_DIGITS, LEGEND_DIGITS
from tutor.ui.lines import DIM, PLAIN, VALUE, Piece, line
from tutor.wording.number_format import number, trimmed

Point: TypeAlias = tuple[float, float]
"""Fractions of the sheet: (0, 0) is its lower left corner. May be NaN."""
Dot: TypeAlias = tuple[int, int]
"""A place among the dots, or among the cells: column and row, from the upper left."""

_BRAILLE = 0x2800
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The dots of a braille character, by row and column (Unicode, Braille Patterns)."""


class Pen(msgspec.Struct, frozen=True):
    """The look of a line."""

    style: Style
    letter: str = "*"
    """The character of a cell on the line where there is no braille."""
    on: int = 1
    off: int = 0
    """The number of dots drawn, then left out, in turn (in braille only)."""
    lone: str = "•"
    """The character for a point without neighbours: a single dot would be overlooked."""


class Canvas:
    """A field of cells, with 2 × 4 dots in each where there is braille."""

    def __init__(self, width: int, height: int, ascii_only: bool) -> None:
        self.width, self.height = width, height
        self.ascii_only = ascii_only
        across, down = (1, 1) if ascii_only else (2, 4)
        self.dots = width * across, height * down
        """Dots in all: columns and rows."""
        self._per_cell = across, down
        self._bits = [0] * (width * height)
        self._texts = [" "] * (width * height)
        self._styles = [PLAIN] * (width * height)

    # ── Cells and dots ──────────────────────────────────────────────────────────────

    def dot_at(self, point: Point) -> Dot:
        """The dot nearest to a point of the sheet."""
        columns, rows = self.dots
        return round(point[0] * (columns - 1)), round((1 - point[1]) * (rows - 1))

    def cell_at(self, point: Point) -> Dot:
        """The cell that a point of the sheet lies in."""
        return self.cell_of(self.dot_at(point))

    def cell_of(self, dot: Dot) -> Dot:
        """The cell that a dot belongs to."""
        return dot[0] // self._per_cell[0], dot[1] // self._per_cell[1]

    def dot_places(self) -> tuple[list[float], list[float]]:
        """The x of every column of dots and the y of every row, from the top."""
        return _places(self.dots[0]), _places(self.dots[1])[::-1]

    def cell_places(self) -> tuple[list[float], list[float]]:
        """The x in the middle of every column of cells and the y of every row, from the top."""
        xs, ys = self.dot_places()
        return (
            [sum(part) / len(part) for part in _parts(xs, self._per_cell[0])],
            [sum(part) / len(part) for part in _parts(ys, self._per_cell[1])],
        )

    def style_at(self, cell: Dot) -> Style:
        """The style of a cell."""
        return self._styles[cell[1] * self.width + cell[0]]

    # ── Drawing ─────────────────────────────────────────────────────────────────────

    def dot(self, dot: Dot, pen: Pen) -> None:
        """Add one dot to the dots of its cell."""
        across, down = self._per_cell
        at = dot[1] // down * self.width + dot[0] // across
        if self.ascii_only:
            self._texts[at] = pen.letter
        else:
            self._bits[at] |= _BITS[dot[1] % 4][dot[0] % 2]
        self._styles[at] = pen.style

    def put(self, cell: Dot, text: str, style: Style) -> None:
        """Characters of one cell each from this cell on; those beyond an edge are left out."""
        column, row = cell
        if not 0 <= row < self.height:
            return
        for x, character in enumerate(text, column):
            if 0 <= x < self.width:
                at = row * self.width + x
                self._bits[at], self._texts[at], self._styles[at] = 0, character, style

    def mark(self, point: Point, text: str, style: Style) -> bool:
        """Characters around a point of the sheet; False if it lies outside."""
        if not is_inside(point):
            return False
        column, row = self.cell_at(point)
        self.put((column - len(text) // 2, row), text, style)
        return True

    def disc(self, point: Point) -> bool:
        """Mark a point where something is; returns whether it is on the canvas."""
        return self.mark(point, "O" if self.ascii_only else "●", VALUE)

    def ring(self, point: Point) -> bool:
        """Mark a point that is still to come; returns whether it is on the canvas."""
        return self.mark(point, "o" if self.ascii_only else "○", VALUE)

    def line(self, points: Iterable[Point], pen: Pen) -> None:
        """A line through the points, cut off at the edges and broken where one is no number."""
        walked = 0
        for is_there, part in groupby(points, key=_is_finite):
            stretch = list(part) if is_there else []
            if len(stretch) == 1:
                self.mark(stretch[0], pen.letter if self.ascii_only else pen.lone, pen.style)
            for dot in self._walk(stretch):
                if walked % (pen.on + pen.off) < pen.on or self.ascii_only:
                    self.dot(dot, pen)
                walked += 1

    def trail(self, points: Iterable[Point], text: str, style: Style) -> None:
        """A line as `line` draws it, with one character in every cell on its way."""
        for is_there, part in groupby(points, key=_is_finite):
            for dot in self._walk(list(part)) if is_there else ():
                self.put(self.cell_of(dot), text, style)

    def shade(self, heights: Sequence[Sequence[int]], shades: Sequence[str]) -> None:
        """A character for the band of each cell; `?` where it has none."""
        for y, row in enumerate(heights):
            self.put((0, y), "".join(shades[band] if band >= 0 else "?" for band in row), DIM)

    def draw_dots(self, found: Sequence[tuple[Dot, int]], pen: Pen) -> None:
        """The dots of borders; a cell that showed a shade shows the line now."""
        for dot, _ in found:
            self.dot(dot, pen)

    def _walk(self, points: Sequence[Point]) -> Iterator[Dot]:
        """All dots on the way, none twice in a row."""
        last: Dot | None = None
        for start, end in pairwise(points):
            inside = clipped(start, end)
            if inside is None:
                continue
            for dot in _straight(self.dot_at(inside[0]), self.dot_at(inside[1])):
                if dot != last:
                    yield dot
                last = dot

    # ── Lines of the canvas ─────────────────────────────────────────────────────────

    def row(self, y: int) -> Content:
        """One row of cells, neighbours of one style as one piece."""
        cells = slice(y * self.width, (y + 1) * self.width)
        bits, styles = self._bits[cells], self._styles[cells]
        texts = [
            chr(_BRAILLE + dots) if dots else text
            for dots, text in zip(bits, self._texts[cells], strict=True)
        ]
        pieces: list[Piece] = []
        start = 0
        for style, part in groupby(styles):
            end = start + len(list(part))
            pieces.append(("".join(texts[start:end]), style))
            start = end
        return line(*pieces)


def clipped(start: Point, end: Point) -> tuple[Point, Point] | None:
    """The part of a straight line that lies on the sheet (Liang and Barsky, 1984)."""
    if is_inside(start) and is_inside(end):
        return start, end
    (x, y), dx, dy = start, end[0] - start[0], end[1] - start[1]
    enters, leaves = 0.0, 1.0
    for step, room in ((-dx, x), (dx, 1 - x), (-dy, y), (dy, 1 - y)):
        if step == 0:
            if room < 0:
                return None
        elif step < 0:
            enters = max(enters, room / step)
        else:
            leaves = min(leaves, room / step)
    if enters > leaves:
        return None
    ends = [(x + at * dx, y + at * dy) for at in (enters, leaves)]
    # Rounding may put an end a hair beyond the edge.
    first, last = (tuple(min(max(v, 0.0), 1.0) for v in found) for found in ends)
    return (first[0], first[1]), (last[0], last[1])


def _straight(start: Dot, end: Dot) -> Sequence[Dot]:
    """The dots of a straight line: one in each column, or in each row if it is steep."""
    (x, y), dx, dy = start, end[0] - start[0], end[1] - start[1]
    steps = max(abs(dx), abs(dy))
    if not steps:
        return [start]
    return [(round(x + i / steps * dx), round(y + i / steps * dy)) for i in range(steps + 1)]


def _is_finite(point: Point) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def is_inside(point: Point) -> bool:
    """Whether it lies on the sheet; NaN does not."""
    return 0 <= point[0] <= 1 and 0 <= point[1] <= 1


def _places(count: int) -> list[float]:
    return [i / max(1, count - 1) for i in range(count)]


def _parts(numbers: Sequence[float], size: int) -> list[Sequence[float]]:
    return [numbers[i : i + size] for i in range(0, len(numbers), size)]


SIDE_FROM = 50
"""Columns from which a legend stands at the right side, where it costs no row."""

MIN_WIDTH, MIN_HEIGHT = 20, 4

GUTTER = 7
"""Columns that the numbers of the vertical axis and the axis itself take, as a rule."""


class Sheet(msgspec.Struct, frozen=True):
    """The room for a drawing below its title."""

    width: int
    height: int
    ascii_only: bool = False

    @property
    def is_too_small(self) -> bool:
        """Whether nothing could be made out."""
        return self.width < MIN_WIDTH or self.height < MIN_HEIGHT


class Drawing(msgspec.Struct, frozen=True):
    """A finished drawing: its title, and its lines from top to bottom."""

    title: str
    lines: tuple[Content, ...]


def placeholder(title: str, why: str) -> Drawing:
    """The message that takes the place of a drawing, with the reason."""
    return Drawing(title, (line((why, DIM)),))


NO_ROOM = "No room for the plot."


def drawn(
    title: str,
    sheet: Sheet,
    scales: tuple[Scale | None, Scale | None],
    nothing: str,
    notes: Iterable[Note],
    paint: Callable[[Canvas, Scale, Scale], None],
) -> Drawing:
    """A plot that `paint` fills, with its legend; the reason `nothing` where a scale is missing."""
    xs, ys = scales
    if xs is None or ys is None:
        return placeholder(title, nothing)
    if sheet.is_too_small:
        return placeholder(title, NO_ROOM)

    def plot(room: Sheet) -> list[Content]:
        return framed(room, ys, xs.ticks(), lambda canvas: paint(canvas, xs, ys))

    return Drawing(title, _with_notes(sheet, list(notes), plot))


def legend_number(x: float) -> str:
    """A number for a legend."""
    return trimmed(x, LEGEND_DIGITS)


class Note(msgspec.Struct, frozen=True):
    """One entry of a legend: what a mark stands for, or a number by its name."""

    mark: str
    style: Style
    label: str
    value: str = ""

    def fitted(self, width: int) -> Content:
        """The note in `width` cells. The label gives way to the value, which is the point."""
        room = width - cell_len(self.mark) - (cell_len(self.value) + 1 if self.value else 0) - 1
        label = line((self.label, DIM)).truncate(max(0, room), ellipsis=True)
        end = (" " if self.label else "") + self.value if self.value else ""
        whole = line((self.mark, self.style), " ") + label + line(end)
        return whole.truncate(width, ellipsis=True)


def _with_notes(
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


# ── Scales and axes ─────────────────────────────────────────────────────────────────

ALIKE = 1e-12
"""A relative spread below which numbers are shown as one."""

SMALL = 1e-3
"""The fraction of a linear scale's greatest number below which a number is shown as 0."""

Tick: TypeAlias = tuple[float, str]
"""A place on an axis, from 0 to 1, and what is written there."""


class Scale(msgspec.Struct, frozen=True):
    """A scale from numbers to places: `low` is at 0, `high` at 1; all at 0.5 if they are equal."""

    low: float
    high: float
    log: bool = False
    """Whether the scale is logarithmic: both ends are above 0, and a 0 is put at the lower end."""
    least: float | None = None
    """The number with the lowest label, if there is room below it."""

    def of(self, value: float) -> float:
        """The place of a number; NaN if it has none."""
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

    def ticks(self, places: Sequence[float] = (0.0, 0.5, 1.0)) -> tuple[Tick, ...]:
        """The labels at these places; a single label if all numbers are equal."""
        if self.high == self.low:
            return ((0.5, number(self.low, AXIS_DIGITS)),)
        values = [self._round(self.at(place)) for place in places]
        digits = AXIS_DIGITS
        while digits < EXACT_DIGITS and len({number(x, digits) for x in values}) < len(values):
            digits += 1  # a narrow scale: equal labels would say nothing
        return tuple((place, number(x, digits)) for place, x in zip(places, values, strict=True))

    def _round(self, value: float) -> float:
        """The number; 0 if it is next to nothing beside the other end of a linear scale."""
        small = not self.log and abs(value) < SMALL * max(abs(self.low), abs(self.high))
        return 0.0 if small else value

    def upright(self, rows: int) -> tuple[Tick, ...]:
        """The ticks of a vertical axis: its ends, and the middle where there is room."""
        low = 0.0 if self.least is None else self.of(self.least)
        return self.ticks((low, (low + 1) / 2, 1.0) if rows >= 5 else (low, 1.0))


def scale_over(numbers: Iterable[float]) -> Scale | None:
    """A linear scale that holds all the numbers that are finite; None if none is."""
    found = [x for x in numbers if math.isfinite(x)]
    if not found:
        return None
    low, high = min(found), max(found)
    if high / 2 - low / 2 <= ALIKE * max(abs(low), abs(high)):
        high = low
    return Scale(low, high)


def framed(
    sheet: Sheet, ys: Scale, along: Sequence[Tick], paint: Callable[[Canvas], None]
) -> list[Content]:
    """The rows of a canvas that `paint` fills, with its two axes around it."""
    upright = ys.upright(sheet.height - 1)
    left = max(GUTTER, *(len(text) + 1 for _, text in upright))
    canvas = Canvas(sheet.width - left, sheet.height - 1, sheet.ascii_only)
    paint(canvas)
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
    for at, text in sorted(ticks, key=lambda tick: tick[0]):
        start = max(0, min(round(at * (width - 1) - len(text) / 2 + 0.5), width - len(text)))
        if start >= free and len(text) <= width:
            cells[start : start + len(text)] = text
            free = start + len(text) + 1
    return "".join(cells)


class ScalarField(msgspec.Struct, frozen=True):
    """A number at each crossing of `xs` and `ys` (both ascending): a row for each of `ys`."""

    xs: Sequence[float]
    ys: Sequence[float]
    rows: Sequence[Sequence[float]]

    def sampled(
        self, places: tuple[Sequence[float], Sequence[float]], xs: Scale, ys: Scale
    ) -> list[list[float]]:
        """The numbers at places of a canvas, bilinearly between the four around each.

        A row for each of the places' y. NaN where one of the four is no finite number.
        """
        across = _between(self.xs, [xs.at(x) for x in places[0]])
        down = _between(self.ys, [ys.at(y) for y in places[1]])
        found = []
        for i, v in down:
            low, high = self.rows[i], self.rows[min(i + 1, len(self.ys) - 1)]
            # Each weight first: the difference of two huge numbers must not overflow.
            mixed = [a if a == b else a * (1 - v) + b * v for a, b in zip(low, high, strict=True)]
            last = len(mixed) - 1
            found.append([mixed[j] * (1 - u) + mixed[min(j + 1, last)] * u for j, u in across])
        return found


def _between(known: Sequence[float], wanted: Sequence[float]) -> list[tuple[int, float]]:
    """The known place before each wanted one, and the part of the way on to the next."""
    found = []
    for at in wanted:
        i = min(max(bisect_right(known, at) - 1, 0), max(len(known) - 2, 0))
        gap = known[min(i + 1, len(known) - 1)] - known[i]
        found.append((i, min(max((at - known[i]) / gap, 0.0), 1.0) if gap else 0.0))
    return found


def bands(numbers: Sequence[Sequence[float]], levels: Sequence[float]) -> list[list[int]]:
    """The number of levels (ascending) that each number has reached; -1 where it is no number."""
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
