"""A process that runs lessons: its pipes, memory limit, its stack when it hangs, its end.

`LessonProcess` is a client's view of it, here and on another machine; `Process` is one on this
machine. It ends with everything that the lesson has started, and halts with a command that Ctrl+Z
stops.
"""

from __future__ import annotations

import os
import queue
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from tutor.digits import whole_number
from tutor.engine import supervisor
from tutor.errors import EngineError
from tutor.lesson.model import Lesson
from tutor.plain import one_line
from tutor.protocol.commands import Command
from tutor.protocol.events import Event, event_from_line
from tutor.protocol.frame import Remark
from tutor.protocol.messages import to_line
from tutor.training import time_limit
from tutor.training.time_limit import DUMP_SIGNAL, VALUE_OF

DEFAULT_MEGABYTES = 1024
"""Megabytes that a lesson may take beyond torch's own, unless TUTOR_MEMORY_MB is set."""

LEAST_MEGABYTES, MOST_MEGABYTES = 64, 2**30
"""With less than the least, no lesson comes up."""

_STATUS = Path("/proc/self/status")
_THREAD_BYTES = 8 * 2**20
"""Bytes of a thread's stack, which count as data though few are used."""


def limit_memory(device: str) -> None:
    """Let this process take so much more memory on the CPU; without bound on another device.

    Beyond it Python raises MemoryError and torch a RuntimeError, which name the line.
    """
    if not _STATUS.exists():
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    stacks = (os.cpu_count() or 1) * _THREAD_BYTES  # of the threads with which torch may compute
    soft = hard if device != "cpu" else _data_bytes() + stacks + allowed_megabytes() * 2**20
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def allowed_megabytes() -> int:
    """The value of TUTOR_MEMORY_MB. Raises EngineError if it is no possible number."""
    asked = os.environ.get("TUTOR_MEMORY_MB", "").strip()
    if not asked:
        return DEFAULT_MEGABYTES
    megabytes = whole_number(asked, MOST_MEGABYTES)
    if megabytes is None or megabytes < LEAST_MEGABYTES:
        limits = {"least": LEAST_MEGABYTES, "most": MOST_MEGABYTES}
        raise EngineError("bad_memory_limit", asked=one_line(asked)[:30], **limits)
    return megabytes


def _data_bytes() -> int:
    """The private writable memory that this process has mapped."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


DUMP_SECONDS = 5.0
"""Seconds in which it has done so. It takes a millisecond, unless the machine is busy."""
DUMP_PAUSE = 0.2
"""Seconds without another line after which the stack is taken as whole, on a busy machine too."""

LET_GO_SECONDS = 10.0
"""Seconds in which a child that has let go of its pipe may end by itself.

Nobody waits for that. Too short a time would blame a child whose end takes long to be seen.
"""

READ_SECONDS = 5.0
"""Seconds in which all that a child has sent is read once it has ended.

It takes a millisecond, unless the machine is busy or something has escaped with the pipe.
"""

LONGEST_LINE = 16 * 2**20
"""Bytes. The longest line of the engine's own has some ten thousand."""

LONGEST_ERROR = 64 * 2**10
"""Bytes of its error output that are read."""

COMMAND = (sys.executable, "-P", "-c", "from tutor.engine.child import main; main()")
"""The engine itself."""

PROCESS_VARIABLE = "TUTOR_PROCESS"
"""The environment variable that all processes of one child carry, to be found by."""

_SUPERVISOR = (sys.executable, "-I", "-S", str(Path(supervisor.__file__)))
_GONE = 1.0
"""Seconds that a process may take to be gone after it was killed."""
_PROC = Path("/proc")
_STACK = re.compile(r"\(most recent call first\):\n((?:  .*\n?)+)")
_STACK_LINE = re.compile(r'  File "(.*)", line (\d+) in (.*)')
_ESCAPED = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}")
_LONGEST_NAME = 500
"""Characters that faulthandler writes of a name."""


class LastPlace(msgspec.Struct, frozen=True):
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
    """A name as faulthandler writes it: only ASCII, and not longer than faulthandler allows."""
    cut = name[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
    return cut + "..." * (len(name) > _LONGEST_NAME)


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[0][2:], 16))


def lost_error(lost: Remark) -> EngineError:
    """The error of a command that waits for an answer when the connection is lost."""
    return EngineError("command_lost", **lost.values)


