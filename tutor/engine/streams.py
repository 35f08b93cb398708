"""The standard streams of a lesson's process: commands read by a thread, output caught.

The output of Python and of C code is caught, standard output and error.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import select
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from tutor.protocol.commands import (
    Command,
    EndProcess,
    FramePainted,
    Pause,
    command_from_line,
)
from tutor.training.time_limit import for_the_main_thread_alone


class Interrupts:
    """SIGINT in this process: the learner's wish to stop."""

    def __init__(self) -> None:
        self._came_early = False

    def note(self, *_: object) -> None:
        """Handle SIGINT where nothing may be interrupted: a busy machine may hold a command up."""
        self._came_early = True

    @contextmanager
    def raised(self, is_still_wanted: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """A span in which SIGINT raises KeyboardInterrupt.

        So does an earlier SIGINT, if it `is_still_wanted`.
        """
        outside = signal.getsignal(signal.SIGINT)
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            came_early, self._came_early = self._came_early, False
            if came_early and is_still_wanted():
                raise KeyboardInterrupt
            yield
        finally:
            try:
                signal.signal(signal.SIGINT, outside)
            except KeyboardInterrupt:  # one that came just before: nothing is set then
                signal.signal(signal.SIGINT, outside)
                raise


class Inbox:
    """Commands as they come in, read by a thread."""

    def __init__(self, source: BinaryIO, interrupts: Interrupts) -> None:
        self._source, self.interrupts = source, interrupts
        self._waiting: deque[Command] = deque()
        self._arrived = threading.Condition()
        self.has_painted = False
        """Whether the app has painted: its first screen, and then the last frame."""
        with for_the_main_thread_alone():
            threading.Thread(target=self._read_on, name="inbox", daemon=True).start()

    def __bool__(self) -> bool:
        """Whether a command waits."""
        return bool(self._waiting)

    def peek(self) -> Command:
        """The next command, left where it is. There must be one."""
        return self._waiting[0]

    def has_pause(self) -> bool:
        """Whether a Pause waits, be it behind other commands."""
        with self._arrived:
            return any(isinstance(command, Pause) for command in self._waiting)

    def next(self) -> Command:
        """The next command; waits for it."""
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._waiting))
            return self._waiting.popleft()

    def wait_until_painted(self) -> None:
        """Wait for the first FramePainted."""
        with self._arrived:
            self._arrived.wait_for(lambda: self.has_painted)

    def _read_on(self) -> None:
        try:
            self._read_all()
        finally:  # a lesson has closed the descriptor, say: nothing could be asked any more
            os._exit(1)

    def _read_all(self) -> None:
        for line in self._source:
            command = command_from_line(line)
            if isinstance(command, EndProcess):
                break
            with self._arrived:
                if isinstance(command, FramePainted):
                    self.has_painted = True
                else:
                    self._waiting.append(command)
                self._arrived.notify()
        # The app is gone. The main thread may be deep in a lesson's endless loop.
        if os.getpgrp() == os.getpid():  # then nobody else is in the group
            os.killpg(0, signal.SIGKILL)
        os._exit(0)


class ProcessLock:
    """A lock between the threads of a process, and a new one in each child of `os.fork`.

    The child has only the thread that forked: a lock held by another would stay held there.
    """

    def __init__(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()

    def __call__(self) -> threading.Lock:
        """The lock of this process, for a `with`."""
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
        return self._lock


KEPT_CHARACTERS = 32_768
"""The limit of printed text between two readings; the oldest is dropped first."""

_CHUNK = 65_536


class Capture:
    """Descriptors 1 and 2, redirected into a pipe that is read by a thread."""

    def __init__(self) -> None:
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._libc = ctypes.CDLL(None)
        self._flush()
        self._before = os.dup(1), os.dup(2)
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        self._write_end = write_end
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._lock = ProcessLock()
        self._text = ""
        self._left_out = 0
        self._muted = 0
        self.unheard: str | None = None
        """The output inside the last `muted` block; None if it was too much to keep."""
        self._pass_on: Callable[[str], object] | None = None
        with for_the_main_thread_alone():
            threading.Thread(target=self._read_on, name="capture", daemon=True).start()

    def renew(self) -> None:
        """Redirect both descriptors and Python's streams again, whatever a lesson has made of them.

        A stream takes any text, whatever the locale.
        """
        self._flush()
        for descriptor in (1, 2):
            os.dup2(self._write_end, descriptor)
        sys.stdout, sys.stderr = _stream(1), _stream(2)

    def close(self) -> None:
        """Restore the descriptors; output that has been caught stays to be taken."""
        self._flush()
        os.close(self._write_end)
        for descriptor, before in zip((1, 2), self._before, strict=True):
            os.dup2(before, descriptor)
            os.close(before)

    def take(self) -> tuple[str, int]:
        """All text printed until now and not yet taken, and how much was left out before it."""
        self._flush()
        with self._lock():
            self._drain()
            text, left_out = self._text, self._left_out
            self._text, self._left_out = "", 0
        return text, left_out

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Discard everything that is printed inside the `with` block."""
        self._flush()
        with self._lock():
            self._drain()
            self._muted += 1
            self.unheard = ""
        try:
            yield
        finally:
            self._flush()
            with self._lock():
                self._drain()
                self._muted -= 1

    @contextmanager
    def passed_on(self, receive: Callable[[str], object]) -> Iterator[None]:
        """Hand all that is printed inside to `receive` at once; nothing is left out."""
        self._pass_on = receive
        try:
            yield
        finally:
            self._flush()
            with self._lock():
                self._drain()
                self._pass_on = None

    def _flush(self) -> None:
        """Push out the output that Python and the C library still hold back."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # noqa: BLE001 - a lesson may put anything in their place
                continue
        self._libc.fflush(None)

    def _read_on(self) -> None:
        """Read until nobody can write any more."""
        more = True
        while more:
            select.select([self._read_end], [], [])
            with self._lock():
                more = self._drain()
        # The descriptor stays open for a last take(): a pipe's end costs nothing.

    def _drain(self) -> bool:
        """Read all that is in the pipe now; False at its end. The lock is held."""
        while True:
            try:
                raw = os.read(self._read_end, _CHUNK)
            except BlockingIOError:
                return True
            if not raw:
                return False
            text = self._decoder.decode(raw)
            if not self._muted:
                self._keep(text)
            elif self.unheard is not None:
                whole = self.unheard + text
                self.unheard = whole if len(whole) <= KEPT_CHARACTERS else None

    def _keep(self, text: str) -> None:
        if self._pass_on is not None:
            self._pass_on(text)
            return
        whole = self._text + text
        self._left_out += max(len(whole) - KEPT_CHARACTERS, 0)
        self._text = whole[-KEPT_CHARACTERS:]


def _stream(descriptor: int) -> TextIO:
    """Writes to a descriptor, line by line, so that all output comes in its order."""
    return open(descriptor, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
