"""The gradient norms of a run are those of the gradients that it was stepped with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.script.marked_scripts import run_of
from tests.training.conftest import shipped
from tests.training.ranked import ranked_run
from tutor.analysis import plot_data
from tutor.analysis.plot_data import MOST_EPOCHS, GradientNorms, shown_epochs
from tutor.lesson.model import GRADIENT, SYNCHRONIZE, ScriptOptions
from tutor.protocol.frame import Frame, is_same_frame
from tutor.protocol.inspections import GradientNormPlot, NoPlot
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.program import script_programs
from tutor.script.source import read_script
from tutor.training.lesson_error import LessonRaised
from tutor.training.playback import never
from tutor.training.run import Run
from tutor.training.runs import Runs

SCRIPT = """
import torch
torch.manual_seed(1)
x = torch.randn(6, 2); y = x.sum(1, keepdim=True)
model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Dropout(0.2), torch.nn.Linear(3, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(5):  #: LOOP
    for xb, yb in zip(x.split(2), y.split(2)):  #: BATCHES
        optimizer.zero_grad()  #: Reset*
        loss = (model(xb) - yb).pow(2).mean()  #: Loss
        loss.backward()  #: Gradient
        optimizer.step()  #: Update
"""


def looked_at(run: Run, norms: GradientNorms | None = None) -> GradientNormPlot:
    """The plot, once it is complete."""
    *_, plot = (norms or GradientNorms(nullcontext)).plots(run, never)
    assert isinstance(plot, GradientNormPlot)
    assert plot.is_whole
    return plot


def norm_in(frame: Frame) -> float:
    return math.hypot(*(x for value in frame.gradients.values() for x in value.data))


def stepped(run: Run, epochs: int) -> list[float]:
    """The norm in the last frame of a gradient in each of the next epochs."""
    found = []
    norm, last = math.nan, run.last_epoch + epochs
    while run.last_epoch < last:
        frame = run.step_phase()
        if frame.phase in (GRADIENT, SYNCHRONIZE):
            norm = norm_in(frame)
        if frame.is_epoch_end and frame.at.epoch:
            found.append(norm)
            norm = math.nan
    return found


def check(run: Run, expected: list[float], norms: GradientNorms | None = None) -> None:
    plot = looked_at(run, norms)
    assert plot.epochs == tuple(range(1, len(expected) + 1))
    assert plot.norms == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert (plot.last_epoch, plot.here) == (len(expected), run.at.epoch)


@pytest.mark.parametrize(
    ("slug", "mode"),
    [
        ("line-through-origin", "manual"),
        ("line-through-origin", "autograd"),
        ("xor", "model"),
        ("mini-batches", "autograd"),
        ("forgotten-zero", "autograd"),
        ("train-and-eval", None),
    ],
)
def test_norms_are_those_of_the_gradients_of_the_last_batch(slug: str, mode: str | None) -> None:
    run = shipped(slug, mode)
    check(run, stepped(run, 6))


def test_the_norm_of_an_epoch_is_the_one_before_a_change_at_its_end() -> None:
    run, norms = shipped("sum-or-mean", "manual"), GradientNorms(nullcontext)
    expected = stepped(run, 2)
    check(run, expected, norms)
    run.switch("autograd")  # another gradient, a quarter of this one
    run.set(learning_rate=run.learning_rate / 2)
    expected += stepped(run, 2)
    check(run, expected, norms)
    check(run, expected)
    run.step_phase()
    run.switch("manual")  # within an epoch
    while not run.at_end:
        run.step_phase()
    plot = looked_at(run, norms)
    assert plot.norms[:4] == pytest.approx(expected, rel=1e-5)
    assert plot.norms[4] == pytest.approx(norm_in(run.frame()), rel=1e-5)


def test_going_back_keeps_the_norms_and_a_change_there_begins_other_ones() -> None:
    runs, norms = Runs(shipped("line-through-origin", "autograd")), GradientNorms(nullcontext)
    expected = stepped(runs.current, 6)
    runs.current.seek(2)
    check(runs.current, expected, norms)
    runs.set(learning_rate=0.02)
    check(runs.current, expected[:2], norms)
    other = expected[:2] + stepped(runs.current, 2)
    assert other[3] != pytest.approx(expected[3])
    check(runs.current, other, norms)
    runs.select("A")
    check(runs.current, expected, norms)


def test_a_long_run_shows_some_epochs_with_the_same_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 20
    monkeypatch.setattr(plot_data, "MOST_EPOCHS", most)
    run, norms = shipped("line-through-origin", "autograd"), GradientNorms(nullcontext)
    expected = stepped(run, 3)
    check(run, expected, norms)
    run.run(3 * most)
    plot = looked_at(run, norms)
    assert len(plot.epochs) < most
    assert plot.epochs == shown_epochs(run.last_epoch)
    others = shipped("line-through-origin", "autograd")
    all_norms = stepped(others, run.last_epoch)
    assert plot.norms == pytest.approx([all_norms[e - 1] for e in plot.epochs], rel=1e-5)


@pytest.mark.parametrize("last", [0, 1, 2, MOST_EPOCHS, MOST_EPOCHS + 1, 10**6])
def test_shown_epochs_are_few_and_have_both_ends(last: int) -> None:
    found = shown_epochs(last)
    assert len(found) <= MOST_EPOCHS + 2
    assert list(found) == sorted(set(found))
    assert not last or (found[0], found[-1]) == (1, last)


@pytest.mark.parametrize("is_built_anew", [False, True])
def test_looking_leaves_the_run_as_it_is(start: Callable[..., Run], is_built_anew: bool) -> None:
    def frames(look: bool) -> list[Frame]:
        runs = Runs(start(Predict="y_pred = w * x + torch.randn(3)"))
        norms, found = GradientNorms(nullcontext), [runs.current.run(6)]
        for _ in range(5):
            found += [runs.current.step_phase(), runs.current.step_epoch()]
            if is_built_anew:
                runs.rebuild_all()
            if look:  # the second run then stands far before this one
                asked = iter([False, False])
                list(norms.plots(runs.current, partial(next, asked, True)))
        return found

    assert all(is_same_frame(*both) for both in zip(frames(True), frames(False), strict=True))


def test_it_stops_when_it_is_told_and_goes_on_from_there() -> None:
    run, norms = shipped("line-through-origin", "autograd"), GradientNorms(nullcontext)
    expected = stepped(run, 6)
    asked = iter(range(100))
    *_, last = norms.plots(run, lambda: next(asked) > 8)
    assert isinstance(last, GradientNormPlot)
    assert not last.is_whole
    assert len(last.epochs) < 6
    norms.close()
    check(run, expected, norms)


def test_a_plot_comes_now_and_then_until_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock = shipped("line-through-origin", "autograd"), itertools.count()
    run.run(5)
    slow = SimpleNamespace(perf_counter=lambda: float(next(clock)))
    monkeypatch.setattr(plot_data, "time", slow)
    monkeypatch.setattr(plot_data, "_BETWEEN_PLOTS", 1.5)
    plots = [*GradientNorms(nullcontext).plots(run, never)]
    counts = [len(p.epochs) for p in plots if isinstance(p, GradientNormPlot)]
    assert counts == sorted(counts)
    assert len(counts) > 1
    assert counts[-1] == 5


def test_before_the_first_epoch_there_is_none() -> None:
    (found,) = GradientNorms(nullcontext).plots(shipped("xor"), never)
    assert isinstance(found, NoPlot)
    assert found.why.code == "no_epoch_yet"


def test_what_would_take_long_or_write_files_again_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = shipped("xor")
    run.step_epoch()
    monkeypatch.setattr(plot_data, "MOST_SECONDS", -1.0)
    (slow,) = GradientNorms(nullcontext).plots(run, never)
    assert isinstance(slow, NoPlot)
    assert (slow.why.code, slow.never) == ("slow_set_up", False)
    monkeypatch.undo()
    path = tmp_path / "train.py"
    path.write_text(f"{SCRIPT}    open({str(tmp_path / 'log')!r}, 'a').write('epoch')\n")
    options = ScriptOptions(is_here=True)
    lesson = lesson_of_script(read_script(path), outline_of(path.read_text()), options)
    here = Run(script_programs(lesson))
    here.run(2)
    (again,) = GradientNorms(nullcontext).plots(here, never)
    assert isinstance(again, NoPlot)
    assert (again.why.code, again.never) == ("writes_files", True)
    here.close()
    assert (tmp_path / "log").read_text() == 2 * "epoch"


def test_an_epoch_without_a_gradient_has_no_norm(start: Callable[..., Run]) -> None:
    run = start(Gradient="if False:\n    loss.backward()", Update="w.detach().add_(1.0)", Reset="")
    run.run(2)
    assert all(map(math.isnan, looked_at(run).norms))


def test_an_error_of_the_code_passes_and_the_next_look_begins_anew(
    start: Callable[..., Run],
) -> None:
    import builtins

    builtins.tutor_fails = False  # type: ignore[attr-defined]
    try:
        run = start(Predict="assert not tutor_fails\ny_pred = w * x")
        expected, norms = stepped(run, 3), GradientNorms(nullcontext)
        builtins.tutor_fails = True  # type: ignore[attr-defined]
        with pytest.raises(LessonRaised):
            list(norms.plots(run, never))
        builtins.tutor_fails = False  # type: ignore[attr-defined]
        check(run, expected, norms)
    finally:
        del builtins.tutor_fails  # type: ignore[attr-defined]


def test_ranks_show_the_mean_gradient() -> None:
    run = ranked_run()
    check(run, stepped(run, 3))
    assert run.frame().ranks


def test_a_scripts_norms_are_those_of_its_last_batches() -> None:
    run, norms = run_of(SCRIPT), GradientNorms(nullcontext)
    expected = stepped(run, 3)
    check(run, expected, norms)
    expected += stepped(run, 2)
    check(run, expected, norms)
    run.step_epoch()
    assert run.loop.is_over
    check(run, expected, norms)
    norms.close()
    run.close()
