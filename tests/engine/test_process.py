"""The child may do anything at all with its pipes: the app hears of it, and can always end it.

Children of a few lines of shell, which start at once, in the engine's place.
"""

from __future__ import annotations

import os
import queue
import select
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tutor.engine import client, process
from tutor.engine.client import EngineClient
from tutor.engine.messages import (
    AnyEvent,
    Ended,
    Evaluate,
    Ready,
    StepPhase,
    to_line,
)

READY = shlex.quote(to_line(Ready(torch="0", devices=("cpu",))).decode().strip())
FORGED = shlex.quote(to_line(Ended(message="gone", restarting=False)).decode().strip())
"""What only the client itself may tell."""
PATIENCE = 10.0


class Talk:
    """A client, whose child does a mischief after the first command, and what it tells."""

    def __init__(self, mischief: str) -> None:
        script = f"read taken; echo {READY}; read command; {mischief}"
        self.client = EngineClient(("sh", "-c", script))
        self.events: queue.Queue[AnyEvent] = queue.Queue()
        self.client.start(self.events.put)
        assert isinstance(self.next(), Ready)

    def next(self) -> AnyEvent:
        return self.events.get(timeout=PATIENCE)

    def ended(self) -> Ended:
        """What is told once the mischief is done."""
        self.client.send(StepPhase())
        while not isinstance(event := self.next(), Ended):
            pass
        return event


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Talk]]:
    monkeypatch.setattr(client, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(process, "LONGEST_LINE", 4096)
    talks = []

    def make(mischief: str) -> Talk:
        talks.append(Talk(mischief))
        return talks[-1]

    yield make
    for talk in talks:
        talk.client.close()


WROTE = "wrote into the tutor's own pipe and was ended"


@pytest.mark.parametrize(
    ("mischief", "how"),
    [
        ("echo garbage; sleep 99", WROTE),
        ("printf '\\377\\000\\n'; sleep 99", WROTE),
        ("echo Z2FyYmFnZQ==; sleep 99", WROTE),
        (f"echo {FORGED}; sleep 99", WROTE),
        ("while :; do printf 0123456789abcdef; done", WROTE),
        ("exec >&-; sleep 99", "closed the tutor's own pipe and was ended"),
        ("printf half", "exited with status 0"),
        ("exec <&-; exit 3", "exited with status 3"),
        ("kill -9 $$", "was ended by SIGKILL"),
        ("sleep 99 & exit 3", "exited with status 3"),
    ],
)
def test_whatever_becomes_of_its_pipes_the_end_is_told_and_another_one_starts(
    talk: Callable[[str], Talk], mischief: str, how: str
) -> None:
    told = talk(mischief)
    ended = told.ended()
    assert ended.message == f"the lesson's process {how}; it starts again"
    assert ended.restarting
    assert isinstance(told.next(), Ready)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A pipe with a name, for what the mischief leaves behind to hold on to."""
    os.mkfifo(tmp_path / "held")
    return tmp_path / "held"


def is_let_go(pipe: int) -> bool:
    """Whether nobody holds it any more, as soon as that is so."""
    while select.select([pipe], [], [], PATIENCE)[0]:
        if not os.read(pipe, 99):
            return True
    return False


def test_what_a_lesson_has_started_ends_with_its_process(
    talk: Callable[[str], Talk], held: Path
) -> None:
    told = talk(f"sleep 99 >{held} & echo >{held}; exit 3")
    told.client.send(StepPhase())
    pipe = os.open(held, os.O_RDONLY)
    assert is_let_go(pipe)
    os.close(pipe)


def test_what_a_lesson_has_started_ends_with_the_tutor(
    talk: Callable[[str], Talk], held: Path
) -> None:
    told = talk(f"sleep 99 >{held} & echo >{held}; cat")
    told.client.send(StepPhase())
    pipe = os.open(held, os.O_RDONLY)
    told.client.close()
    assert is_let_go(pipe)
    os.close(pipe)


@pytest.mark.skipif(not shutil.which("setsid"), reason="there is no setsid here")
def test_a_process_out_of_reach_that_holds_the_pipe_is_not_waited_for(
    talk: Callable[[str], Talk], held: Path
) -> None:
    os.mkfifo(begun := held.with_name("begun"))
    until = os.open(held, os.O_RDWR)
    left_behind = f"exec <{held}; echo >{begun}; read until_it_is_closed"
    told = talk(f"setsid sh -c '{left_behind}' & read begun <{begun}; exit 3")
    assert "exited with status 3" in told.ended().message
    os.close(until)
    held.unlink()  # the next child will find nothing to hold on to


def test_to_ask_never_blocks_where_nobody_reads(talk: Callable[[str], Talk]) -> None:
    told = talk("sleep 99")
    ask = threading.Thread(
        target=lambda: told.client.send(Evaluate(expressions=("x" * 2**20,))), daemon=True
    )
    ask.start()
    ask.join(PATIENCE)
    assert not ask.is_alive()


IN_THE_CHILD = """
import subprocess, sys, time
from tutor.engine.inbox import Inbox
subprocess.Popen(["sleep", "99"])
Inbox(open(0, "rb"))
time.sleep(99)
"""


def test_when_the_tutor_is_killed_the_child_ends_what_a_lesson_has_started() -> None:
    child = subprocess.Popen(
        (sys.executable, "-c", IN_THE_CHILD),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    assert is_let_go(child.stdout.fileno())
    child.wait()
    child.stdout.close()
