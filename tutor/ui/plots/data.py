"""The data, with the model's line through them or its output over the plane of two inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from textual.content import Content

from tutor.digits import POINT_DIGITS
from tutor.plain import one_line
from tutor.protocol.inspections import DataPicture, PlanePicture
from tutor.ui.lines import ACTIVE, CURVE, DIM, VALUE
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
    canvas_within,
    draw_borders,
    drawn,
    framed,
    is_inside,
    legend_number,
    scale_over,
)
from tutor.wording.number_format import number


def draw(picture: DataPicture | PlanePicture, sheet: Sheet) -> Drawing:
    """The data by their one input, or over the plane of two."""
    return _line(picture, sheet) if isinstance(picture, DataPicture) else _plane(picture, sheet)


# ── Along one input: the points, the model's line, and the residuals between the two ────


def _line(picture: DataPicture, sheet: Sheet) -> Drawing:
    title = f"data and model by {one_line(picture.input)}"
    xs = scale_over((*picture.xs, *picture.line_xs))
    ys = scale_over((*picture.targets, *picture.predictions, *picture.line))
    nothing = "No finite number in the data to draw here."
    notes = _line_notes(picture, sheet)
    return drawn(title, sheet, (xs, ys), nothing, notes, partial(_line_plot, picture))


def _line_notes(picture: DataPicture, sheet: Sheet) -> Iterator[Note]:
    point, model, residual = "O*|" if sheet.ascii_only else "●⠒│"
    more = f"(and {picture.left_out} more)" if picture.left_out else ""
    yield Note(point, VALUE, one_line(picture.target), more)
    is_gone = not any(map(math.isfinite, (*picture.predictions, *picture.line)))
    yield Note(model, CURVE, one_line(picture.prediction), "not finite" if is_gone else "")
    yield Note(residual, DIM, "residual")
    if picture.loss is not None:
        yield Note(" ", DIM, "loss", legend_number(picture.loss))


def _line_plot(picture: DataPicture, xs: Scale, ys: Scale, sheet: Sheet) -> list[Content]:
    upright = ys.upright(sheet.height - 1)
    canvas = canvas_within(sheet, upright)
    for x, target, prediction in zip(picture.xs, picture.targets, picture.predictions, strict=True):
        ends = [(xs.of(x), ys.of(target)), (xs.of(x), ys.of(prediction))]
        if all(math.isfinite(y) for _, y in ends):
            canvas.line(ends, Pen(DIM, "|"))
    model = zip(picture.line_xs, picture.line, strict=True)
    canvas.line([(xs.of(x), ys.of(y)) for x, y in model], Pen(CURVE))
    for x, target in zip(picture.xs, picture.targets, strict=True):
        canvas.disc((xs.of(x), ys.of(target)))
    return framed(canvas, upright, xs.ticks())


# ── Over a plane: the output by shades, the line where it decides, the targets ──────────

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


def _plane(picture: PlanePicture, sheet: Sheet) -> Drawing:
    first, second = map(one_line, picture.axes)
    title = f"plane: {one_line(picture.prediction)} by {first} → and {second} ↑"
    xs, ys = scale_over(picture.xs), scale_over(picture.ys)
    if not any(math.isfinite(z) for row in picture.outputs for z in row):
        xs = None
    targets = {target for *_, target in picture.points}
    ends = _Range(min(targets), max(targets)) if len(targets) > 1 else _Range(0.0, 1.0)
    notes = _plane_notes(picture, ends, sheet.ascii_only)
    plot = partial(_plane_plot, picture, ends)
    return drawn(title, sheet, (xs, ys), "No finite output to draw here.", notes, plot)


def _plane_notes(picture: PlanePicture, ends: _Range, ascii_only: bool) -> Iterator[Note]:
    shades = ASCII_SHADES if ascii_only else SHADES
    low, high = (number(end, POINT_DIGITS) for end in (ends.low, ends.high))
    name = one_line(picture.prediction)
    yield Note(" ", DIM, name, f"{low} [{shades}] {high}")
    yield Note(
        ASCII_BORDER if ascii_only else BORDER, CURVE, name, f"= {legend_number(ends.middle)}"
    )
    yield Note(f" {high} ", ACTIVE, "a target")
    if len(picture.points) > FEW_POINTS:
        yield Note("o" if ascii_only else "•", ACTIVE, "a target, unlabelled")


def _plane_plot(
    picture: PlanePicture, ends: _Range, xs: Scale, ys: Scale, sheet: Sheet
) -> list[Content]:
    upright = ys.upright(sheet.height - 1)
    canvas = canvas_within(sheet, upright)
    field = ScalarField(picture.xs, picture.ys, picture.outputs)
    shades = ASCII_SHADES if sheet.ascii_only else SHADES
    for y, row in enumerate(bands(field.sampled(canvas.cell_places(), xs, ys), ends.levels)):
        canvas.put((0, y), "".join(shades[band] if band >= 0 else "?" for band in row), DIM)
    decided = bands(field.sampled(canvas.dot_places(), xs, ys), [ends.middle])
    draw_borders(canvas, borders(decided), Pen(CURVE, ASCII_BORDER))
    _write_targets(picture, canvas, xs, ys)
    return framed(canvas, upright, xs.ticks())


def _write_targets(picture: PlanePicture, canvas: Canvas, xs: Scale, ys: Scale) -> None:
    """Each target as a number at its place; as a point where a number would lie on another."""
    margin = " " if len(picture.points) <= FEW_POINTS else ""
    found = [
        (canvas.cell_at((x, y)), margin + number(target, POINT_DIGITS) + margin)
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
