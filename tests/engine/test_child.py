"""The learner's wish to stop, at any moment, and the output of a lesson's process."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, redirect_stderr, redirect_stdout, suppress
from typing import Any

import pytest

from tests.engine.conftest import server_here
from tests.waiting import PATIENCE, wait_until
from tutor.engine.child import Capture, Interrupts
from tutor.protocol.commands import StepPhase
from tutor.protocol.events import CommandRefused, OutputPrinted, event_from_line
from tutor.protocol.frame import Remark
from tutor.training import time_limit


def test_one_that_came_before_its_command_stops_that_if_the_wish_still_waits() -> None:
    server, out = server_here()  # whose inbox is never empty
    server.inbox.interrupts.note()
    for _ in range(2):
        server.handle(StepPhase())
    refused = [event_from_line(line) for line in out.getvalue().splitlines()]
    assert refused == [
        CommandRefused(remark=Remark(code)) for code in ("stopped", "no_lesson_open")
    ]
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


@pytest.fixture
def _noted() -> Iterator[None]:
    """As between two commands: an interrupt is only noted."""
    before = signal.signal(signal.SIGINT, Interrupts().note)
    yield
    signal.signal(signal.SIGINT, before)


CALLS = ("signal", "getsignal", "setitimer", "getitimer", "pthread_sigmask")


def of_the_process() -> tuple[object, ...]:
    """All that these spans change."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)]
    timers = [signal.getitimer(timer)[0] > 0 for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF)]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return *handlers, *timers, mask, time_limit._is_evaluating


@pytest.mark.parametrize(
    ("span", "is_before"),
    [
        pytest.param(lambda: Interrupts().raised(), False, id="raised"),
        pytest.param(lambda: Interrupts().raised(), True, id="raised, before"),
        pytest.param(lambda: time_limit.limited(PATIENCE), False, id="limited"),
        pytest.param(lambda: time_limit.limited(PATIENCE), True, id="limited, before"),
        pytest.param(lambda: time_limit.blocked(signal.SIGINT), False, id="blocked"),
    ],
)
@pytest.mark.usefixtures("_noted")
def test_one_that_comes_as_a_span_begins_or_ends_leaves_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
    span: Callable[[], AbstractContextManager[None]],
    is_before: bool,
) -> None:
    """Python raises it behind the effect of one of these calls, or before it has any."""
    monkeypatch.setattr(time_limit, "_is_on", True)
    found, left = of_the_process(), 0

    def met(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and is_before:
                raise KeyboardInterrupt
            result = function(*arguments)
            if left == 0:
                raise KeyboardInterrupt
            return result

        return call

    for at in range(1, 99):
        left = at
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(signal, name, met(getattr(signal, name)))
            with suppress(KeyboardInterrupt), span():
                pass
        assert of_the_process() == found, at
        if left > 0:
            break
    assert at > 2


@pytest.mark.usefixtures("capfd")
def test_output_that_is_passed_on_keeps_its_order_and_its_stream() -> None:
    lines: list[tuple[str, bool]] = []
    expected = [(f"{number} é", bool(number % 2)) for number in range(200)]

    def receive(text: str, is_error: bool) -> None:
        lines.extend((line, is_error) for line in text.splitlines())

    with redirect_stdout(sys.stdout), redirect_stderr(sys.stderr), closing(Capture()) as capture:
        capture.renew()
        with capture.passed_on(receive):
            for line, is_error in expected:
                print(line, file=sys.stderr if is_error else sys.stdout)
        print("later", file=sys.stderr)
        os.write(1, b"and later\n")
        assert capture.take() == ("later\nand later\n", 0)
    assert lines == expected
