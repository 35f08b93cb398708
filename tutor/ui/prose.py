"""A lesson's text as lines of a given width: Markdown, and formulas with their numbers.

Markup without a style of its own is shown as its source: prose is never dropped. Text is wrapped
also where it is written without blanks, as Chinese is: between two wide characters a row may end,
except that none begins with a closing mark or ends with an opening one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len
from textual.content import Content

from tutor.errors import FormulaError
from tutor.plain import plain
from tutor.ui.lines import CHANGED, CODE, DIM, EMPHASIS, STRONG, UNSUPPORTED, VALUE, Piece, line
from tutor.wording.layout import HAS_WIDE, units
from tutor.wording.number_format import Span

if TYPE_CHECKING:
    from markdown_it.token import Token
    from textual.style import Style

    from tutor.formula import FormulaMark, FormulaPicture

_SHORT_FORMULA = 16
"""Cells up to which an inline formula is kept on one row."""

_KEPT_BLANK = "\ue000"
"""A blank at which no row ends. `plain` lets no such character into a text."""


def wrap(content: Content, width: int) -> list[Content]:
    """Rows of at most `width` cells; a word that is wider than a row is folded."""
    if not HAS_WIDE.search(content.plain):
        return [_with_blanks(row) for row in content.wrap(width)]
    rows = [content[start:end].rstrip() for start, end in _rows(content.plain, width)]
    return [_with_blanks(folded) for row in rows for folded in row.fold(width)]


def _kept_together(formula: str) -> str:
    """A formula as a text that `wrap` doesn't break, if it is short."""
    return formula.replace(" ", _KEPT_BLANK) if cell_len(formula) <= _SHORT_FORMULA else formula


def _with_blanks(row: Content) -> Content:
    if _KEPT_BLANK not in row.plain:
        return row
    return Content(row.plain.replace(_KEPT_BLANK, " "), [*row.spans])


def at_line_end(before: str, after: str) -> str:
    """The text for a line's end in the source: a space, but none between wide characters.

    `before` and `after` are the texts on both its sides.
    """
    return "" if HAS_WIDE.match(before[-1:]) and HAS_WIDE.match(after[:1]) else " "


def _rows(text: str, width: int) -> Iterator[tuple[int, int]]:
    """The start and end of each row."""
    start = end = used = 0
    for unit in units(text):
        if used and used + cell_len(unit[0].rstrip()) > width:
            yield start, end
            start, used = unit.start(), 0
        used += cell_len(unit[0])
        end = unit.end()
    if end > start:
        yield start, end


Inline = Callable[[str], str]
"""Draws the LaTeX of an inline formula on one line."""


def inline_formulas(ascii_only: bool) -> Inline:
    """The function that draws inline formulas; a formula that can't be parsed is unchanged."""

    def draw(latex: str) -> str:
        # Lazy: the first paint comes before the formula's parser is loaded.
        from tutor.formula import draw_inline, parse  # noqa: PLC0415

        try:
            return plain(draw_inline(parse(latex), {}, ascii=ascii_only))
        except FormulaError:
            return plain(latex)

    return draw


def prose_lines(markdown: str, width: int, inline: Inline) -> list[Content]:
    """The prose wrapped into `width` columns, paragraphs apart by an empty line."""
    # Lazy: the first paint comes before the Markdown parser is loaded.
    from tutor.lesson.markdown import parser  # noqa: PLC0415

    writer = _Writer(width, inline)
    writer.write(parser().parse(plain(markdown)))
    return writer.lines


