"""Writes lines: plain text, wrapped where a terminal has a width, never an escape sequence.

Text wrapped into rows by the cells it takes, also where it is written without blanks.

Between two characters of which one is wide, as in Chinese, a row may end; but none begins with a
closing mark or ends with an opening one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from wcwidth import wcswidth, wcwidth

from tutor.plain import plain

_OPENING = "([{（《「『【〈〔“‘\"'"
_CLOSING = ")]}，。、；：！？）》」』】〉〕”’…—·％,.;:!?%\"'"
"""A straight quote is in both: which of the two it is can't be seen."""


def cells(text: str) -> int:
    """Columns that it takes; what can't be measured counts one for each character."""
    width = wcswidth(text)
    return len(text) if width < 0 else width


def wrap(text: str, width: int) -> list[str]:
    """Rows of at most `width` cells; a word that is wider than a row is folded."""
    rows: list[str] = []
    row = ""
    for unit in _units(text):
        if row.strip() and cells(row + unit.rstrip()) > width:
            rows.append(row.rstrip())
            row = ""
        row += unit
        while cells(row.rstrip()) > width:
            start = _fitting(row, width)
            rows.append(start)
            row = row[len(start) :]
    return [*rows, row.rstrip()] if row.strip() else rows


def is_wide(character: str) -> bool:
    """Whether it takes two cells; an empty text does not."""
    return bool(character) and wcwidth(character) == 2


def _units(text: str) -> Iterator[str]:
    """Units that are not broken: a wide character or a word, with its marks; then spaces."""
    start = 0
    for at in range(1, len(text)):
        if _may_part(text[at - 1], text[at]):
            yield text[start:at]
            start = at
    yield text[start:]


def _may_part(before: str, after: str) -> bool:
    if after.isspace() or before.isspace():
        return before.isspace() and not after.isspace()
    if before in _OPENING or after in _CLOSING or wcwidth(after) == 0:
        return False
    return is_wide(before) or is_wide(after)


def _fitting(text: str, width: int) -> str:
    """As many of its first characters as fit; at least one."""
    end = 1
    while end < len(text) and cells(text[: end + 1]) <= width:
        end += 1
    return text[:end]


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
