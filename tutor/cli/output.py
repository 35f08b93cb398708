"""The output of commands: tables in terminal cells, text to the character, and warnings."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence
from itertools import accumulate, takewhile

from tutor.plain import plain

PIPED = 1_000_000
"""The width of output that is not a terminal: nothing is cut."""

WIDEST = 60
"""The widest column in cells; a longer text moves the rest of its own row."""


def cell_width(text: str) -> int:
    """The width of a text in terminal cells; -1 if it has characters without a width."""
    from wcwidth import wcswidth  # noqa: PLC0415 - the app starts without it

    return wcswidth(text)


def columns(rows: Sequence[tuple[str, ...]], to_the_right: Collection[int] = ()) -> list[str]:
    """A line for each row; a column is as wide as its widest text of up to WIDEST cells.

    The last text of a row widens no column. Columns with an index in `to_the_right` are aligned
    at the right.
    """
    widths: dict[int, int] = {}
    for row in rows:
        for at, text in enumerate(row[:-1]):
            cells = cell_width(text)
            widths[at] = max(widths.get(at, 0), cells if cells <= WIDEST else 0)
    lines = []
    for row in rows:
        cut = [padded(t, widths[at], at in to_the_right) for at, t in enumerate(row[:-1])]
        lines.append("  ".join([*cut, *row[-1:]]).rstrip())
    return lines


def padded(text: str, width: int, to_the_right: bool = False) -> str:
    """The text with blanks after it, or before it, up to a width in cells."""
    blanks = " " * (width - cell_width(text))
    return blanks + text if to_the_right else text + blanks


def screen() -> int:
    """The cells of a line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED


def cut(line: str, width: int) -> str:
    """The line, cut with … if it is wider."""
    if cell_width(line) <= width:
        return line
    ends = accumulate(max(0, cell_width(character)) for character in line)
    fitting = sum(1 for _ in takewhile(lambda end: end <= width - 1, ends))
    return line[:fitting].rstrip() + "…"


def print_exactly(text: str) -> None:
    """Print to the character into a file or a pipe, as UTF-8; without escapes on a terminal."""
    if sys.stdout.isatty():
        print(plain(text), end="")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())


def warn(message: str) -> None:
    """Print a line to standard error."""
    print(f"tutor: {plain(message)}", file=sys.stderr)


def counted(count: int, noun: str) -> str:
    """`1 exercise`, `2 exercises`, `2 entries`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
