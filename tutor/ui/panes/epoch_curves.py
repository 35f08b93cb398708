"""A number by epoch, as the loss: this run, the others, and the places of changes by number.

A ghost is the line of another run: dotted, with the run's letter on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from msgspec.structs import replace
from textual.content import Content

from tutor.digits import AXIS_DIGITS
from tutor.plain import cut_short, one_line
from tutor.protocol.frame import Change, Curve, Element
from tutor.protocol.inspections import RunInfo
from tutor.ui.lines import CURVE, DIM, HEADING, PLAIN, line
from tutor.ui.panes.canvas import (
    NO_ROOM,
    Canvas,
    Drawing,
    Pen,
    Point,
    Scale,
    Sheet,
    framed,
    placeholder,
    scale_over,
)
from tutor.wording.number_format import number, trimmed

SEPARATOR = " · "


@dataclass(frozen=True, slots=True)
class ChangeMark:
    """All that was changed in one epoch."""

    number: int
    """1 for the first; what is written at the mark and before its words."""
    epoch: int
    words: str
    is_at_end: bool = False
    """Whether the epoch was over: what was changed is first seen in the next."""

    def __str__(self) -> str:
        return f"{self.number} = {self.words} {self._when}"

    @property
    def _when(self) -> str:
        return f"{'after' if self.is_at_end else 'in'} epoch {self.epoch}"


def change_marks(changes: Sequence[Change], steps: int = 0) -> list[ChangeMark]:
    """One mark for each epoch in which something was changed, in their order.

    `steps` is the number of steps of an epoch, or 0 if it is not known: an epoch whose changes all
    came after its last step is over.
    """
    by_epoch = groupby(changes, key=lambda change: change.at.epoch)
    return [_mark(i, epoch, list(found), steps) for i, (epoch, found) in enumerate(by_epoch, 1)]


def _mark(number: int, epoch: int, changes: Sequence[Change], steps: int) -> ChangeMark:
    is_over = epoch == 0 or (steps > 0 and all(change.at.step >= steps for change in changes))
    return ChangeMark(number, epoch, ", ".join(_change_words(changes)), is_over)


def nearest(marks: Sequence[ChangeMark], here: int, room: int) -> tuple[list[ChangeMark], str]:
    """The marks nearest to an epoch whose words fit into `room` cells, and those words.

    The words end with the number of marks left out. The nearest one is always among them, cut
    short if need be.
    """
    by_distance = sorted(marks, key=lambda mark: (abs(mark.epoch - here), -mark.number))
    for count in range(len(marks), 0, -1):
        chosen = sorted(by_distance[:count], key=lambda mark: mark.number)
        more = [f"and {len(marks) - count} more"] if count < len(marks) else []
        text = SEPARATOR.join([*map(str, chosen), *more])
        if len(text) <= room:
            return chosen, text
    if not marks:
        return [], ""
    return by_distance[:1], str(by_distance[0])[: max(0, room - 1)] + "…"


def _change_words(changes: Sequence[Change]) -> Iterator[str]:
    """The changes of one epoch in words."""
    values: dict[str, str] = {}
    for change in changes:
        for what, word in _facts(change):
            values[what] = word
    yield from values.values()


def _facts(change: Change) -> Iterator[tuple[str, str]]:
    """The settings that a change sets, each with its words."""
    if change.mode is not None:
        yield "mode", one_line(change.mode)
    if change.device is not None:
        yield "device", one_line(change.device)
    if change.learning_rate is not None:
        yield "learning rate", f"lr {trimmed(change.learning_rate)}"
    if change.seed is not None:
        yield "seed", f"seed {change.seed}"
    if change.element is not None:
        name = _name(change.element)
        yield name, f"{name} = {trimmed(change.element.value)}"


def _name(element: Element) -> str:
    where = ", ".join(map(str, element.index))
    return one_line(element.parameter) + (f"[{where}]" if where else "")


@dataclass(frozen=True, slots=True)
class OtherRunLine:
    """A ghost: the line of another run, and the words that tell it from others."""

    letter: str
    name: str
    """Empty if that is its letter and no more."""
    settings: str
    """The mode and learning rate, unless the name contains them."""
    curve: Curve

    def __str__(self) -> str:
        return f"{self.letter} = " + " ".join(filter(None, (self.name, self.settings)))

    @property
    def in_short(self) -> str:
        """Just enough to tell it from the others."""
        return f"{self.letter} = {self.name or self.settings}"


def ghosts_of(runs: Sequence[RunInfo]) -> list[OtherRunLine]:
    """The other runs that have a curve, in the order in which they are listed."""
    return [
        OtherRunLine(
            run.letter,
            "" if run.name == run.letter else one_line(run.name),
            _settings(run, one_line(run.name)),
            run.curve,
        )
        for run in runs
        if not run.is_current and run.curve is not None and run.curve.epochs
    ]


def legend(ghosts: Sequence[OtherRunLine], room: int) -> str:
    """The letter and words of each ghost; shorter ones, all cut to one length, without room."""
    text = SEPARATOR.join(map(str, ghosts))
    if len(text) <= room:
        return text
    names = [ghost.in_short for ghost in ghosts]
    for limit in range(max(map(len, names), default=0), 1, -1):
        text = SEPARATOR.join(cut_short(name, limit) for name in names)
        if len(text) <= room:
            return text
    return " ".join(ghost.letter for ghost in ghosts)[: max(0, room)]


def _settings(run: RunInfo, name: str) -> str:
    """Mode and learning rate, unless the name says them already, or it is a script's own."""
    rate = f"lr {trimmed(run.learning_rate)}"
    words = [] if run.mode in name.split() else [one_line(run.mode)]
    words += [rate] if run.learning_rate and rate not in name else []
    return " ".join(words)


