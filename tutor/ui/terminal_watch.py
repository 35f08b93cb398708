"""A watch that ends the app on a signal, or when its terminal is gone, even if it is busy.

Also while it is suspended (Ctrl+Z): the signal to go on that comes with the one to end would
only make it stop again, as it is not in the foreground. And `reconnect`, which leaves the screen,
as ssh may ask for a password.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from textual.app import App

from tutor.plain import one_line

if TYPE_CHECKING:
    from tutor.session.session import Session

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

GRACE = 3.0
"""Seconds for an orderly end. A screen can hang on a terminal that accepts no more output."""

END_DELAY = 3.0
"""Seconds until an app in the background stops again after a signal to go on.

A shell sends that together with the signal to end a stopped job, and another thread may take the
latter, later than this one on a busy machine; an app that had stopped again by then would never
end.
"""
_STEP = 0.05
"""Seconds between two looks whether such a signal has come."""

STATUS = 129
"""The exit status if that took too long: that of a program ended by a hangup."""


class TerminalWatch:
    """A watch in a thread of its own, which costs nothing until something happens."""

    def __init__(
        self,
        end: Callable[[], None],
        end_at_once: Callable[[], None],
        suspend: Callable[[], None],
    ) -> None:
        """`end` is called in the running event loop, whose thread has to be the main one.

        `end_at_once` is called where that loop stands still: it ends what would outlive the app.
        `suspend` is called before the app is stopped, by its own key or by `kill -TSTP`.
        """
        self._suspend = suspend
        self._end_at_once = end_at_once
        self._loop = asyncio.get_running_loop()
        self._end = end
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        for number in (signal.SIGHUP, signal.SIGTERM):
            with suppress(ValueError):  # not the main thread: then there are no signals either
                signal.signal(number, self._on_signal)
        self._is_suspended = False
        self._stop: Handler = None
        self._go_on: Handler = None
        with suppress(ValueError):  # as above
            self._stop = signal.signal(signal.SIGTSTP, self._on_stop)
            self._go_on = signal.signal(signal.SIGCONT, self._on_going_on)
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        """Leave the screen and stop, as Textual does."""
        self._is_suspended = True
        self._suspend()
        _handle(self._stop, number, frame)

    def _on_going_on(self, number: int, frame: FrameType | None) -> None:
        """Return to the screen, or stop again in the background, as Textual does."""
        if _is_in_background():
            for _ in range(round(END_DELAY / _STEP)):
                time.sleep(_STEP)  # for a signal to end, whose handler then runs here
        _handle(self._go_on, number, frame)
        self._is_suspended = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, even if the main thread waits for a lock that it will never get."""
        if self._is_suspended:  # the shell has the terminal, and the progress is saved
            self._end_at_once()
            os._exit(128 + number)
        with suppress(BlockingIOError):  # enough signals are waiting in the pipe
            os.write(self._write_end, b"!")

    def _watch(self) -> None:
        watched = select.poll()
        watched.register(self._read_end, select.POLLIN)
        with suppress(OSError, ValueError):  # no standard input, so no terminal to lose
            watched.register(sys.__stdin__.fileno() if sys.__stdin__ else -1, 0)
        while not self._is_over(watched):
            pass
        with suppress(RuntimeError):  # the loop is closed: it is ending already
            self._loop.call_soon_threadsafe(self._end)
        time.sleep(GRACE)
        os._exit(STATUS)

    def _is_over(self, watched: select.poll) -> bool:
        """Wait for a signal or the terminal; return whether the app must end."""
        is_over = False
        for fd, event in watched.poll():
            if event & select.POLLNVAL:  # some systems cannot poll a terminal
                watched.unregister(fd)
            else:
                is_over = True
        return is_over


def _is_in_background() -> bool:
    """Whether another process group, such as the shell, has the terminal."""
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else -1) != os.getpgrp()
    except (OSError, ValueError):  # no terminal
        return False


def _handle(handler: Handler, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)


def reconnect(app: App[Any], session: Session) -> None:
    """Connect again; Ctrl+C gives up."""
    has_terminal = session.lost is not None and not app.is_headless
    # Ctrl+C would end the app: asyncio has a handler of its own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with app.suspend() if has_terminal else nullcontext():
            if has_terminal:
                print(f"Connecting to {one_line(session.host)} … (Ctrl+C gives up)")
            session.reconnect()
    finally:
        signal.signal(signal.SIGINT, before)
