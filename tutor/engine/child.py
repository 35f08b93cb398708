"""Entry point of the child process: takes over its descriptors, then loads torch and serves.

Standard input and output carry the protocol; they are moved to private descriptors, so that
nothing a lesson prints or reads can get between. Modules that load quickly are loaded while the
app makes its first screen; torch only then, unless a core is free for it.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, NoReturn, TextIO, TypeAlias

from tutor.engine.streams import Inbox, Interrupts
from tutor.training.time_limit import DUMP_SIGNAL, for_the_main_thread_alone, limit_expressions

Serve: TypeAlias = Callable[[Inbox, BinaryIO], object]
"""Does the commands of the inbox, and writes the events."""

FREE_CORE = 0.9
"""A thread that computed for so much of the time had a core to itself.

Measured on two cores: 0.96 and more beside the app alone, 0.54 to 0.86 beside a busy program, too.
"""

_QUICK = ("numpy", "numpy.random", "numpy.ma", "asyncio", "unittest.mock", "urllib.request",
          "tarfile", "importlib.metadata", "importlib.resources", "multiprocessing.spawn",
          "pickletools", "tutor.training.program")  # fmt: skip
"""Modules that torch or the server needs, loaded while the app makes its first screen."""

_DEADLY = ("TERM", "HUP", "QUIT", "ALRM", "VTALRM", "PROF", "USR2", "XCPU", "TRAP", "SYS")
"""Signals that end a process, besides the signals of a crash."""


def main(serve: Serve | None = None) -> None:
    """Take over standard input and output, then serve until the app is gone."""
    started, computed = time.perf_counter(), time.thread_time()
    interrupts = Interrupts()
    signal.signal(signal.SIGINT, interrupts.note)
    source = os.fdopen(os.dup(0), "rb")
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    errors = os.fdopen(os.dup(2), "w")
    leave, pid = os._exit, os.getpid()
    gc.disable()  # all that is loaded stays: to look for garbage takes a tenth longer
    limit_expressions()
    sys.unraisablehook = _raise_ignored_interrupt
    dump_stack_at_the_end(errors)
    # A copy of this process that a lesson makes must neither read nor write in its place, nor mix
    # its stack into this one's.
    own = source.fileno(), out.fileno(), errors.fileno()
    os.register_at_fork(after_in_child=lambda: _cut_off(*own))
    with for_the_main_thread_alone():  # its arithmetic has threads
        for name in _QUICK:
            import_module(name)
    inbox = Inbox(source, interrupts)
    elapsed = time.perf_counter() - started
    if time.thread_time() - computed < FREE_CORE * elapsed:  # torch would delay the first screen
        inbox.wait_until_painted()
    try:
        (serve or _serve)(inbox, out)
    except BaseException:  # noqa: BLE001 - reported to the app, whatever it is
        # An error of the tutor's own, not of a lesson: the app shows the last line of this.
        try:
            if os.getpid() == pid:
                traceback.print_exc(file=errors)
                errors.flush()
        finally:  # a lesson may have closed that, too
            leave(1)


def _serve(inbox: Inbox, out: BinaryIO) -> None:
    """Load torch, which takes seconds, and do commands until the app is gone."""
    with for_the_main_thread_alone():
        from tutor.engine.server import Server  # noqa: PLC0415 - loads torch
        from tutor.engine.streams import Capture  # noqa: PLC0415 - after the first paint
        from tutor.training import devices  # noqa: PLC0415 - likewise

    gc.freeze()
    gc.enable()
    devices.use_one_thread()
    Server(inbox, out, Capture()).serve()


def dump_stack_at_the_end(errors: TextIO) -> None:
    """Write the stack to `errors` at DUMP_SIGNAL, and when a lesson ends this process.

    A signal that has a handler of Python's is left to that.
    """
    faulthandler.enable(errors)
    faulthandler.register(DUMP_SIGNAL, errors, all_threads=False)
    for name in _DEADLY:
        number = getattr(signal, f"SIG{name}", None)
        if number and signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN):
            faulthandler.register(number, errors, all_threads=False, chain=True)
    pid, leave, kill = os.getpid(), os._exit, os.kill

    def exit_with_stack(*arguments: Any, **named: Any) -> None:
        if os.getpid() == pid:
            faulthandler.dump_traceback(errors, all_threads=False)
        leave(*arguments, **named)

    def kill_with_stack(*arguments: Any, **named: Any) -> None:
        if os.getpid() == pid and arguments[:1] == (pid,):
            faulthandler.dump_traceback(errors, all_threads=False)
        kill(*arguments, **named)

    # These two leave no trace of their caller.
    os._exit, os.kill = exit_with_stack, kill_with_stack  # type: ignore[assignment]


def _raise_ignored_interrupt(ignored: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that Python has ignored, as it does in `__del__` and around a fork.

    An exception of this function would be ignored, too: a trace function raises it before the
    next instruction of the code that met the interrupt.
    """
    interrupt, frame = ignored.exc_value, sys._getframe(1)
    if not isinstance(interrupt, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return

    def raise_it(*_: object) -> NoReturn:
        sys.settrace(None)
        raise interrupt.with_traceback(None)

    frame.f_trace, frame.f_trace_opcodes = raise_it, True
    sys.settrace(lambda *_: None)


def _cut_off(*descriptors: int) -> None:
    """Writing to them fails from now on; their numbers stay taken, so that no file gets them."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    main()
