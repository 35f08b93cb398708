"""The plots of one batch: its data with the model's output, and the landscape of the loss.

Both are drawn along one line or over a plane. Without braille, shades show the height of a
landscape in place of lines. On a line its scale is linear: on another the tangent would be bent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tutor.digits import GRID_DIGITS, POINT_DIGITS
from tutor.plain import one_line
from tutor.protocol.inspections import ContourPlot, DataPlot, PlanePlot, SlopePlot
from tutor.ui.lines import ACTIVE, CURVE, DIM, PLAIN, VALUE
from tutor.ui.panes.canvas import (
    Canvas,
    Dot,
    Drawing,
    Note,
    Pen,
    Point,
    ScalarField,
    Scale,
    Sheet,
    bands,
    borders,
    drawn,
    is_inside,
    legend_number,
    scale_over,
)
from tutor.wording.number_format import number, trimmed


def draw_data(plot: DataPlot, sheet: Sheet) -> Drawing:
    """The data by their one input, with the model's line and the residuals."""
    title = f"data and model by {one_line(plot.input)}"
    xs = scale_over((*plot.xs, *plot.line_xs))
    ys = scale_over((*plot.targets, *plot.predictions, *plot.line))
    nothing = "No finite number in the data to draw here."
    notes = _line_notes(plot, sheet)
    return drawn(title, sheet, (xs, ys), nothing, notes, partial(_paint_line, plot))


def _line_notes(plot: DataPlot, sheet: Sheet) -> Iterator[Note]:
    point, model, residual = "O*|" if sheet.ascii_only else "●⠒│"
    more = f"(and {plot.left_out} more)" if plot.left_out else ""
    yield Note(point, VALUE, one_line(plot.target), more)
    is_gone = not any(map(math.isfinite, (*plot.predictions, *plot.line)))
    yield Note(model, CURVE, one_line(plot.prediction), "not finite" if is_gone else "")
    yield Note(residual, DIM, "residual")
    if plot.loss is not None:
        yield Note(" ", DIM, "loss", legend_number(plot.loss))


def _paint_line(plot: DataPlot, canvas: Canvas, xs: Scale, ys: Scale) -> None:
    for x, target, prediction in zip(plot.xs, plot.targets, plot.predictions, strict=True):
        ends = [(xs.of(x), ys.of(target)), (xs.of(x), ys.of(prediction))]
        if all(math.isfinite(y) for _, y in ends):
            canvas.line(ends, Pen(DIM, "|"))
    model = zip(plot.line_xs, plot.line, strict=True)
    canvas.line([(xs.of(x), ys.of(y)) for x, y in model], Pen(CURVE))
    for x, target in zip(plot.xs, plot.targets, strict=True):
        canvas.disc((xs.of(x), ys.of(target)))


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


def draw_plane(plot: PlanePlot, sheet: Sheet) -> Drawing:
    """The output over the plane of two inputs, with the targets on it."""
    first, second = map(one_line, plot.axes)
    title = f"plane: {one_line(plot.prediction)} by {first} → and {second} ↑"
    xs, ys = scale_over(plot.xs), scale_over(plot.ys)
    if not any(math.isfinite(z) for row in plot.outputs for z in row):
        xs = None
    targets = {target for *_, target in plot.points}
    ends = _Range(min(targets), max(targets)) if len(targets) > 1 else _Range(0.0, 1.0)
    notes = _plane_notes(plot, ends, sheet.ascii_only)
    paint = partial(_paint_plane, plot, ends)
    return drawn(title, sheet, (xs, ys), "No finite output to draw here.", notes, paint)


def _plane_notes(plot: PlanePlot, ends: _Range, ascii_only: bool) -> Iterator[Note]:
    shades = ASCII_SHADES if ascii_only else SHADES
    low, high = (number(end, POINT_DIGITS) for end in (ends.low, ends.high))
    name = one_line(plot.prediction)
    yield Note(" ", DIM, name, f"{low} [{shades}] {high}")
    border = ASCII_BORDER if ascii_only else BORDER
    yield Note(border, CURVE, name, f"= {legend_number(ends.middle)}")
    yield Note(f" {high} ", ACTIVE, "a target")
    if len(plot.points) > FEW_POINTS:
        yield Note("o" if ascii_only else "•", ACTIVE, "a target, unlabelled")


def _paint_plane(plot: PlanePlot, ends: _Range, canvas: Canvas, xs: Scale, ys: Scale) -> None:
    field = ScalarField(plot.xs, plot.ys, plot.outputs)
    shades = ASCII_SHADES if canvas.ascii_only else SHADES
    canvas.shade(bands(field.sampled(canvas.cell_places(), xs, ys), ends.levels), shades)
    decided = bands(field.sampled(canvas.dot_places(), xs, ys), [ends.middle])
    canvas.draw_dots(borders(decided), Pen(CURVE, ASCII_BORDER))
    _write_targets(plot, canvas, xs, ys)


