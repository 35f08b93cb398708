"""The terminal, or the pipe, of a command: values typed there, lines written, questions asked."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from tutor.errors import EngineError
from tutor.lesson.languages import LANGUAGES
from tutor.plain import one_line, plain

if TYPE_CHECKING:
    from tutor.engine.connection import Connection

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


def write_whole(stream: TextIO, data: bytes) -> None:
    """Write bytes at once, past Python's buffer: Ctrl+C leaves no half of a line behind."""
    stream.flush()
    while data:
        data = data[os.write(stream.fileno(), data) :]


def warn(message: str) -> None:
    """Print the lines of a message to standard error."""
    write_aside("".join(f"tutor: {line}\n" for line in plain(message).splitlines()))


def write_aside(text: str) -> None:
    """Write text to standard error, without escape sequences. It is lost if nobody reads it."""
    try:
        sys.stderr.write(plain(text))
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Send the buffer of a stream, and all further output, to the null device."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def terminal_path() -> str:
    """The path of the terminal of standard output; empty if the system names none."""
    try:
        return os.ttyname(sys.stdout.fileno())
    except OSError:  # as in some containers
        return ""


def is_attended() -> bool:
    """Whether there is somebody at a terminal who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def answer_to(question: str) -> str:
    """The line that the learner types; empty also at the end of the input."""
    print(f"{question} ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        print(file=sys.stderr)
    return line.strip()


def agrees(question: str) -> bool:
    """Whether the learner says yes."""
    return answer_to(f"{question} [y/N]").lower() in ("y", "yes")


# ── Another machine ─────────────────────────────────────────────────────────────────


def say_connecting(host: str) -> None:
    """Say at a terminal that ssh is waited for: it may ask there, or take long."""
    if sys.stderr.isatty():
        print(f"Connecting to {one_line(host)} …", file=sys.stderr, flush=True)


def connected(host: str) -> Connection:
    """A connection to another machine. Raises EngineError."""
    from tutor.engine.connection import Connection  # noqa: PLC0415 - seldom needed

    say_connecting(host)
    connection = Connection(host)
    if sys.stderr.isatty():
        warn(f"everything is computed on {one_line(host)}")
    return connection


def connect_as_asked(options: argparse.Namespace) -> Callable[[], Connection] | None:
    """The function that connects to the machine that `--on` names; None without it."""
    return partial(connected, options.on) if options.on else None


# ── Typed values ────────────────────────────────────────────────────────────────────

LANGUAGE_NAMES = ", ".join(LANGUAGES)


def names_script(name: str | None) -> bool:
    """Whether the command line names a script or a notebook, and no lesson."""
    return name is not None and name.lower().endswith((".py", ".ipynb"))


def read_script_name(text: str) -> str:
    """The name of a script or notebook. Raises ArgumentTypeError for any other."""
    if not names_script(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a script (.py, .ipynb)")
    return text


def read_host(text: str) -> str:
    """The machine that `--on` names. Raises ArgumentTypeError if it can be none."""
    from tutor.engine.connection import checked_host  # noqa: PLC0415 - rarely wanted
    from tutor.wording.notices import error_text  # noqa: PLC0415

    try:
        return checked_host(text)
    except EngineError as error:
        raise argparse.ArgumentTypeError(error_text(error)) from None


def read_language(text: str) -> str:
    """The code of a language that lessons are in. Raises ArgumentTypeError for others."""
    if text not in LANGUAGES:
        raise argparse.ArgumentTypeError(
            f"there is no lesson in {text!r}; available: {LANGUAGE_NAMES}"
        )
    return text


def _read_by(name: str) -> Callable[[str], Any]:
    """The reader of typed values that has this name; what it raises becomes an error of usage."""

    def read(text: str) -> Any:
        from tutor.wording import parameter_input  # noqa: PLC0415 - rarely wanted

        try:
            return getattr(parameter_input, name)(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None

    return read


read_count, read_seed, read_rate = map(_read_by, ("read_count", "read_seed", "read_learning_rate"))
