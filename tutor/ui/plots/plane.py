"""The model's output over the plane of its two inputs, with the data on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from textual.content import Content

from tutor.plain import one_line
from tutor.protocol.inspections import PlanePicture
from tutor.ui.plots.canvas import (
    Canvas,
    Drawing,
    Note,
    Pen,
    ScalarField,
    Scale,
    Sheet,
    bands,
    borders,
    draw_borders,
    figure,
    framed,
    gutter,
    is_inside,
    on_cells,
    on_dots,
    placeholder,
    scale_over,
    with_notes,
)
from tutor.ui.text_styles import ACTIVE, CURVE, DIM
from tutor.wording.number_format import number

TITLE = "plane"

FEW_POINTS = 16
"""The most points that take a blank on either side; more of them would cover the plane."""

SHADES = " ░▒▓█"
ASCII_SHADES = " .:=#"
BORDER = "⠤"
ASCII_BORDER = "+"


@dataclass(frozen=True, slots=True)
class _Range:
    """The range of outputs that get different shades: from the least target to the greatest."""

    low: float
    high: float

    @property
    def levels(self) -> list[float]:
        """The numbers at which one shade ends and the next begins."""
        count = len(SHADES)
        places = [i / count for i in range(1, count)]
        return [self.low * (1 - place) + self.high * place for place in places]

    @property
    def middle(self) -> float:
        """The output that separates the two classes."""
        return self.low / 2 + self.high / 2


def draw(picture: PlanePicture, sheet: Sheet) -> Drawing:
    """The output by shades, the line where it decides, and the targets as numbers."""
    first, second = map(one_line, picture.axes)
    title = f"plane: {one_line(picture.prediction)} by {first} → and {second} ↑"
    xs, ys = scale_over(picture.xs), scale_over(picture.ys)
    if (
        xs is None
        or ys is None
        or not any(math.isfinite(z) for row in picture.outputs for z in row)
    ):
        return placeholder(title, "No finite output to draw here.")
    if sheet.is_too_small:
        return placeholder(title, "There is no room for the plot.")
    targets = {target for *_, target in picture.points}
    ends = _Range(min(targets), max(targets)) if len(targets) > 1 else _Range(0.0, 1.0)

    def plot(room: Sheet) -> Sequence[Content]:
        return _plot(picture, ends, xs, ys, room)

    return Drawing(title, with_notes(sheet, list(_notes(picture, ends, sheet.ascii_only)), plot))


def _notes(picture: PlanePicture, ends: _Range, ascii_only: bool) -> Iterator[Note]:
    shades = ASCII_SHADES if ascii_only else SHADES
    low, high = number(ends.low, 2), number(ends.high, 2)
    name = one_line(picture.prediction)
    yield Note(" ", DIM, name, f"{low} [{shades}] {high}")
    yield Note(ASCII_BORDER if ascii_only else BORDER, CURVE, name, f"= {figure(ends.middle)}")
    yield Note(f" {high} ", ACTIVE, "a target")
    if len(picture.points) > FEW_POINTS:
        yield Note("o" if ascii_only else "•", ACTIVE, "a target, no room")


def _plot(picture: PlanePicture, ends: _Range, xs: Scale, ys: Scale, sheet: Sheet) -> list[Content]:
    upright = ys.upright(sheet.height - 1)
    canvas = Canvas(sheet.width - gutter(upright), sheet.height - 1, sheet.ascii_only)
    field = ScalarField(picture.xs, picture.ys, picture.outputs)
    shades = ASCII_SHADES if sheet.ascii_only else SHADES
    for y, row in enumerate(bands(on_cells(field, canvas, xs, ys), ends.levels)):
        canvas.put((0, y), "".join(shades[band] if band >= 0 else "?" for band in row), DIM)
    decided = bands(on_dots(field, canvas, xs, ys), [ends.middle])
    draw_borders(canvas, borders(decided), Pen(CURVE, ASCII_BORDER))
    _write_targets(picture, canvas, xs, ys)
    return framed(canvas, upright, xs.ticks((0.0, 0.5, 1.0)))


def _write_targets(picture: PlanePicture, canvas: Canvas, xs: Scale, ys: Scale) -> None:
    """Each target as a number at its place; as a point where a number would lie on another."""
    margin = " " if len(picture.points) <= FEW_POINTS else ""
    found = [
        (canvas.cell_at((x, y)), margin + number(target, 2) + margin)
        for first, second, target in picture.points
        if is_inside((x := xs.of(first), y := ys.of(second)))
    ]
    places = {cell for cell, _ in found}
    free = {(x, y) for x in range(canvas.width) for y in range(canvas.height)}
    for cell, _ in found:
        canvas.put(cell, "o" if canvas.ascii_only else "•", ACTIVE)
    for (column, row), text in found:
        start = min(max(column - len(text) // 2, 0), canvas.width - len(text))
        cells = {(start + i, row) for i in range(len(text))}
        if cells <= free and not (cells - {(column, row)}) & places:
            canvas.put((start, row), text, ACTIVE)
            free -= {(x, row) for x in range(start - 1, start + len(text) + 1)}