class _Writer:
    """A single pass over the tokens of one piece of Markdown."""

    def __init__(self, width: int, inline: Inline) -> None:
        self.lines: list[Content] = []
        self._width = width
        self._inline = inline
        self._lists: list[int | None] = []
        self._bullet = ""
        self._tight = False
        self._row: list[list[Piece]] = []
        self._quotes = 0
        self._is_in_cell = False

    def write(self, tokens: list[Token]) -> None:
        for token in tokens:
            match token.type:
                case "bullet_list_open":
                    self._lists.append(None)
                case "ordered_list_open":
                    self._lists.append(int(token.attrGet("start") or 1))
                case "bullet_list_close" | "ordered_list_close":
                    self._lists.pop()
                case "list_item_open":
                    self._bullet = self._next_bullet()
                case "blockquote_open":
                    self._quotes += 1
                case "blockquote_close":
                    self._quotes -= 1
                case "paragraph_open":
                    self._tight = token.hidden
                case "tr_open":
                    self._row = []
                case "tr_close":
                    self._write_row()
                case "th_open" | "td_open" | "th_close" | "td_close":
                    self._is_in_cell = token.nesting > 0
                case "inline" if self._is_in_cell:
                    self._row.append(list(self._pieces(token)))
                case "inline":
                    self._paragraph(list(self._pieces(token)))
                case "code_block" | "fence":
                    self._verbatim(token.content)
                case "html_block":
                    self._paragraph([token.content.strip()])
                case "hr":
                    self._gap()
                    self.lines.append(line(("─" * self._width, DIM)))

    def _next_bullet(self) -> str:
        number = self._lists[-1]
        if number is None:
            return "• "
        self._lists[-1] = number + 1
        return f"{number}. "

    def _gap(self) -> None:
        if self.lines and self.lines[-1].plain.strip():
            self.lines.append(line())

    def _paragraph(self, pieces: list[Piece]) -> None:
        tight_item = bool(self._lists) and self._tight
        if not tight_item or self._bullet == "":
            self._gap()
        indent = "  " * max(0, len(self._lists) - 1) + "│ " * self._quotes
        first = indent + self._bullet
        rest = indent + " " * len(self._bullet if self._bullet else ("  " if self._lists else ""))
        self._bullet = ""
        for content in line(*pieces).split("\n"):
            for wrapped in wrap(content, max(10, self._width - len(first))):
                self.lines.append(line(first) + wrapped.rstrip())
                first = rest

    def _verbatim(self, text: str) -> None:
        self._gap()
        for row in text.rstrip("\n").split("\n"):
            self.lines.extend(line((f"  {row}", CODE)).fold(self._width))

    def _write_row(self) -> None:
        if not self.lines or " │ " not in self.lines[-1].plain:
            self._gap()
        each = max(4, self._width // max(1, len(self._row)) - 3)
        cells = [wrap(line(*cell), each) or [line()] for cell in self._row]
        for i in range(max(map(len, cells), default=0)):
            parts = [(c[i] if i < len(c) else line()).rstrip() for c in cells]
            self.lines.append(line(" │ ").join([p.truncate(each, pad=True) for p in parts]))

    def _pieces(self, token: Token) -> Iterator[Piece]:
        styles: list[Style] = []
        children = token.children or []
        for index, child in enumerate(children):
            match child.type:
                case "em_open":
                    styles.append(EMPHASIS)
                case "strong_open":
                    styles.append(STRONG)
                case "em_close" | "strong_close":
                    styles.pop()
                case "softbreak":
                    yield at_line_end(children[index - 1].content, children[index + 1].content)
                case "hardbreak":
                    yield "\n"
                case "code_inline":
                    yield (child.content, CODE)
                case "math_inline" | "math_inline_double":
                    yield (_kept_together(self._inline(child.content)), EMPHASIS)
                case "link_open" | "link_close":
                    pass
                case "image":
                    yield child.content
                case _:
                    yield (child.content, styles[-1]) if styles else child.content


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

_FormulaRow: TypeAlias = Sequence[tuple[str, "FormulaMark | None"]]
"""A row of a picture in parts, each with its mark."""


@lru_cache(512)
def _rows_of_shapes(
    latex: str, shapes: tuple[tuple[str, str], ...], width: int, is_ascii: bool
) -> Sequence[_FormulaRow] | None:
    """The rows for all values of these shapes; None where a value is folded or respelled."""
    from tutor.formula import draw, parse  # noqa: PLC0415 - as above

    values = dict(shapes)
    rows = _cut_at_marks(draw(parse(latex), values, width=width, ascii=is_ascii))
    for text, mark in (part for row in rows for part in row):
        if mark is not None and mark.kind == "value" and text != values.get(mark.text, text):
            return None
    return rows


def _cut_at_marks(picture: FormulaPicture) -> Sequence[_FormulaRow]:
    """The rows of a picture, cut where a mark begins or ends."""
    rows = []
    for number, row in enumerate(picture.rows):
        parts: list[tuple[str, FormulaMark | None]] = []
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


def _pieces(row: _FormulaRow, now: Mapping[str, str], changed: Mapping[str, Spans]) -> list[Piece]:
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
