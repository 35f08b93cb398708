"""Lessons proven in a child process, which may print, hang or die: it costs a finding.

The side of who asks. The child (`proof_child`) is started for the first lesson and proves one
after the other; one that has ended, or had to be ended, is started again for the next lesson.
Knows no screen and nothing of what is proven.
"""

from __future__ import annotations

import base64
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TypeAlias

import msgspec

from tutor.errors import EngineError
from tutor.lesson.model import Lesson
from tutor.training.finding import Finding

SECONDS = 60.0
"""So long may a lesson go without a sign of life: one phase of one mode, or one exercise."""

GRACE = 1.0
"""Seconds in which an interrupt has to be answered, by naming a line; then the child is killed."""

_POLL = 0.5
_COMMAND = (sys.executable, "-P", "-m", "tutor.engine.proof_child")


# ── What crosses the border, a line each ────────────────────────────────────────────


class Prove(msgspec.Struct, frozen=True):
    """Down: prove this lesson."""

    lesson: Lesson
    with_answers: bool = False
    """Tell the answers of its exercises, too."""


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """Up, once: PyTorch is there. What takes long from here on is the lesson's doing."""


class Begun(msgspec.Struct, frozen=True, tag=True):
    """Up: what is proven from here on, and the line of the file that it stands on."""

    line: int
    what: str


class Told(msgspec.Struct, frozen=True, tag=True):
    """Up: one thing that is wrong."""

    line: int
    message: str


class Answered(msgspec.Struct, frozen=True, tag=True):
    """Up: what an exercise's answer is, computed."""

    line: int
    text: str


class Stopped(msgspec.Struct, frozen=True, tag=True):
    """Up, last: an interrupt met the lesson's own code, here."""

    line: int
    what: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """Up, last: all is proven, or found wrong."""


Event: TypeAlias = Loaded | Begun | Told | Answered | Stopped | Done

_encoder = msgspec.msgpack.Encoder(enc_hook=str)
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_wishes: msgspec.msgpack.Decoder[Prove] = msgspec.msgpack.Decoder(
    Prove, dec_hook=lambda _, value: Path(str(value))
)


def to_line(message: Prove | Event) -> bytes:
    """A message as one line, newline included."""
    return base64.b64encode(_encoder.encode(message)) + b"\n"


def wish_from_line(line: bytes) -> Prove:
    """What is asked for on a line."""
    return _wishes.decode(base64.b64decode(line))


# ── Who asks ────────────────────────────────────────────────────────────────────────


