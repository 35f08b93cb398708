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

from tutor.cli.parsers import COMMANDS, FAILED, INTERRUPTED, OK, USAGE, parser_of_all
from tutor.errors import TutorError, UsageError
from tutor.plain import plain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _spell_out_what_cannot_be_said()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser_of_all().parse_args(_with_command(given))
    try:
        command = import_module(COMMANDS[options.command])
        status: int = getattr(command, f"{options.command}_command")(options)
        sys.stdout.flush()
    except TutorError as error:
        if options.debug:
            raise
        return _complain(error)
    except BrokenPipeError:
        # Whoever read our output has read enough (`| head`): end without a word. Python
        # flushes once more at exit, which must not find the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _complain(error: TutorError) -> int:
    if getattr(error, "stopped", False):  # Ctrl+C while the lesson's own code ran
        return INTERRUPTED
    for line in plain(str(error)).splitlines():
        print(f"tutor: {line}", file=sys.stderr)
    return USAGE if isinstance(error, UsageError) else FAILED


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
