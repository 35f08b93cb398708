"""Reads the command line and hands over to the one command that was asked for.

Imports next to nothing itself: what a command needs, torch or Textual, is imported when
it runs, so that `tutor --help` answers at once and the screen is there before torch.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from tutor.cli.parsers import COMMANDS, FAILED, INTERRUPTED, OK, USAGE, parser_of_all
from tutor.errors import FileThere, RunError, TutorError, UsageError
from tutor.plain import plain

MOST_CELLS = 1000
"""Columns or lines that a terminal may have: each cell takes memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _open_what_is_closed()
    _spell_out_what_cannot_be_said()
    _forget_impossible_sizes()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser_of_all().parse_args(_with_command(given))
    try:
        command = import_module(COMMANDS[options.command])
        status: int = getattr(command, f"{options.command}_command")(options)
        sys.stdout.flush()
    except TutorError as error:
        if options.debug:
            raise
        if isinstance(error, FileThere):
            return _complain(RunError(f"{error}; give --force to replace it"))
        return _complain(error)
    except BrokenPipeError:
        # Whoever read our output has read enough (`| head`): end without a word. Python
        # flushes once more at exit, which must not find the broken pipe again.
        _write_no_more(sys.stdout)
        return OK
    except OSError as error:
        if options.debug or not _is_full(sys.stdout):
            raise
        return _complain(RunError(f"standard output can't be written: {error.strerror or error}"))
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _complain(error: TutorError) -> int:
    if getattr(error, "stopped", False):  # Ctrl+C while the lesson's own code ran
        return INTERRUPTED
    try:
        for line in plain(str(error)).splitlines():
            print(f"tutor: {line}", file=sys.stderr, flush=True)
    except OSError:  # nobody can be told; the exit status still says it
        _write_no_more(sys.stderr)
    return USAGE if isinstance(error, UsageError) else FAILED


def _open_what_is_closed() -> None:
    """A standard stream that was closed (`>&-`) reads and writes nothing.

    Left closed, its descriptor would be given to the next file that is opened.
    """
    for number, (name, how) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, how, closefd=False))  # noqa: SIM115 - for good


def _forget_impossible_sizes() -> None:
    """COLUMNS and LINES go before what the terminal says: believed, but not whatever they say."""
    for name in ("COLUMNS", "LINES"):
        said = os.environ.get(name, "1")
        if not (said.isdecimal() and len(said) <= len(str(MOST_CELLS)) and int(said) <= MOST_CELLS):
            del os.environ[name]


def _is_full(stream: TextIO) -> bool:
    """Whether nothing can be written there; then what is still buffered is let go."""
    try:
        stream.flush()
        os.write(stream.fileno(), b"\n")  # an unbuffered stream has nothing left to flush
    except OSError:
        _write_no_more(stream)
        return True
    return False


def _write_no_more(stream: TextIO) -> None:
    """Let what is still buffered, and all that comes, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _spell_out_what_cannot_be_said() -> None:
    r"""Where the locale is not UTF-8, `\u4e00` is better than no line at all, and valid JSON."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _with_command(given: list[str]) -> list[str]:
    """`tutor`, `tutor LESSON` and `tutor --mode M LESSON` mean the command `open`."""
    first = given[0] if given else ""
    if first in COMMANDS or first in ("-h", "--help", "--version"):
        return given
    return ["open", *given]