class Proofs:
    """One child process at a time, which is ended with the `with` that this is used in."""

    def __init__(self, command: Sequence[str] = _COMMAND, seconds: float = SECONDS) -> None:
        """`command` starts the child; `seconds` may pass without a sign of it."""
        self._command = command
        self._seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._is_loaded = self._is_closed = False
        """Whether the child can be interrupted; whether it has said its last word."""
        self._at = Begun(1, "")
        self.answers: tuple[Answered, ...] = ()
        """Of the lesson proven last, if they were asked for."""

    def __enter__(self) -> Proofs:
        """Start nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child, and all that lessons have started in it."""
        self._end()

    def prove(self, lesson: Lesson, *, with_answers: bool = False) -> tuple[Finding, ...]:
        """All that is wrong with a lesson, what it did to its process included.

        Raises EngineError if there is no process to prove it in; KeyboardInterrupt (Ctrl+C),
        its text saying what was being proven.
        """
        self._at = Begun(1, "")
        found: list[Finding] = []
        answers: list[Answered] = []
        try:
            self._ask(Prove(lesson, with_answers))
            while not isinstance(event := self._next(self._seconds), Done):
                match event:
                    case Told():
                        found.append(Finding(str(lesson.path), event.line, event.message))
                    case Answered():
                        answers.append(event)
                    case Stopped() | None:  # interrupted by itself, gone, or in an endless loop
                        found.append(self._end_of(lesson, event))
                        break
        except KeyboardInterrupt:
            self._interrupt()
            raise KeyboardInterrupt(self._where(lesson)) from None
        self.answers = tuple(answers)
        return tuple(found)

    def _where(self, lesson: Lesson) -> str:
        return f"{lesson.path}:{self._at.line}: {self._at.what}" if self._at.what else ""

    def _end_of(self, lesson: Lesson, stopped: Stopped | None) -> Finding:
        """Why nothing more of this lesson is proven."""
        child = self._child
        assert child is not None
        if stopped:
            self._at = Begun(stopped.line, stopped.what)
            self._end()
            how = "raised KeyboardInterrupt"
        elif not self._is_gone(child):
            self._interrupt()
            how = f"did not come to its end within {self._seconds:g} s"
        else:
            how = f"ended its process, which {_how_ended(child.wait())}"
            fault = _last_line(child.stderr)
            self._end()
            if fault:  # of ours: nobody else can write there
                raise EngineError(f"the proof of {lesson.path} broke off: {fault}")
        what = f"{self._at.what} {how}; nothing more of this lesson was proven"
        return Finding(str(lesson.path), self._at.line, what)

    # ── The child ───────────────────────────────────────────────────────────────────

    def _ask(self, wish: Prove) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._end()  # it died between two lessons, of a thread of one say
        if self._child is None:
            self._start()
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(to_line(wish))
            self._child.stdin.flush()
        except BrokenPipeError:  # it has just ended: whoever waits for its word finds out
            return

    def _start(self) -> None:
        """Raises EngineError."""
        self._unread = b""
        self._is_loaded = self._is_closed = False
        try:
            # A session of its own: Ctrl+C and the terminal are for who asks alone.
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"the process that runs lessons can't be started: {error}") from error
        self._is_loaded = isinstance(self._next(None), Loaded)
        if not self._is_loaded:
            why = _last_line(self._child.stderr) or "it ended without a word"
            self._end()
            raise EngineError(f"the process that runs lessons could not start: {why}")

    def _next(self, seconds: float | None) -> Event | None:
        """The next thing that it says; None if it is gone, or says nothing for so long."""
        assert self._child is not None
        assert self._child.stdout is not None
        pipe = self._child.stdout.fileno()
        until = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = _POLL if until is None else min(_POLL, until - time.monotonic())
            if left <= 0:
                return None
            if select.select([pipe], [], [], left)[0]:
                read = os.read(pipe, 65536)
                if not read:
                    self._is_closed = True
                    return None
                self._unread += read
            elif self._child.poll() is not None:  # what it has started holds on to its pipe
                return None
        line, _, self._unread = self._unread.partition(b"\n")
        event = _events.decode(base64.b64decode(line))
        if isinstance(event, Begun):
            self._at = event
        return event

    def _is_gone(self, child: subprocess.Popen[bytes]) -> bool:
        """Whether it has ended, of which its pipe may tell a moment before the system does."""
        try:
            child.wait(_POLL if self._is_closed else 0)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _interrupt(self) -> None:
        """Have it say which line it is at, if it still can; then end it."""
        if self._child is not None and self._is_loaded:
            self._child.send_signal(signal.SIGINT)
            until = time.monotonic() + GRACE
            while (left := until - time.monotonic()) > 0:
                event = self._next(left)
                if isinstance(event, Stopped):
                    self._at = Begun(event.line, event.what)
                if isinstance(event, Stopped | Done | None):
                    break
        self._end()

    def _end(self) -> None:
        """End it, with all the processes that lessons have started."""
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what was still to be written has no reader
                pipe.close()


def _how_ended(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _last_line(errors: IO[bytes] | None) -> str:
    """What stands there last, without waiting for more; empty if nothing does."""
    assert errors is not None
    os.set_blocking(errors.fileno(), False)
    lines = (errors.read() or b"").decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
