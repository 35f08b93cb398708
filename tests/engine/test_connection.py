"""The engine at the far end of a connection: all that can happen to either side, without ssh.

A shell in ssh's place runs the far end here; in the engine's place are a few lines of shell.
"""

from __future__ import annotations

import io
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from tests.engine.conftest import Conversation
from tests.engine.test_process import READY, is_let_go, on_linux, started
from tests.far_machine import HOST, SIMULATED, pretend
from tests.terminal import is_alive
from tests.ui.lessons import lesson
from tests.waiting import PATIENCE, wait_until
from tutor.cli import main
from tutor.engine import client, connection
from tutor.engine.client import EngineClient
from tutor.engine.connection import Connection, lines_until_silent
from tutor.engine.far_end import FarEnd
from tutor.engine.process import LessonProcess
from tutor.errors import EngineError
from tutor.protocol.commands import OpenLesson, Restart, RunTo, StepEpoch, StepPhase
from tutor.protocol.events import CommandRefused, EngineReady, Event, FrameShown, ProcessEnded
from tutor.protocol.far_end import Hello, ProcessOver, far_message_from_line
from tutor.protocol.frame import Position, Remark
from tutor.training import devices
from tutor.wording.notices import error_text


class Far(Conversation):
    """A client of an engine at the far end, and its events."""

    def __init__(self) -> None:
        super().__init__(EngineClient(host=HOST))
        self.wait_for(EngineReady)

    @property
    def ssh(self) -> int:
        """The process in ssh's place, which has become the far end."""
        assert self.client._connection is not None
        return self.client._connection._ssh.pid


Make: TypeAlias = Callable[..., Far]


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Make]:
    """Makes a client whose engine is the simulated one, or a shell with a mischief."""
    made: list[Far] = []

    def make(mischief: str = "") -> Far:
        code = f"read taken; echo {READY}; read command; {mischief}"
        pretend(monkeypatch, tmp_path, *SIMULATED, *([code] if mischief else []))
        made.append(Far())
        return made[-1]

    yield make
    for one in made:
        one.client.close()


# ── Before the screen ───────────────────────────────────────────────────────────────


def test_what_a_shells_start_files_print_is_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = "echo Welcome; yes stuff | head -n 999; printf 'no end of a line'"
    pretend(monkeypatch, tmp_path, *SIMULATED, before=before)
    Connection(HOST).close()


def saying(hello: Hello) -> str:
    return f"printf '%s\\n' {shlex.quote(hello.to_line().decode().strip())}; sleep 99"


OLDER = Hello("0.0.1", "another")
SAME = Hello(Hello.here().version, "another")


@pytest.mark.parametrize(
    ("before", "code", "named"),
    [
        ("exit 127", "no_far_tutor", "TUTOR_REMOTE"),
        ("exit 255", "no_connection", HOST),
        ("exit 1", "far_tutor_ended", "TUTOR_REMOTE"),
        ("yes", "no_hello", "engine"),
        (saying(OLDER), "other_version", "0.0.1"),
        (saying(SAME), "other_build", "build"),
        ("echo 'tutor-engine {}'; sleep 99", "other_version", "?"),
        ("echo 'tutor-engine \x1b[31m'; sleep 99", "other_version", "?"),
    ],
)
def test_a_far_end_that_can_not_serve_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str, code: str, named: str
) -> None:
    monkeypatch.setattr(connection, "CLOSE_SECONDS", 0.2)
    pretend(monkeypatch, tmp_path, before=before)
    with pytest.raises(EngineError, match=code) as told:
        Connection(HOST)
    text = error_text(told.value)
    assert named in text
    assert text.isprintable()


def test_a_missing_ssh_and_a_host_that_is_an_option_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUTOR_SSH", "no-such-ssh -p 22")
    with pytest.raises(EngineError, match=r"no_ssh.*no-such-ssh"):
        Connection(HOST)
    monkeypatch.setenv("TUTOR_SSH", "ssh 'half")
    with pytest.raises(EngineError, match="unreadable_ssh"):
        Connection(HOST)
    monkeypatch.delenv("TUTOR_SSH")
    with pytest.raises(EngineError, match="no_host_name"):
        Connection("-oProxyCommand=true")
    with pytest.raises(SystemExit) as ended:
        main(["devices", "--on=-oProxyCommand=true"])
    assert ended.value.code == 2


