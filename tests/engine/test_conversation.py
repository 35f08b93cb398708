"""A run in another process does what it is told, and tells what it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import shipped as lessons
from tests.engine.conftest import Conversation, server_here
from tests.training.conftest import PLAIN, shipped
from tests.waiting import PATIENCE, wait_until
from tutor.engine import client
from tutor.lesson.model import ScriptOptions
from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    EvaluateExpressions,
    FindLocalGradients,
    Inspect,
    OpenLesson,
    Pause,
    Restart,
    RunTo,
    Seek,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.protocol.events import CommandRefused, FrameShown, event_from_line
from tutor.protocol.frame import Remark
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.source import read_script


def test_nothing_can_be_done_before_a_lesson_is_open() -> None:
    server, out = server_here()
    commands = (Inspect(columns=10), EvaluateExpressions(expressions=("1",)), FindLocalGradients())
    for command in (StepPhase(), *commands):
        server.handle(command)
    for line in out.getvalue().splitlines():
        assert event_from_line(line) == CommandRefused(remark=Remark("no_lesson_open"))
    assert out.getvalue().count(b"\n") == 4


def test_a_learner_steps_forward_and_back(engine: Conversation) -> None:
    start = engine.open_shipped("line-through-origin", "autograd")
    assert start.frame.phase == "Setup"
    first = engine.shown(StepPhase())
    second = engine.shown(StepPhase())
    assert second.frame.loss.data == (30.0,)
    assert engine.shown(BackPhase()).frame == first.frame
    epoch = engine.shown(StepEpoch())
    assert epoch.frame.gradients["w"].data == (-30.0,)
    assert engine.shown(BackEpoch()).frame == start.frame


def test_a_run_reaches_the_epoch_that_is_asked_for(engine: Conversation) -> None:
    """`tests/lessons/test_published_figures.py` tests what all runs come to at their ends."""
    engine.open_shipped("thermometer", "autograd")
    shown = engine.shown(RunTo(epoch=300))
    assert shown.frame == shipped("thermometer", "autograd").run_to(300)
    assert shown.target is None
    assert shown.last_epoch == 300


def test_frames_come_while_a_run_is_on_and_a_pause_ends_it(engine: Conversation) -> None:
    engine.open_shipped("thermometer", "autograd")
    number = engine.client.send(RunTo(epoch=10**7))
    seen = [engine.wait_for(FrameShown) for _ in range(3)]
    assert all(shown.target == 10**7 and shown.rate > 0 for shown in seen)
    epochs = [shown.frame.at.epoch for shown in seen]
    assert epochs == sorted(set(epochs))
    engine.client.send(Pause())
    end = engine.answer_to(number)
    assert isinstance(end, FrameShown)
    assert end.target is None
    assert epochs[-1] <= end.frame.at.epoch < 10**7


def test_an_answer_needs_no_receipt_for_frames_to_come(engine: Conversation) -> None:
    engine.open_shipped("thermometer", "manual")
    engine.client.send(StepPhase())
    engine.client.send(RunTo(epoch=10**7))
    assert engine.events.get(timeout=PATIENCE).answers, "the step"
    assert not engine.events.get(timeout=PATIENCE).answers, "the run, on its way"
    engine.shown(Pause())


def test_no_frame_is_sent_before_the_last_was_taken(engine: Conversation, tmp_path: Path) -> None:
    far = tmp_path / "far"
    late = f"n += 1\nif n == 2000: open({str(far)!r}, 'w').close()\ny_pred = w * x"
    engine.open(Setup=f"{PLAIN['Setup']}\nn = 0", Predict=late)
    engine.client.send(RunTo(epoch=10**7))
    engine.events.get(timeout=PATIENCE)  # and not taken: training goes on, the plot waits
    wait_until(far.exists, "the run, which does not wait for the screen")
    assert engine.events.qsize() == 0
    assert engine.shown(Pause()).frame.at.epoch >= 1999


@pytest.mark.parametrize("change", [SetLearningRate(value=0.005), Switch(mode="manual")])
def test_a_run_continues_after_a_change_of_a_setting(
    engine: Conversation, change: SetLearningRate | Switch
) -> None:
    """As `Session.request` asks for it."""
    before = engine.open_shipped("thermometer", "autograd").frame
    running = engine.client.send(RunTo(epoch=10**7))
    engine.wait_for(FrameShown)
    paused, changed = engine.client.send(Pause()), engine.client.send(change)
    engine.client.send(RunTo(epoch=10**7))
    answers = [engine.answer_to(number) for number in (running, paused, changed)]
    assert [getattr(answer, "target", 0) for answer in answers] == [None] * 3
    after = engine.wait_for(FrameShown)
    assert after.target == 10**7
    is_changed = after.frame.learning_rate != before.learning_rate or after.frame.mode == "manual"
    assert is_changed
    engine.shown(Pause())


def test_a_step_in_the_middle_of_a_run_ends_it_and_is_done(engine: Conversation) -> None:
    engine.open_shipped("thermometer", "autograd")
    running = engine.client.send(RunTo(epoch=10**7))
    engine.wait_for(FrameShown)
    stepping = engine.client.send(StepPhase())
    end = engine.answer_to(running)
    step = engine.answer_to(stepping)
    assert isinstance(end, FrameShown)
    assert isinstance(step, FrameShown)
    assert step.frame.at.epoch == end.frame.at.epoch + 1
    assert step.frame.at.step == 1


def test_jumping_goes_forward_by_training_and_back_by_memory(engine: Conversation) -> None:
    engine.open_shipped("thermometer", "autograd")
    far = engine.shown(Seek(epoch=400))
    near = engine.shown(Seek(epoch=37))
    assert near.last_epoch == 400
    assert engine.shown(Seek(epoch=400)).frame == far.frame
    assert isinstance(engine.ask(Seek(epoch=-1)), CommandRefused)


def test_the_plot_has_as_many_points_as_it_has_columns(engine: Conversation) -> None:
    engine.open_shipped("thermometer", "manual")
    engine.ask(Inspect(columns=0))
    assert engine.shown(RunTo(epoch=1000)).curve is None
    curve = engine.shown(Inspect(columns=50)).curve
    assert curve is not None
    assert len(curve.epochs) == 50
    assert curve.last_epoch == curve.here == 1000
    assert curve.high[0] > 80 > curve.high[-1], "the first loss is in it"


def test_a_missing_device_is_refused_with_those_that_are_there(engine: Conversation) -> None:
    before = engine.open_shipped("xor", "model")
    answer = engine.ask(Switch(device="cuda:7"))
    assert isinstance(answer, CommandRefused)
    assert answer.remark == Remark("no_device", {"device": "cuda:7", "available": ["cpu"]})
    assert engine.shown(Pause()).frame == before.frame


def test_a_run_is_taken_up_from_its_record(engine: Conversation) -> None:
    opened = engine.open_shipped("xor", "manual")
    engine.shown(RunTo(epoch=5))
    engine.shown(Switch(mode="autograd"))
    there = engine.shown(StepPhase())
    assert engine.shown(Restart()).frame.mode == "autograd"
    again = engine.shown(
        OpenLesson(
            lesson=lessons.lesson("xor"),
            recipe=there.recipe,
            epoch=there.frame.at.epoch,
            step=there.frame.at.step,
        )
    )
    assert again.frame == there.frame
    assert opened.recipe != again.recipe


def test_a_run_pauses_where_it_diverges_and_goes_on_if_asked_again(engine: Conversation) -> None:
    engine.open_shipped("thermometer", "autograd")
    engine.shown(SetLearningRate(value=1.0))
    paused = engine.shown(RunTo(epoch=10**6))
    assert paused.frame.diverged
    assert paused.frame.at.epoch < 10**6
    assert paused.diverged_at is not None
    assert paused.diverged_at <= paused.frame.at.epoch
    before = engine.shown(Seek(epoch=paused.diverged_at - 1))
    assert before.frame.loss.is_finite
    assert before.diverged_at is None
    further = paused.frame.at.epoch + 50
    assert engine.shown(RunTo(epoch=paused.frame.at.epoch)).frame.diverged
    assert engine.shown(RunTo(epoch=further)).frame.at.epoch == further


def _open_waiting_script(engine: Conversation, folder: Path) -> OpenLesson:
    """A script whose third batch waits for a file, and is slow then, as are those behind it."""
    text = f"""
