"""The output of commands: its width, text to the character, words to type, and warnings."""

from __future__ import annotations

import shlex
import shutil
import sys

from tutor.plain import one_line, plain

PIPED = 1_000_000
"""The width of output that is not a terminal: nothing is cut."""


def screen() -> int:
    """The cells of a line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED


def word(name: str) -> str:
    """The name of a file or a lesson as a shell takes it, in a command that is to be typed."""
    return shlex.quote(one_line(name))


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
