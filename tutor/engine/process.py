"""The child process as such: its pipes, and its end with all that it has started.

Knows lines of bytes and nothing of what they say. Nothing here waits for a child that hangs,
or for a process that a lesson has left behind.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

from tutor.errors import EngineError

LONGEST_LINE = 16 * 2**20
"""Bytes. The longest line of the engine's own has some ten thousand."""

COMMAND = (sys.executable, "-P", "-m", "tutor.engine.child")
"""The engine itself."""

_GONE = 1.0
"""Seconds that a process may take to be gone after it was killed."""


class Process:
    """A running child, which leads a session and a process group of its own."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        """Start it. Raises EngineError if it can't be started."""
        self.fault = ""
        """What it did that it had to be ended for; empty if it was not."""
        self._is_over = False
        # It lives as long as the child, which writes to it until torch is loaded.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            # A session of its own: the terminal's signals are for the app alone.
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"the process that runs lessons can't be started: {error}") from error
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._write_on, name="to the child", daemon=True).start()

    # ── Its pipes ───────────────────────────────────────────────────────────────────

    def write(self, line: bytes) -> None:
        """Pass a line on. Never blocks, also where the child reads none: a thread writes it."""
        self._waiting.put(line)

    def _write_on(self) -> None:
        assert self._child.stdin is not None
        pipe = self._child.stdin.fileno()
        with suppress(OSError):  # it has just ended: who waits for its end says so
            while line := self._waiting.get():
                while line:
                    line = line[os.write(pipe, line) :]
        with suppress(OSError):
            self._child.stdin.close()

    def lines(self) -> Iterator[bytes]:
        """What it says, until its pipe ends. Raises EngineError at a line that has no end."""
        assert self._child.stdout is not None
        with self._child.stdout as out:
            while line := out.readline(LONGEST_LINE):
                if line.endswith(b"\n"):
                    yield line
                elif len(line) == LONGEST_LINE:
                    raise EngineError("a line without an end")

    def last_error(self) -> str:
        """The last line that it wrote to where errors go; empty if it wrote none."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    # ── Its end ─────────────────────────────────────────────────────────────────────

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def interrupt(self) -> None:
        """Signal that the learner wishes to stop what runs."""
        self._child.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Wait for its end, and end what it has started; returns its exit status."""
        status = self._child.wait()
        self.kill()
        self._is_over = True
        self._waiting.put(b"")
        return status

    def end(self, patience: float, fault: str = "") -> None:
        """Give it so many seconds to end by itself; then it is ended, for that `fault`."""
        try:
            self._child.wait(patience)
        except subprocess.TimeoutExpired:
            self.fault = fault
        self.kill()
        with suppress(subprocess.TimeoutExpired):  # a driver may hold it for ever
            self._child.wait(_GONE)

    def kill(self) -> None:
        """End it at once, with all the processes that the lesson has started in it."""
        self.signal_all(signal.SIGKILL)

    def signal_all(self, number: signal.Signals) -> None:
        """Send it a signal, and all the processes that the lesson has started in it."""
        if self._is_over:  # its number may be another's by now
            return
        with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(self._child.pid, number)


def how_ended(status: int) -> str:
    """`exited with status 3`, `was ended by SIGKILL`: from an exit status as `wait` returns it."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
