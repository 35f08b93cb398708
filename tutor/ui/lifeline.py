"""Ends the app when it is told to, or when its terminal is gone, whatever it is busy with.

Knows signals and file descriptors; nothing of what the app does when it ends.
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
from contextlib import suppress
from types import FrameType

GRACE = 3.0
"""Seconds to end in an orderly way. A screen can hang on a terminal that takes nothing any more."""

STATUS = 129
"""The exit status where that took too long: that of a program ended by a hangup."""


class Lifeline:
    """Watches from a thread of its own, and costs nothing until something happens."""

    def __init__(self, end: Callable[[], None]) -> None:
        """`end` is called in the running event loop, whose thread has to be the main one."""
        self._loop = asyncio.get_running_loop()
        self._end = end
        self._told, self._tell = os.pipe()
        os.set_blocking(self._tell, False)
        for number in (signal.SIGHUP, signal.SIGTERM):
            with suppress(ValueError):  # not the main thread: then there are no signals either
                signal.signal(number, self._on_signal)
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Also where the main thread waits for a lock that it will never get."""
        with suppress(BlockingIOError):  # it has been told often enough
            os.write(self._tell, b"!")

    def _watch(self) -> None:
        watched = select.poll()
        watched.register(self._told, select.POLLIN)
        with suppress(OSError, ValueError):  # no standard input, so no terminal to lose
            watched.register(sys.__stdin__.fileno() if sys.__stdin__ else -1, 0)
        while not self._is_over(watched):
            pass
        with suppress(RuntimeError):  # the loop is closed: it is ending already
            self._loop.call_soon_threadsafe(self._end)
        time.sleep(GRACE)
        os._exit(STATUS)

    def _is_over(self, watched: select.poll) -> bool:
        """Wait for something to happen; whether it is the end."""
        is_over = False
        for fd, event in watched.poll():
            if event & select.POLLNVAL:  # some systems can't watch a terminal so
                watched.unregister(fd)
            else:
                is_over = True
        return is_over
