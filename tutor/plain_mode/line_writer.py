"""Writes lines of plain text, wrapped to the width of a terminal, without escape sequences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from tutor.plain import cell_width, plain
from tutor.wording.layout import wrap


@dataclass(frozen=True, slots=True)
class SpokenCode:
    """Lines of code, told as they are written."""

    text: str
    numbered: bool = False
    """Whether each line has its number before it."""
    first: int = 1
    """The number of the first line."""
    place_of: Callable[[int], str] = "line {}".format
    """The words for the place of each line."""


Line: TypeAlias = str | SpokenCode

_SIGNS = {
    "−": "-",
    "–": "-",
    "—": ", ",
    "·": " times ",
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
"""Replacements for signs that a screen reader leaves out or spells oddly."""
_SIGN = re.compile(f" ?([{''.join(_SIGNS)}])( ?)")
_SEPARATOR = re.compile(r"(?<=[^\W\d]{2}) · | · (?=[^\W\d]{2})")
"""A dot beside a word of two letters or more: it multiplies nothing."""


def in_words(text: str) -> str:
    """A sentence with words for signs: `a → b` is `a to b`."""
    if text.isascii():
        return text
    return _SIGN.sub(_replacement, _SEPARATOR.sub(", ", text))


def _replacement(found: re.Match[str]) -> str:
    whole, sign = found[0], _SIGNS[found[1]]
    if sign.startswith(" "):
        return sign
    if found[1] == "—":
        return ", "
    return whole.replace(found[1], sign)


class LineWriter:
    """Writes one line after the other."""

    def __init__(self, out: TextIO, width: int | None = None) -> None:
        """`width`: the columns of the terminal; None: no terminal, nothing is wrapped."""
        self._out = out
        self._width = width
        self._is_apart = True
        self.rows = 0
        """The number of written rows that are not empty."""

    def say(self, *lines: Line) -> None:
        """Write these lines; the line ends in a text are kept, an empty text is left out."""
        for line in lines:
            if isinstance(line, SpokenCode):
                self._code(line)
            elif line:
                self._text(line)

    def apart(self, lines: Iterable[Line]) -> None:
        """Write these lines after an empty one; nothing if there are none."""
        said = [line for line in lines if line]
        if said:
            self.gap()
            self.say(*said)

    def gap(self) -> None:
        """Write an empty line, unless there is one already."""
        if not self._is_apart:
            self._write("")
        self._is_apart = True

    def prompt(self) -> None:
        """Write the prompt; the cursor stays after it."""
        self._out.write("> ")
        self._out.flush()
        self._is_apart = False

    def answered(self) -> None:
        """Note that the learner has ended the line with the prompt."""
        self._is_apart = False

    def _text(self, text: str) -> None:
        for row in plain(text).split("\n"):
            for piece in self._wrapped(row):
                self._write(piece)

    def _wrapped(self, row: str) -> list[str]:
        if self._width is None or cell_width(row) <= self._width:
            return [row]
        return wrap(row, max(20, self._width))

    def _code(self, code: SpokenCode) -> None:
        rows = plain(code.text).rstrip("\n").split("\n")
        if code.numbered:
            rows = [
                f"{code.place_of(number).capitalize()}: {row}"
                for number, row in enumerate(rows, code.first)
            ]
        if len(rows) == 1:
            self._write(f"Code: {rows[0]}")
            return
        for row in ("Code:", *rows, "End of code."):
            self._write(row)

    def _write(self, row: str) -> None:
        print(row, file=self._out, flush=True)
        self._is_apart = not row
        self.rows += bool(row)
