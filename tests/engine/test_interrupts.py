"""The learner's wish to stop comes at any moment: none is lost, and none spoils the pipe."""

from __future__ import annotations

import os
import select
import signal
import threading

import pytest

from tests.engine.conftest import server_here
from tests.waiting import wait_until
from tutor.protocol.commands import StepPhase
from tutor.protocol.events import CommandRefused, OutputPrinted, event_from_line
from tutor.protocol.frame import Remark


def test_one_that_came_before_its_command_stops_that_if_the_wish_still_waits() -> None:
    server, out = server_here()  # whose inbox is never empty
    server.inbox.interrupts.note()
    for _ in range(2):
        server.handle(StepPhase())
    refused = [event_from_line(line) for line in out.getvalue().splitlines()]
    assert refused == [CommandRefused(note=Remark(code)) for code in ("stopped", "no_lesson")]
    server.inbox.interrupts.note()
    with server.inbox.interrupts.raised():
        pass


def test_one_that_meets_a_full_pipe_leaves_no_half_line_in_it() -> None:
    server, _ = server_here()
    read_end, write_end = os.pipe()
    main, printed, lines = threading.get_ident(), OutputPrinted(text="x" * 2**20), []

    def press_and_read() -> None:
        wait_until(lambda: not select.select([], [write_end], [], 0)[1], "a full pipe")
        signal.pthread_kill(main, signal.SIGINT)
        with open(read_end, "rb") as pipe:
            lines.extend(pipe)

    reader = threading.Thread(target=press_and_read)
    reader.start()
    with open(write_end, "wb") as server.out, pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with server.inbox.interrupts.raised():
            server._write(printed)
    reader.join()
    assert [event_from_line(line) for line in lines] == [printed]