def test_what_ssh_says_to_a_terminal_is_shown_and_obeyed_by_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heard = tmp_path / "heard"  # else the far end may say hello before its words are read
    before = "test -t 2 && printf 'touch \\033[31m your key\\n' >&2\n"
    before += f"while ! test -e {shlex.quote(str(heard))}; do sleep 0.1; done"
    pretend(monkeypatch, tmp_path, *SIMULATED, before=before)
    said = []

    def is_told() -> bool:
        said.append(capfd.readouterr().err)
        return "your key" in "".join(said)

    def listen() -> None:
        wait_until(is_told, "the words of ssh")
        heard.touch()

    with ThreadPoolExecutor() as pool:
        listening = pool.submit(listen)
        Connection(HOST).close()
        listening.result()
    assert "touch ^[[31m your key" in "".join(said)


def test_the_devices_there_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, tmp_path)
    assert main(["devices", "--on", HOST, "--json"]) == 0
    there = [device["name"] for device in json.loads(capsys.readouterr().out)]
    assert there == list(devices.available())


# ── The process there ───────────────────────────────────────────────────────────────

WROTE = Remark("wrote_into_pipe", {"phase": ""})


@pytest.mark.parametrize(
    ("mischief", "how"),
    [
        ("echo '!garbage'; sleep 99", WROTE),
        ("kill -9 $$", Remark("killed", {"signal": "SIGKILL", "phase": ""})),
    ],
)
def test_the_end_of_the_process_is_told_as_it_is_here_and_another_one_starts(
    far: Make, mischief: str, how: Remark
) -> None:
    there = far(mischief)
    there.client.send(StepPhase())
    ended = there.wait_for(ProcessEnded)
    assert (ended.remark, ended.restarting) == (how, True)
    there.wait_for(EngineReady)


def stopped(make: Make, there: Path, trap: str) -> Remark:
    """The end of a process in a loop that is stopped once its trap is set; another one starts."""
    far = make(f"trap '{trap}' INT; touch {there}; while :; do sleep 0.1; done")
    far.client.send(StepPhase())
    wait_until(there.exists)
    far.client.stop()
    ended = far.wait_for(ProcessEnded)
    far.wait_for(EngineReady)
    return ended.remark


def test_a_lesson_that_does_not_stop_is_killed_there(
    far: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "INTERRUPT_SECONDS", 0.1)
    assert stopped(far, tmp_path / "there", trap="").code == "lesson_did_not_stop"


def test_an_interrupt_arrives(far: Make, tmp_path: Path) -> None:
    note = Remark("exited", {"status": 7, "phase": ""})
    assert stopped(far, tmp_path / "there", trap="exit 7") == note


@pytest.fixture
def held(tmp_path: Path) -> Iterator[int]:
    """A pipe that what a lesson has started holds on to."""
    os.mkfifo(tmp_path / "held")
    pipe = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(pipe, True)
    yield pipe
    os.close(pipe)


def holding(tmp_path: Path) -> str:
    return f"{started('forked twice', tmp_path / 'held')} sleep 99"


