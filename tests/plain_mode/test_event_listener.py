"""Waiting for the engine: what is said meanwhile, and when it is given up."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.plain_mode.listening import said
from tests.ui.fake_engine import FakeEngine
from tests.ui.lessons import lesson
from tutor.errors import EngineError
from tutor.plain_mode import event_listener
from tutor.plain_mode.event_listener import EventListener
from tutor.plain_mode.spoken_text import LineWriter
from tutor.protocol.commands import Command, FramePainted, RunTo, StepPhase
from tutor.session.run_view import Notice
from tutor.session.session import Session


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_listener, "TICK", 0.01)
    monkeypatch.setattr(event_listener, "LONG", 0.0)


class Hanging(FakeEngine):
    """The first step hangs until it is stopped."""

    def send(self, command: Command) -> int:
        if isinstance(command, StepPhase):
            self.holds, self.busy = True, event_listener.GIVE_UP + 1
        return super().send(command)

    def stop(self) -> None:
        super().stop()
        self.busy = 0.0
        self.release()


def test_what_hangs_is_given_up_where_nobody_can_stop_it():
    engine = Hanging()
    text = said("next", "where", engine=engine)
    assert engine.stopped == 1
    assert "No answer for 60 seconds: the command is stopped." in text
    assert "after Predict" in text


def test_ctrl_c_stops_what_runs_and_no_more(monkeypatch: pytest.MonkeyPatch):
    engine = Hanging()
    pressed = iter([True])
    busy_for = engine.busy_for

    def interrupted() -> float:
        if engine.busy and next(pressed, False):
            signal.raise_signal(signal.SIGINT)
        return busy_for()

    monkeypatch.setattr(engine, "busy_for", interrupted)
    text = said("next", "where", engine=engine, is_attended=True)
    assert "Stopping." in text
    assert engine.stopped == 1
    assert "The run is" in text


def test_ctrl_c_just_after_a_command_does_not_stop_the_next(monkeypatch: pytest.MonkeyPatch):
    @contextmanager
    def pressed_at_the_end(do: object) -> Iterator[None]:
        yield
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(event_listener, "on_ctrl_z", pressed_at_the_end)
    engine = FakeEngine()
    text = said("next", "next", engine=engine)
    assert engine.stopped == 0
    assert "Loss has run" in text


class Long(FakeEngine):
    """A run of many frames: each is taken before the next comes."""

    def send(self, command: Command) -> int:
        number = super().send(command)
        if isinstance(command, RunTo | FramePainted) and self.target is not None:
            self.advance(1)
        return number


def test_a_long_run_is_told_of_now_and_then():
    out, engine = io.StringIO(), Long()
    session = Session(engine)
    seconds: Iterator[float] = iter(range(0, 1000, 4))
    hearing = EventListener(
        engine, session, LineWriter(out), is_attended=False, clock=lambda: float(next(seconds))
    )
    hearing.start()
    session.open(lesson())
    hearing.wait()
    session.request(RunTo(epoch=12))
    hearing.wait()
    lines = out.getvalue().splitlines()
    assert 2 <= len(lines) < 6
    assert lines[0].startswith("Epoch 2 of 12, the loss is ")


class Pausing(Long):
    """In epoch 6 of a run the engine is silent for a while."""

    def send(self, command: Command) -> int:
        if isinstance(command, FramePainted) and self.at.epoch == 6:
            self.busy = 30.0
            return FakeEngine.send(self, command)
        return super().send(command)

    def stop_being_silent(self) -> None:
        self.busy = 0.0
        self.advance(1)


def test_a_run_whose_progress_has_been_told_is_not_named_again(
    monkeypatch: pytest.MonkeyPatch,
):
    out, engine = io.StringIO(), Pausing()
    seconds: Iterator[float] = iter(range(0, 10000, 4))

    def clock() -> float:
        return float(next(seconds))

    session = Session(engine, clock)
    hearing = EventListener(engine, session, LineWriter(out), is_attended=True, clock=clock)
    check, silences = session.check_waiting, []

    def checked() -> Notice:
        waiting = check()
        if engine.busy:
            silences.append(waiting.code)
            engine.stop_being_silent()
        return waiting

    monkeypatch.setattr(session, "check_waiting", checked)
    hearing.start()
    session.open(lesson())
    hearing.wait()
    session.request(RunTo(epoch=12))
    hearing.wait()
    assert silences == ["epoch_runs"]
    text = out.getvalue()
    assert "Epoch 3 of 12" in text
    assert "still running" not in text


class Losing(FakeEngine):
    """The connection to its host is lost at the first phase."""

    def __init__(self) -> None:
        super().__init__()
        self.host = "far-machine"

    def send(self, command: Command) -> int:
        number = super().send(command)
        if isinstance(command, StepPhase) and not self.reconnected:
            self.lose()
        return number


def test_a_lost_connection_ends_what_nobody_attends_to():
    with pytest.raises(EngineError, match="far-machine"):
        said("next", "where", engine=Losing())


def test_a_lost_connection_is_told_and_made_again_by_a_word():
    engine = Losing()
    text = said("s", "next", "reconnect", "next", engine=engine, is_attended=True)
    assert "The connection to far-machine is lost. Reconnect connects again." in text
    assert engine.reconnected == 1
    assert "in epoch 2" in text.partition("connects again")[2]


def test_the_first_line_names_the_other_machine():
    assert "far-machine" in said(engine=Losing()).splitlines()[0]
