"""A formula with its numbers as rows of styled text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len
from textual.content import Content

from tutor.ui.lines import CHANGED, UNSUPPORTED, VALUE, Piece, line
from tutor.wording.number_format import Span

if TYPE_CHECKING:
    from tutor.formula import Picture, PictureMark

Spans: TypeAlias = tuple[Span, ...]


def formula_rows(
    latex: str, now: Mapping[str, str], changed: Mapping[str, Spans], width: int, ascii_only: bool
) -> list[Content]:
    """The rows of a formula with these values, of which `changed` stretches stand out.

    With other digits, a formula keeps its layout: it is drawn once for each shape of its values.
    Raises FormulaError.
    """
    from tutor.formula import draw, parse  # noqa: PLC0415 - after the first paint

    shapes = tuple([(e, text.translate(_SHAPE)) for e, text in now.items()])
    rows = _rows_of_shapes(latex, shapes, width, ascii_only)
    if rows is None:
        rows = _cut_at_marks(draw(parse(latex), now, width=width, ascii=ascii_only))
    return [line(*_pieces(row, now, changed)) for row in rows]


_SHAPE = str.maketrans("123456789.", "0" * 10)
"""Changes that leave the layout as it is: digits, and the place of the decimal point."""

_PictureRow: TypeAlias = Sequence[tuple[str, "PictureMark | None"]]
"""A row of a picture in parts, each with its mark."""


@lru_cache(512)
def _rows_of_shapes(
    latex: str, shapes: tuple[tuple[str, str], ...], width: int, is_ascii: bool
) -> Sequence[_PictureRow] | None:
    """The rows for all values of these shapes; None where a value is folded or respelled."""
    from tutor.formula import draw, parse  # noqa: PLC0415 - as above

    values = dict(shapes)
    rows = _cut_at_marks(draw(parse(latex), values, width=width, ascii=is_ascii))
    for text, mark in (part for row in rows for part in row):
        if mark is not None and mark.kind == "value" and text != values.get(mark.text, text):
            return None
    return rows


def _cut_at_marks(picture: Picture) -> Sequence[_PictureRow]:
    """The rows of a picture, cut where a mark begins or ends."""
    rows = []
    for number, row in enumerate(picture.rows):
        parts: list[tuple[str, PictureMark | None]] = []
        text, at = row.rstrip(), 0
        for mark in picture.marks:
            if mark.row == number:
                start, end = _index_at(text, mark.start), _index_at(text, mark.end)
                parts += [(text[at:start], None), (text[start:end], mark)]
                at = end
        rows.append((*parts, (text[at:], None)))
    return rows


def _index_at(text: str, cell: int) -> int:
    """Index of the first character that stands at this cell or after it."""
    cells = 0
    for index, character in enumerate(text):
        width = cell_len(character)
        if cells >= cell and width:
            return index
        cells += width
    return len(text)


def _pieces(row: _PictureRow, now: Mapping[str, str], changed: Mapping[str, Spans]) -> list[Piece]:
    """One row of the picture: values stand out, and their changed digits the more so.

    A value in one piece is taken from `now`: the picture may have been drawn for other digits.
    """
    pieces: list[Piece] = []
    for text, mark in row:
        if mark is None:
            pieces.append(text)
        elif mark.kind != "value":
            pieces.append((text, UNSUPPORTED))
        else:
            value, spans = now.get(mark.text, ""), changed.get(mark.text, ())
            if text.translate(_SHAPE) == value.translate(_SHAPE):
                text = value
            elif len(text) != len(value):
                spans = spans and ((0, len(text)),)
            _add_value(pieces, text, spans)
    return pieces


def _add_value(pieces: list[Piece], text: str, changed: Spans) -> None:
    """Add a value, with its changed stretches underlined."""
    at = 0
    for start, end in changed:
        pieces += [(text[at:start], VALUE), (text[start:end], CHANGED)]
        at = end
    pieces.append((text[at:], VALUE))
