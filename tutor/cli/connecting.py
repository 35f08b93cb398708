"""The connection of a command that has `--on HOST`, and the lines that name the host."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tutor.cli.output import warn
from tutor.plain import one_line

if TYPE_CHECKING:
    from tutor.engine.connection import Connection


def say_connecting(host: str) -> None:
    """Say at a terminal what is waited for: ssh may ask there, or take long."""
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
