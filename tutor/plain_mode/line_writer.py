"""Writes lines: plain text, wrapped where a terminal has a width, never an escape sequence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from tutor.plain import plain
from tutor.plain_mode.wrapping import cells, wrap


@dataclass(frozen=True, slots=True)
class SpokenCode:
    """Lines of code, to be said as they are written."""

    text: str
    numbered: bool = False
    """Whether each line is said with its number, from 1."""


Line: TypeAlias = str | SpokenCode

_SIGNS = {
    "−": "-",
    "–": "-",
    "—": ", ",
    "·": ",",
    "…": "...",
    "×": " times ",
    "≈": " about ",
    "≤": " at most ",
    "≥": " at least ",
    "≠": " is not ",
    "→": " to ",
    "←": " from ",
    "↔": " to and from ",
    "∞": " infinity ",
    "“": '"',
    "”": '"',
    "’": "'",
    "‘": "'",
    "•": "",
}
"""Signs that a screen reader leaves out or spells oddly, in what every one reads well."""
_SIGN = re.compile(f" ?([{''.join(_SIGNS)}])( ?)")


def in_words(text: str) -> str:
    """A sentence without signs that are not said: `a → b` is `a to b`."""
    if text.isascii():
        return text
    return _SIGN.sub(_said, text)


def _said(found: re.Match[str]) -> str:
    whole, sign = found[0], _SIGNS[found[1]]
    if sign.startswith(" "):
        return sign
    if found[1] in "·—":
        return ", "
    return whole.replace(found[1], sign)


class LineWriter:
    """Says one line after the other."""

    def __init__(self, out: TextIO, width: int | None = None) -> None:
        """`width`: the columns of the terminal; None where there is none, nothing is wrapped."""
        self._out = out
        self._width = width
        self._is_apart = True
        self.rows = 0
        """So many have been said; empty ones don't count."""

    def say(self, *lines: Line) -> None:
        """Say these lines; of a text its own line ends are kept, an empty one is not said."""
        for line in lines:
            if isinstance(line, SpokenCode):
                self._code(line)
            elif line:
                self._text(line)

    def apart(self, lines: Iterable[Line]) -> None:
        """Say these lines, an empty one before them; nothing if there are none."""
        said = [line for line in lines if line]
        if said:
            self.gap()
            self.say(*said)

    def gap(self) -> None:
        """An empty line, unless there is one already."""
        if not self._is_apart:
            self._write("")
        self._is_apart = True

    def prompt(self) -> None:
        """Ask for a command; the cursor stays behind it."""
        self._out.write("> ")
        self._out.flush()
        self._is_apart = False

    def answered(self) -> None:
        """The line with the prompt has been ended by whoever typed."""
        self._is_apart = False

    def _text(self, text: str) -> None:
        for row in plain(text).split("\n"):
            for piece in self._wrapped(row):
                self._write(piece)

    def _wrapped(self, row: str) -> list[str]:
        if self._width is None or cells(row) <= self._width:
            return [row]
        return wrap(row, max(20, self._width))

    def _code(self, code: SpokenCode) -> None:
        rows = plain(code.text).rstrip("\n").split("\n")
        if code.numbered:
            rows = [f"Line {number}: {row}" for number, row in enumerate(rows, 1)]
        if len(rows) == 1:
            self._write(f"Code: {rows[0]}")
            return
        for row in ("Code:", *rows, "End of code."):
            self._write(row)

    def _write(self, row: str) -> None:
        print(row, file=self._out, flush=True)
        self._is_apart = not row
        self.rows += bool(row)
