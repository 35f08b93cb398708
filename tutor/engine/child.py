"""Where the child process begins: takes over its descriptors, then loads torch and serves.

Standard input and output carry the protocol; they are moved to private descriptors, so
that nothing a lesson prints or reads can get between. What loads quickly is loaded while
the app makes its first screen; torch only then, because it takes all that a machine has.
"""

from __future__ import annotations

import gc
import os
import signal
import traceback

import numpy as np  # noqa: F401 - what torch needs and loads quickly, while there is time

from tutor.engine.process import dump_stack_at
from tutor.engine.streams import Inbox
from tutor.training import time_limit
from tutor.training.time_limit import limit_expressions


def main() -> None:
    """Take over standard input and output, then serve until the app is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source = os.fdopen(os.dup(0), "rb")
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    own_errors = os.fdopen(os.dup(2), "w")
    limit_expressions()
    dump_stack_at(own_errors, time_limit.END_SIGNAL)
    # A copy of this process that a lesson makes must neither hear nor speak in its place.
    os.register_at_fork(after_in_child=lambda: _cut_off(source.fileno(), out.fileno()))
    inbox = Inbox(source)
    inbox.wait_until_painted()
    gc.disable()  # all that loading torch makes stays: to look for garbage takes a tenth longer
    try:
        from tutor.engine.server import Server  # noqa: PLC0415 - likewise: loads torch
        from tutor.engine.streams import Capture  # noqa: PLC0415 - after the first paint
        from tutor.training import devices  # noqa: PLC0415 - likewise

        gc.freeze()
        gc.enable()
        devices.use_one_thread()
        Server(inbox, out, Capture()).serve()
    except BaseException:  # noqa: BLE001 - told to the app, whatever it is
        # A fault of ours, not of a lesson: the app shows the last line that stands here.
        try:
            traceback.print_exc(file=own_errors)
            own_errors.flush()
        finally:  # a lesson may have closed that, too
            os._exit(1)


def _cut_off(*descriptors: int) -> None:
    """Writing to them fails from now on; their numbers stay taken, so that no file gets them."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    main()
