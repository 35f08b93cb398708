"""The installed `tutor` in a pseudo-terminal, with pyte as the screen that a person sees.

Used by the end-to-end tests and by the benchmarks. Knows keys and cells, nothing of what
is in them.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

from tests.waiting import PATIENCE
from tutor.engine import supervisor

_BEGIN, _END = b"\x1b[?2026h", b"\x1b[?2026l"
"""What Textual writes around a frame where the terminal has said that it syncs."""

TUTOR = Path(sys.executable).with_name("tutor")
IN_SHELL = shlex.quote(str(TUTOR))
"""The program as a word of a shell's line: its path may have blanks."""


class Terminal:
    """A program in a pseudo-terminal of a given size."""

    def __init__(
        self,
        command: Sequence[str],
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._held = b""
        """The beginning of a frame that is not all here yet."""
        self._lines: list[str] | None = None
        """What `lines` has found since the screen last changed: it costs milliseconds."""
        self.raw = bytearray()
        """Every byte that the program has written."""
        self._master, slave = pty.openpty()
        self._set_size(columns, rows)
        # A test runner exports its own width, which would be believed before the terminal's.
        inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})},
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.text())
        below = supervisor.descendants(self.process.pid)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        # The engine's supervisor leaves the screen: by then, no other may have this terminal.
        deadline = time.monotonic() + PATIENCE
        while any(map(is_alive, below)) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.close(self._master)

    @property
    def lines(self) -> list[str]:
        """The rows of the screen."""
        if self._lines is None:
            self._lines = [line.rstrip() for line in self.screen.display]
        return self._lines

    def text(self) -> str:
        """The whole screen."""
        return "\n".join(self.lines)

    def press(self, *keys: str) -> None:
        """Type keys as a terminal sends them."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())

    def read(self, seconds: float = 0.0) -> bool:
        """Take in what has been written, waiting so long for it; whether there was any."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program has ended and closed its end
            return False
        self.raw += data
        self._answer(data)
        self._show(data)
        return bool(data)

    def _show(self, data: bytes) -> None:
        """Draw what has come, but no half of a frame, as a terminal does that syncs."""
        data = self._held + data
        begin = data.rfind(_BEGIN)
        whole = len(data) if data.find(_END, max(begin, 0)) >= 0 or begin < 0 else begin
        if whole == len(data):  # the beginning may be cut in two itself
            whole -= next((n for n in range(len(_BEGIN), 0, -1) if data.endswith(_BEGIN[:n])), 0)
        self._held = data[whole:]
        self._stream.feed(data[:whole])
        self._lines = None

    def wait_until(self, true: Callable[[], object], patience: float = PATIENCE) -> None:
        """Read until `true` of the screen."""
        deadline = time.monotonic() + patience
        while not true():
            assert time.monotonic() < deadline, f"waited in vain; the screen:\n{self.text()}"
            if not self.read(0.05) and self.process.poll() is not None:
                self.settle(0.05)
                assert true(), f"it ended ({self.process.returncode}); the screen:\n{self.text()}"

    def wait_for(self, *texts: str) -> None:
        """Read until all these texts are on the screen."""
        self.wait_until(lambda: all(text in self.text() for text in texts))

    def wait_gone(self, text: str) -> None:
        """Read until this text is not on the screen any more."""
        self.wait_until(lambda: text not in self.text())

    def settle(self, seconds: float = 0.25) -> None:
        """Read until nothing has been written for so long."""
        while self.read(seconds):
            pass

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal, as its window would."""
        self.screen.resize(rows, columns)
        self._lines = None
        self._set_size(columns, rows)
        os.killpg(self.process.pid, signal.SIGWINCH)

    @property
    def takes_lines(self) -> bool:
        """Whether it shows what is typed, and Ctrl+C is a signal: as a shell leaves it."""
        flags = termios.tcgetattr(self._master)[3]
        wanted = termios.ICANON | termios.ECHO | termios.ISIG
        return bool(flags & wanted == wanted)

    def hang_up(self) -> None:
        """Take the terminal away without a signal, as where that is lost or ignored."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self._master)
        os.close(null)

    def wait_ended(self, patience: float = PATIENCE) -> int:
        """Read until the program has ended, and all that it has written; its exit status."""
        deadline = time.monotonic() + patience
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.05)
        self.settle(0.05)
        return self.process.wait(timeout=1)

    def _set_size(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _answer(self, data: bytes) -> None:
        """Answer the one question that a Textual app waits for: does the terminal sync?"""
        if b"\x1b[?2026$p" in data:
            os.write(self._master, b"\x1b[?2026;2$y")


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended (Linux)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


KEYS = {
    "space": " ",
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "backspace": "\x7f",
    "ctrl+p": "\x10",
    "ctrl+c": "\x03",
    "ctrl+q": "\x11",
    "ctrl+z": "\x1a",
}
"""Keys that are not one character."""
