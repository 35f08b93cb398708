"""A watch over the app's signals: it suspends the app once, and can end it while suspended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.waiting import PATIENCE

APP = """
import asyncio, os, signal
from contextlib import contextmanager
from types import SimpleNamespace
from tutor.ui import terminal_watch

is_in_background, is_running = False, True

def say(what):
    # Not by print(), which a signal's handler can't call while it is called.
    return lambda *_: os.write(1, f"{what}\\n".encode())

@contextmanager
def left_and_returned_to():
    yield
    say("set up again")()

def watch(stop=say("suspended"), on_return=say("back"), end=say("asked to end")):
    app = SimpleNamespace(exit=end, is_running=is_running, suspend=left_and_returned_to)
    engine = SimpleNamespace(close=say("ended"), suspend=say("engine suspended"))
    journal = SimpleNamespace(flush=say("saved"))
    signal.signal(signal.SIGTSTP, stop)
    signal.signal(signal.SIGCONT, on_return)
    terminal_watch.TerminalWatch(app, engine, journal)

def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)

async def all_is_done():
    for _ in range(9):  # what is called soon may call more
        await asyncio.sleep(0)

terminal_watch.END_DELAY = 600.0
terminal_watch._is_in_background = lambda: is_in_background and bool(say("in the background")())
"""
"""An app and an engine, and the handlers of signals that Textual has, which only tell it."""

SUSPENDED_IN_THE_BACKGROUND = """
is_in_background = True

async def app():
    watch()
    # Another thread takes the signal to end: it does not wake the main one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    send(signal.SIGTSTP)
    await asyncio.sleep(600)

asyncio.run(app())
"""

SUSPENDED_TWICE = """
def stop(*_):
    say("suspended")()
    send(signal.SIGTSTP, signal.SIGCONT)

async def app():
    watch(stop)
    send(signal.SIGTSTP, signal.SIGTSTP)
    say("loop")()
    await all_is_done()

asyncio.run(app())
"""

SUSPENDED_WHILE_IT_RETURNS = """
returns = 0

def stop(*_):
    say("suspended")()
    send(signal.SIGCONT)

def come_back(*_):
    global returns
    returns += 1
    say("returning")()
    if returns == 1:
        send(signal.SIGTSTP)
    say("back")()

async def app():
    watch(stop, come_back)
    send(signal.SIGTSTP)
    while returns < 2:
        await asyncio.sleep(0)
    await all_is_done()

asyncio.run(app())
"""

SUSPENDED_AT_THE_END = """
is_running = False

async def app():
    watch()
    send(signal.SIGTSTP)
    await all_is_done()
    say("over")()

asyncio.run(app())
"""

CONTINUED_BEFORE_IT_STOPS = """
async def app():
    watch()
    send(signal.SIGTSTP, signal.SIGCONT)
    await all_is_done()

asyncio.run(app())
"""

ENDED_BEFORE_IT_STOPS = """
async def app():
    is_over = asyncio.Event()
    watch(end=is_over.set)
    send(signal.SIGTSTP, signal.SIGTERM)
    await is_over.wait()
    say("over")()

asyncio.run(app())
"""

PRESSED_AS_IT_IS_CONNECTED = """
@contextmanager
def pressed_on_both_sides():
    send(signal.SIGINT)
    yield
    send(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
app = SimpleNamespace(is_headless=False, suspend=pressed_on_both_sides)
session = SimpleNamespace(lost=True, host="far", reconnect=say("connected"))
terminal_watch.reconnect(app, session)
session.reconnect = lambda: send(signal.SIGINT)
terminal_watch.reconnect(app, session)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


IN_TURN = """
import json, sys

said = {}
for program in json.loads(sys.argv[1]):
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.dup2(into, 1)
        exec(program)
        sys.stdout.flush()
        os._exit(0)
    os.close(into)
    with open(out) as lines:
        said[program] = lines.read().splitlines()
    assert os.waitpid(child, 0)[1] == 0, program
print(json.dumps(said))
"""
"""Each program in a process group of its own, as a shell starts it."""
PROGRAMS = (
    SUSPENDED_TWICE,
    SUSPENDED_WHILE_IT_RETURNS,
    SUSPENDED_AT_THE_END,
    CONTINUED_BEFORE_IT_STOPS,
    ENDED_BEFORE_IT_STOPS,
    PRESSED_AS_IT_IS_CONNECTED,
)


@pytest.fixture(scope="module")
def said() -> dict[str, list[str]]:
    """What the app says in each program; its modules are loaded once."""
    done = subprocess.run(
        [sys.executable, "-c", APP + IN_TURN, json.dumps(PROGRAMS)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_to_end_that_comes_after_the_one_to_go_on_still_ends_the_app(
    number: signal.Signals,
) -> None:
    """A shell sends both at once, and the threads of a process take them in any order."""
    command = [sys.executable, "-c", APP + SUSPENDED_IN_THE_BACKGROUND]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as app:
        try:
            assert app.stdout is not None
            said = [app.stdout.readline() for _ in range(3)]
            assert said == ["saved\n", "engine suspended\n", "suspended\n"]
            app.send_signal(signal.SIGCONT)
            assert app.stdout.readline() == "in the background\n"
            app.send_signal(number)
            rest, _ = app.communicate(timeout=PATIENCE)
        finally:
            app.kill()
    assert set(rest.splitlines()) - {"in the background"} == {"ended"}
    assert app.returncode == 128 + number


Said = dict[str, list[str]]


def test_two_signals_to_suspend_suspend_once_and_never_inside_other_code(said: Said) -> None:
    assert said[SUSPENDED_TWICE] == ["loop", "saved", "engine suspended", "suspended", "back"]


def test_a_signal_to_suspend_that_comes_during_the_return_waits_for_its_end(said: Said) -> None:
    once = ["saved", "engine suspended", "suspended", "returning", "back"]
    assert said[SUSPENDED_WHILE_IT_RETURNS] == once * 2


def test_an_app_that_is_ending_does_not_return_to_the_screen(said: Said) -> None:
    assert said[SUSPENDED_AT_THE_END] == ["saved", "over"]


def test_an_app_that_is_to_go_on_or_to_end_before_it_has_stopped_does_not_stop(said: Said) -> None:
    assert said[CONTINUED_BEFORE_IT_STOPS] == ["saved", "set up again"]
    assert said[ENDED_BEFORE_IT_STOPS] == ["saved", "over"]


def test_ctrl_c_gives_up_a_connection_and_never_ends_the_app(said: Said) -> None:
    """Also where it comes just before or after that."""
    spoken = said[PRESSED_AS_IT_IS_CONNECTED]
    assert [line for line in spoken if "far" not in line] == ["connected"]
