"""A watch over the app's signals: it suspends the app once, and can end it while suspended."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.waiting import PATIENCE

APP = """
import asyncio, os, signal, threading
from types import SimpleNamespace
from tutor.ui import terminal_watch

is_in_background = is_running = False

def say(what):
    # Not by print(), which a signal's handler can't call while it is called.
    return lambda *_: os.write(1, f"{what}\\n".encode())

def watch(on_return=say("back")):
    app = SimpleNamespace(exit=say("asked to end"), is_running=is_running)
    engine = SimpleNamespace(close=say("ended"), suspend=say("engine suspended"))
    signal.signal(signal.SIGTSTP, say("suspended"))
    signal.signal(signal.SIGCONT, on_return)
    terminal_watch.TerminalWatch(app, engine)

def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)

terminal_watch.END_DELAY = 600.0
terminal_watch._is_in_background = lambda: is_in_background and bool(say("in the background")())
"""
"""An app and an engine, and the handlers of signals that Textual has, which only tell it."""

SUSPENDED_IN_THE_BACKGROUND = """
is_in_background = is_running = True

async def app():
    watch()
    # Another thread takes the signal to end: it does not wake the main one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    send(signal.SIGTSTP)
    await asyncio.sleep(600)

asyncio.run(app())
"""

SUSPENDED_TWICE = """
is_running = True

async def app():
    watch()
    send(signal.SIGTSTP, signal.SIGTSTP)
    say("loop")()
    threading.Timer(0.5, send, [signal.SIGTSTP, signal.SIGCONT]).start()
    await asyncio.sleep(1.0)

asyncio.run(app())
"""

SUSPENDED_WHILE_IT_RETURNS = """
is_running = True
is_first = True

def come_back(*_):
    global is_first
    say("returning")()
    if is_first:
        is_first = False
        send(signal.SIGTSTP)
        threading.Timer(0.5, send, [signal.SIGCONT]).start()
    say("back")()

async def app():
    watch(come_back)
    send(signal.SIGTSTP)
    threading.Timer(0.5, send, [signal.SIGCONT]).start()
    await asyncio.sleep(1.0)

asyncio.run(app())
"""

SUSPENDED_AT_THE_END = """
async def app():
    watch()
    send(signal.SIGTSTP, signal.SIGCONT)
    await asyncio.sleep(0.1)
    say("over")()

asyncio.run(app())
"""


def run(program: str) -> list[str]:
    """What the app says."""
    command = [sys.executable, "-c", APP + program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_to_end_that_comes_after_the_one_to_go_on_still_ends_the_app(
    number: signal.Signals,
) -> None:
    """A shell sends both at once, and the threads of a process take them in any order."""
    command = [sys.executable, "-c", APP + SUSPENDED_IN_THE_BACKGROUND]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        assert [app.stdout.readline() for _ in range(2)] == ["engine suspended\n", "suspended\n"]
        app.send_signal(signal.SIGCONT)
        assert app.stdout.readline() == "in the background\n"
        app.send_signal(number)
        said, _ = app.communicate(timeout=PATIENCE)
    assert set(said.splitlines()) - {"in the background"} == {"ended"}
    assert app.returncode == 128 + number


def test_two_signals_to_suspend_suspend_once_and_never_inside_other_code() -> None:
    assert run(SUSPENDED_TWICE) == ["loop", "engine suspended", "suspended", "back"]


def test_a_signal_to_suspend_that_comes_during_the_return_waits_for_its_end() -> None:
    once = ["engine suspended", "suspended", "returning", "back"]
    assert run(SUSPENDED_WHILE_IT_RETURNS) == once * 2


def test_an_app_that_is_ending_does_not_return_to_the_screen() -> None:
    assert run(SUSPENDED_AT_THE_END) == ["over"]
