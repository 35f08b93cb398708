"""The data, the model's line through them, and the residuals between the two."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from textual.content import Content

from tutor.plain import one_line
from tutor.protocol.inspections import DataPicture
from tutor.ui.plots.canvas import (
    Canvas,
    Drawing,
    Note,
    Pen,
    Scale,
    Sheet,
    figure,
    framed,
    gutter,
    placeholder,
    scale_over,
    with_notes,
)
from tutor.ui.text_styles import CURVE, DIM, VALUE

TITLE = "data and model"


def draw(picture: DataPicture, sheet: Sheet) -> Drawing:
    """The data by their input, the model's line, and what lies between."""
    title = f"data and model by {one_line(picture.input)}"
    xs = scale_over((*picture.xs, *picture.line_xs))
    ys = scale_over((*picture.targets, *picture.predictions, *picture.line))
    if xs is None or ys is None:
        return placeholder(title, "There is no number in the data that could be drawn.")
    if sheet.is_too_small:
        return placeholder(title, "There is no room for the plot.")

    def plot(room: Sheet) -> Sequence[Content]:
        return _plot(picture, xs, ys, room)

    return Drawing(title, with_notes(sheet, list(_notes(picture, sheet)), plot))


def _notes(picture: DataPicture, sheet: Sheet) -> Iterator[Note]:
    point, model, residual = "O*|" if sheet.ascii_only else "●⠒│"
    more = f"(and {picture.left_out} more)" if picture.left_out else ""
    yield Note(point, VALUE, one_line(picture.target), more)
    is_gone = not any(map(math.isfinite, (*picture.predictions, *picture.line)))
    yield Note(model, CURVE, one_line(picture.prediction), "not finite" if is_gone else "")
    yield Note(residual, DIM, "residual")
    if picture.loss is not None:
        yield Note(" ", DIM, "loss", figure(picture.loss))


def _plot(picture: DataPicture, xs: Scale, ys: Scale, sheet: Sheet) -> list[Content]:
    upright = ys.upright(sheet.height - 1)
    canvas = Canvas(sheet.width - gutter(upright), sheet.height - 1, sheet.ascii_only)
    for x, target, prediction in zip(picture.xs, picture.targets, picture.predictions, strict=True):
        ends = [(xs.of(x), ys.of(target)), (xs.of(x), ys.of(prediction))]
        if all(math.isfinite(y) for _, y in ends):
            canvas.line(ends, Pen(DIM, "|"))
    model = zip(picture.line_xs, picture.line, strict=True)
    canvas.line([(xs.of(x), ys.of(y)) for x, y in model], Pen(CURVE))
    for x, target in zip(picture.xs, picture.targets, strict=True):
        canvas.mark((xs.of(x), ys.of(target)), "O" if sheet.ascii_only else "●", VALUE)
    return framed(canvas, upright, xs.ticks((0.0, 0.5, 1.0)))
