"""Job control: what runs in the engine halts with a command line that Ctrl+Z stops.

The engine's process leads a session of its own, and hears nothing of the terminal's signals: a
stopped command would go on training, unseen, on a machine that others share. The app does this
in `tutor.ui.terminal_watch`, as it has a screen to leave.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_ctrl_z(do: Callable[[], object]) -> Iterator[None]:
    """A span in which SIGTSTP calls `do`, in the middle of whatever the main thread does."""
    if signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield  # a program without job control ignores it
        return
    signal.signal(signal.SIGTSTP, lambda *_: do())
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)


def stop_together(halt: Callable[[], object], go_on: Callable[[], object]) -> None:
    """Stop this process as Ctrl+Z does by default, until `fg`: after `halt`, before `go_on`."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    halt()
    os.kill(os.getpid(), signal.SIGTSTP)
    go_on()
    signal.signal(signal.SIGTSTP, handler)
