"""The numbers pane: each watched value now, before, and by how much it has moved.

Knows a frame and the one before; nothing of formulas, code or curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.reactive import var

from tutor.plain import one_line
from tutor.training.frame import Frame, Value
from tutor.ui import digits, looks
from tutor.ui.looks import Piece, line
from tutor.ui.moment import Moment
from tutor.ui.panes.lines import LinesPane

SCALAR_DIGITS, ARRAY_DIGITS = 6, 4
GAP = 2
_LAYOUTS = (("now", "was", "change"), ("now", "change"))
"""The columns: all, or fewer if more rows find room in them then."""

Block = tuple[str, ...]
"""The lines of one cell of the table, all equally wide."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to show: its name, what it is now and what it was."""

    name: str
    now: Value
    was: Value | None


class NumbersPane(LinesPane):
    """Loss, parameters, gradients and watched expressions as a table."""

    moment: var[Moment | None] = var(None)

    def watch_moment(self, old: Moment | None, new: Moment | None) -> None:
        """Another frame."""
        self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """The table in as many columns as there is room for."""
        moment = self.moment
        if moment is None or moment.frame is None:
            return [line(("The numbers come as soon as the lesson has begun.", looks.DIM))]
        lines = list(_table(list(rows(moment.frame, moment.before)), width))
        if moment.frame.diverged:
            at = f" in epoch {moment.diverged_at}" if moment.diverged_at else ""
            word = f"The run has diverged{at}: its numbers have grown past all bounds. "
            todo = "Lower the learning rate with [, then start again with R."
            lines = [*line((word + todo, looks.ERROR)).wrap(width), *lines]
        return lines


def rows(frame: Frame, before: Frame | None) -> Iterator[Row]:
    """What the table shows: the loss, each parameter with its gradient below it, the watched."""
    comparable = before if before and before.mode == frame.mode else None
    yield Row("loss", frame.loss, comparable.loss if comparable else None)
    for name, value in frame.values.items():
        yield Row(name, value, before.values.get(name) if before else None)
        gradient = frame.gradients.get(name)
        if gradient is None:
            continue
        yield Row("  gradient", gradient, comparable.gradients.get(name) if comparable else None)
        now = frame.gradients_now.get(name)
        if now is not None and _differ(now, gradient):
            yield Row("  right now", now, None)
    for label, value in frame.watched.items():
        yield Row(one_line(label), value, before.watched.get(label) if before else None)


def _differ(a: Value, b: Value) -> bool:
    return digits.matrix(a, 9) != digits.matrix(b, 9)


@dataclass(frozen=True, slots=True)
class _Cells:
    name: str
    blocks: dict[str, Block]

    @property
    def height(self) -> int:
        return max(len(b) for b in self.blocks.values())


def _table(table: Sequence[Row], width: int) -> Iterator[Content]:
    cells = _aligned_scalars([_cells(row) for row in table], table)
    names = max(len(c.name) for c in cells)
    fits = [_fitted(cells, layout, width - names) for layout in _LAYOUTS]
    widths, fitting = max(fits, key=lambda fit: len(fit[1]))
    yield line((" " * names + "".join(_heading(k, w) for k, w in widths.items()), looks.DIM))
    for cell in cells:
        yield from _lines(cell, names, widths) if cell in fitting else _alone(cell, names, width)


def _fitted(
    cells: Sequence[_Cells], layout: Sequence[str], room: int
) -> tuple[dict[str, int], list[_Cells]]:
    """How wide the columns are, and which rows have room in them: the narrow ones come first."""
    widths = {column: len(column) for column in layout}
    fitting: list[_Cells] = []
    for cell in sorted(cells, key=lambda c: sum(map(_width, c.blocks.values()))):
        wider = {k: max(w, _width(cell.blocks[k])) for k, w in widths.items()}
        if sum(wider.values()) + GAP * len(wider) <= room:
            widths = wider
            fitting.append(cell)
    return widths, fitting


def _alone(cell: _Cells, names: int, width: int) -> Iterator[Content]:
    """A row too wide for the columns: what it is now, over as many lines as that takes."""
    name = cell.name.ljust(names + GAP)
    for text in cell.blocks["now"]:
        for part in line((text, looks.STRONG)).wrap(max(10, width - names - GAP)):
            yield line(name) + part.rstrip()
            name = " " * len(name)


def _heading(name: str, width: int) -> str:
    return " " * GAP + name.ljust(width)


def _lines(cells: _Cells, names: int, widths: dict[str, int]) -> Iterator[Content]:
    for i in range(cells.height):
        pieces: list[Piece] = [(cells.name if i == 0 else "").ljust(names)]
        for column, width in widths.items():
            block = cells.blocks[column]
            text = " " * GAP + (block[i] if i < len(block) else "").ljust(width)
            pieces.append((text, looks.STRONG) if column == "now" else text)
        yield line(*pieces)


def _width(block: Block) -> int:
    return max((len(text) for text in block), default=0)


def _cells(row: Row) -> _Cells:
    if digits.is_single(row.now):
        return _Cells(row.name, {"now": (), "was": (), "change": _change(row, SCALAR_DIGITS)})
    was = tuple(digits.matrix(row.was, ARRAY_DIGITS)) if row.was else ()
    return _Cells(
        row.name,
        {
            "now": tuple(digits.matrix(row.now, ARRAY_DIGITS)),
            "was": was,
            "change": _change(row, ARRAY_DIGITS),
        },
    )


def _aligned_scalars(cells: list[_Cells], table: Sequence[Row]) -> list[_Cells]:
    """The scalars' texts, their decimal points in one column."""
    scalar = [i for i, row in enumerate(table) if digits.is_single(row.now)]
    for column in ("now", "was"):
        values = [table[i].now if column == "now" else table[i].was for i in scalar]
        for i, text in zip(scalar, digits.align([_text(v) for v in values]), strict=True):
            cells[i].blocks[column] = (text,)
    return cells


def _text(value: Value | None) -> str:
    return "" if value is None else one_line(digits.short(value, SCALAR_DIGITS))


def _change(row: Row, precision: int) -> Block:
    moved = digits.each(row.now, row.was, lambda a, b: digits.change(a, b, precision))
    if moved is None:
        return ()
    if digits.is_single(row.now):
        return moved
    if all(text == "=" for text in moved):
        return ("=",)
    return tuple(digits.boxed_rows(moved, row.now.shape[-1]))
