"""Entry point of the child process: takes over its descriptors, then loads torch and serves.

Standard input and output carry the protocol; they are moved to private descriptors, so that
nothing a lesson prints or reads can get between; the output of Python and of C code is caught.
Modules that load quickly are loaded while the app makes its first screen; torch only then, unless
a core is free for it.
"""

from __future__ import annotations

import codecs
import ctypes
import faulthandler
import gc
import io
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO, NoReturn, TextIO, TypeAlias

from tutor.protocol.commands import (
    Command,
    EndProcess,
    FramePainted,
    Pause,
    command_from_line,
)
from tutor.training.time_limit import DUMP_SIGNAL, for_the_main_thread_alone, limit_expressions

Serve: TypeAlias = "Callable[[Inbox, BinaryIO], object]"
"""Does the commands of the inbox, and writes the events."""

SERVER = "tutor.engine.server"
"""The module that serves. It is only named here: it stands above this one."""

FREE_CORE = 0.9
"""A thread that computed for so much of the time had a core to itself.

Measured on two cores: 0.96 and more beside the app alone, 0.54 to 0.86 beside a busy program, too.
"""

_QUICK = ("numpy", "numpy.random", "numpy.ma", "asyncio", "unittest.mock", "urllib.request",
          "tarfile", "gzip", "json", "importlib.metadata", "importlib.resources",
          "concurrent.futures.thread", "multiprocessing.spawn", "multiprocessing.connection",
          "pickletools", "tutor.engine.process", "tutor.training.program")  # fmt: skip
"""Modules that torch or the server needs, loaded while the app makes its first screen."""

_DEADLY = ("TERM", "HUP", "QUIT", "ALRM", "VTALRM", "PROF", "USR2", "XCPU", "TRAP", "SYS")
"""Signals that end a process, besides the signals of a crash."""


def main(serve: Serve | None = None) -> None:
    """Take over standard input and output, then serve until the app is gone."""
    started, computed = time.perf_counter(), time.thread_time()
    interrupts = Interrupts()
    signal.signal(signal.SIGINT, interrupts.note)
    source = os.fdopen(os.dup(0), "rb")
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    errors = os.fdopen(os.dup(2), "w")
    leave, pid = os._exit, os.getpid()
    gc.disable()  # all that is loaded stays: to look for garbage takes a tenth longer
    limit_expressions()
    sys.unraisablehook = _raise_ignored_interrupt
    dump_stack_at_the_end(errors)
    # A copy of this process that a lesson makes must neither read nor write in its place, nor mix
    # its stack into this one's.
    own = source.fileno(), out.fileno(), errors.fileno()
    os.register_at_fork(after_in_child=lambda: _cut_off(*own))
    with for_the_main_thread_alone():  # its arithmetic has threads
        for name in _QUICK:
            import_module(name)
    inbox = Inbox(source, interrupts)
    elapsed = time.perf_counter() - started
    if time.thread_time() - computed < FREE_CORE * elapsed:  # torch would delay the first screen
        inbox.wait_until_painted()
    try:
        (serve or _serve)(inbox, out)
    except BaseException:  # noqa: BLE001 - reported to the app, whatever it is
        # An error of the tutor's own, not of a lesson: the app shows the last line of this.
        try:
            if os.getpid() == pid:
                traceback.print_exc(file=errors)
                errors.flush()
        finally:  # a lesson may have closed that, too
            leave(1)


def _serve(inbox: Inbox, out: BinaryIO) -> None:
    """Load torch, which takes seconds, and do commands until the app is gone."""
    with for_the_main_thread_alone():
        server = import_module(SERVER)
        from tutor.training import devices  # noqa: PLC0415 - loads torch

    gc.freeze()
    gc.enable()
    devices.use_one_thread()
    server.Server(inbox, out, Capture()).serve()


def dump_stack_at_the_end(errors: TextIO) -> None:
    """Write the stack to `errors` at DUMP_SIGNAL, and when a lesson ends this process.

    A signal that has a handler of Python's is left to that.
    """
    faulthandler.enable(errors)
    faulthandler.register(DUMP_SIGNAL, errors, all_threads=False)
    for name in _DEADLY:
        number = getattr(signal, f"SIG{name}", None)
        if number and signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN):
            faulthandler.register(number, errors, all_threads=False, chain=True)
    pid, leave, kill = os.getpid(), os._exit, os.kill

    def exit_with_stack(*arguments: Any, **named: Any) -> None:
        if os.getpid() == pid:
            faulthandler.dump_traceback(errors, all_threads=False)
        leave(*arguments, **named)

    def kill_with_stack(*arguments: Any, **named: Any) -> None:
        if os.getpid() == pid and arguments[:1] == (pid,):
            faulthandler.dump_traceback(errors, all_threads=False)
        kill(*arguments, **named)

    # These two leave no trace of their caller.
    os._exit, os.kill = exit_with_stack, kill_with_stack  # type: ignore[assignment]


