"""Threads that leave the signals to the main thread, which runs the lesson's code."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

DUMP_SIGNAL = signal.SIGUSR1
"""At this signal an engine's process writes its stack down, and continues."""


@contextmanager
def for_the_main_thread_alone() -> Iterator[None]:
    """A span in which threads are started that take no signal that is meant for the lesson.

    A process that was stopped has all its threads woken together. If another one than the main
    thread takes the signal, the lesson runs on from the line that it was interrupted at.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, DUMP_SIGNAL})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
