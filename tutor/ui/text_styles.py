"""The few styles that text takes, all of them readable without colour.

Colours are the terminal's own sixteen: they cost a slow line little, and they are
readable in whatever palette the learner has chosen.
"""

from __future__ import annotations

from typing import TypeAlias

from textual.color import Color
from textual.content import Content, Span
from textual.style import Style

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