class LessonProcess(ABC):
    """A running process, which ends with everything that a lesson has started in it."""

    end_reason = ""
    """The code of the reason why the tutor ended it; empty if it did not."""
    lost: Remark | None = None
    """The code of the reason why the connection to it is lost; None while it is not."""

    @property
    def round_trip(self) -> float:
        """Seconds that a message takes there and back."""
        return 0.0

    # ── Commands and events ─────────────────────────────────────────────────────────

    @abstractmethod
    def send(self, command: Command) -> None:
        """Pass a command on. Never blocks, also where the process reads none."""

    @abstractmethod
    def events(self) -> Generator[Event, None, None]:
        """The events that it sends. When there are no more, the process is ended, too."""

    def follow(self, receive: Callable[[Event], object]) -> int:
        """Hand on its events until it ends; returns its exit status.

        Something that the lesson has started may keep the pipe: it is not waited for.
        """

        def read() -> None:
            for event in self.events():
                receive(event)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        status = self.wait()
        reader.join(READ_SECONDS)
        return status

    @abstractmethod
    def error_text(self) -> str:
        """The end of its error output."""

    def last_error(self) -> Remark:
        """The last line that it wrote to where errors go."""
        lines = self.error_text().strip().splitlines()
        return Remark("text", {"text": lines[-1]}) if lines else Remark("no_error_text")

    def place(self, lesson: Lesson) -> LastPlace | None:
        """The place in the lesson's code, by the last stack that the process wrote."""
        return last_place(self.error_text(), lesson)

    # ── End ─────────────────────────────────────────────────────────────────────────

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
        if self.end_reason:
            return Remark(self.end_reason)
        if place is not None and place.is_expression and status == -time_limit.END_SIGNAL:
            return Remark("no_end", {"seconds": time_limit.EXPRESSION_SECONDS})
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
        """Wait `patience` seconds for it to end by itself; then end it, for that `reason`."""

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
        """Let the process write its stack down, if it is alive; `place` reads it."""

    @abstractmethod
    def set_on_screen(self, is_on_screen: bool) -> None:
        """Tell the supervisor whether the app's screen is on the terminal.

        If the app is killed while it is, the supervisor leaves it.
        """


