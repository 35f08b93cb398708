"""The stack that a lesson's process writes down when it is ended, and the place that it tells.

faulthandler writes it from C code, so that a lesson may be busy with anything.
"""

from __future__ import annotations

import faulthandler
import re
import signal
from dataclasses import dataclass
from typing import TextIO

from tutor.lesson.model import Lesson
from tutor.training.time_limit import VALUE_OF

DUMP_SIGNAL = signal.SIGUSR1
"""At this signal the process writes its stack down, and goes on."""

DUMP_SECONDS = 1.5
"""Seconds in which it has done so.

A thousandth of that is enough, unless the machine is busy with other things.
"""

_STACK = re.compile(r"\(most recent call first\):\n((?:  .*\n?)+)")
_STACK_LINE = re.compile(r'  File "(.*)", line (\d+) in (.*)')
_ESCAPED = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}")
_LONGEST_NAME = 500
"""Characters that faulthandler writes of a name."""


def dump_stack_at(errors: TextIO, *deadly: signal.Signals) -> None:
    """Have this process's stack written to `errors` at DUMP_SIGNAL, and where one of these ends it.

    A signal that has a handler of Python's is left to that.
    """
    faulthandler.register(DUMP_SIGNAL, errors, all_threads=False)
    for number in deadly:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN):
            faulthandler.register(number, errors, all_threads=False, chain=True)


@dataclass(frozen=True, slots=True)
class LastPlace:
    """Where a lesson's process was."""

    line: int
    """Of the lesson's file."""
    what: str
    """The phase, or the expression whose value was asked for."""
    is_expression: bool


def last_place(written: str, lesson: Lesson) -> LastPlace | None:
    """The place that the last stack with code of the lesson tells; None if there is none."""
    path = _as_written(str(lesson.path))
    for stack in reversed(_STACK.findall(written)):
        frames = [(int(n), name) for file, n, name in _STACK_LINE.findall(stack) if file == path]
        if not frames:
            continue
        line, name = frames[-1]  # the outermost
        if name.startswith(VALUE_OF):
            return LastPlace(line, _ESCAPED.sub(_unescaped, name), True)
        phase = lesson.phase_of_line(line)
        return LastPlace(frames[0][0], phase, False) if phase else None
    return None


def _as_written(name: str) -> str:
    """A name as faulthandler writes it: only ASCII, and no more than so much of it."""
    cut = name[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
    return cut + "..." * (len(name) > _LONGEST_NAME)


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[0][2:], 16))
