"""The table of a network with many parameters: one line for each, with mean and norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from textual.content import Content

from tutor.plain import one_line
from tutor.protocol.frame import Frame, Value
from tutor.protocol.inspections import OtherRunState
from tutor.ui import text_styles
from tutor.ui.text_styles import Piece, line
from tutor.wording import number_format

DIGITS = 4
GAP = "  "

_COLUMNS = ("shape", "mean", "norm", "change", "then", "gradient")
_DROPPED = ("shape", "change", "mean", "then")
"""The columns that a narrow pane leaves out, the first of them first."""
_HEADINGS = {"then": "norm then", "gradient": "grad norm"}


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    has_changed: bool
    cells: Mapping[str, str]


def height_of(frame: Frame) -> int:
    """The lines that the numbers of a frame take where every array is written out.

    They depend on the shapes alone, so that it is the same at every step.
    """
    arrays = (*frame.values.values(), *frame.watched.values())
    lines = [1 if value.norm is not None else _rows(value) for value in arrays]
    return 2 + 2 * sum(lines[: len(frame.values)]) + sum(lines[len(frame.values) :])


def _rows(value: Value) -> int:
    return max(1, value.size // value.shape[-1]) if value.shape and value.shape[-1] else 1


def parameter_lines(
    frame: Frame, before: Frame | None, then: OtherRunState | None, width: int
) -> Iterator[Content]:
    """A heading, and a line for each parameter and watched expression."""
    rows = list(_table(frame, before, then.frame if then else None))
    names = max((len(row.name) for row in rows), default=0)
    room = width - text_styles.GUTTER - names
    columns = [c for c in _COLUMNS if c != "then" or then is not None]
    widths = {column: _width(column, rows) for column in columns}
    for column in _DROPPED:
        if sum(widths.values()) + len(GAP) * len(widths) > room:
            widths.pop(column, None)
    head = "".join(GAP + _HEADINGS.get(c, c).ljust(w) for c, w in widths.items())
    yield line((" " * (text_styles.GUTTER + names) + head.rstrip(), text_styles.DIM))
    aligned = {c: number_format.align([row.cells.get(c, "") for row in rows]) for c in widths}
    for index, row in enumerate(rows):
        mark = text_styles.DONE_MARK if row.has_changed else text_styles.NO_MARK
        pieces: list[Piece] = [mark, row.name.ljust(names)]
        for column, cells in widths.items():
            text = row.cells.get(column, "") if column == "shape" else aligned[column][index]
            piece = GAP + text.ljust(cells)
            pieces.append((piece, text_styles.STRONG) if column == "norm" else piece)
        yield line(*pieces).rstrip().truncate(width, ellipsis=True)


def _width(column: str, rows: Sequence[_Row]) -> int:
    texts = [row.cells.get(column, "") for row in rows]
    cells = texts if column == "shape" else number_format.align(texts)
    return max(len(_HEADINGS.get(column, column)), *map(len, cells))


def _table(frame: Frame, before: Frame | None, then: Frame | None) -> Iterator[_Row]:
    was = before.values if before else {}
    other = then.values if then else {}
    for name, value in frame.values.items():
        yield _row(name, value, was.get(name), other.get(name), frame.gradients.get(name))
    was, other = before.watched if before else {}, then.watched if then else {}
    for name, value in frame.watched.items():
        yield _row(name, value, was.get(name), other.get(name), None)


def _row(
    name: str, now: Value, was: Value | None, then: Value | None, gradient: Value | None
) -> _Row:
    figures = number_format.summary(now, DIGITS)
    known = [number_format.mean_and_norm(value) for value in (now, was) if value]
    cells = {
        "shape": "×".join(map(str, now.shape)),
        "mean": figures.get("mean", ""),
        "norm": figures.get("norm") or one_line(number_format.short(now, DIGITS)),
        "change": _change(known) if was is not None and was != now else "",
        "then": _text(then),
        "gradient": _text(gradient),
    }
    return _Row(one_line(name), was is not None and was != now, cells)


def _change(figures: Sequence[tuple[float, float] | None]) -> str:
    """The change of the norm."""
    now, was = figures
    return number_format.change(now[1], was[1], DIGITS) if now and was else ""


def _text(value: Value | None) -> str:
    """The norm of a value; in words, if it is none: `None`."""
    if value is None:
        return ""
    norm = number_format.summary(value, DIGITS).get("norm")
    return norm or one_line(number_format.short(value, DIGITS))
