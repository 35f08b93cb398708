"""A watch over the app's signals: a suspended app can be ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.waiting import PATIENCE

SUSPENDED_IN_THE_BACKGROUND = """
import asyncio, os, signal, time
from tutor.ui import terminal_watch

def say(what):
    # Not by print(), which a signal's handler can't call while it is called.
    return lambda *_: os.write(1, f"{what}\\n".encode())

terminal_watch.END_DELAY = 600.0
terminal_watch._is_in_background = lambda: bool(say("in the background")())
signal.signal(signal.SIGTSTP, say("suspended"))
signal.signal(signal.SIGCONT, say("stopped again"))

async def app():
    terminal_watch.TerminalWatch(say("asked to end"), say("ended"), say("engine suspended"))
    # Another thread takes the signal to end: it does not wake the main one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTSTP)
    await asyncio.sleep(600)

asyncio.run(app())
"""


@pytest.fixture
def suspended() -> Iterator[subprocess.Popen[str]]:
    """An app that is suspended, with the handlers that Textual installs replaced by words."""
    command = [sys.executable, "-c", SUSPENDED_IN_THE_BACKGROUND]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        assert [app.stdout.readline() for _ in range(2)] == ["engine suspended\n", "suspended\n"]
        yield app
        app.kill()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_to_end_that_comes_after_the_one_to_go_on_still_ends_the_app(
    suspended: subprocess.Popen[str], number: signal.Signals
) -> None:
    """A shell sends both at once, and the threads of a process take them in any order."""
    suspended.send_signal(signal.SIGCONT)
    assert suspended.stdout is not None
    assert suspended.stdout.readline() == "in the background\n"
    suspended.send_signal(number)
    said, _ = suspended.communicate(timeout=PATIENCE)
    assert said == "ended\n"
    assert suspended.returncode == 128 + number
