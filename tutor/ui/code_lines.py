"""Code as lines to show: highlighted, marked, and folded where it is too wide.

Not a character of it is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from textual.content import Content
from textual.style import Style

from tutor.lesson.model import Fence
from tutor.plain import plain
from tutor.ui import text_styles
from tutor.ui.code_diff import DiffLine
from tutor.ui.marks import GUTTER
from tutor.ui.names import Name
from tutor.ui.text_styles import Piece, line

FOLDED: Piece = ("↪ ", text_styles.DIM)
FAILED: Piece = ("✗ ", text_styles.ERROR)
SIGNS: dict[str, Piece] = {
    "-": ("- ", text_styles.STRONG),
    "+": ("+ ", text_styles.STRONG),
    " ": "  ",
}


@dataclass(frozen=True, slots=True, eq=False)
class CodeRow:
    """One row of a pane, and the part of the code that it shows."""

    content: Content
    line: int
    """The line number in the lesson's file."""
    start: int
    """The row's first character in that line, and the one after its last."""
    end: int

    def shows(self, name: Name) -> bool:
        """Whether the name begins here."""
        return name.line == self.line and self.start <= name.start < self.end


def fence_rows(
    fence: Fence, width: int, mark: Piece, failed: int | None, chosen: Name | None
) -> Iterator[CodeRow]:
    """The rows of a fence, `mark` before each of its lines; `failed` is a line that raised."""
    for number, content in enumerate(highlighted(fence.code), fence.line):
        first = FAILED if number == failed else mark
        if chosen is not None and chosen.line == number:
            content = content.stylize(text_styles.ACTIVE, chosen.start, chosen.end)
        at = 0
        for part, row in _folded(first, content, width):
            yield CodeRow(row, number, at, at + part)
            at += part


def _folded(mark: Piece, content: Content, width: int) -> Iterator[tuple[int, Content]]:
    """The rows of a line, each with the number of its characters."""
    room = max(10, width - GUTTER)
    rest = content
    while rest.cell_length > room:
        part = rest[: _fold_at(rest.plain, len(rest.fold(room)[0].plain))]
        yield len(part.plain), line(mark) + part
        rest, mark = rest[len(part.plain) :], FOLDED
    yield len(rest.plain), line(mark) + rest


def _fold_at(code: str, most: int) -> int:
    """The number of characters in the first row, up to a blank or an operator if one is near."""
    for end in (_BLANK, _OPERATOR):
        ends = (found.end() for found in end.finditer(code, most // 2))
        near = max((at for at in ends if at <= most), default=0)
        if code[:near].strip():
            return near
    return most


_BLANK = re.compile(r"\s+")
_OPERATOR = re.compile(r"[-+*/%@=<>,.:(\[{]+(?=[\w\"'(\[])")


def diff_rows(change: DiffLine, width: int) -> Iterator[Content]:
    """The rows of one line of a difference; removed code is dim."""
    (content,) = highlighted(change.code) if change.sign != "-" else (_gone(change.code),)
    for _, row in _folded(SIGNS[change.sign], content, width):
        yield row


def _gone(code: str) -> Content:
    return line((plain(code), text_styles.DIM))


@lru_cache(256)
def highlighted(code: str) -> tuple[Content, ...]:
    """The code's lines with Python's syntax highlighted; not a character is changed."""
    # Lazy: the first paint comes before the lexer is loaded.
    from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]  # noqa: PLC0415

    text = plain(code).rstrip("\n")
    pieces: list[Piece] = []
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    for kind, part in lexer.get_tokens(text):
        style = _style(str(kind))
        pieces.append((part, style) if style else part)
    return tuple(line(*pieces).split("\n", allow_blank=True))


def _style(kind: str) -> Style | None:
    for prefix, style in _STYLES.items():
        if kind.startswith(prefix):
            return style
    return None


_STYLES = {
    "Token.Comment": text_styles.DIM,
    "Token.Keyword": text_styles.KEYWORD,
    "Token.Operator.Word": text_styles.KEYWORD,
    "Token.Literal.String": text_styles.STRING,
    "Token.Literal.Number": text_styles.CODE,
}
