"""Text from lessons and runs made safe to show: it is data, whatever it looks like.

What a terminal would obey (control characters, escapes, marks that turn the reading direction)
comes out as characters that can be read.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping

LONGEST = 2000
"""Characters of an error's text that are shown: a screen of 80×24 holds no more."""

TAB = 4
"""Cells between tab stops."""


def plain(text: str) -> str:
    r"""The text with nothing in it but newlines and characters that have a picture.

    Tabs are expanded, `\r\n` is a newline, a control character is `^[` (caret notation)
    and every other invisible character `<U+202E>`.
    """
    text = text.replace("\r\n", "\n").expandtabs(TAB)
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else _visible(c) for c in text)


def shortened(text: str, most: int = LONGEST) -> str:
    """The text as it is, or the first `most` characters of it and how many were left out."""
    left_out = len(text) - most
    return text if left_out <= 0 else f"{text[:most]}… ({left_out:,} characters left out)"


def cut_short(text: str, most: int) -> str:
    """The text, or as much of it as fits into `most` characters with a … behind it."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def one_line(text: str) -> str:
    """The text as a single safe line: blanks stay as they are, a line's end becomes one."""
    return " ".join(plain(text).splitlines())


def cell_width(text: str) -> int:
    """The width of a text in terminal cells; a text that can't be measured has one a character."""
    if text.isascii() and text.isprintable():
        return len(text)
    from wcwidth import wcswidth  # noqa: PLC0415 - its tables load for 40 ms

    width = wcswidth(text)
    return len(text) if width < 0 else width


def array_summary(shape: Iterable[int], figures: Mapping[str, str]) -> str:
    """An array that is too large to be written out: `(784×128: mean 0.1, norm 5.6)`."""
    said = ", ".join(f"{name} {figure}" for name, figure in figures.items())
    return f"({'×'.join(map(str, shape))}: {said})"


def json_text(thing: object) -> str:
    r"""Data as indented JSON that a terminal can't obey: all that has no picture is `\uXXXX`."""
    import json  # noqa: PLC0415 - no screen needs it

    text = json.dumps(thing, indent=2, ensure_ascii=False)
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def json_number(number: complex) -> float | str:
    """The number; as words NaN, the infinities and complex ones, which JSON has not got."""
    if isinstance(number, complex):
        return str(number).strip("()")
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _visible(character: str) -> str:
    """A character that Python does not call printable, in characters that are."""
    if unicodedata.category(character) == "Zs":  # a space of some kind, harmless
        return character
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"<U+{code:04X}>"
