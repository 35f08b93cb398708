"""Whatever a lesson does, the app is told, lives on, and the run is there again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.conftest import Conversation
from tests.waiting import PATIENCE, wait_until
from tutor.engine import client, supervisor
from tutor.protocol.commands import BackEpoch, BackPhase, Restart, Seek, StepEpoch, StepPhase
from tutor.protocol.events import FrameShown, LessonFailed, ProcessEnded, StoppedAt
from tutor.protocol.frame import Remark

AS_IN_THE_APP = client.INTERRUPT_SECONDS
# Predict does its mischief the third time that it runs.
SETUP = "w = torch.tensor(1.0, requires_grad=True)\nx = torch.ones(3)\nn = 0"
PREDICT = "n += 1\nif n == 3:\n    {}\ny_pred = w * x"


def open_hostile(engine: Conversation, mischief: str) -> FrameShown:
    """A lesson two epochs on, with mischief ahead."""
    engine.open(Setup=SETUP, Predict=PREDICT.format(mischief))
    engine.shown(StepEpoch())
    return engine.shown(StepEpoch())


@pytest.mark.parametrize(
    ("mischief", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("exit(3)", "SystemExit: 3"),
        ("z = torch.ones(2**31)", "can't allocate memory"),
        ("z = np.ones(2**30)", "Unable to allocate 8.00 GiB"),
        ("import sys; sys.stdin.readline()[0]", "IndexError"),
        ("input('name? ')", "EOFError: "),
    ],
)
def test_an_error_is_told_with_its_place_and_the_last_good_frame_stays(
    engine: Conversation, mischief: str, message: str
) -> None:
    before = open_hostile(engine, mischief)
    failed = engine.ask(StepPhase())
    assert isinstance(failed, LessonFailed)
    assert message in failed.text
    assert (failed.lesson, failed.phase, failed.line) == ("test", "Predict", 19)
    shown = engine.heard[-2]
    assert isinstance(shown, FrameShown)
    assert shown.frame == before.frame
    assert engine.shown(Restart()).frame.at.epoch == 0


def test_an_endless_loop_is_broken_off(engine: Conversation, tmp_path: Path) -> None:
    there = tmp_path / "there"
    before = open_hostile(engine, f"while not open({str(there)!r}, 'w').close(): pass")
    number = engine.client.send(StepPhase())
    wait_until(there.exists)
    engine.client.stop()
    answer = engine.answer_to(number)
    assert isinstance(answer, FrameShown)
    assert answer.frame == before.frame
    assert answer.stopped == StoppedAt("Predict", 19)


def test_what_will_not_stop_is_ended_and_the_run_is_there_again(
    engine: Conversation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "INTERRUPT_SECONDS", AS_IN_THE_APP)
    assert client.ASK_SECONDS + AS_IN_THE_APP < 2
    there = tmp_path / "there"
    deaf = f"import time; import signal; signal.signal(2, 1); open({str(there)!r}, 'w').close()"
    before = open_hostile(engine, f"{deaf}; time.sleep(99)")
    engine.client.send(StepPhase())
    wait_until(there.exists)
    wait_until(lambda: engine.client.busy_for() > 0.2)
    engine.client.stop()
    ended = engine.wait_for(ProcessEnded)
    assert ended.restarting
    where = {"what": "Predict", "line": 19, "is_expression": False, "place": "line 19"}
    assert ended.remark == Remark("did_not_stop", where)
    assert engine.wait_for(FrameShown).frame == before.frame


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed in /proc")
def test_only_the_thread_that_runs_the_lesson_takes_the_interrupt(engine: Conversation) -> None:
    """Else a lesson that was stopped runs on for some lines before it is interrupted."""
    engine.open(
        Setup=f"""{SETUP}
