"""A process that runs lessons, as its client sees it: the same here and on another machine.

Where the lesson was when it ended is read from the stack that it has written.
"""

from __future__ import annotations

import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass

from tutor.errors import EngineError
from tutor.lesson.model import Lesson
from tutor.protocol.commands import Command
from tutor.protocol.events import Event
from tutor.protocol.frame import Remark
from tutor.training import time_limit
from tutor.training.time_limit import VALUE_OF

_STACK = re.compile(r"\(most recent call first\):\n((?:  .*\n?)+)")
_STACK_LINE = re.compile(r'  File "(.*)", line (\d+) in (.*)')
_ESCAPED = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}")
_LONGEST_NAME = 500
"""Characters that faulthandler writes of a name."""


@dataclass(frozen=True, slots=True)
class LastPlace:
    """The place in a lesson's code where its process was last."""

    line: int
    """Its number in the lesson's file."""
    what: str
    """The phase, or the label of the expression that was evaluated."""
    is_expression: bool


def last_place(written: str, lesson: Lesson) -> LastPlace | None:
    """The place in the last stack that has code of the lesson; None if there is none."""
    path = _as_written(str(lesson.path))
    for stack in reversed(_STACK.findall(written)):
        frames = [(int(n), name) for file, n, name in _STACK_LINE.findall(stack) if file == path]
        if not frames:
            continue
        line, name = frames[-1]  # the outermost
        if name.startswith(VALUE_OF):
            return LastPlace(line, _ESCAPED.sub(_unescaped, name.removeprefix(VALUE_OF)), True)
        phase = lesson.phase_of_line(line)
        return LastPlace(frames[0][0], phase, False) if phase else None
    return None


def _as_written(name: str) -> str:
    """A name as faulthandler writes it: only ASCII, and no more than so much of it."""
    cut = name[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
    return cut + "..." * (len(name) > _LONGEST_NAME)


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[0][2:], 16))


def lost_error(lost: Remark) -> EngineError:
    """The error of a command that waits for an answer when the connection is lost."""
    return EngineError("command_lost", **lost.values)


class LessonProcess(ABC):
    """A running process, which ends with everything that a lesson has started in it."""

    ended_for = ""
    """The code of the reason why the tutor ended it; empty if it did not."""
    lost: Remark | None = None
    """The code of the reason why the connection to it is lost; None while it is not."""

    @property
    def lag(self) -> float:
        """Seconds that a message takes there and back."""
        return 0.0

    # ── What it is told and says ────────────────────────────────────────────────────

    @abstractmethod
    def send(self, command: Command) -> None:
        """Pass a command on. Never blocks, also where the process reads none."""

    @abstractmethod
    def events(self) -> Generator[Event, None, None]:
        """The events that it sends. When there are no more, the process is ended, too."""

    @abstractmethod
    def error_text(self) -> str:
        """The last of what it wrote to where errors go."""

    def last_error(self) -> Remark:
        """The last line that it wrote to where errors go."""
        lines = self.error_text().strip().splitlines()
        return Remark("text", {"text": lines[-1]}) if lines else Remark("no_error_text")

    def place(self, lesson: Lesson) -> LastPlace | None:
        """The place in the lesson's code, by the last stack that the process wrote."""
        return last_place(self.error_text(), lesson)

    # ── Its end ─────────────────────────────────────────────────────────────────────

    @property
    @abstractmethod
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""

    @property
    @abstractmethod
    def exit_status(self) -> int:
        """Its exit status, once it has ended; negative for a signal."""

    def how_ended(self, place: LastPlace | None) -> Remark:
        """How it ended, once it has, `place` being where it was in the lesson's code."""
        status = self.exit_status
        if self.ended_for:
            return Remark(self.ended_for)
        if place is not None and place.is_expression and status == -time_limit.END_SIGNAL:
            return Remark("no_end", {"seconds": time_limit.SECONDS})
        if status >= 0:
            return Remark("exited", {"status": status})
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return Remark("killed", {"signal": name})

    @abstractmethod
    def wait(self) -> int:
        """Wait for its end, and end what it has started; returns its exit status."""

    @abstractmethod
    def end(self, patience: float, reason: str = "") -> None:
        """Give it so many seconds to end by itself; then end it, for that `reason`."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, with all the processes that the lesson has started in it."""

    # ── Signals ─────────────────────────────────────────────────────────────────────

    @abstractmethod
    def interrupt(self) -> None:
        """Signal that the learner wishes to stop what runs."""

    @abstractmethod
    def signal_all(self, number: signal.Signals) -> None:
        """Send it a signal, and all the processes that the lesson has started in it."""

    @abstractmethod
    def dump_stack(self) -> None:
        """Have it write its stack down, if it is not dead; `place` finds that."""

    @abstractmethod
    def has_screen(self, is_there: bool) -> None:
        """Note whether the app's screen is on the terminal, which a killed app can't leave."""