def wait_held(pipe: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        select.select([pipe], [], [], 0.1)
        if os.read(pipe, 5) == b"there":
            return
        time.sleep(0.01)  # nobody has opened it yet
    raise AssertionError("nothing was started")


@on_linux
@pytest.mark.parametrize("end", ["close", "kill ssh", "stop ssh"])
def test_all_that_a_lesson_has_started_there_ends_with_the_connection(
    far: Make, held: int, tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(connection, "TICK", 0.05)
    monkeypatch.setattr(connection, "MOST_SILENT_TICKS", 10**9)
    there = far(holding(tmp_path))
    there.client.send(StepPhase())
    wait_held(held)
    if end == "close":
        there.client.close()
    else:
        os.kill(there.ssh, signal.SIGKILL if end == "kill ssh" else signal.SIGSTOP)
        monkeypatch.setattr(connection, "MOST_SILENT_TICKS", 4)
        assert there.wait_for(ProcessEnded).remark.code == "connection_lost"
    assert is_let_go(held)


THE_APP = """
import sys, time
from tutor.engine import connection
from tutor.engine.client import EngineClient
from tutor.protocol.commands import StepPhase
from tutor.protocol.events import EngineReady
connection.TICK, connection.MOST_SILENT_TICKS = 0.05, 10**9
client = EngineClient(host="far-machine")
client.start(lambda event: isinstance(event, EngineReady) and client.send(StepPhase()))
time.sleep(99)
"""


@on_linux
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_all_ends_there_when_the_tutor_is_killed_or_gives_no_sign_of_life(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    monkeypatch.setenv("FAR_SILENCE", str(tmp_path / "silence"))
    code = f"read taken; echo {READY}; read command; {holding(tmp_path)}"
    pretend(monkeypatch, tmp_path, *SIMULATED, code)
    app = subprocess.Popen((sys.executable, "-c", THE_APP))
    wait_held(held)
    app.send_signal(end)
    if end == signal.SIGSTOP:
        (tmp_path / "silence").touch()
    assert is_let_go(held)
    app.kill()
    app.wait()


# ── A lost connection ───────────────────────────────────────────────────────────────


def test_after_a_reconnection_the_run_is_where_it_was(far: Make) -> None:
    there = far()
    there.client.send(OpenLesson(lesson=lesson()))
    for _ in range(3):
        there.client.send(StepEpoch())
    there.client.send(StepPhase())
    while (stood := there.wait_for(FrameShown)).frame.at != Position(4, 1):
        pass
    os.kill(there.ssh, signal.SIGKILL)
    ended = there.wait_for(ProcessEnded)
    assert (ended.remark.code, ended.restarting, ended.can_restart) == (
        "connection_lost",
        False,
        False,
    )
    for command in (StepPhase(), Restart(), RunTo(epoch=9)):
        there.client.send(command)
        assert there.wait_for(CommandRefused).remark == ended.remark
    there.client.reconnect()
    there.wait_for(EngineReady)
    back = there.wait_for(FrameShown)
    assert back.frame == stood.frame
    there.client.send(StepPhase())
    assert there.wait_for(FrameShown).frame.at == Position(4, 2)


def test_what_is_opened_while_the_connection_is_lost_opens_with_the_next_that_can_be_made(
    far: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = far()
    os.kill(there.ssh, signal.SIGKILL)
    there.wait_for(ProcessEnded)
    number = there.client.send(OpenLesson(lesson=lesson()))
    there.wait_for(CommandRefused)
    with monkeypatch.context() as unreachable:
        pretend(unreachable, tmp_path, before="exit 255")
        with pytest.raises(EngineError):
            there.client.reconnect()
    there.client.send(StepPhase())
    assert there.wait_for(CommandRefused).remark.code == "connection_lost"
    pretend(monkeypatch, tmp_path, *SIMULATED)
    there.client.reconnect()
    assert there.wait_for(FrameShown).opening == number


def test_a_suspended_tutor_stays_connected_and_its_process_stands_still(
    far: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not a shell that starts programs: one that waits for the start of another never stops.
    there = far(f"echo $$ >{tmp_path}/number; exec sleep 600")
    there.client.send(StepPhase())
    written = tmp_path / "number"
    wait_until(lambda: written.exists() and written.read_text().strip(), "the process")
    process = int(written.read_text())
    state = Path(f"/proc/{process}/status")
    there.client.suspend()
    wait_until(lambda: "State:\tT" in state.read_text(), "its standing still")
    there.client.resume()
    wait_until(lambda: "State:\tT" not in state.read_text(), "its going on")
    there.client.close()
    wait_until(lambda: not is_alive(process), "its end")


def test_silence_ends_the_lines_unless_it_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TICK", 0.01)
    source, target = os.pipe()
    os.write(target, b"one\ntw")
    asked = threading.Event()

    def is_patient() -> bool:
        if silent.is_set():
            return False
        asked.set()
        return True

    silent = threading.Event()
    lines = lines_until_silent(source, is_patient)
    assert next(lines) == b"one"
    later = threading.Thread(target=lambda: (asked.wait(), os.write(target, b"o\n")))
    later.start()
    assert next(lines) == b"two"
    later.join()
    silent.set()
    assert list(lines) == []
    os.close(source)
    os.close(target)


def test_what_comes_behind_the_end_of_a_process_is_not_taken_for_the_next_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tutor.engine.process.READ_SECONDS", 0.01)
    is_told, is_relayed = threading.Event(), threading.Event()

    def events() -> Iterator[Event]:
        is_told.wait()
        yield EngineReady(torch="0", devices=())
        is_relayed.set()

    process: Any = SimpleNamespace(
        wait=lambda: 0, events=events, end_reason="", error_text=lambda: ""
    )
    process.follow = lambda receive: LessonProcess.follow(process, receive)
    out = io.BytesIO()
    end = FarEnd(out)
    end._process = process
    end._follow(process, 1)
    is_told.set()
    assert is_relayed.wait(PATIENCE)
    (line,) = out.getvalue().splitlines()
    assert far_message_from_line(line, Event) == ProcessOver(1, 0, "", "")
