"""The far end of a connection, whose process for lessons needs no torch. Run as a script.

`SCRIPT engine` serves the engine of `tests/ui/fake_engine.py`; `SCRIPT SHELL-CODE engine` runs that
code. Silence ends it only once the file exists that the variable FAR_SILENCE names, and then soon.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).parents[1]))

from tutor.engine.child import Inbox


def serve(inbox: Inbox, out: BinaryIO) -> None:
    """Answer commands as the simulated engine does."""
    from tests.ui.fake_engine import FakeEngine
    from tutor.protocol.events import Event
    from tutor.protocol.messages import to_line

    def tell(event: Event) -> None:
        out.write(to_line(event))
        out.flush()

    engine = FakeEngine()
    engine.start(tell)
    while True:
        command = inbox.next()
        engine._answer(command.number, command)


def count_silence() -> None:
    """Let silence end the far end as soon as the file is there."""
    path = Path(os.environ.get("FAR_SILENCE", "/nowhere"))
    while not path.exists():
        time.sleep(0.01)
    connection.MOST_SILENT_TICKS = 4


if __name__ == "__main__":
    if sys.argv[-1] == "child":
        from tutor.engine import child

        child.main(serve)
    from tutor.engine import connection, far_end, process  # torch is for the child alone

    code = sys.argv[1:-1]
    command = ("sh", "-c", *code) if code else (sys.executable, __file__, "child")
    far_end.Process = partial(process.Process, command)  # type: ignore[misc,assignment]
    connection.TICK, connection.MOST_SILENT_TICKS = 0.05, 10**9
    threading.Thread(target=count_silence, daemon=True).start()
    far_end.serve()
