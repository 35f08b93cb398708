"""The command line: `tutor`, and what it can do without a screen.

A command imports what it needs, such as torch or Textual, when it runs: `tutor --help` answers at
once, and the screen is there before torch.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from tutor.cli.parsers import COMMANDS, FAILED, INTERRUPTED, OK, USAGE, make_parser, options_of_kind
from tutor.cli.terminal import discard, names_script, warn
from tutor.digits import whole_number
from tutor.errors import FileThere, Refused, RunError, TutorError, UsageError

MOST_CELLS = 1000
"""Columns or lines of a terminal that are believed: each cell takes memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _open_closed_streams()
    _escape_unknown_characters()
    _drop_impossible_sizes()
    options = argparse.Namespace(debug=False, on=None)
    try:
        given = _with_command(list(sys.argv[1:] if arguments is None else arguments))
        given, options.arguments = _split(given)
        make_parser(given[0]).parse_args(given, options)
        _check_kind(options)
        command = import_module(f"tutor.cli.{COMMANDS[options.command].module}")
        status: int | None = getattr(command, f"{options.command}_command")(options)
        sys.stdout.flush()
    except TutorError as error:
        if options.debug:
            raise
        if isinstance(error, FileThere):
            return _fail(RunError(f"{_text(error, None)}; give --force to replace it"))
        return _fail(error, options.on)
    except BrokenPipeError:
        # The reader has read enough (`| head`). Python flushes once more at exit, which must
        # not find the broken pipe again.
        discard(sys.stdout)
        return OK
    except OSError as error:
        if options.debug or not _is_full(sys.stdout):
            raise
        return _fail(RunError(f"standard output can't be written: {error.strerror or error}"))
    except KeyboardInterrupt:
        if arguments is None:  # this process ends: a second one would meet Python's own end
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return INTERRUPTED
    return status or OK


def _fail(error: TutorError, host: str | None = None) -> int:
    if getattr(error, "stopped", False):  # Ctrl+C while the lesson's own code ran
        return INTERRUPTED
    warn(_text(error, host))
    is_usage = isinstance(error, UsageError) or (isinstance(error, Refused) and error.is_usage)
    return USAGE if is_usage else FAILED


def _text(error: TutorError, host: str | None) -> str:
    from tutor.wording.notices import error_text  # noqa: PLC0415 - only for an error

    is_of_host = host is not None and isinstance(error, Refused) and error.code == "no_device"
    return (f"{host}: " if is_of_host else "") + error_text(error)


def _open_closed_streams() -> None:
    """Connect closed standard streams (`>&-`) to the null device.

    A closed descriptor would be given to the next file that is opened.
    """
    for number, (name, how) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, how, closefd=False))  # noqa: SIM115 - for good


def _drop_impossible_sizes() -> None:
    """Delete impossible COLUMNS and LINES, which would override the size of the terminal."""
    for name in ("COLUMNS", "LINES"):
        if whole_number(os.environ.get(name, "1"), MOST_CELLS) is None:
            del os.environ[name]


def _is_full(stream: TextIO) -> bool:
    """Whether a stream can't be written; then its buffer is dropped."""
    try:
        stream.flush()
        os.write(stream.fileno(), b"\n")  # an unbuffered stream has nothing left to flush
    except OSError:
        discard(stream)
        return True
    return False


def _escape_unknown_characters() -> None:
    r"""Print `\u4e00` for characters that the locale lacks; that is valid JSON, too."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _with_command(given: list[str]) -> list[str]:
    """`tutor`, `tutor LESSON` and `tutor --mode M LESSON` mean the command `open`.

    `--on HOST` may stand before a command. Raises UsageError for a command without that option.
    """
    first = given[0] if given else ""
    if first in COMMANDS or first in ("-h", "--help", "--version"):
        return given
    length = 2 if first == "--on" else int(first.startswith("--on="))
    command = given[length] if 0 < length < len(given) else ""
    if command not in COMMANDS:
        return ["open", *given]
    if not COMMANDS[command].takes_host:
        takes = ", ".join(name for name, one in COMMANDS.items() if one.takes_host)
        raise UsageError(f"tutor {command} takes no --on HOST: {takes} do")
    return [command, *given[:length], *given[length + 1 :]]


def _check_kind(options: argparse.Namespace) -> None:
    """Raise UsageError for an option of a lesson with a script, or the other way round."""
    if not COMMANDS[options.command].takes_script or not hasattr(options, "lesson"):
        return
    is_of_script = options.lesson is not None and names_script(options.lesson)
    others = options_of_kind(script=not is_of_script)
    name = next((n for n, usual in others.items() if getattr(options, n, usual) != usual), "")
    if name == "device":
        raise UsageError(
            "a script chooses its own device, and --device is for lessons; if it is an "
            "argument of the script, put it after --"
        )
    if name == "arguments":
        raise UsageError("arguments after -- are for a script: a .py or .ipynb file")
    if name:
        raise UsageError(f"--{name} is for {'lessons' if is_of_script else 'scripts'}")


def _split(given: list[str]) -> tuple[list[str], list[str]]:
    """The tutor's own arguments, and a script's arguments after `--`."""
    command = COMMANDS.get(given[0])
    if command is None or not command.takes_script or "--" not in given:
        return given, []
    at = given.index("--")
    return given[:at], given[at + 1 :]
