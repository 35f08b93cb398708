"""The loss over the plane of two parameters: level lines, the path so far, the next step.

Without braille the height is told by shades in place of lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from textual.content import Content

from tutor.plain import one_line
from tutor.protocol.inspections import ContourPicture
from tutor.ui.plots.axes import (
    ScalarField,
    Scale,
    bands,
    borders,
    draw_borders,
    framed,
    gutter,
    on_dots,
    scale_over,
)
from tutor.ui.plots.canvas import (
    Canvas,
    Dot,
    Drawing,
    Note,
    Pen,
    Sheet,
    figure,
    placeholder,
    with_notes,
)
from tutor.ui.text_styles import CURVE, DIM, PLAIN, VALUE
from tutor.wording.number_format import setting

LOG_FROM = 20.0
"""Greatest over least loss from which each level is a multiple of the one before."""

DEEPEST = 1e4
"""Levels further below the greatest loss than this would be lines around a single point."""

TINIEST = 1e-300
"""Below this, numbers have too few digits to be parted into levels."""

MOST_LEVELS = 6
SHADES = " .:-=%#@"
"""From the lowest band to the highest: one more than there are levels at most."""


def draw(picture: ContourPicture, sheet: Sheet) -> Drawing:
    """The levels, labelled, with the path, the point and the next step on them."""
    first, second = map(one_line, picture.axes)
    batch = "" if picture.batch is None else f", batch {picture.batch + 1}"
    title = f"landscape: loss by {first} → and {second} ↑{batch}"
    xs, ys = scale_over(picture.xs), scale_over(picture.ys)
    if xs is None or ys is None or not any(map(math.isfinite, _all(picture))):
        return placeholder(title, "No finite loss to draw here.")
    if sheet.is_too_small:
        return placeholder(title, "There is no room for the plot.")
    levels = levels_of(_all(picture))

    def plot(room: Sheet) -> Sequence[Content]:
        return _plot(picture, levels, xs, ys, room)

    return Drawing(title, with_notes(sheet, list(_notes(picture, sheet.ascii_only)), plot))


def _all(picture: ContourPicture) -> list[float]:
    return [loss for row in picture.losses for loss in row]


def levels_of(losses: Sequence[float]) -> list[float]:
    """Round numbers between the least and the greatest loss, few enough to tell apart.

    Each is a multiple of the one before where the losses span more than LOG_FROM.
    """
    found = [x for x in losses if math.isfinite(x)]
    low, high = min(found), max(found)
    if low >= 0 and high / LOG_FROM >= low and high > 0:
        return _multiples(max(low, high / DEEPEST), high)
    # Halved first: the difference of two huge numbers must not overflow.
    least_step = (high / 2 - low / 2) / (MOST_LEVELS / 2)
    if least_step < TINIEST:
        return []
    power = 10.0 ** math.floor(math.log10(least_step))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least_step)
    start = math.ceil(low / step)
    return [x for i in range(MOST_LEVELS + 2) if low < (x := (start + i) * step) < high]


def _multiples(low: float, high: float) -> list[float]:
    """Of … 0.1, 0.3, 1, 3, 10 … those between two numbers, evenly thinned out."""
    if low < TINIEST:
        return []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    rounds = (float(f"{digit}e{power}") for power in powers for digit in (1, 3))
    found = [x for x in rounds if low < x < high]
    return found[:: -(-len(found) // MOST_LEVELS) or 1]


def _notes(picture: ContourPicture, ascii_only: bool) -> Iterator[Note]:
    here, after, trail = "Oo+" if ascii_only else "●○•"
    for mark, axis, value in zip((here, " "), picture.axes, picture.at, strict=True):
        yield Note(mark, VALUE, one_line(axis), figure(value))
    yield Note(" ", DIM, "loss", figure(picture.loss))
    if picture.next_at is None:
        yield Note(" ", DIM, "no gradient yet")
    else:
        word = "now" if picture.is_done else "next"
        yield Note(after, VALUE, word, figure(picture.next_at[0]))
        yield Note(" ", DIM, " " * len(word), figure(picture.next_at[1]))
    if picture.path:
        yield Note(trail, CURVE, "path so far")
    if ascii_only:
        yield Note("@", DIM, "highest loss")
    else:
        yield Note("⠤", DIM, "equal loss")


def _plot(
    picture: ContourPicture, levels: Sequence[float], xs: Scale, ys: Scale, sheet: Sheet
) -> list[Content]:
    upright = ys.upright(sheet.height - 1)
    canvas = Canvas(sheet.width - gutter(upright), sheet.height - 1, sheet.ascii_only)
    field = ScalarField(picture.xs, picture.ys, picture.losses)
    heights = bands(on_dots(field, canvas, xs, ys), levels)
    found = borders(heights)
    if sheet.ascii_only:
        _shade(canvas, heights, len(levels))
    else:
        draw_borders(canvas, found, Pen(DIM))
    _write_levels(canvas, found, levels)
    here = xs.of(picture.at[0]), ys.of(picture.at[1])
    path = [(xs.of(x), ys.of(y)) for x, y in picture.path]
    canvas.trail([*path, here], "+" if sheet.ascii_only else "•", CURVE)
    if picture.next_at is not None:
        there = xs.of(picture.next_at[0]), ys.of(picture.next_at[1])
        canvas.mark(there, "o" if sheet.ascii_only else "○", VALUE)
    canvas.mark(here, "O" if sheet.ascii_only else "●", VALUE)
    return framed(canvas, upright, xs.ticks((0.0, 0.5, 1.0)))


def _shade(canvas: Canvas, heights: Sequence[Sequence[int]], levels: int) -> None:
    """A denser character for a higher band; `?` where the loss is no number."""
    shades = [SHADES[band * (len(SHADES) - 1) // max(1, levels)] for band in range(levels + 1)]
    for y, row in enumerate(heights):
        canvas.put((0, y), "".join(shades[band] if band >= 0 else "?" for band in row), DIM)


def _write_levels(
    canvas: Canvas, found: Sequence[tuple[Dot, int]], levels: Sequence[float]
) -> None:
    """Each level on its line, as far to the right as it finds room."""
    cells: dict[int, set[Dot]] = {}
    for dot, level in found:
        cells.setdefault(level, set()).add(canvas.cell_of(dot))
    taken: set[Dot] = set()
    for level, places in sorted(cells.items()):
        text = setting(levels[level])
        for column, row in sorted(places, reverse=True):
            needed = {(column + i, row) for i in range(-1, len(text) + 1)}
            if column + len(text) <= canvas.width and not needed & taken:
                canvas.put((column, row), text, PLAIN)
                taken |= needed
                break
