"""The connection to an engine on another machine, over the learner's own ssh.

ssh asks for passwords on the terminal before the far end says hello; from then on it is silent.
Nothing listens on a port: all messages go through ssh's standard input and output.
"""

from __future__ import annotations

import os
import queue
import select
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

import msgspec

from tutor import __version__
from tutor.engine.process import DUMP_SECONDS, LONGEST_LINE, LessonProcess, Process, lost_error
from tutor.errors import EngineError
from tutor.plain import one_line, plain
from tutor.protocol.commands import Command
from tutor.protocol.events import Event
from tutor.protocol.far_end import (
    HELLO,
    DevicesListed,
    DumpStack,
    FarMessage,
    Hello,
    KillProcess,
    ListDevices,
    Ping,
    Pong,
    ProcessOver,
    SignalProcess,
    StackDumped,
    StartProcess,
    far_message_from_line,
)
from tutor.protocol.frame import Remark
from tutor.protocol.messages import to_line

TICK = 5.0
"""Seconds between two signs of life, in each direction."""
MOST_SILENT_TICKS = 4
"""Ticks without a sign of the other side after which the connection is lost."""
CLOSE_SECONDS = 2.0
"""Seconds that ssh may take to end once it should."""
FLUSH_SECONDS = 0.5
"""Seconds that the last message before a suspension may take to be written."""
MOST_BEFORE_HELLO = 2**16
"""Bytes that a shell's start files may print before the far end says hello."""
_LONGEST_ERRORS = 4000

_WITHOUT_HELLO = {127: "no_far_tutor", 255: "no_connection"}
"""An exit status → the shell there has not found the command; or ssh itself has failed."""