import os, time
w = 8.0
for epoch in range(3):
    for batch in range(1000):
        gradient = 2 * w
        if batch == 2:
            open({str(folder / "there")!r}, "w").close()
            while not os.path.exists({str(folder / "go")!r}):
                time.sleep(0.01)
        if batch > 1:
            time.sleep(0.1)
        w -= 0.01 * gradient
"""
    path = folder / "slow.py"
    path.write_text(text)
    options = ScriptOptions(is_here=True)
    return OpenLesson(lesson=lesson_of_script(read_script(path), outline_of(text), options))


def test_a_slow_batch_of_a_script_is_run_to_its_end_after_a_stop(
    engine: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt within it would lead back to the start of its epoch."""
    monkeypatch.setattr(client, "ASK_SECONDS", 0.0)
    monkeypatch.setattr(client, "ASK_SECONDS_OF_SCRIPT", PATIENCE)
    engine.shown(_open_waiting_script(engine, tmp_path))
    number = engine.client.send(StepEpoch())
    wait_until((tmp_path / "there").exists)
    engine.client.stop()
    (tmp_path / "go").touch()
    answer = engine.answer_to(number)
    assert isinstance(answer, FrameShown)
    assert answer.stopped is None
    assert not answer.frame.is_epoch_end
    assert (answer.frame.at.epoch, answer.frame.at.step >= 5) == (1, True)


def test_a_second_stop_interrupts_a_script_at_once(
    engine: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ASK_SECONDS_OF_SCRIPT", 10 * PATIENCE)
    start = engine.shown(_open_waiting_script(engine, tmp_path))
    number = engine.client.send(StepEpoch())
    wait_until((tmp_path / "there").exists)
    engine.client.stop()
    engine.client.stop()
    answer = engine.answer_to(number)
    assert isinstance(answer, FrameShown)
    assert answer.stopped is not None
    assert answer.frame.at >= start.frame.at
