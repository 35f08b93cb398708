"""A watch over the signals that end or suspend the app, and over its terminal.

It ends the app even if that is busy, or suspended (Ctrl+Z): the signal to go on that comes with
the one to end would only make it stop again, as it is not in the foreground. And `reconnect`,
which leaves the screen, as ssh may ask for a password.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from textual.app import App

from tutor.plain import one_line

if TYPE_CHECKING:
    from tutor.session.journal import Journal
    from tutor.session.pending import Engine
    from tutor.session.session import Session

Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

ORDERLY_END_SECONDS = 3.0
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
"""The exit status if that took too long: as of a program that a hangup has ended."""


class TerminalWatch:
    """A watch that costs nothing until something happens.

    The signals' handlers only note what has come. A handler runs in the middle of whatever the
    main thread does, which may hold the lock of a queue to the terminal; so the screen is left,
    and returned to, between two callbacks of the event loop. To end the app is another thread's
    part, as that loop can stand still.
    """

    def __init__(self, app: App[Any], engine: Engine, journal: Journal) -> None:
        """Watch from now on: in the event loop of the app, whose thread has to be the main one."""
        self._app = app
        self._engine = engine
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._end_number = 0
        """The signal to end that has come, if one has."""
        self._is_stopping = self._is_suspended = self._has_gone_on = False
        self._stop: Handler = None
        self._go_on: Handler = None
        with suppress(ValueError):  # not the main thread: then there are no signals either
            for number in (signal.SIGHUP, signal.SIGTERM):
                signal.signal(number, self._on_end)
            self._stop = signal.signal(signal.SIGTSTP, self._on_stop)
            self._go_on = signal.signal(signal.SIGCONT, self._on_going_on)
            _continue_in_background()
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    # ── Suspending ──────────────────────────────────────────────────────────────────

    def _on_stop(self, *_: object) -> None:
        if not can_be_continued():  # the kernel ignores the signal then, too
            return
        if self._loop.is_closed():  # the screen is left for good
            os.kill(os.getpid(), signal.SIGSTOP)
        elif not self._is_stopping:  # Ctrl+Z twice is meant once
            self._is_stopping = True
            self._call(self._stop_app)

    def _on_going_on(self, *_: object) -> None:
        self._has_gone_on = True
        if self._is_suspended or self._loop.is_closed():
            return
        self._is_stopping = False  # as the kernel does with a stop that has not been made yet
        self._call(self._go_on_after_force)

    def _call(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(callback, context=self._context)

    def _stop_app(self) -> None:
        """Leave the screen and stop, as Textual does; then return, once in the foreground."""
        self._journal.flush()  # or the file could stay locked for another tutor
        if not self._is_stopping or self._end_number or not self._app.is_running:
            return  # the app goes on, or ends and may have left the screen already
        self._is_suspended, self._has_gone_on = True, False
        self._engine.suspend()
        _handle(self._stop, signal.SIGTSTP)
        self._stay_in_background()
        self._is_stopping = False
        _handle(self._go_on, signal.SIGCONT)
        _continue_in_background()
        self._is_suspended = False

    def _go_on_after_force(self) -> None:
        """Set the terminal up again after SIGSTOP, if the shell has set it for itself meanwhile.

        That drops the keys that wait to be read, so it is left out if the app had not stopped.
        """
        self._stay_in_background()
        if self._app.is_running and _passes_keys_on():
            self._app.refresh(repaint=True, layout=True)
        elif self._app.is_running:
            with self._app.suspend():
                pass
            _continue_in_background()

    def _stay_in_background(self) -> None:
        """Stop again and again until the app is in the foreground. A signal ends it here."""
        while not self._may_go_on():
            self._has_gone_on = False
            os.kill(os.getpid(), signal.SIGSTOP)

    def _may_go_on(self) -> bool:
        """Whether the app is in the foreground; in the background after `END_DELAY`."""
        while not self._has_gone_on:  # it is about to stop
            time.sleep(_STEP)
        for _ in range(round(END_DELAY / _STEP)):
            if self._end_number and (self._is_suspended or _is_in_background()):
                self._end_in_background()
            if not _is_in_background():
                return True
            time.sleep(_STEP)  # for a signal to end, whose handler then runs here
        return False

    # ── The end ─────────────────────────────────────────────────────────────────────

    def _on_end(self, number: int, _: object) -> None:
        self._end_number = number
        with suppress(BlockingIOError):  # enough signals are waiting in the pipe
            os.write(self._write_end, b"!")

    def _end_in_background(self) -> NoReturn:
        """End without a look at the terminal, which is the shell's; the progress is saved.

        After a stop by force the screen is still there. To restore the terminal from here would
        stop the app once more: the engine's supervisor does it, as after any sudden end.
        """
        if self._is_suspended:
            self._engine.close()
        os._exit(128 + self._end_number)

    def _watch(self) -> None:
        watched = select.poll()
        watched.register(self._read_end, select.POLLIN)
        with suppress(OSError, ValueError):  # no standard input, so no terminal to lose
            watched.register(sys.__stdin__.fileno() if sys.__stdin__ else -1, 0)
        while not self._is_over(watched):
            pass
        if not self._is_suspended and _is_in_background():
            self._end_in_background()
        with suppress(RuntimeError):  # the loop is closed: it is ending already
            self._loop.call_soon_threadsafe(self._app.exit)
        time.sleep(ORDERLY_END_SECONDS)
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


def can_be_continued() -> bool:
    """Whether there is a shell that could continue the app once it has stopped.

    There is none where the app leads its session, or is in the group of a program that does:
    `ssh -t HOST tutor`, a window of its own.
    """
    return os.getsid(0) != os.getpgrp()


def _is_in_background() -> bool:
    """Whether another process group, such as the shell, has the terminal."""
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else -1) != os.getpgrp()
    except (OSError, ValueError):  # no terminal
        return False


def _passes_keys_on() -> bool:
    """Whether the terminal passes each key on, without an echo, as the app has set it."""
    try:
        modes = termios.tcgetattr(sys.__stdin__.fileno() if sys.__stdin__ else -1)
    except (OSError, ValueError, termios.error):  # no terminal
        return False
    return not modes[3] & (termios.ICANON | termios.ECHO)


def _continue_in_background() -> None:
    """Let no thread stop the app by its use of the terminal in the background.

    The thread that reads keys would, after a stop by force, before a signal to end is handled.
    Textual restores the default whenever it sets the terminal up.
    """
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, lambda *_: None)


def _handle(handler: Handler, number: int) -> None:
    if callable(handler):
        handler(number, None)


def reconnect(app: App[Any], session: Session) -> None:
    """Connect again; Ctrl+C gives up, and Ctrl+Z stops it like any program of the shell."""
    has_terminal = session.lost is not None and not app.is_headless
    # Ctrl+C would end the app, for which asyncio has a handler, and Ctrl+Z wait for the event
    # loop, which stands still until the end of this.
    handlers: dict[signal.Signals, Handler] = {
        signal.SIGINT: lambda *_: None,
        signal.SIGTSTP: signal.SIG_DFL,
        signal.SIGCONT: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with app.suspend() if has_terminal else nullcontext():
            if has_terminal:
                print(f"Connecting to {one_line(session.host)} … (Ctrl+C gives up)")
            with _interruptible():
                session.reconnect()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if has_terminal:
            _continue_in_background()


@contextmanager
def _interruptible() -> Iterator[None]:
    """A span that Ctrl+C ends early; at its end, and after it, Ctrl+C does nothing."""
    with suppress(KeyboardInterrupt):
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
