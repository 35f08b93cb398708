"""The loss along one line: the point, its tangent, whose slope is the gradient, and the next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from textual.content import Content

from tutor.plain import one_line
from tutor.protocol.inspections import SlopePicture
from tutor.ui.plots.axes import Scale, framed, gutter, scale_over
from tutor.ui.plots.canvas import (
    Canvas,
    Drawing,
    Note,
    Pen,
    Point,
    Sheet,
    figure,
    placeholder,
    with_notes,
)
from tutor.ui.text_styles import CURVE, DIM, PLAIN, VALUE
from tutor.wording.number_format import number

TOUCHING = 0.1
"""By so much of the height the tangent may climb otherwise than the curve, over the breadth."""

BELOW = 0.2
"""So much of the height is left free below the least loss."""


def draw(picture: SlopePicture, sheet: Sheet) -> Drawing:
    """The loss along the line, on a linear scale: on another the tangent would be bent."""
    title = f"landscape: {_what(picture)}"
    xs = scale_over((*picture.xs, picture.at))
    ys = _with_room_below(scale_over((*picture.losses, picture.loss)))
    if xs is None or ys is None:
        return placeholder(title, "No finite loss to draw here.")
    if sheet.is_too_small:
        return placeholder(title, "There is no room for the plot.")

    def plot(room: Sheet) -> Sequence[Content]:
        return _plot(picture, xs, ys, room)

    return Drawing(title, with_notes(sheet, list(_notes(picture, sheet.ascii_only)), plot))


def _with_room_below(ys: Scale | None) -> Scale | None:
    """The scale with more room at its lower end: there the tangent parts from the curve."""
    if ys is None or ys.low == ys.high:
        return ys
    low = ys.low + BELOW * ys.low - BELOW * ys.high
    return Scale(low, ys.high) if math.isfinite(low) else ys


def _what(picture: SlopePicture) -> str:
    axis = one_line(picture.axis)
    batch = "" if picture.batch is None else f", batch {picture.batch + 1}"
    # "along the gradient" is a phrase, `w` a name.
    return (f"loss {axis}" if " " in axis else f"loss by {axis}") + batch


def _notes(picture: SlopePicture, ascii_only: bool) -> Iterator[Note]:
    here, after, tangent = "Oo." if ascii_only else "●○·"
    name = one_line(picture.axis)
    yield Note(here, VALUE, "here" if " " in name else name, figure(picture.at))
    yield Note(" ", DIM, "loss", figure(picture.loss))
    if picture.slope is None:
        yield Note(" ", DIM, "no gradient yet")
    else:
        steepness = _curve_slope(picture)
        is_touching = steepness is None or _looks_alike(picture, steepness)
        yield Note(tangent, VALUE, "slope" if is_touching else "gradient", figure(picture.slope))
        if not is_touching:
            yield Note(" ", DIM, "the curve's", number(steepness or 0.0, 3))
    if picture.next_at is not None:
        yield Note(after, VALUE, "now" if picture.is_done else "next", figure(picture.next_at))
        if picture.next_loss is not None:
            yield Note(" ", DIM, "loss", figure(picture.next_loss))


def _curve_slope(picture: SlopePicture) -> float | None:
    """The slope of the curve itself at the point: of the parabola through its neighbours."""
    apart = (max(picture.xs) - min(picture.xs)) * 1e-3
    near = sorted(
        (abs(x - picture.at), x, y)
        for x, y in zip(picture.xs, picture.losses, strict=True)
        if math.isfinite(y) and abs(x - picture.at) > apart
    )[:2]
    if len(near) < 2 or not math.isfinite(picture.loss):
        return None
    (_, x1, y1), (_, x2, y2) = near
    first, second = x1 - picture.at, x2 - picture.at
    one, two = (y1 - picture.loss) / first, (y2 - picture.loss) / second
    return (one * second - two * first) / (second - first) if first != second else None


def _looks_alike(picture: SlopePicture, steepness: float) -> bool:
    """Whether the tangent drawn with the lesson's gradient can't be told from the curve's own."""
    breadth = max(picture.xs) - min(picture.xs)
    finite = [y for y in picture.losses if math.isfinite(y)]
    height = max(finite) - min(finite)
    return abs((picture.slope or 0.0) - steepness) * breadth <= TOUCHING * height


def _plot(picture: SlopePicture, xs: Scale, ys: Scale, sheet: Sheet) -> list[Content]:
    least = ys.of(min(x for x in (*picture.losses, picture.loss) if math.isfinite(x)))
    upright = ys.ticks((least, (least + 1) / 2, 1.0) if sheet.height > 5 else (least, 1.0))
    canvas = Canvas(sheet.width - gutter(upright), sheet.height - 1, sheet.ascii_only)
    here = xs.of(picture.at), ys.of(picture.loss)
    canvas.trail(_tangent(picture, xs, ys), "." if sheet.ascii_only else "·", VALUE)
    points = [(xs.of(x), ys.of(y)) for x, y in zip(picture.xs, picture.losses, strict=True)]
    canvas.line(points, Pen(CURVE))
    _draw_step(canvas, picture, here, xs, ys)
    canvas.mark(here, "O" if sheet.ascii_only else "●", VALUE)
    return framed(canvas, upright, xs.ticks((0.0, 0.5, 1.0)))


def _tangent(picture: SlopePicture, xs: Scale, ys: Scale) -> list[Point]:
    """Its two ends, at the edges of the window or beyond; none where it has no slope."""
    if picture.slope is None or not math.isfinite(picture.loss):
        return []
    breadth, height = xs.high - xs.low, ys.high - ys.low
    if not breadth or not height:
        return []
    # How much of the window's height it climbs over the window's breadth.
    climb = picture.slope * (breadth / height)
    x, y = xs.of(picture.at), ys.of(picture.loss)
    if not math.isfinite(climb):
        return []
    return [(0.0, y - climb * x), (1.0, y + climb * (1 - x))]


def _draw_step(canvas: Canvas, picture: SlopePicture, here: Point, xs: Scale, ys: Scale) -> None:
    """Where the update leads: a circle, or an arrow towards it if that lies outside."""
    if picture.next_at is None or not math.isfinite(picture.next_at):
        return
    to_right = picture.next_at > picture.at
    arrow = (">" if to_right else "<") if canvas.ascii_only else ("→" if to_right else "←")
    there = (
        xs.of(picture.next_at),
        ys.of(math.nan if picture.next_loss is None else picture.next_loss),
    )
    if not canvas.mark(there, "o" if canvas.ascii_only else "○", VALUE):
        canvas.mark((min(max(there[0], 0.0), 1.0), here[1]), arrow, PLAIN)
    elif abs(canvas.cell_at(there)[0] - canvas.cell_at(here)[0]) > 2:
        column, row = canvas.cell_at(here)
        canvas.put((column + (1 if to_right else -1), row), arrow, PLAIN)