# Ctrl+C at a terminal is for the tutor, which may then end ssh.
_UNINTERRUPTED = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
_ALIVE = ("-T", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
"""Options of ssh. It takes the first value that it gets for each: the learner's, if given."""


def lines_until_silent(descriptor: int, is_patient: Callable[[], bool]) -> Iterator[bytes]:
    """The lines from a pipe until its end, or until it is silent for too long.

    Silence does not count while `is_patient` returns true. Ticks are counted, not time: a
    process that stood still (a suspended machine, Ctrl+Z) can't have heard anything meanwhile.
    """
    rest, silent = b"", 0
    while silent < MOST_SILENT_TICKS and len(rest) < LONGEST_LINE:
        if not select.select([descriptor], [], [], TICK)[0]:
            silent += not is_patient()
            continue
        silent = 0
        if not (data := os.read(descriptor, 2**16)):
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def checked_host(name: str) -> str:
    """The name of a host, unless ssh would take it for an option. Raises EngineError."""
    if not name or name.startswith("-"):
        raise EngineError("no_host_name", host=name)
    return name


def ssh_command(host: str) -> list[str]:
    """The command that starts the far end. Raises EngineError."""
    try:
        ssh = shlex.split(os.environ.get("TUTOR_SSH", "")) or ["ssh"]
    except ValueError as error:
        raise EngineError("unreadable_ssh", error=str(error)) from None
    name = checked_host(host)
    if shutil.which(ssh[0]) is None:
        raise EngineError("no_ssh", program=ssh[0])
    return [*ssh, *_ALIVE, name, f"{_far_tutor()} engine"]


def _far_tutor() -> str:
    return os.environ.get("TUTOR_REMOTE", "").strip() or "tutor"


class Connection:
    """One run of ssh, and the process for lessons at its far end."""

    def __init__(self, host: str, terminal: str = "") -> None:
        """Connect; ssh may ask at the terminal meanwhile.

        `terminal`: the path of the terminal that the app has its screen on, if it has. Raises
        EngineError if there is no tutor of this version at the other end, and KeyboardInterrupt
        at Ctrl+C.
        """
        self.host = host
        self.round_trip = 0.0
        """Seconds from the last Ping to its Pong."""
        self.lost: Remark | None = None
        self._lock = threading.Lock()
        self._number = 0
        self._process: RemoteProcess | None = None
        self._devices: queue.SimpleQueue[DevicesListed | None] = queue.SimpleQueue()
        self._outgoing: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        """Lines to write, and events to set once all before them is written; None closes."""
        self._pinged = -TICK
        """The time of the last Ping; the first one is due at once."""
        self._errors = ""
        """The end of what ssh has said since the Hello."""
        self._is_open = False
        self.screen_guard: Process | None = None
        """A process here that leaves the screen should the app be killed; see supervisor.py."""
        command = ssh_command(host)
        errors, slave = os.openpty()  # ssh says only to a terminal what a security key waits for
        try:
            self._ssh = subprocess.Popen(
                (*_UNINTERRUPTED, *command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=slave,
            )
        finally:
            os.close(slave)
        self._error_reader = threading.Thread(target=self._read_errors, args=(errors,), daemon=True)
        self._error_reader.start()
        assert self._ssh.stdout is not None
        lines = lines_until_silent(self._ssh.stdout.fileno(), lambda: not self._is_open)
        try:
            self._greet(lines)
            self.screen_guard = Process(("cat",), terminal) if terminal else None
        except BaseException:
            self._ssh.terminate()  # it may be asking
            self.close()
            raise
        self._is_open = True
        threading.Thread(target=self._write_messages, daemon=True).start()
        threading.Thread(target=self._read_messages, args=(lines,), daemon=True).start()

    def _greet(self, lines: Iterator[bytes]) -> None:
        """Wait for the Hello of a tutor like this one. Raises EngineError."""
        size = 0
        for line in lines:
            if line.startswith(HELLO):
                break
            size += len(line)
            if size > MOST_BEFORE_HELLO:
                raise self._no_engine("no_hello")
        else:
            raise self._ended_silently()
        there, here = Hello.from_line(line), Hello.here()
        if there != here:
            version = there.version if there else "?"
            code = "other_build" if version == __version__ else "other_version"
            raise self._no_engine(code, version=version)

    def _ended_silently(self) -> EngineError:
        """The reason why ssh has ended without a Hello."""
        status = self._wait_for_ssh()
        self._error_reader.join(CLOSE_SECONDS)  # ssh's own words come first
        return self._no_engine(_WITHOUT_HELLO.get(status, "far_tutor_ended"), status=status)

    def _no_engine(self, code: str, **values: object) -> EngineError:
        """The error that there is no engine like this tutor's at the other end."""
        both = {"tutor": _far_tutor(), "here": __version__}
        return EngineError(code, host=self.host, **both, **values)

    def _wait_for_ssh(self) -> int:
        """Wait for the end of ssh, and end it if that takes long; returns its exit status."""
        for end in (self._ssh.terminate, self._ssh.kill):
            with suppress(subprocess.TimeoutExpired):
                return self._ssh.wait(CLOSE_SECONDS)
            end()
        return self._ssh.wait()

    # ── Sending ─────────────────────────────────────────────────────────────────────

    def start_process(self) -> RemoteProcess:
        """Start a process for lessons there, in place of the one before."""
        with self._lock:
            self._number += 1
            process = self._process = RemoteProcess(self, self._number)
        self.tell(StartProcess(self._number))
        if self.lost is not None:
            process.lose_connection(self.lost)
        return process

    def devices(self) -> tuple[tuple[str, str], ...]:
        """The devices there, each with its description. Raises EngineError."""
        self.tell(ListDevices())
        listed = self._devices.get()
        if listed is None:
            assert self.lost is not None
            raise lost_error(self.lost)
        return listed.devices

    def tell(self, message: FarMessage | Command) -> None:
        """Send a message. Never blocks."""
        self._outgoing.put(to_line(message))

    def flush(self) -> None:
        """Wait until all messages are written, but not for long."""
        self._outgoing.put(written := threading.Event())
        written.wait(FLUSH_SECONDS)

    def close(self) -> None:
        """End ssh; the far end ends everything there as soon as it sees that."""
        assert self._ssh.stdin is not None
        if self._is_open:
            self._outgoing.put(None)
        else:
            self._ssh.stdin.close()
        self._wait_for_ssh()
        if self.screen_guard is not None:
            self.screen_guard.kill()

    def _write_messages(self) -> None:
        """Write what is sent, and Pings, until the connection is closed. Runs in a thread."""
        assert self._ssh.stdin is not None
        pipe = self._ssh.stdin.fileno()
        with suppress(OSError):  # ssh has ended, which the reader notices
            while (line := self._next_outgoing()) is not None:
                if isinstance(line, threading.Event):
                    line.set()
                    continue
                while line:
                    line = line[os.write(pipe, line) :]
        with suppress(OSError):
            self._ssh.stdin.close()

    def _next_outgoing(self) -> bytes | threading.Event | None:
        """The next thing in the queue; a Ping if nothing comes before one is due."""
        due = self._pinged + TICK
        try:
            return self._outgoing.get(timeout=max(due - time.monotonic(), 0.0))
        except queue.Empty:
            self._pinged = time.monotonic()
            return to_line(Ping())

    # ── Receiving ───────────────────────────────────────────────────────────────────

    def _read_messages(self, lines: Iterator[bytes]) -> None:
        """Take in what the far end sends until the connection is lost. Runs in a thread."""
        with suppress(msgspec.MsgspecError):
            for line in lines:
                message = far_message_from_line(line, Event)
                if isinstance(message, FarMessage):
                    self._receive(message)
                elif (process := self._process) is not None:
                    process.receive_event(message)
        reason = self._why_lost()
        self._wait_for_ssh()
        with self._lock:
            self.lost = Remark("connection_lost", {"host": self.host, "reason": reason})
            process = self._process
        self._devices.put(None)
        if process is not None:
            process.lose_connection(self.lost)

    def _why_lost(self) -> Remark:
        """The reason why nothing more is heard."""
        try:
            status = self._ssh.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            return Remark("no_answer")
        self._error_reader.join(CLOSE_SECONDS)
        said = [line for line in self._errors.splitlines() if line.strip()]
        if said:
            return Remark("text", {"text": one_line(said[-1].strip(" ."))})
        if status < 0:
            return Remark("ssh_killed", {"signal": -status})
        return Remark("ssh_ended", {"status": status})

    def _receive(self, message: FarMessage) -> None:
        process = self._process
        match message:
            case Pong():
                self.round_trip = time.monotonic() - self._pinged
            case DevicesListed() as listed:
                self._devices.put(listed)
            case StackDumped(errors) if process is not None:
                process.receive_stack(errors)
            case ProcessOver() as over if process is not None and process.number == over.number:
                process.receive_end(over)

    def _read_errors(self, terminal: int) -> None:
        """Pass on what ssh says until the far end says hello; keep it from then on."""
        with suppress(OSError):  # so a terminal ends
            while data := os.read(terminal, 4096):
                text = plain(data.decode(errors="replace").replace("\r", ""))
                if not self._is_open:
                    self._errors = ""
                    os.write(2, text.encode())
                else:
                    self._errors = (self._errors + text)[-_LONGEST_ERRORS:]
        os.close(terminal)


class RemoteProcess(LessonProcess):
    """A process that runs lessons at the far end of a connection."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.number = number
        self._connection = connection
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._errors = ""
        self._not_started: Remark | None = None
        self._status = 0
        self._is_over = threading.Event()
        self._has_dumped = threading.Event()

    @property
    def round_trip(self) -> float:
        """Seconds that a message takes there and back."""
        return self._connection.round_trip

    # ── Messages that have come ─────────────────────────────────────────────────────

    def receive_event(self, event: Event) -> None:
        """Keep an event for `events`."""
        self._events.put(event)

    def receive_stack(self, errors: str) -> None:
        """Keep its error output, which ends with its stack."""
        self._errors = errors
        self._has_dumped.set()

    def receive_end(self, over: ProcessOver) -> None:
        """Note its end, its exit status and the end of its error output."""
        self._status, self._errors = over.status, over.errors
        self._not_started = over.not_started
        self.end_reason = self.end_reason or over.end_reason
        self._finish()

    def lose_connection(self, lost: Remark) -> None:
        """Note that the connection is lost, and the process with it."""
        if not self._is_over.is_set():
            self.lost = lost
            self._finish()

    def _finish(self) -> None:
        self._is_over.set()
        self._has_dumped.set()
        self._events.put(None)

    # ── Requests of the client ──────────────────────────────────────────────────────

    def send(self, command: Command) -> None:
        """Pass a command on."""
        self._connection.tell(command)

    def events(self) -> Generator[Event, None, None]:
        """The events that it sends."""
        while (event := self._events.get()) is not None:
            yield event

    def error_text(self) -> str:
        """The end of its error output, at its last stack or at its end."""
        return self._errors

    def last_error(self) -> Remark:
        """The last line of its error output, or the reason why it could not be started."""
        return self._not_started or super().last_error()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self._is_over.is_set()

    @property
    def exit_status(self) -> int:
        """Its exit status, once it has ended."""
        self._is_over.wait()
        return self._status

    def wait(self) -> int:
        """Wait until the process or the connection ends; returns the exit status."""
        return self.exit_status

    def end(self, patience: float, reason: str = "") -> None:
        """Wait `patience` seconds for it to end by itself; then end it, for that `reason`."""
        if not self._is_over.wait(patience):
            self.end_reason = reason
            self.kill()
            self._is_over.wait(CLOSE_SECONDS)

    def kill(self) -> None:
        """End it at once, with everything that a lesson has started in it."""
        if self.is_alive:
            self._connection.tell(KillProcess())

    def interrupt(self) -> None:
        """Signal that the learner wishes to stop what runs."""
        self._connection.tell(SignalProcess(signal.SIGINT, is_to_all=False))

    def signal_all(self, number: signal.Signals) -> None:
        """Send it a signal, and all that a lesson has started.

        Returns once the message is written: this process may be suspended next.
        """
        if self.is_alive:
            self._connection.tell(SignalProcess(number, is_to_all=True))
            self._connection.flush()

    def dump_stack(self) -> None:
        """Let the process write its stack down, if it is alive; `place` reads it."""
        self._has_dumped.clear()
        if self.is_alive:
            self._connection.tell(DumpStack())
            self._has_dumped.wait(2 * DUMP_SECONDS + self.round_trip)

    def set_on_screen(self, is_on_screen: bool) -> None:
        """Tell the guard whether the app's screen is on the terminal here."""
        if self._connection.screen_guard is not None:
            self._connection.screen_guard.set_on_screen(is_on_screen)
