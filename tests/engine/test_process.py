"""The child may do anything at all with its pipes: the app hears of it, and can always end it.

Children of a few lines of shell, which start at once, in the engine's place.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.engine.conftest import Conversation
from tests.training.conftest import lesson_text
from tests.waiting import PATIENCE
from tutor.engine import client, process
from tutor.engine.client import EngineClient
from tutor.lesson.document import parse
from tutor.protocol.commands import EvaluateExpressions, OpenLesson, Restart, StepPhase
from tutor.protocol.events import CommandRefused, EngineReady, ProcessEnded
from tutor.protocol.frame import Remark
from tutor.protocol.messages import to_line

READY = shlex.quote(to_line(EngineReady(torch="0", devices=("cpu",))).decode().strip())
_FORGED = ProcessEnded(remark=Remark("exited"), restarting=False)
FORGED = shlex.quote(to_line(_FORGED).decode().strip())
"""What only the client itself may tell."""


Make: TypeAlias = Callable[[str], Conversation]


@pytest.fixture
def shell_child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes a client whose child does a mischief after the first command."""
    monkeypatch.setattr(client, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(process, "LET_GO_SECONDS", PATIENCE)
    monkeypatch.setattr(process, "LONGEST_LINE", 4096)
    children = []

    def make(mischief: str) -> Conversation:
        script = f"read taken; echo {READY}; read command; {mischief}"
        child = Conversation(EngineClient(("sh", "-c", script)))
        children.append(child)
        assert isinstance(child.next(), EngineReady)
        return child

    yield make
    for child in children:
        child.client.close()


WROTE = Remark("wrote_into_pipe", {"phase": ""})


@pytest.mark.parametrize(
    ("mischief", "how"),
    [
        ("echo garbage; sleep 99", WROTE),
        ("printf '\\377\\000\\n'; sleep 99", WROTE),
        ("echo Z2FyYmFnZQ==; sleep 99", WROTE),
        (f"echo {FORGED}; sleep 99", WROTE),
        ("while :; do printf 0123456789abcdef; done", WROTE),
        ("exec >&-; sleep 99", Remark("closed_pipe", {"phase": ""})),
        ("exec >&- <&-; sleep 99", Remark("closed_pipe", {"phase": ""})),
        ("printf half", Remark("exited", {"status": 0, "phase": ""})),
        ("exec <&-; exit 3", Remark("exited", {"status": 3, "phase": ""})),
        ("kill -9 $$", Remark("killed", {"signal": "SIGKILL", "phase": ""})),
        ("sleep 99 & exit 3", Remark("exited", {"status": 3, "phase": ""})),
    ],
)
def test_whatever_becomes_of_its_pipes_the_end_is_told_and_another_one_starts(
    shell_child: Make,
    mischief: str,
    how: Remark,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if mischief.startswith("exec >&-"):  # which lives on; for all others a slow machine has time
        monkeypatch.setattr(process, "LET_GO_SECONDS", 0.05)
    child = shell_child(mischief)
    child.client.send(StepPhase())
    ended = child.wait_for(ProcessEnded)
    assert ended.remark == how
    assert ended.restarting
    assert isinstance(child.next(), EngineReady)


def opening() -> OpenLesson:
    return OpenLesson(lesson=parse(lesson_text(), Path("test.md")))


def test_a_process_that_ends_again_and_again_is_not_started_forever(
    shell_child: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LONG_ENOUGH", PATIENCE)
    monkeypatch.setattr(client, "BACK_OFF", (0.0, 0.0))
    child = shell_child("exit 5")
    child.client.send(opening())
    first = child.wait_for(ProcessEnded)
    assert (first.restarting, first.can_restart, first.opening) == (True, False, 1)
    second = child.wait_for(ProcessEnded)  # the lesson was opened once more
    assert (second.restarting, second.can_restart) == (True, True)
    child.wait_for(EngineReady)
    child.client.send(Restart())
    last = child.wait_for(ProcessEnded)
    assert (last.restarting, last.can_restart) == (False, True)
    child.client.send(StepPhase())
    assert child.wait_for(CommandRefused).opening == last.opening
    child.client.send(Restart())
    child.wait_for(EngineReady)
    assert child.wait_for(ProcessEnded).restarting, "the learner has said so"


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


HOLDER = "exec >{held} 2>&1 <&-; echo there; sleep 99"
"""Holds the pipe's other end as long as it lives."""

FORKED_TWICE = """
import os, sys, time
os.fork() and os._exit(0)
os.setsid()
os.fork() and os._exit(0)
os.execve("/bin/sh", ["sh", "-c", sys.argv[1]], {} if "bare" in sys.argv else os.environ)
"""
BOMB = """
import os, sys, time
pipe = os.open(sys.argv[1], os.O_WRONLY)
os.write(pipe, b"there")
until = time.monotonic() + 20
for _ in range(4):
    os.fork()
while time.monotonic() < until:
    if not os.fork():
        time.sleep(0.05)
        os._exit(0)
    time.sleep(0.05)
"""
"""16 processes that fork on and on: they outrun a single kill, and spare a small machine."""


def started(kind: str, held: Path) -> str:
    """A line of shell that starts what a lesson may start, in the background."""
    holder = shlex.quote(HOLDER.format(held=held))
    python = shlex.quote(sys.executable)
    match kind:
        case "child":
            return f"sh -c {holder} &"
        case "session":
            return f"setsid sh -c {holder} &"
        case "forked twice":
            return f"{python} -c {shlex.quote(FORKED_TWICE)} {holder} &"
        case "forked twice, without an environment":
            return f"{python} -c {shlex.quote(FORKED_TWICE)} {holder} bare &"
        case "fork bomb":
            return f"{python} -c {shlex.quote(BOMB)} {held} &"
    raise AssertionError(kind)


KINDS = [
    "child",
    *(["session"] if shutil.which("setsid") else []),
    "forked twice",
    "forked twice, without an environment",
    "fork bomb",
]
"""Whatever it is, it is ended in one way, however the process comes to its end."""
on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a session of its own is out of reach"
)


@on_linux
@pytest.mark.parametrize(
    ("kind", "end"), [("child", "kill -9 $$"), *((kind, "exit 3") for kind in KINDS)]
)
def test_what_a_lesson_has_started_ends_with_its_process(
    shell_child: Make, held: Path, kind: str, end: str
) -> None:
    child = shell_child(f"{started(kind, held)} read there <{held}.there; {end}")
    assert_it_ends(child, held, lambda: None)


def assert_it_ends(child: Conversation, held: Path, end: Callable[[], None]) -> None:
    """Once it has begun, and after `end`, nobody holds the pipe any more."""
    os.mkfifo(go_on := held.with_name("held.there"))
    child.client.send(StepPhase())
    pipe = os.open(held, os.O_RDONLY)
    assert os.read(pipe, 5) == b"there"
    release = os.open(go_on, os.O_RDWR)
    os.write(release, b"\n")
    end()
    assert is_let_go(pipe)
    os.close(pipe)
    os.close(release)


@on_linux
def test_what_a_lesson_has_started_ends_with_the_tutor(shell_child: Make, held: Path) -> None:
    child = shell_child(f"{started('forked twice', held)} cat")
    assert_it_ends(child, held, child.client.close)


@on_linux
@pytest.mark.parametrize("to_parent", ["KILL", "STOP", "TERM"])
def test_a_lesson_that_acts_against_its_parent_ends_with_all_it_has_started(
    shell_child: Make, held: Path, to_parent: str
) -> None:
    started_there = started("forked twice", held)
    child = shell_child(f"{started_there} read there <{held}.there; kill -{to_parent} $PPID; cat")
    assert_it_ends(child, held, child.client.close)


THE_APP = """
import sys, time
from tutor.engine.client import EngineClient
from tutor.protocol.commands import StepPhase
from tutor.protocol.events import EngineReady
client = EngineClient(("sh", "-c", sys.argv[1]))
client.start(lambda event: isinstance(event, EngineReady) and client.send(StepPhase()))
time.sleep(99)
"""
_BUSY = shlex.quote("import signal; signal.pthread_sigmask(0, range(1, 65)); sum(range(10**14))")
LESSONS = {"busy": f"exec {shlex.quote(sys.executable)} -c {_BUSY}", "stopped": "kill -STOP $$"}
"""One is in C code that never lets go; the other stands still."""


@on_linux
@pytest.mark.parametrize("lesson", LESSONS)
def test_what_a_lesson_has_started_ends_when_the_tutor_is_killed(held: Path, lesson: str) -> None:
    script = f"read taken; echo {READY}; read command; exec 9>{held}; "
    script += f"{started('forked twice', held)} {LESSONS[lesson]}"
    app = subprocess.Popen((sys.executable, "-c", THE_APP, script), start_new_session=True)
    pipe = os.open(held, os.O_RDONLY)
    assert os.read(pipe, 5) == b"there"
    app.kill()
    app.wait()
    assert is_let_go(pipe)
    os.close(pipe)


def test_to_ask_never_blocks_where_nobody_reads(shell_child: Make) -> None:
    child = shell_child("sleep 99")
    ask = threading.Thread(
        target=lambda: child.client.send(EvaluateExpressions(expressions=("x" * 2**20,))),
        daemon=True,
    )
    ask.start()
    ask.join(PATIENCE)
    assert not ask.is_alive()


IN_THE_CHILD = """
import subprocess, sys, time
from tutor.engine.child import Inbox, Interrupts
from tutor.protocol.frame import Remark
subprocess.Popen(["sleep", "99"])
Inbox(open(0, "rb"), Interrupts())
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
