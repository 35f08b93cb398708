"""A process between the tutor and a lesson's process: ends all that the lesson has started.

Run as a script (`supervisor.py LIFELINE TERMINAL COMMAND…`), without any package and with few of
Python's own modules, so that it starts in milliseconds. It starts COMMAND in a session of its own.
As soon as that ends, or the pipe with the descriptor LIFELINE is closed at its other end (the tutor
ends the lesson, or is gone itself, by SIGKILL say), it kills every process below it and ends with
the status of COMMAND.

On Linux it is their subreaper: a process whose parent has ended becomes the supervisor's own
child, also in a session of its own, so that none gets away. Should a lesson kill the supervisor,
the kernel kills the lesson's process too (PR_SET_PDEATHSIG). Elsewhere it kills the process groups
that are found below it.

The tutor writes + into the lifeline while its screen is on TERMINAL (a path, or empty), and -
before it gives TERMINAL back. If the tutor is gone without a -, the supervisor restores the
terminal. When COMMAND has ended, the tutor writes + or - again, so that the supervisor knows that
the tutor is still alive: COMMAND sees the end of the tutor, too, and may end before the lifeline is
closed.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import termios
import time
from contextlib import suppress

TYPE_CHECKING = False  # `typing` itself would take a third of the start
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NoReturn

KILL_SECONDS = 5.0
"""Seconds that killed processes may take to be gone: a driver can hold one for longer."""

SIGN_OF_LIFE_SECONDS = 2.0
"""Seconds that the tutor may take to show that it is there, after the command has ended."""

IS_LINUX = sys.platform == "linux"
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # of prctl, from linux/prctl.h
_NOT_STARTED = 127


def main(lifeline: int, terminal: str, command: list[str]) -> NoReturn:
    """Run the command; end with its status once all its processes are gone."""
    if IS_LINUX:
        _prctl(_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # each is read from the pipe
    child = _start(command)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):  # the command alone holds the tutor's pipes
        os.dup2(nothing, descriptor)
    status, has_screen = _watch(child, lifeline, terminal, woken)
    _kill_group(child)
    end_descendants()
    is_readable = has_screen and select.select([lifeline], [], [], SIGN_OF_LIFE_SECONDS)[0]
    if is_readable and not os.read(lifeline, 4096):  # closed: the tutor is gone, too
        _leave_screen(terminal)
    _end_like(status)


def _start(command: list[str]) -> int:
    supervisor = os.getpid()
    if child := os.fork():
        return child
    try:
        os.setsid()
        if IS_LINUX:
            _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != supervisor:  # it was killed before that
                os._exit(_NOT_STARTED)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} can't be started: {error.strerror}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _watch(child: int, lifeline: int, terminal: str, woken: int) -> tuple[int, bool]:
    """Wait until the child ends, or has to. Passes SIGINT on.

    Returns its wait status, and whether the tutor's screen is still on the terminal.
    """
    screen_state = b""
    while True:
        readable, _, _ = select.select([lifeline, woken], [], [])
        is_over = False
        if lifeline in readable:
            before, screen_state = screen_state, os.read(lifeline, 4096)
            is_over = not screen_state
            if is_over and terminal and before.endswith(b"+"):
                _leave_screen(terminal)
        has_screen = terminal != "" and screen_state.endswith(b"+")
        numbers = os.read(woken, 4096) if woken in readable else b""
        if signal.SIGINT in numbers:
            signal_each([child], signal.SIGINT)
        has_to_end = is_over or signal.SIGTERM in numbers or signal.SIGHUP in numbers
        if has_to_end:
            _kill_group(child)
            signal_each([child])
            return os.waitpid(child, 0)[1], has_screen
        for pid, status in _ended_children():
            if pid == child:
                return status, has_screen


_LEAVE_SCREEN = (
    b"\x1b[?2026l"  # a frame that was cut off in its middle
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"  # the mouse
    b"\x1b[?2004l\x1b[?2048l\x1b[?1004l\x1b[?7h"  # pastes, sizes, focus; long lines wrapped again
    b"\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m"  # keys, the other screen, the cursor, colours
)


def _leave_screen(terminal: str) -> None:
    """Undo a full-screen program's changes to a terminal, unless somebody has since."""
    with suppress(OSError, termios.error):  # it is gone, too
        tty = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        os.write(tty, _LEAVE_SCREEN)
        state = termios.tcgetattr(tty)
        if not state[3] & termios.ISIG:  # no shell has done it
            state[0] |= termios.ICRNL | termios.IXON | termios.BRKINT
            state[1] |= termios.OPOST | termios.ONLCR
            state[3] |= termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN
            termios.tcsetattr(tty, termios.TCSANOW, state)


def _ended_children() -> Iterator[tuple[int, int]]:
    """The children that have ended, orphans of the lesson among them, with their wait status."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, status


def end_descendants() -> None:
    """Kill all processes below this one, until there are none.

    Whole process groups at a time: the kernel lets no fork slip through that.
    """
    own_group = os.getpgrp()
    until = time.monotonic() + KILL_SECONDS
    while time.monotonic() < until:
        below = descendants(os.getpid())
        for group in {group for group in below.values() if group != own_group}:
            _kill_group(group)
        signal_each(below)
        if not below and not _has_children():
            return
        time.sleep(0.005)


def signal_each(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Send processes a signal, as far as they are still there and may have it."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _has_children() -> bool:
    """Whether a child is left after those that have ended are let go."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def descendants(root: int) -> dict[int, int]:
    """All processes below `root`, with the group of each; zombies are left out."""
    children: dict[int, list[tuple[int, int]]] = {}
    for pid, parent, group in _processes():
        children.setdefault(parent, []).append((pid, group))
    found: dict[int, int] = {}
    waiting = [root]
    while waiting:
        for pid, group in children.get(waiting.pop(), ()):
            found[pid] = group
            waiting.append(pid)
    return found


def _processes() -> Iterator[tuple[int, int, int]]:
    """Process, parent and group of all that run here."""
    if not IS_LINUX:
        import subprocess  # noqa: PLC0415 - takes longer to load than all else here

        listed = ("ps", "-A", "-o", "pid=,ppid=,pgid=,stat=")
        with suppress(OSError):
            for line in subprocess.run(listed, capture_output=True, text=True).stdout.splitlines():
                pid, parent, group, state = line.split()
                if not state.startswith("Z"):
                    yield int(pid), int(parent), int(group)
        return
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(OSError):  # it has just ended
                with open(f"/proc/{entry}/stat", "rb") as file:
                    # The name, in parentheses, may hold anything.
                    rest = file.read().rpartition(b")")[2].split()
                if rest[0] != b"Z":
                    yield int(entry), int(rest[1]), int(rest[2])


def _kill_group(group: int) -> None:
    if group > 1:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _end_like(status: int) -> NoReturn:
    """End by the signal, or with the exit status, that the command ended by."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # there is nothing to find in this one
        number = os.WTERMSIG(status)
        with suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def _prctl(option: int, value: int) -> None:
    import ctypes  # noqa: PLC0415 - the app, which imports this module, needs it for nothing

    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
