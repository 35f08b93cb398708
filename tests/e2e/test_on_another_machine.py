"""`tutor --on HOST` over a real sshd, on a line that is cut, silent, slow, or whose end is killed.

Most of them with a simulated engine in place of one that loads torch.
"""

from __future__ import annotations

import os
import queue
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.child_without_torch import COMMAND as WITHOUT_TORCH
from tests.engine.test_connection import Far, holding, wait_held
from tests.engine.test_process import READY, is_let_go
from tests.far_machine import HOST, SIMULATED, WHY_NO_SSHD, Line, Sshd, kill, running_sshd
from tests.terminal import TUTOR, Terminal
from tests.training.conftest import lesson_text
from tests.ui.lessons import lesson
from tests.waiting import PATIENCE
from tutor.engine import connection
from tutor.engine.client import EngineClient
from tutor.protocol.commands import StepEpoch, StepPhase
from tutor.protocol.events import Event, ProcessEnded
from tutor.session.session import Session

pytestmark = pytest.mark.skipif(WHY_NO_SSHD != "", reason=WHY_NO_SSHD)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as there:
        yield there


@pytest.fixture
def line(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A line to the sshd, which `--on` takes, to a far end that needs no torch."""
    line = Line(sshd.port)
    monkeypatch.setenv("TUTOR_SSH", sshd.ssh(line.port))
    monkeypatch.setenv("TUTOR_REMOTE", shlex.join(SIMULATED))
    yield line
    line.close()


def test_after_a_cut_the_screen_stays_and_a_key_leads_back_to_where_the_run_was(
    line: Line,
) -> None:
    with Terminal([str(TUTOR), "--on", HOST, "line-through-origin"]) as terminal:
        terminal.wait_for(f"cpu on {HOST}", "next: ▶ Predict")
        for epoch in ("1", "2"):
            terminal.press("s")
            terminal.wait_for(f"epoch {epoch} of")
        terminal.press(" ")
        terminal.wait_for("Predict has run", "epoch 3 of")
        line.cut()
        terminal.wait_for("C reconnect", f"The connection to {HOST} is lost")
        terminal.press(" ")  # is refused
        terminal.press("C")
        terminal.wait_gone("C reconnect")
        terminal.wait_for("epoch 3 of", "back at epoch 3")
        terminal.press(" ")
        terminal.wait_for("Loss has run", "epoch 3 of")
        terminal.press("q")
        assert terminal.wait_ended() == 0


@pytest.mark.parametrize("end", ["silent", "killed"])
def test_a_far_end_that_nobody_reaches_any_more_ends_with_all_that_runs_there(
    line: Line, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(connection, "TICK", 0.05)
    monkeypatch.setattr(connection, "MOST_SILENT_TICKS", 10**9)
    code = f"read taken; echo {READY}; read command; {holding(tmp_path)}"
    monkeypatch.setenv("TUTOR_REMOTE", shlex.join((*SIMULATED, code)))
    os.mkfifo(tmp_path / "held")
    pipe = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(pipe, True)
    there = Far()
    there.client.send(StepPhase())
    wait_held(pipe)
    if end == "silent":
        line.is_silent = True
        monkeypatch.setattr(connection, "MOST_SILENT_TICKS", 4)
    else:
        kill(sshd.sessions())
    assert there.wait_for(ProcessEnded).remark.code == "connection_lost"
    assert is_let_go(pipe)
    there.client.close()
    os.close(pipe)


def test_on_a_slow_line_a_key_that_is_held_down_has_one_under_way_and_one_that_waits(
    line: Line,
) -> None:
    line.delay = 0.1  # and as much back
    events: queue.Queue[Event] = queue.Queue()
    client = EngineClient(host=HOST)
    client.start(events.put)
    session = Session(client)
    session.open(lesson())
    hear_until(session, events, lambda: not session.is_waiting)
    assert session.view is not None
    assert session.view.frame is not None
    sent: list[int] = []

    def most_unanswered() -> int:
        return sum(isinstance(c, StepEpoch) for c in session.unanswered.values())

    for _ in range(200):
        session.step_epoch()
        sent.append(most_unanswered())
        time.sleep(0.005)
        while not events.empty():
            session.receive(events.get())
    let_go = session.view.epoch
    hear_until(session, events, lambda: not session.is_waiting)
    assert max(sent) == 2
    assert session.view.epoch <= let_go + 2
    client.close()


HOLDING = "import time\nheld = open({path!r}, 'w')\nprint('there', file=held, flush=True)"


@pytest.mark.parametrize(("end", "status"), [("Ctrl+C", 130), ("a cut", 1)])
def test_a_check_there_is_ended_by_ctrl_c_or_a_cut_with_what_it_runs(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, status: int
) -> None:
    code = f"exec {shlex.join(WITHOUT_TORCH)}"
    monkeypatch.setenv("TUTOR_REMOTE", shlex.join((*SIMULATED, code)))
    os.mkfifo(tmp_path / "held")
    pipe = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(pipe, True)
    code = HOLDING.format(path=str(tmp_path / "held"))
    file = tmp_path / "mine.md"
    file.write_text(lesson_text(Predict=f"{code}\nwhile True:\n    time.sleep(0.1)"))
    checking = subprocess.Popen(
        [str(TUTOR), "--on", HOST, "check", "--trust", str(file)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_held(pipe)
    if end == "a cut":
        line.cut()
    else:  # a terminal sends it to ssh, too
        os.killpg(checking.pid, signal.SIGINT)
    said = checking.communicate(timeout=PATIENCE)[1]
    assert checking.returncode == status, said
    assert is_let_go(pipe)
    os.close(pipe)
    (told,) = said.splitlines()
    assert (HOST if end == "a cut" else f"stopped at {file}:") in told


def hear_until(session: Session, events: queue.Queue[Event], is_so: Callable[[], bool]) -> None:
    while not is_so():
        session.receive(events.get(timeout=PATIENCE))


def test_who_is_not_let_in_reads_why_before_any_screen(
    line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUTOR_SSH", f"{os.environ['TUTOR_SSH']} -o PubkeyAuthentication=no")
    with Terminal([str(TUTOR), "--on", HOST]) as terminal:
        assert terminal.wait_ended() == 1
        while terminal.read():
            pass
        assert "Permission denied" in terminal.text()
        assert re.search(rf"^tutor: {HOST}: ", terminal.text(), re.MULTILINE)
        assert b"\x1b" not in terminal.raw


def test_a_lesson_runs_there_in_plain_mode_and_its_figures_come_here(
    line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUTOR_REMOTE", shlex.quote(str(TUTOR)))
    figures = tmp_path / "figures.csv"
    typed = f"epoch 2\nexport figures {figures}\n"
    command = (str(TUTOR), "--on", HOST, "--plain", "line-through-origin")
    done = subprocess.run(command, input=typed, capture_output=True, text=True, check=False)
    assert "Epoch 2 is done." in done.stdout, done.stderr
    assert figures.read_text().count("\n") == 3
