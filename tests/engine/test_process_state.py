"""A lesson finds the process as if no other lesson had run before it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.engine.conftest import Conversation
from tests.waiting import wait_until
from tutor.engine import client
from tutor.protocol.commands import Restart, RunTo, StepEpoch
from tutor.protocol.events import FrameShown, LessonFailed, ProcessEnded
from tutor.protocol.frame import Remark

SETUP = "w = torch.tensor(1.0, requires_grad=True)\nx = torch.ones(3)\nimport os, sys\n"

LEAKS = {
    "torch.set_grad_enabled(False)": "torch.is_grad_enabled()",
    "torch.inference_mode().__enter__()": "torch.is_inference_mode_enabled()",
    "torch.set_default_device('meta')": "torch.zeros(1).device",
    "sys.stdout = None": "sys.stdout is None",
    "sys.stderr = sys.stdin": "sys.stderr.writable()",
    "os.close(0)": "sys.stdin.read()",
    "sys.stdin = None": "sys.stdin.read()",
    "os.environ['LEFT'] = 'x'": "os.environ.get('LEFT')",
    "import signal; signal.alarm(99)": "__import__('signal').alarm(0)",
    "os.umask(0o777)": "os.umask(0o022)",
    "torch.Tensor.sum = None": "torch.Tensor.sum is None",
    "import builtins; builtins.divmod = None": "divmod is None",
}
"""A lesson's code, and what shows whether it reached the next one; `test_settings_put_back` tests
the other settings, in this process."""


def printed(engine: Conversation, expression: str) -> str:
    """What a lesson that leaks nothing finds."""
    engine.heard.clear()
    answer = engine.open(Setup=f"{SETUP}print({expression})")
    assert isinstance(answer, FrameShown), answer
    return engine.printed_text()


@pytest.mark.parametrize("leak", LEAKS)
def test_nothing_that_a_lesson_sets_reaches_the_next_one(engine: Conversation, leak: str) -> None:
    expression = LEAKS[leak]
    clean = printed(engine, expression)
    assert clean
    engine.open(Setup=f"{SETUP}n = 0", Predict=f"n += 1\nif n == 2: {leak}\ny_pred = w * x")
    engine.ask(StepEpoch())
    engine.ask(StepEpoch())
    assert printed(engine, expression) == clean


def test_what_a_setup_sets_is_set_again_by_a_restart_and_not_before(engine: Conversation) -> None:
    engine.open(
        Setup=f"print(torch.zeros(1).dtype)\ntorch.set_default_dtype(torch.float64)\n{SETUP}"
    )
    engine.heard.clear()
    assert engine.shown(Restart()).frame.values["w"].dtype == "float64"
    assert engine.printed_text() == "torch.float32\n"


def test_a_stop_inside_no_grad_leaves_autograd_as_it_was(
    engine: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ASK_SECONDS", 0.05)
    there = tmp_path / "there"
    many = f"open({str(there)!r}, 'w').close()\nwhile True:\n    with torch.no_grad(): pass"
    for attempt in range(8):
        assert isinstance(engine.open(Setup=SETUP, Predict=many), FrameShown)
        number = engine.client.send(RunTo(epoch=9))
        wait_until(there.exists)
        time.sleep(attempt / 100)  # each time at another place
        engine.client.stop()
        assert isinstance(engine.answer_to(number), FrameShown)
        assert printed(engine, "torch.is_grad_enabled()") == "True\n"
        there.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="a session is out of reach elsewhere")
def test_what_a_lesson_has_started_ends_with_its_run(engine: Conversation) -> None:
    read_end, write_end = os.pipe()
    path = f"/proc/{os.getpid()}/fd/{write_end}"
    start = f"subprocess.Popen(['sleep', '99'], stdout=open({path!r}, 'w'), start_new_session=True)"
    engine.open(Setup=f"{SETUP}import subprocess\np = {start}\ndel p")
    os.close(write_end)
    os.set_blocking(read_end, False)
    with pytest.raises(BlockingIOError):
        os.read(read_end, 1)
    engine.open()
    os.set_blocking(read_end, True)
    assert not os.read(read_end, 1), "nobody holds its other end"
    os.close(read_end)


TICKING = f"""{SETUP}import threading, time
def tick():
    while True:
        {{}}
threading.Thread(target=tick, name="ticker").start()
"""


def test_a_thread_of_a_lesson_ends_with_it(engine: Conversation) -> None:
    engine.open(Setup=TICKING.format("time.sleep(0.01)"))
    assert "ticker" not in printed(engine, "[t.name for t in __import__('threading').enumerate()]")
    assert not any(isinstance(event, ProcessEnded) for event in engine.heard)


def test_a_restart_ends_the_threads_of_the_run_before(engine: Conversation) -> None:
    count = "print(sum(t.name == 'ticker' for t in threading.enumerate()))"
    engine.open(Setup=TICKING.format("time.sleep(0.01)") + count)
    engine.heard.clear()
    engine.shown(Restart())
    assert engine.printed_text() == "1\n"


def test_where_a_lesson_leaves_more_the_next_one_has_another_process(engine: Conversation) -> None:
    """A thread that does not end; `test_settings_put_back` tests a setting that can't be."""
    engine.open(Setup=TICKING.format("time.sleep(99)"))
    engine.heard.clear()
    answer = engine.open(Setup=SETUP + "print(os.getpid())")
    assert isinstance(answer, ProcessEnded)
    assert answer.restarting
    assert answer.remark.values["reason"] == Remark("thread_left", {"name": "ticker"})
    shown = engine.wait_for(FrameShown)
    assert shown.frame.at.epoch == 0
    assert not any(isinstance(event, LessonFailed) for event in engine.heard)
