"""What the app looks at comes by itself, and never instead of what it asks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.engine.conftest import Conversation
from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    DeleteRun,
    Fork,
    Inspect,
    Pause,
    RenameRun,
    Reseed,
    Restart,
    RunTo,
    Seek,
    SelectRun,
    SetElement,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    WriteSeries,
)
from tutor.protocol.events import (
    CommandRefused,
    FrameShown,
    InspectionReady,
    ProcessEnded,
    SeekAdvanced,
    SeriesWritten,
)
from tutor.protocol.frame import Element, Remark
from tutor.protocol.inspections import (
    DataPlot,
    GradientNormPlot,
    NoPlot,
    PlanePlot,
    SlopePlot,
)


def seen_with(engine: Conversation, part: str) -> InspectionReady:
    """The next InspectionReady that has this part."""
    while True:
        seen = engine.wait_for(InspectionReady)
        if getattr(seen, part) is not None:
            return seen


def test_the_facts_of_a_name_follow_the_run(engine: Conversation) -> None:
    engine.open_shipped("line-through-origin", "autograd")
    engine.shown(Inspect(name="w"))
    info = seen_with(engine, "variable").variable
    assert info is not None
    assert (info.name, info.is_leaf, info.gradient and info.gradient.text) == (
        "w",
        True,
        "None",
    )
    engine.shown(StepEpoch())
    info = seen_with(engine, "variable").variable
    assert info is not None
    assert info.value.data == pytest.approx((0.3,))


def test_each_plot_is_computed_in_the_child(engine: Conversation) -> None:
    engine.open_shipped("line-through-origin", "autograd")
    for _ in range(3):
        engine.shown(StepPhase())
    engine.shown(Inspect(plot="landscape"))
    slope = seen_with(engine, "plot").plot
    assert isinstance(slope, SlopePlot)
    assert (slope.at, slope.loss, slope.slope) == (0.0, 30.0, -30.0)
    assert slope.next_at == pytest.approx(0.3)
    engine.shown(Inspect(plot="data"))
    data = seen_with(engine, "plot").plot
    assert isinstance(data, DataPlot)
    assert data.targets == (2.0, 4.0, 6.0, 8.0)
    engine.open_shipped("xor", "model")
    engine.shown(Inspect(plot="plane"))
    assert isinstance(seen_with(engine, "plot").plot, PlanePlot)


def test_the_gradient_norms_are_computed_beside_the_run_and_while_it_goes_on(
    engine: Conversation,
) -> None:
    engine.open_shipped("line-through-origin", "autograd")
    engine.shown(Inspect(plot="gradient-norm"))
    nothing = seen_with(engine, "plot").plot
    assert isinstance(nothing, NoPlot)
    engine.shown(StepEpoch())
    assert norms_of(engine).norms == (30.0,)
    engine.shown(StepEpoch())
    engine.shown(BackEpoch())
    norms = norms_of(engine, last_epoch=2)
    while norms.here != 1:
        norms = norms_of(engine, last_epoch=2)
    assert norms.norms == pytest.approx((30.0, 25.5))
    engine.shown(RunTo(epoch=3000))
    norms = norms_of(engine, last_epoch=3000)
    assert norms.epochs[-1] == 3000
    assert norms.norms[0] == 30.0
    engine.shown(Restart(new_seed=True))
    while not isinstance(seen_with(engine, "plot").plot, NoPlot):
        pass  # one of the run before may still come


def norms_of(engine: Conversation, last_epoch: int = 1) -> GradientNormPlot:
    """The next complete plot of the norms up to this epoch."""
    while True:
        found = seen_with(engine, "plot").plot
        if not isinstance(found, GradientNormPlot) or not found.is_whole:
            continue
        if found.last_epoch == last_epoch:
            return found


def test_the_graph_and_the_comparison_belong_to_the_step_at_hand(engine: Conversation) -> None:
    engine.open_shipped("sum-or-mean", "autograd")
    engine.shown(StepPhase())
    engine.shown(Inspect(graph=True, compare=True))
    seen = seen_with(engine, "graph")
    assert seen.at.step == 1
    assert seen.graph is not None
    leaf = next(node for node in seen.graph.nodes if node.name == "w")
    assert leaf.new is not None
    assert leaf.new.data == (-30.0,)
    comparison = seen_with(engine, "comparison").comparison
    assert comparison is not None
    (compared,) = comparison.parameters
    assert compared.gradients["manual"].data == (-120.0,)
    assert compared.ratio["manual"] == pytest.approx(4.0)


def test_looking_changes_nothing_in_the_run(engine: Conversation) -> None:
    def run_looking_at(look: Inspect) -> list[object]:
        engine.open_shipped("xor", "optimizer")
        engine.shown(look)
        return [engine.shown(StepPhase()).frame for _ in range(9)]

    everything = Inspect(columns=70, plot="landscape", name="w1", graph=True, compare=True)
    assert run_looking_at(everything) == run_looking_at(Inspect())


def test_a_change_in_the_past_keeps_the_run_as_it_was_and_shows_its_figures_beside(
    engine: Conversation,
) -> None:
    engine.open_shipped("line-through-origin", "autograd")
    engine.shown(Inspect(columns=40))
    then = engine.shown(RunTo(epoch=10)).frame
    engine.shown(Seek(epoch=5))
    forked = engine.shown(SetLearningRate(value=0.02))
    assert [(run.name, run.is_current) for run in forked.runs] == [("A", False), ("B", True)]
    assert forked.remarks[0] == Remark("kept_as", {"name": "A"})
    engine.shown(Inspect(columns=40, then="A"))
    engine.shown(Seek(epoch=10))
    beside = seen_with(engine, "then")
    while beside.at.epoch != 10:
        beside = seen_with(engine, "then")
    assert beside.then is not None
    assert beside.then.frame == then
    ghost = next(run for run in engine.shown(Inspect(columns=40)).runs if run.name == "A")
    assert ghost.curve is not None
    assert ghost.last_epoch == 10
    back = engine.shown(SelectRun(name="A"))
    assert back.frame == then


def test_runs_are_renamed_and_deleted(engine: Conversation) -> None:
    engine.open_shipped("line-through-origin", "manual")
    engine.shown(StepEpoch())
    engine.shown(Fork())
    assert {run.name for run in engine.shown(RenameRun(name="A", new="slow")).runs} == {"slow", "B"}
    assert isinstance(engine.ask(DeleteRun(name="B")), CommandRefused)
    assert {run.name for run in engine.shown(DeleteRun(name="slow")).runs} == {"B"}


def test_a_parameter_takes_a_value_of_the_learners_own(engine: Conversation) -> None:
    engine.open_shipped("xor", "model")
    engine.shown(StepEpoch())
    shown = engine.shown(SetElement(element=Element("w1", (0, 1), -0.75)))
    assert shown.frame.values["w1"].data[1] == -0.75
    values = {"name": "w1", "index": [0, 1], "value": -0.75}
    assert shown.remarks[0] == Remark("element_set", values)
    refused = engine.ask(SetElement(element=Element("w1", (2, 0), 1.0)))
    assert isinstance(refused, CommandRefused)


def test_a_new_seed_is_drawn_and_shown(engine: Conversation) -> None:
    opened = engine.open_shipped("one-weight", "autograd")
    engine.shown(StepEpoch())
    again = engine.shown(Restart(new_seed=True))
    assert again.frame.seed != opened.frame.seed
    assert again.frame.at.epoch == 0
    assert engine.shown(Restart()).frame.seed == again.frame.seed
    engine.shown(Reseed())


@pytest.mark.parametrize(("back", "target"), [(Seek(epoch=240), 240), (BackEpoch(), 249)])
def test_a_long_way_back_is_told_of_and_can_be_broken_off(
    engine: Conversation, tmp_path: Path, back: Seek | BackEpoch, target: int
) -> None:
    slow = "import time\ntime.sleep(0.002 if first else 0.2)\ny_pred = w * x"
    # A generator can't be copied: there are no keyframes, and every way back begins at Setup.
    has_run = str(tmp_path / "has run")
    setup = "x, w, odd = 1.0, 0.5, (i for i in range(9))\nimport os"
    setup += f"\nfirst = not os.path.exists({has_run!r})\nopen({has_run!r}, 'w').close()"
    loss, gradient = "loss = y_pred**2", "next(odd, 0)\ndw = 2 * w"
    update = "w = w - learning_rate * dw"
    engine.open(Setup=setup, Predict=slow, Loss=loss, Gradient=gradient, Update=update, Reset="")
    engine.shown(RunTo(epoch=250))
    number = engine.client.send(back)
    told = engine.wait_for(SeekAdvanced)
    assert told.target == target
    while told.seconds_left is None:
        told = engine.wait_for(SeekAdvanced)
    assert told.seconds_left > 0
    assert 0 < told.epoch < target
    engine.shown(Pause())
    stood = next(e for e in engine.heard if isinstance(e, FrameShown) and e.answers == number)
    assert 0 < stood.frame.at.epoch < target
    assert stood.last_epoch == 250, "nothing of the run is lost"


def test_what_an_epoch_prints_is_told_where_it_runs_again_in_silence(
    engine: Conversation,
) -> None:
    says = "print('{}')\n"
    engine.open(
        Setup="x, w = 1.0, 0.5",
        Predict=says.format("predict") + "y_pred = w * x",
        Loss="loss = y_pred**2",
        Gradient="dw = 2 * w",
        Update=says.format("update") + "w = w - learning_rate * dw",
        Reset="",
    )
    assert engine.shown(RunTo(epoch=3)).printed is None
    assert engine.shown(BackPhase()).printed == "predict\n"
    assert engine.shown(StepPhase()).printed is None
    assert engine.shown(BackEpoch()).printed == "predict\nupdate\n"
    assert engine.shown(Seek(epoch=0)).printed in (None, "")


def test_the_figures_are_written_once_and_never_over_another_file(
    engine: Conversation, tmp_path: Path
) -> None:
    engine.open_shipped("line-through-origin", "manual")
    engine.shown(RunTo(epoch=3))
    path = tmp_path / "figures.csv"
    assert isinstance(engine.ask(WriteSeries(path=str(path))), SeriesWritten)
    rows = path.read_text().splitlines()
    assert len(rows) == 4
    assert math.isclose(float(rows[1].split(",")[1]), 30.0)
    refused = engine.ask(WriteSeries(path=str(path)))
    assert isinstance(refused, CommandRefused)
    assert refused.remark.code == "file_there"
    assert engine.shown(BackEpoch()).frame.at.epoch == 2


def test_runs_that_are_kept_outlive_the_process_that_held_them(engine: Conversation) -> None:
    crash = "import ctypes\nif learning_rate > 1:\n    ctypes.string_at(0)\ny_pred = w * x"
    engine.open(Predict=crash)
    engine.shown(StepEpoch())
    engine.shown(Fork())
    engine.shown(RenameRun(name="A", new="before"))
    before = engine.shown(SetLearningRate(value=2.0))
    ended = engine.ask(StepPhase())
    assert isinstance(ended, ProcessEnded)
    assert ended.remark == Remark("killed", {"signal": "SIGSEGV", "phase": "Predict"})
    back = engine.wait_for(FrameShown)
    assert back.frame == before.frame
    assert {run.name for run in back.runs} == {"before", "B"}
    assert {run.last_epoch for run in back.runs} == {1}


def test_a_name_that_no_run_has_any_more_is_not_looked_for(engine: Conversation) -> None:
    engine.open_shipped("one-weight", "manual")
    engine.shown(StepEpoch())
    engine.shown(Fork())
    engine.shown(Inspect(then="A"))
    engine.shown(RenameRun(name="A", new="slow"))
    assert engine.shown(StepEpoch()).frame.at.epoch == 2
    engine.shown(DeleteRun(name="slow"))
    assert engine.shown(StepEpoch()).frame.at.epoch == 3
