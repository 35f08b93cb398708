"""The characters that the terminal can show, and a filter for all others."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_STAND_INS = {
    "▶": ">", "▸": ">", "►": ">", "→": ">", "⇒": ">", "◀": "<", "◂": "<", "←": "<",
    "▲": "^", "↑": "^", "▼": "v", "↓": "v", "↪": "\\", "●": "O", "•": "*", "◆": "*",
    "✗": "!", "✓": "+", "◇": "o", "·": "-", "−": "-", "–": "-", "—": "-", "×": "x", "…": "~",
    "‘": "'", "’": "'", "“": '"', "”": '"', "│": "|", "┃": "|", "║": "|", "┆": "|",
    "┊": "|", "╎": "|", "═": "=", "━": "=", "█": "#", "░": ".", "▒": ":", "▓": "#",
    "≤": "<", "≥": ">", "≈": "~", "∞": "8", "√": "V", "∑": "S", "∂": "d",
    "°": "o",
}  # fmt: skip
"""The ASCII substitutes for characters, of the same width in cells."""

_BOX_DRAWING = range(0x2500, 0x2580)
_DASHES = "─━┄┅┈┉╌╍╴╶╸╺╼╾"
_BRAILLE = range(0x2800, 0x2900)
_BLOCKS = range(0x2580, 0x25A0)


def is_ascii_only(environ: Mapping[str, str], utf8_mode: bool = False) -> bool:
    """Whether the locale that the environment names can show ASCII only.

    The order is the C library's (LC_ALL, LC_CTYPE, LANG), and no locale is the C locale.
    Python rewrites LC_CTYPE when it starts in the C locale (PEP 538) and turns its UTF-8
    mode on; with `utf8_mode` that rewritten value is looked through.
    """
    name = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "C"
    if utf8_mode and not environ.get("LC_ALL") and environ.get("LC_CTYPE") == "C.UTF-8":
        name = environ.get("LANG") or "C"
    codeset = (name.partition(".")[2] or name).partition("@")[0]
    return codeset.lower().replace("-", "") != "utf8"


@lru_cache(4096)
def _in_ascii(character: str) -> str:
    """ASCII of the character's width: its substitute, its letter without accent, or `?`."""
    if found := _STAND_INS.get(character):
        return found
    code, width = ord(character), cell_len(character)
    if code in _BOX_DRAWING:
        return "-" if character in _DASHES else "+"
    if code in _BRAILLE:
        return " " if code == _BRAILLE.start else "*"
    if code in _BLOCKS:
        return "#"
    letters = "".join(c for c in unicodedata.normalize("NFKD", character) if c.isascii())
    return letters if letters and len(letters) == width else "?" * width


def to_ascii(text: str) -> str:
    """The text in ASCII, as many cells wide as before."""
    return text if text.isascii() else "".join(c if c.isascii() else _in_ascii(c) for c in text)


class NoControls(LineFilter):
    """A filter that removes control characters from the text of every widget.

    They have no width, so that the line stays as wide as it was laid out. What Textual itself
    tells the terminal is a segment with a control of its own.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line without them."""
        for segment in segments:
            if not (segment.control or segment.text.isprintable()):
                break
        else:
            return segments  # as nearly always
        return [
            s if s.control or s.text.isprintable() else Segment(_without_controls(s.text), s.style)
            for s in segments
        ]


def _without_controls(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c) != "Cc" or c == "\n")


class AsciiOnly(LineFilter):
    """A filter that turns all text into ASCII: borders, markers and lessons alike."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line, cell for cell, in ASCII."""
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]