def _write_targets(plot: PlanePlot, canvas: Canvas, xs: Scale, ys: Scale) -> None:
    """Each target as a number at its place; as a point where a number would lie on another."""
    margin = " " if len(plot.points) <= FEW_POINTS else ""
    found = [
        (canvas.cell_at((x, y)), margin + number(target, POINT_DIGITS) + margin)
        for first, second, target in plot.points
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


NOTHING = "No finite loss to draw here."


# ── Over a plane: level lines, the path so far, the next step ───────────────────────

LOG_FROM = 20.0
"""Greatest over least loss from which each level is a multiple of the one before."""

DEEPEST = 1e4
"""Levels further below the greatest loss than this would be lines around a single point."""

TINIEST = 1e-300
"""Below this, numbers have too few digits to be parted into levels."""

MOST_LEVELS = 6
HEIGHTS = " .:-=%#@"
"""The characters of the bands, lowest first: one more than there are levels at most."""


def draw_contours(plot: ContourPlot, sheet: Sheet) -> Drawing:
    """The levels, labelled, with the path, the point and the next step on them."""
    first, second = map(one_line, plot.axes)
    batch = "" if plot.batch is None else f", batch {plot.batch + 1}"
    title = f"landscape: loss by {first} → and {second} ↑{batch}"
    xs, ys = scale_over(plot.xs), scale_over(plot.ys)
    losses = [loss for row in plot.losses for loss in row]
    if not any(map(math.isfinite, losses)):
        xs = None
    notes = _contours_notes(plot, sheet.ascii_only)
    return drawn(title, sheet, (xs, ys), NOTHING, notes, partial(_paint_contours, plot, losses))


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
    """The numbers of … 0.1, 0.3, 1, 3, 10 … between two others, evenly thinned out."""
    if low < TINIEST:
        return []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    rounds = (float(f"{digit}e{power}") for power in powers for digit in (1, 3))
    found = [x for x in rounds if low < x < high]
    return found[:: -(-len(found) // MOST_LEVELS) or 1]


def _contours_notes(plot: ContourPlot, ascii_only: bool) -> Iterator[Note]:
    here, after, trail = "Oo+" if ascii_only else "●○•"
    for mark, axis, value in zip((here, " "), plot.axes, plot.at, strict=True):
        yield Note(mark, VALUE, one_line(axis), legend_number(value))
    yield Note(" ", DIM, "loss", legend_number(plot.loss))
    if plot.next_at is None:
        yield Note(" ", DIM, "no gradient yet")
    else:
        word = "now" if plot.is_done else "next"
        yield Note(after, VALUE, word, legend_number(plot.next_at[0]))
        yield Note(" ", DIM, " " * len(word), legend_number(plot.next_at[1]))
    if plot.path:
        yield Note(trail, CURVE, "path so far")
    if ascii_only:
        yield Note("@", DIM, "highest loss")
    else:
        yield Note("⠤", DIM, "equal loss")


def _paint_contours(
    plot: ContourPlot, losses: Sequence[float], canvas: Canvas, xs: Scale, ys: Scale
) -> None:
    levels = levels_of(losses)
    field = ScalarField(plot.xs, plot.ys, plot.losses)
    heights = bands(field.sampled(canvas.dot_places(), xs, ys), levels)
    found = borders(heights)
    if canvas.ascii_only:
        most = len(HEIGHTS) - 1
        canvas.shade(
            heights, [HEIGHTS[i * most // max(1, len(levels))] for i in range(len(levels) + 1)]
        )
    else:
        canvas.draw_dots(found, Pen(DIM))
    _write_levels(canvas, found, levels)
    here = xs.of(plot.at[0]), ys.of(plot.at[1])
    path = [(xs.of(x), ys.of(y)) for x, y in plot.path]
    canvas.trail([*path, here], "+" if canvas.ascii_only else "•", CURVE)
    if plot.next_at is not None:
        canvas.ring((xs.of(plot.next_at[0]), ys.of(plot.next_at[1])))
    canvas.disc(here)


def _write_levels(
    canvas: Canvas, found: Sequence[tuple[Dot, int]], levels: Sequence[float]
) -> None:
    """Each level on its line, as far to the right as it finds room."""
    cells: dict[int, set[Dot]] = {}
    for dot, level in found:
        cells.setdefault(level, set()).add(canvas.cell_of(dot))
    taken: set[Dot] = set()
    for level, places in sorted(cells.items()):
        text = trimmed(levels[level])
        for column, row in sorted(places, reverse=True):
            needed = {(column + i, row) for i in range(-1, len(text) + 1)}
            if column + len(text) <= canvas.width and not needed & taken:
                canvas.put((column, row), text, PLAIN)
                taken |= needed
                break


# ── Along a line: the point, its tangent, whose slope is the gradient, and the next step ──

TOUCHING = 0.1
"""The fraction of the height by which the tangent's climb may differ from the curve's."""

BELOW = 0.2
"""The fraction of the height that is left free below the least loss."""


def draw_slope(plot: SlopePlot, sheet: Sheet) -> Drawing:
    """The loss along the line, on a linear scale: on another the tangent would be bent."""
    title = f"landscape: {_what(plot)}"
    xs = scale_over((*plot.xs, plot.at))
    ys = _with_room_below(scale_over((*plot.losses, plot.loss)))
    notes = _slope_notes(plot, sheet.ascii_only)
    return drawn(title, sheet, (xs, ys), NOTHING, notes, partial(_paint_slope, plot))


def _with_room_below(ys: Scale | None) -> Scale | None:
    """The scale with more room at its lower end: there the tangent parts from the curve."""
    if ys is None or ys.low == ys.high:
        return ys
    low = ys.low + BELOW * ys.low - BELOW * ys.high
    return Scale(low, ys.high, least=ys.low) if math.isfinite(low) else ys


def _what(plot: SlopePlot) -> str:
    axis = f"by {one_line(plot.axis)}" if plot.axis else "along the gradient"
    batch = "" if plot.batch is None else f", batch {plot.batch + 1}"
    return f"loss {axis}{batch}"


def _slope_notes(plot: SlopePlot, ascii_only: bool) -> Iterator[Note]:
    here, after, tangent = "Oo." if ascii_only else "●○·"
    yield Note(here, VALUE, one_line(plot.axis) or "here", legend_number(plot.at))
    yield Note(" ", DIM, "loss", legend_number(plot.loss))
    if plot.slope is None:
        yield Note(" ", DIM, "no gradient yet")
    else:
        steepness = _curve_slope(plot)
        is_touching = steepness is None or _looks_alike(plot, steepness)
        yield Note(
            tangent, VALUE, "slope" if is_touching else "gradient", legend_number(plot.slope)
        )
        if not is_touching:
            yield Note(" ", DIM, "the curve's", number(steepness or 0.0, GRID_DIGITS))
    if plot.next_at is not None:
        yield Note(after, VALUE, "now" if plot.is_done else "next", legend_number(plot.next_at))
        if plot.next_loss is not None:
            yield Note(" ", DIM, "loss", legend_number(plot.next_loss))


def _curve_slope(plot: SlopePlot) -> float | None:
    """The slope of the curve itself at the point: of the parabola through its neighbours."""
    apart = (max(plot.xs) - min(plot.xs)) * 1e-3
    near = sorted(
        (abs(x - plot.at), x, y)
        for x, y in zip(plot.xs, plot.losses, strict=True)
        if math.isfinite(y) and abs(x - plot.at) > apart
    )[:2]
    if len(near) < 2 or not math.isfinite(plot.loss):
        return None
    (_, x1, y1), (_, x2, y2) = near
    first, second = x1 - plot.at, x2 - plot.at
    one, two = (y1 - plot.loss) / first, (y2 - plot.loss) / second
    return (one * second - two * first) / (second - first) if first != second else None


def _looks_alike(plot: SlopePlot, steepness: float) -> bool:
    """Whether the tangent drawn with the lesson's gradient looks like the curve's own."""
    breadth = max(plot.xs) - min(plot.xs)
    finite = [y for y in plot.losses if math.isfinite(y)]
    height = max(finite) - min(finite)
    return abs((plot.slope or 0.0) - steepness) * breadth <= TOUCHING * height


def _paint_slope(plot: SlopePlot, canvas: Canvas, xs: Scale, ys: Scale) -> None:
    here = xs.of(plot.at), ys.of(plot.loss)
    canvas.trail(_tangent(plot, xs, ys), "." if canvas.ascii_only else "·", VALUE)
    points = [(xs.of(x), ys.of(y)) for x, y in zip(plot.xs, plot.losses, strict=True)]
    canvas.line(points, Pen(CURVE))
    _draw_step(canvas, plot, here, xs, ys)
    canvas.disc(here)


def _tangent(plot: SlopePlot, xs: Scale, ys: Scale) -> list[Point]:
    """The two ends of a tangent, at the edges of the window or beyond; none without a slope."""
    if plot.slope is None or not math.isfinite(plot.loss):
        return []
    breadth, height = xs.high - xs.low, ys.high - ys.low
    if not breadth or not height:
        return []
    # How much of the window's height it climbs over the window's breadth.
    climb = plot.slope * (breadth / height)
    x, y = xs.of(plot.at), ys.of(plot.loss)
    if not math.isfinite(climb):
        return []
    return [(0.0, y - climb * x), (1.0, y + climb * (1 - x))]


def _draw_step(canvas: Canvas, plot: SlopePlot, here: Point, xs: Scale, ys: Scale) -> None:
    """The place to which the update leads: a circle, or an arrow towards it if it lies outside."""
    if plot.next_at is None or not math.isfinite(plot.next_at):
        return
    to_right = plot.next_at > plot.at
    arrow = (">" if to_right else "<") if canvas.ascii_only else ("→" if to_right else "←")
    there = (
        xs.of(plot.next_at),
        ys.of(math.nan if plot.next_loss is None else plot.next_loss),
    )
    if not canvas.ring(there):
        canvas.mark((min(max(there[0], 0.0), 1.0), here[1]), arrow, PLAIN)
    elif abs(canvas.cell_at(there)[0] - canvas.cell_at(here)[0]) > 2:
        column, row = canvas.cell_at(here)
        canvas.put((column + (1 if to_right else -1), row), arrow, PLAIN)