def _raise_ignored_interrupt(ignored: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that Python has ignored, as it does in `__del__` and around a fork.

    An exception of this function would be ignored, too: a trace function raises it before the
    next instruction of the code that met the interrupt.
    """
    interrupt, frame = ignored.exc_value, sys._getframe(1)
    if not isinstance(interrupt, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return

    def raise_it(*_: object) -> NoReturn:
        sys.settrace(None)
        raise interrupt.with_traceback(None)

    frame.f_trace, frame.f_trace_opcodes = raise_it, True
    sys.settrace(lambda *_: None)


def _cut_off(*descriptors: int) -> None:
    """Writing to them fails from now on; their numbers stay taken, so that no file gets them."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)


# ── The standard streams: commands read by a thread, output caught ──────────────────


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
        """Whether a Pause waits, also behind other commands."""
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


class _Pipe:
    """A pipe for printed text."""

    def __init__(self, is_error: bool) -> None:
        self.is_error = is_error
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def read(self) -> str | None:
        """The next text that is in it now, or ""; None at its end. Raises BlockingIOError."""
        raw = os.read(self.read_end, _CHUNK)
        return self._decoder.decode(raw) if raw else None


class Capture:
    """Descriptors 1 and 2, redirected into pipes that are read by a thread.

    Both write into one pipe, so that all text stays in its order; while it is passed on, the
    second has a pipe of its own.
    """

    def __init__(self) -> None:
        self._both, self._errors = self._pipes = _Pipe(is_error=False), _Pipe(is_error=True)
        self._libc = ctypes.CDLL(None)
        self._flush()
        self._before = os.dup(1), os.dup(2)
        self._process = os.getpid()
        self._lock = ProcessLock()
        self._text = ""
        self._left_out = 0
        self._muted = 0
        self.unheard: str | None = None
        """The output inside the last `muted` block; None if it was too much to keep."""
        self._pass_on: Callable[[str, bool], object] | None = None
        self._redirect()
        with for_the_main_thread_alone():
            threading.Thread(target=self._read_on, name="capture", daemon=True).start()

    def renew(self) -> None:
        """Redirect both descriptors and Python's streams again, whatever a lesson has made of them.

        A stream takes any text, whatever the locale.
        """
        self._flush()
        self._redirect()
        sys.stdout, sys.stderr = _stream(1), _stream(2)

    def _redirect(self) -> None:
        errors = self._both if self._pass_on is None else self._errors
        os.dup2(self._both.write_end, 1)
        os.dup2(errors.write_end, 2)

    def close(self) -> None:
        """Restore the descriptors; output that has been caught stays to be taken."""
        self._flush()
        for pipe in self._pipes:
            os.close(pipe.write_end)
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
    def passed_on(self, receive: Callable[[str, bool], object]) -> Iterator[None]:
        """Hand all that is printed inside to `receive` at once; nothing is left out.

        `receive` is told, too, whether it was printed to standard error.
        """
        self._flush()
        self._pass_on, before = receive, (sys.stdout, sys.stderr)
        self._redirect()
        sys.stdout, sys.stderr = (_stream(number, self._pass_on_earlier) for number in (1, 2))
        try:
            yield
        finally:
            self._flush()
            with self._lock():
                self._drain()
                self._pass_on = None
            self._redirect()
            sys.stdout, sys.stderr = before

    def _pass_on_earlier(self) -> None:
        """Pass on all that is printed, before more is: what two pipes hold has no order."""
        if os.getpid() == self._process:
            with self._lock():
                self._drain()

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
        more = [pipe.read_end for pipe in self._pipes]
        while more:
            select.select(more, [], [])
            with self._lock():
                more = self._drain()
        # The descriptors stay open for a last take(): a pipe's end costs nothing.

    def _drain(self) -> list[int]:
        """Read all that is in the pipes now; returns those not at their end. The lock is held."""
        more = []
        for pipe in self._pipes:
            try:
                while (text := pipe.read()) is not None:
                    self._take_in(text, pipe.is_error)
            except BlockingIOError:
                more.append(pipe.read_end)
        return more

    def _take_in(self, text: str, is_error: bool) -> None:
        if not self._muted:
            self._keep(text, is_error)
        elif self.unheard is not None:
            whole = self.unheard + text
            self.unheard = whole if len(whole) <= KEPT_CHARACTERS else None

    def _keep(self, text: str, is_error: bool) -> None:
        if self._pass_on is not None:
            self._pass_on(text, is_error)
            return
        whole = self._text + text
        self._left_out += max(len(whole) - KEPT_CHARACTERS, 0)
        self._text = whole[-KEPT_CHARACTERS:]


class _OrderedOutput(io.FileIO):
    """A descriptor that is written to after a call, which waits for earlier output to be read."""

    def __init__(self, descriptor: int, before: Callable[[], object]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._before = before

    def write(self, data: Any, /) -> int:
        """Write after the call."""
        self._before()
        return super().write(data)


def _stream(descriptor: int, before: Callable[[], object] = lambda: None) -> TextIO:
    """Writes to a descriptor, line by line, so that all output comes in its order."""
    raw = io.BufferedWriter(_OrderedOutput(descriptor, before))
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)