LOG_FROM = 20.0
"""Greatest over least loss from which the scale is logarithmic."""

TALL = 7
"""Rows from which the words about runs and those about changes may take a line each."""

LETTER_EVERY = 12
"""Columns from one letter on a ghost's line to the next."""


@dataclass(frozen=True, slots=True)
class EpochCurves:
    """The data of a plot over the epochs."""

    curve: Curve
    changes: tuple[Change, ...] = ()
    runs: tuple[RunInfo, ...] = ()
    steps: int = 0
    """The steps of an epoch in the present mode; 0 where that is not known."""
    title: str = "loss by epoch"
    noun: str = "loss"
    """What each of the numbers is called."""

    @property
    def all(self) -> list[Curve]:
        """The run's own curve, and the ghosts' curves."""
        return [self.curve, *(ghost.curve for ghost in ghosts_of(self.runs))]

    def numbers(self) -> Iterator[float]:
        """Every number that is finite."""
        for curve in self.all:
            yield from (x for x in (*curve.low, *curve.high) if math.isfinite(x))


def is_log(curves: EpochCurves) -> bool:
    """Whether the scale that is chosen by itself is the logarithmic one."""
    found = list(curves.numbers())
    above = [x for x in found if x > 0]
    return bool(above) and min(found) >= 0 and max(above) / LOG_FROM >= min(above)


def draw(curves: EpochCurves, log: bool, sheet: Sheet) -> Drawing:
    """The numbers by epoch on a logarithmic or a linear scale.

    A 0 stands at the lower edge of a logarithmic scale; where any is below 0, there
    is none, and the drawing says so.
    """
    title, noun = f"{curves.title}, {'log' if log else 'linear'} scale", curves.noun
    numbers = list(curves.numbers())
    if not numbers:
        return placeholder(curves.title, f"No finite {noun} so far.")
    if log and min(numbers) < 0:
        least = number(min(numbers), AXIS_DIGITS)
        return placeholder(
            title, f"A log scale needs numbers above 0, but the lowest {noun} here is {least}."
        )
    if sheet.is_too_small:
        return placeholder(title, NO_ROOM)
    scale = scale_over(x for x in numbers if x > 0 or not log)
    if scale is None:
        return placeholder(title, f"A log scale needs numbers above 0, but each {noun} here is 0.")
    # The number of the epoch at hand is known when it ends: until then it is the last one's.
    here = min(curves.curve.here, curves.curve.last_epoch)
    lines = _lines(curves, replace(scale, log=log), sheet)
    return Drawing(f"{title} · ● epoch {here}", tuple(lines))


# ── The words above ─────────────────────────────────────────────────────────────────


def _lines(curves: EpochCurves, scale: Scale, sheet: Sheet) -> Iterator[Content]:
    """The legend, if there is one, and the plot below it."""
    runs = _names(ghosts_of(curves.runs), sheet)
    shown, words = _words(curves, scale, sheet.width)
    room = sheet.width - len(runs) - len(SEPARATOR)
    if runs and words:
        on_one_line = _words(curves, scale, max(room, 0))
        if on_one_line[1] == words or sheet.height < TALL:
            shown, words = on_one_line
            runs, words = "", runs + SEPARATOR + words
    texts = [line((text, DIM)) for text in (runs, words) if text]
    legend = [text.truncate(sheet.width, ellipsis=True) for text in texts]
    yield from legend
    rest = Sheet(sheet.width, sheet.height - len(legend), sheet.ascii_only)
    yield from _plot(curves, scale, shown, rest)


def _names(ghosts: Sequence[OtherRunLine], sheet: Sheet) -> str:
    """The names of the runs beside their lines, if there is more than one."""
    if not ghosts:
        return ""
    own = f"* this run{SEPARATOR}" if sheet.ascii_only else ""
    return own + legend(ghosts, sheet.width - len(own))


