"""A limit on the time that one expression (watched, in a formula, of an exercise) may take.

A lesson's phases may train for hours, and the learner stops them; an expression is evaluated
before every frame, and one without an end would leave no frame at all. After EXPRESSION_SECONDS it
is stopped by an exception. Where that does not reach it (a loop in C code, an `except:` that
catches all), the process is ended by END_SIGNAL after _MORE seconds of the processor's time: the
stack that faulthandler writes down then tells the expression. What it may take in memory meanwhile
is bounded by the limit of the process (`tutor.engine.process`). Only the main thread gets signals.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

EXPRESSION_SECONDS = 5.0
"""The time limit of one expression."""

_ALARMS = 10
"""Alarms in that time, of which the last stops it. Alarms, as a clock goes on where the process
stands still (Ctrl+Z) or a busy machine gives it no time: then one comes for all."""

_MORE = 1.0
"""Seconds after which END_SIGNAL follows the exception."""

END_SIGNAL = signal.SIGPROF
"""The signal that ends the process where the exception did not."""

VALUE_OF = "the value of "
"""The prefix of an expression's label in the name of its code, and so in every stack."""

_is_on = False
_is_evaluating = False
_alarms_left = 0


class TookTooLong(KeyboardInterrupt):
    """An expression was stopped at its time limit. Passes wherever the learner's stop does."""


def limit_expressions() -> None:
    """Limit each expression in this process from now on. Takes SIGALRM and SIGPROF for that."""
    global _is_on
    _is_on = True
    signal.signal(signal.SIGALRM, _stop)


@contextmanager
def limited(seconds: float = 0.0, *, ends_process: bool = True) -> Iterator[None]:
    """A limit of `seconds`, or of EXPRESSION_SECONDS. Raises TookTooLong when it is over.

    `ends_process`: where that does not reach it, END_SIGNAL follows.
    """
    global _is_evaluating, _alarms_left
    if not _is_on:
        yield
        return
    seconds = seconds or EXPRESSION_SECONDS
    was, before = (_is_evaluating, _alarms_left), signal.getsignal(signal.SIGALRM)
    timers = {t: signal.getitimer(t) for t in (signal.ITIMER_REAL, signal.ITIMER_PROF)}
    try:
        if before is not _stop:  # the lesson has a handler of its own
            signal.signal(signal.SIGALRM, _stop)
        _is_evaluating, _alarms_left = True, _ALARMS
        signal.setitimer(signal.ITIMER_REAL, seconds / _ALARMS, seconds / _ALARMS)
        signal.setitimer(signal.ITIMER_PROF, seconds + _MORE if ends_process else 0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)  # one that has gone off raises here at latest
    finally:
        _is_evaluating, _alarms_left = was
        try:
            _put_back(before, timers)
        except KeyboardInterrupt:  # a stop that came in between: a timer left on ends the process
            _put_back(before, timers)
            raise


def _put_back(handler: Any, timers: Mapping[int, tuple[float, float]]) -> None:
    """Set timers, and the handler of the alarm, as the lesson had set them."""
    for timer, (delay, interval) in timers.items():
        signal.setitimer(timer, delay, interval)
    if handler is not _stop:
        signal.signal(signal.SIGALRM, handler)


def _stop(number: int, _: FrameType | None) -> None:
    global _alarms_left
    if _is_evaluating:
        _alarms_left -= 1
        if _alarms_left > 0:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise TookTooLong
    # The lesson has ordered the alarm, and it ends the process as if there were no handler.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


DUMP_SIGNAL = signal.SIGUSR1
"""At this signal an engine's process writes its stack down, and continues."""


@contextmanager
def blocked(*numbers: signal.Signals) -> Iterator[None]:
    """A span in which this thread takes none of these signals: they wait until its end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # This may raise the interrupt that came before, though it has blocked it by then.
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def for_the_main_thread_alone() -> AbstractContextManager[None]:
    """A span in which threads are started that take no signal that is meant for the lesson.

    A process that was stopped has all its threads woken together. If another one than the main
    thread takes the signal, the lesson runs on from the line that it was interrupted at.
    """
    return blocked(signal.SIGINT, DUMP_SIGNAL)