class Process(LessonProcess):
    """A running child of this process, which leads a session and a process group of its own."""

    def __init__(self, command: Sequence[str] = COMMAND, terminal: str = "") -> None:
        """Start it. Raises EngineError if it can't be started.

        `terminal`: the path of the one that the app has its screen on, if it has; should the
        app be killed, the supervisor leaves that screen.
        """
        allowed_megabytes()  # an error is raised now: no process could report it later
        self._is_over = False
        self._mark = f"{os.getpid()}-{os.urandom(8).hex()}"
        # It lives as long as the child, which writes to it until torch is loaded.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        their_end, self._lifeline = os.pipe()
        self._ending = threading.RLock()  # a signal's handler may come in between
        self.set_on_screen(
            terminal != ""
        )  # before there is a child: the app may be killed any time
        try:
            # A session of its own: the terminal's signals are for the app alone.
            self._child = subprocess.Popen(
                (*_SUPERVISOR, str(their_end), terminal, *command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
                pass_fds=(their_end,),
                env={**os.environ, PROCESS_VARIABLE: self._mark},
            )
        except OSError as error:
            os.close(self._lifeline)
            raise EngineError("not_startable", error=str(error)) from error
        finally:
            os.close(their_end)
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        """Lines to write; None closes the pipe."""
        threading.Thread(target=self._write_commands, name="to the child", daemon=True).start()

    # ── Pipes ───────────────────────────────────────────────────────────────────────

    def send(self, command: Command) -> None:
        """Pass a command on. Never blocks, also where the child reads none: a thread writes it."""
        self._outgoing.put(to_line(command))

    def _write_commands(self) -> None:
        assert self._child.stdin is not None
        pipe = self._child.stdin.fileno()
        with suppress(OSError):  # it has just ended, which `wait` notices
            while line := self._outgoing.get():
                while line:
                    line = line[os.write(pipe, line) :]
        with suppress(OSError):
            self._child.stdin.close()

    def events(self) -> Generator[Event, None, None]:
        """The events that it sends. When there are no more, the child is ended, too.

        A child that writes anything else is ended at once: the lesson has written for it.
        """
        assert self._child.stdout is not None
        reason, patience = "closed_pipe", LET_GO_SECONDS
        try:
            while line := self._child.stdout.readline(LONGEST_LINE):
                if line.endswith(b"\n"):
                    yield event_from_line(line)
                elif len(line) == LONGEST_LINE:
                    raise msgspec.DecodeError("a line without an end")
        except msgspec.DecodeError:
            reason, patience = "wrote_into_pipe", 0.0
        finally:  # closed earlier, the pipe would end a child that writes on by SIGPIPE
            self.set_on_screen(self._is_on_screen)  # a sign of life: the supervisor waits for one
            self.end(patience, reason)
            self._child.stdout.close()

    def error_text(self) -> str:
        """The end of its error output."""
        # Not by seeking: the child writes at the position that both share.
        start = max(self.error_size - LONGEST_ERROR, 0)
        return os.pread(self._errors.fileno(), LONGEST_ERROR, start).decode(errors="replace")

    @property
    def error_size(self) -> int:
        """The number of bytes that it has written as errors."""
        return os.fstat(self._errors.fileno()).st_size

    # ── End ─────────────────────────────────────────────────────────────────────────

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    @property
    def exit_status(self) -> int:
        """Its exit status, once it has ended; negative for a signal."""
        return self._child.wait()

    def interrupt(self) -> None:
        """Signal that the learner wishes to stop what runs."""
        self._child.send_signal(signal.SIGINT)  # the supervisor passes it on

    def wait(self) -> int:
        """Wait for its end, and end what it has started; returns its exit status."""
        status = self._child.wait()
        self._end_marked()
        self.kill()
        self._outgoing.put(None)
        return status

    def end(self, patience: float, reason: str = "") -> None:
        """Wait `patience` seconds for it to end by itself; then end it, for that `reason`."""
        try:
            self._child.wait(patience)
        except subprocess.TimeoutExpired:
            self.end_reason = reason
        self.kill()
        self._make_sure()

    def kill(self) -> None:
        """End it at once, with all the processes that the lesson has started in it."""
        with self._ending:
            if self._is_over:
                return
            self.set_on_screen(False)
            self._is_over = True
            os.close(self._lifeline)
        threading.Thread(target=self._make_sure, name="end of the child", daemon=True).start()

    def set_on_screen(self, is_on_screen: bool) -> None:
        """Tell the supervisor whether the app's screen is on the terminal."""
        self._is_on_screen = is_on_screen
        with self._ending, suppress(OSError):  # the supervisor may have ended
            if not self._is_over:
                os.write(self._lifeline, b"+" if is_on_screen else b"-")

    def signal_all(self, number: signal.Signals) -> None:
        """Send it a signal, and all the processes that the lesson has started in it."""
        if self._is_over:  # its number may be another's by now
            return
        supervisor.signal_each(supervisor.descendants(self._child.pid), number)

    def dump_stack(self) -> None:
        """Let the process write its stack down, if it is alive; `place` reads it."""
        before = last = self.error_size
        until = time.monotonic() + DUMP_SECONDS
        # In this order: a stopped one writes its stack before it does anything else.
        for number in (DUMP_SIGNAL, signal.SIGCONT):
            self.signal_all(number)
        while self.is_alive and time.monotonic() < until:
            time.sleep(DUMP_PAUSE)
            if before < last == self.error_size:
                break
            last = self.error_size

    def _make_sure(self) -> None:
        """A supervisor that the lesson has stopped or killed can't do its work: do it here."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_GONE)
            return
        self._end_marked()
        self._child.send_signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):  # on a busy machine, too: some, it alone finds
            self._child.wait(supervisor.KILL_SECONDS + _GONE)
            return
        self._child.kill()
        with suppress(subprocess.TimeoutExpired):  # a driver may hold it forever
            self._child.wait(_GONE)

    def _end_marked(self) -> None:
        """Kill all that carries this child's mark, but the supervisor, until there is nothing."""
        mark = f"{PROCESS_VARIABLE}={self._mark}".encode()
        until = time.monotonic() + _GONE
        while time.monotonic() < until and (found := _having(mark) - {self._child.pid}):
            supervisor.signal_each(found)
            time.sleep(0.005)


def _having(entry: bytes) -> set[int]:
    """The processes with this in their environment, as far as the system shows it (Linux)."""
    found = set()
    for directory in _PROC.glob("[0-9]*"):
        with suppress(OSError):  # another user's, or it has just ended
            if entry in (directory / "environ").read_bytes().split(b"\0"):
                found.add(int(directory.name))
    return found


# ── Job control ─────────────────────────────────────────────────────────────────────
# The engine's process leads a session of its own, and hears nothing of the terminal's signals: a
# stopped command would go on training, unseen, on a machine that others share. The app does this
# in `tutor.ui.terminal_watch`, as it has a screen to leave.


@contextmanager
def on_ctrl_z(do: Callable[[], object]) -> Iterator[None]:
    """A span in which SIGTSTP calls `do`, in the middle of whatever the main thread does."""
    if signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield  # a program without job control ignores it
        return
    signal.signal(signal.SIGTSTP, lambda *_: do())
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)


def stop_together(halt: Callable[[], object], go_on: Callable[[], object]) -> None:
    """Stop this process as Ctrl+Z does by default, until `fg`: after `halt`, before `go_on`."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    halt()
    os.kill(os.getpid(), signal.SIGTSTP)
    go_on()
    signal.signal(signal.SIGTSTP, handler)
