"""The styles that text takes, and the marks of phases; all can be read without colour.

Colours are the terminal's own sixteen: they cost a slow line little, and they are
readable in whatever palette the learner has chosen.
"""

from __future__ import annotations

from typing import TypeAlias

from textual.color import Color
from textual.content import Content, Span
from textual.style import Style

from tutor.lesson.model import Section
from tutor.session.run_view import RunView

PLAIN = Style()
HEADING = Style(bold=True)
NEXT = Style(bold=True, foreground=Color.parse("ansi_green"))
"""The phase that is about to run (with its ▶)."""
DONE = Style(bold=True, foreground=Color.parse("ansi_yellow"))
"""The code and values that the last step ran and changed (with its ┃)."""
DIM = Style(dim=True)
CODE = Style(foreground=Color.parse("ansi_cyan"))
KEYWORD = Style(bold=True, foreground=Color.parse("ansi_magenta"))
STRING = Style(foreground=Color.parse("ansi_green"))
EMPHASIS = Style(italic=True)
STRONG = Style(bold=True)
VALUE = Style(bold=True, foreground=Color.parse("ansi_cyan"))
CHANGED = Style(bold=True, underline=True, foreground=Color.parse("ansi_yellow"))
UNSUPPORTED = Style(reverse=True)
ERROR = Style(bold=True, foreground=Color.parse("ansi_red"))
KEY = Style(bold=True, foreground=Color.parse("ansi_cyan"))
ACTIVE = Style(bold=True, reverse=True)
CURVE = Style(foreground=Color.parse("ansi_green"))

Piece: TypeAlias = str | tuple[str, Style]
"""Text, or text with a style."""


def line(*pieces: Piece) -> Content:
    """One line of pieces; nothing in them is read as markup."""
    texts: list[str] = []
    spans: list[Span] = []
    at = 0
    for piece in pieces:
        text, style = (piece, None) if isinstance(piece, str) else piece
        if style is not None and text:
            spans.append(Span(at, at + len(text), style))
        texts.append(text)
        at += len(text)
    return Content("".join(texts), spans)


CURSOR = "▶ "
"""Before the chosen row of a list."""


def list_row(row: Content, is_chosen: bool, width: int) -> Content:
    """A row of a list, `width` cells wide; the chosen one has a mark and stands reversed."""
    if not is_chosen:
        return line(" " * len(CURSOR)) + row
    row = row.truncate(width - len(CURSOR))
    blank = " " * max(0, width - len(CURSOR) - row.cell_length)
    return line(CURSOR, (row.plain + blank, ACTIVE))  # of one style: dim is grey on grey


# ── The marks of phases, in a gutter of two cells ───────────────────────────────────

GUTTER = 2
"""The width of a mark in cells."""
NEXT_MARK: Piece = ("▶ ", NEXT)
"""Before the phase that is about to run."""
DONE_MARK: Piece = ("┃ ", DONE)
"""Beside all that belongs to the last step: the formula, the code, the changed numbers."""
NO_MARK: Piece = "  "


def marks(section: Section | None, view: RunView) -> tuple[Piece, Piece]:
    """The mark before a phase's name, and that before each line of its code or formulas."""
    frame = view.frame
    if section is None or frame is None:
        return NO_MARK, NO_MARK
    has_just_run = section.phase == frame.phase and _is_same(section, view.last_section)
    is_next = section.phase == frame.next_phase and _is_same(section, view.next_section)
    mark = DONE_MARK if has_just_run else NO_MARK
    return NEXT_MARK if is_next else mark, mark


def _is_same(one: Section, other: Section | None) -> bool:
    """Whether two sections are one phase: its code may differ, as in an exercise."""
    return other is not None and (one.phase, one.line) == (other.phase, other.line)
