"""Which lesson is had again after its process has ended, and how often that is tried."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.engine.conftest import Conversation
from tests.far_machine import SIMULATED
from tests.training.conftest import FRONT, lesson_text
from tests.ui.lessons import lesson
from tests.waiting import wait_until
from tutor.engine import client as engine_client
from tutor.engine.client import EngineClient
from tutor.errors import EngineError
from tutor.lesson.document import parse
from tutor.protocol.commands import OpenLesson, StepEpoch, StepPhase
from tutor.protocol.events import (
    CommandRefused,
    FrameShown,
    LessonFailed,
    OutputPrinted,
    ProcessEnded,
    StoppedAt,
)
from tutor.protocol.frame import Change, Position, Remark, is_same_frame
from tutor.wording.notices import error_text

SETUP = "w = torch.tensor(1.0, requires_grad=True)\nx = torch.ones(3)\n"


def opening(**phases: str) -> OpenLesson:
    return OpenLesson(lesson=parse(lesson_text(FRONT, **phases), Path("test.md")))


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.01, 0.1])
def test_a_lesson_opened_as_the_process_of_another_ends_is_the_one_that_stands(
    delay: float,
) -> None:
    """With a simulated engine in the process, which starts sooner than one that loads torch."""
    with closing(EngineClient((*SIMULATED, "child"))) as client:
        engine = Conversation(client)
        engine.shown(OpenLesson(lesson=lesson(), mode="autograd"))
        engine.shown(StepEpoch())
        client._process.signal_all(signal.SIGKILL)
        time.sleep(delay)
        number = client.send(OpenLesson(lesson=lesson(), mode="manual"))
        while (shown := engine.wait_for(FrameShown)).opening != number:
            assert shown.frame.mode == "autograd"
        assert shown.frame.at.epoch == 0
        assert shown.frame.mode == "manual"


def test_all_that_is_told_names_the_opening_that_it_belongs_to(engine: Conversation) -> None:
    engine.open(Setup=SETUP)  # all that was asked of the engine before comes before its answer
    for _ in range(2):
        engine.heard.clear()
        number = engine.client.send(opening(Setup=f"{SETUP}print('here')"))
        engine.answer_to(number)
        engine.shown(StepPhase())
        # (What comes of an opening before, its ProcessUnfit for one, names that one.)
        shown = [e for e in engine.heard if isinstance(e, (FrameShown, OutputPrinted))]
        assert "here" in "".join(e.text for e in shown if isinstance(e, OutputPrinted))
        assert {event.opening for event in shown} == {number}


@pytest.mark.parametrize(
    "expression", ["[0 for _ in iter(there, 1)]", "next(1 for n in iter(there, 1) if n)"]
)
def test_a_watched_value_without_an_end_is_stopped_by_name(
    engine: Conversation, expression: str, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    watch = (
        f"watch:\n  endless: \"(len(str(w)) if hasattr(w, 'grad_fn') and w < 1 else {expression})\""
    )
    front = FRONT.replace("epochs: 10", f"epochs: 10\n{watch}")
    made = f"import pathlib\nthere = pathlib.Path({str(there)!r}).touch"
    shown = engine.open(front, Setup=SETUP.replace("1.0", "0.99") + made)
    assert isinstance(shown, FrameShown)
    number = engine.client.send(StepEpoch())
    wait_until(there.exists)
    engine.client.stop()
    answer = engine.answer_to(number)
    assert isinstance(answer, FrameShown), answer
    line = front.splitlines().index(watch.splitlines()[1]) + 1
    assert answer.stopped == StoppedAt("the value of endless", line)
    assert engine.shown(StepEpoch()).frame.watched["endless"].why == "interrupted"


def test_a_watched_value_that_only_its_process_end_stops_is_named_and_left_out(
    engine: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_client, "INTERRUPT_SECONDS", 0.1)  # it can't answer
    there = tmp_path / "there"
    watch = 'watch:\n  größte: "0 if w > 0.98 and w < 1 else there() or max(iter(int, 1))"'
    front = FRONT.replace("epochs: 10", f"epochs: 10\n{watch}")
    made = f"import pathlib\nthere = pathlib.Path({str(there)!r}).touch"
    engine.open(front, Setup=SETUP.replace("1.0", "0.99") + made)
    engine.client.send(StepEpoch())
    wait_until(there.exists)
    engine.client.stop()
    ended = engine.wait_for(ProcessEnded)
    line = front.splitlines().index(watch.splitlines()[1]) + 1
    where = {"what": "größte", "line": line, "is_expression": True, "place": f"line {line}"}
    assert ended.remark == Remark("did_not_stop", where)
    engine.wait_for(FrameShown)
    assert engine.shown(StepEpoch()).frame.watched["größte"].why == "left_out"


@pytest.mark.parametrize("megabytes", ["1", "0", "-5", "lots", "1e3", "9" * 40, "٣٠٠"])
def test_a_memory_limit_that_can_not_be_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, megabytes: str
) -> None:
    monkeypatch.setenv("TUTOR_MEMORY_MB", megabytes)
    with pytest.raises(EngineError, match="bad_memory_limit") as told:
        EngineClient()
    assert "\n" not in error_text(told.value)


@pytest.mark.parametrize("changed", [False, True], ids=["from the start", "in mid-run"])
def test_a_run_on_a_device_that_is_not_here_is_refused(engine: Conversation, changed: bool) -> None:
    engine.open()
    shown = engine.shown(StepEpoch())
    change = Change(Position(0, 0), device="cuda:77")
    recipe = msgspec.structs.replace(
        shown.recipe, **({"changes": (change,)} if changed else {"device": "cuda:77"})
    )
    refused = engine.ask(msgspec.structs.replace(opening(), recipe=recipe, epoch=1))
    assert isinstance(refused, CommandRefused)
    assert refused.remark.code == "no_device"


def test_a_gpu_that_is_lost_costs_a_message_and_the_run_stands_where_it_was(
    engine: Conversation,
) -> None:
    """PyTorch's words, raised here by the lesson: an assertion in a CUDA kernel."""
    lost = "RuntimeError('CUDA error: device-side assert triggered')"
    engine.open(Setup=f"{SETUP}n = 0", Predict=f"n += 1\nif n == 3: raise {lost}\ny_pred = w * x")
    engine.shown(StepEpoch())
    before = engine.shown(StepEpoch()).frame
    engine.heard.clear()
    failed = engine.ask(StepEpoch())
    assert isinstance(failed, LessonFailed)
    assert "device-side assert" in failed.text
    ended = engine.wait_for(ProcessEnded)
    assert ended.restarting
    assert ended.remark.values["reason"] == Remark("device_lost")
    assert is_same_frame(engine.wait_for(FrameShown).frame, before)