import pathlib, signal
for status in pathlib.Path('/proc/self/task').glob('*/status'):
    mask = int(status.read_text().split('SigBlk:')[1].split()[0], 16)
    print(mask >> (signal.SIGINT - 1) & 1)"""
    )
    states = engine.printed_text().split()
    assert len(states) > 2
    assert states.count("0") == 1


def test_a_copy_that_a_lesson_makes_of_its_process_does_not_speak_for_it(
    engine: Conversation,
) -> None:
    before = open_hostile(engine, "import os; (copy := os.fork()) and os.waitpid(copy, 0)")
    engine.shown(StepPhase())
    told = len(engine.heard)
    assert engine.shown(BackPhase()).frame == before.frame
    answers = [event.answers for event in engine.heard[told - 1 :]]
    assert len(answers) == len(set(answers)), "each of them once"


def test_a_copy_that_a_lesson_makes_of_its_process_trains_no_further(
    engine: Conversation, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    before = "import os\nfirst = os.getpid()\nw = torch.tensor(1.0, requires_grad=True)\nx = 1.0"
    note = f"open({str(log)!r}, 'a').write(f'{{os.getpid()}} ')"
    engine.open(Setup=before, Predict=f"{note}\nos.getpid() == first and os.fork()\ny_pred = w * x")
    for _ in range(4):
        engine.shown(StepEpoch())
    process = engine.client._process._child.pid
    wait_until(lambda: len(supervisor.descendants(process)) == 1, "the end of the copies")
    trained = log.read_text().split()
    assert len(trained) >= 4
    assert len(set(trained)) == 1


HELD_ELSEWHERE = """
import os, threading
from tutor.engine.child import ProcessLock
lock, held = ProcessLock(), threading.Event()
def hold():
    with lock():
        held.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
if copy := os.fork():
    os._exit(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))
with lock():
    os._exit(7)
"""


def test_a_copy_of_a_process_waits_for_none_of_its_threads() -> None:
    ended = subprocess.run((sys.executable, "-c", HELD_ELSEWHERE), timeout=PATIENCE, check=False)
    assert ended.returncode == 7


def test_printing_is_passed_on_and_a_flood_is_cut(engine: Conversation) -> None:
    engine.open(
        Setup=SETUP + "\nprint('[bold]hello\\x1b[31m')",
        Predict="import os\nprint('x' * 10**6)\nos.write(2, b'from C\\n')\ny_pred = w * x",
    )
    printed = engine.printed()
    assert printed[-1].text == "[bold]hello\x1b[31m\n", "passed on raw: the screen makes it safe"
    engine.shown(StepPhase())
    flood = engine.printed()[1:]
    assert sum(len(e.text) for e in flood) < 100_000
    assert sum(e.left_out + len(e.text) for e in flood) == 10**6 + len("\nfrom C\n")
    assert flood[-1].text.endswith("x\nfrom C\n")


@pytest.mark.parametrize("mischief", ["os.dup2(0, 1)", "sys.stdout.close()", "sys.stdout = Evil()"])
def test_who_has_lost_what_it_prints_on_prints_again_in_the_next_run(
    engine: Conversation, mischief: str
) -> None:
    evil = "\nimport os, sys\nclass Evil:\n    def flush(self): raise RuntimeError('no')"
    engine.open(Setup=SETUP + evil, Predict=f"{mischief}\ny_pred = w * x")
    assert isinstance(engine.ask(StepPhase()), FrameShown)
    engine.heard.clear()
    engine.open(Setup=SETUP + "\nprint('ŷ is there', flush=True)")
    assert [e.text for e in engine.printed()] == ["ŷ is there\n"]


def test_an_exception_that_says_more_than_anybody_reads_is_cut(engine: Conversation) -> None:
    open_hostile(engine, "raise ValueError('x' * 20_000_000)")
    failed = engine.ask(StepPhase())
    assert isinstance(failed, LessonFailed)
    assert failed.text.startswith("ValueError: xxx")
    assert len(failed.text) < 20_000


def test_going_back_prints_nothing_again(engine: Conversation) -> None:
    engine.open(Predict="print('once')\ny_pred = w * x")
    engine.shown(StepEpoch())
    engine.shown(StepEpoch())
    engine.heard.clear()
    engine.shown(BackEpoch())
    engine.shown(Seek(epoch=2))
    assert not engine.printed()