def _words(curves: EpochCurves, scale: Scale, room: int) -> tuple[list[ChangeMark], str]:
    """Words for omitted points and for changes; and the marks they refer to."""
    curve = curves.curve
    is_whole = all(map(math.isfinite, (*curve.low, *curve.high)))
    has_zero = scale.log and 0 in (*curve.low, *curve.high)
    gaps = "" if is_whole else "NaN or inf left out"
    gaps = SEPARATOR.join(
        filter(None, (gaps, f"a {curves.noun} of 0 is drawn at the lower edge" if has_zero else ""))
    )
    separator = SEPARATOR if gaps and curves.changes else ""
    shown, words = nearest(
        change_marks(curves.changes, curves.steps), curve.here, room - len(gaps + separator)
    )
    return shown, gaps + separator + words


# ── The plot ────────────────────────────────────────────────────────────────────────


def _plot(
    curves: EpochCurves, scale: Scale, shown: Sequence[ChangeMark], sheet: Sheet
) -> list[Content]:
    first = min(curve.epochs[0] for curve in curves.all if curve.epochs)
    epochs = Scale(first, max(first + 1, *(curve.last_epoch for curve in curves.all)))
    ends = int(epochs.low), int(epochs.high)
    along = [(epochs.of(e), str(e)) for e in sorted({*ends, sum(ends) // 2})]
    return framed(sheet, scale, along, partial(_paint, curves, shown, epochs, scale))


def _paint(
    curves: EpochCurves, shown: Sequence[ChangeMark], epochs: Scale, scale: Scale, canvas: Canvas
) -> None:
    ghosts = ghosts_of(curves.runs)
    own = _points(curves.curve, epochs, scale)
    others = [_points(ghost.curve, epochs, scale) for ghost in ghosts]
    for ghost, points in zip(ghosts, others, strict=True):
        canvas.line(points, Pen(DIM, ghost.letter, on=1, off=2, lone=ghost.letter))
    _draw_marks(canvas, change_marks(curves.changes, curves.steps), shown, epochs)
    canvas.line(own, Pen(CURVE))
    for i, (ghost, points) in enumerate(zip(ghosts, others, strict=True)):
        _write_letters(canvas, ghost.letter, points, i * LETTER_EVERY // len(ghosts))
    for point in _point_here(curves.curve, epochs, scale):
        canvas.disc(point)


def _points(curve: Curve, epochs: Scale, scale: Scale) -> list[Point]:
    """Least and greatest of each column as one line that loses no spike."""
    points: list[Point] = []
    for epoch, low, high in zip(curve.epochs, curve.low, curve.high, strict=True):
        ends = (low,) if low == high else (high, low)
        places = [scale.of(loss) for loss in ends]
        there = [y for y in places if math.isfinite(y)]
        # A column that holds both kinds shows its number, and is a gap to the next.
        points += [(epochs.of(epoch), y) for y in there]
        points += [(epochs.of(epoch), math.nan)] * (len(there) < len(places))
    return points


def _draw_marks(
    canvas: Canvas, marks: Sequence[ChangeMark], shown: Sequence[ChangeMark], x: Scale
) -> None:
    """An upright line for each mark, and its number at the top where it finds room."""
    free = [True] * canvas.width
    for mark in marks:
        column, _ = canvas.cell_at((min(max(x.of(mark.epoch), 0.0), 1.0), 1.0))
        for row in range(canvas.height):
            canvas.put((column, row), "|" if canvas.ascii_only else "┆", DIM)
    # Those that the legend explains come first.
    for mark in [*shown, *(m for m in marks if m not in shown)]:
        column, _ = canvas.cell_at((min(max(x.of(mark.epoch), 0.0), 1.0), 1.0))
        text = str(mark.number)
        start = min(column, canvas.width - len(text))
        if all(free[start : start + len(text)]):
            canvas.put((start, 0), text, HEADING)
            free[max(0, start - 1) : start + len(text) + 1] = [False] * (len(text) + 2)


def _write_letters(canvas: Canvas, letter: str, points: Sequence[Point], skip: int) -> None:
    """The letter of a run on its line, every so often, but never on the line of this run."""
    due = skip
    drawn = [point for point in points if all(map(math.isfinite, point))]
    for point in drawn:
        cell = canvas.cell_at(point)
        if (cell[0] >= due or point is drawn[-1]) and canvas.style_at(cell) is not CURVE:
            canvas.put(cell, letter, PLAIN)
            due = cell[0] + LETTER_EVERY


def _point_here(curve: Curve, epochs: Scale, scale: Scale) -> Iterator[Point]:
    """The point of the run's epoch, if there is a loss in that column."""
    columns = zip(curve.epochs, curve.low, curve.high, strict=True)
    here = min(curve.here, curve.last_epoch)
    until = [column for column in columns if column[0] <= here]
    for _, low, high in until[-1:]:
        for loss in (high, low):
            if math.isfinite(y := scale.of(loss)):
                yield min(max(epochs.of(here), 0.0), 1.0), y
                return
