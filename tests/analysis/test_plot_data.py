"""The plots' numbers are those of the formulas, wherever the run stands."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import FRONT, PLAIN, shipped
from tutor.analysis.loss_landscape import lowest, still_good, window
from tutor.analysis.plot_data import plot_data_of
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import (
    ContourPlot,
    DataPlot,
    NoPlot,
    PlanePlot,
    PlotData,
    PlotKind,
    SlopePlot,
)
from tutor.training.lesson_error import LessonRaised
from tutor.training.probe import Probe, standpoint_of
from tutor.training.run import Run


class Looker:
    """A run and the probe that looks at it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        rate, seed = run.learning_rate, run.recipe.seed
        self.probe = Probe(run.program, run.device, rate, seed)

    def see(self, kind: PlotKind = "landscape", **options: Any) -> PlotData | None:
        at = standpoint_of(self.run.loop, self.run.learning_rate)
        return plot_data_of(kind, self.probe, at, **options)

    def slope(self, **options: Any) -> SlopePlot:
        found = self.see(**options)
        assert isinstance(found, SlopePlot), found
        return found

    def contour(self, **options: Any) -> ContourPlot:
        found = self.see(**options)
        assert isinstance(found, ContourPlot), found
        return found

    def why_not(self, kind: PlotKind = "landscape") -> Remark:
        found = self.see(kind)
        assert isinstance(found, NoPlot), found
        return found.why

    def has_never(self, kind: PlotKind) -> bool:
        found = self.see(kind)
        return isinstance(found, NoPlot) and found.never

    def to(self, phase: str) -> Looker:
        self.run.step_phase()
        while self.run.frame().phase != phase:
            self.run.step_phase()
        return self


def look(slug: str, mode: str | None = None) -> Looker:
    return Looker(shipped(slug, mode))


def approx(wanted: Any) -> Any:
    return pytest.approx(wanted, rel=1e-5, abs=1e-6)


# ── One parameter ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer"])
def test_the_loss_by_one_weight_is_the_parabola_of_the_formula(mode: str) -> None:
    found = look("line-through-origin", mode).slope()
    x = np.array([1, 2, 3, 4])
    assert found.losses == approx([((w * x - 2 * x) ** 2).mean() for w in found.xs])
    assert (found.axis, found.at, found.loss) == ("w", 0.0, 30.0)


def test_before_the_gradient_is_known_neither_slope_nor_next_step_are_shown() -> None:
    looker = look("line-through-origin", "autograd")
    for phase in ("Predict", "Loss"):
        found = looker.to(phase).slope()
        assert (found.slope, found.next_at, found.next_loss) == (None, None, None)
    found = looker.to("Gradient").slope()
    assert found.slope == -30.0
    assert found.next_at == approx(0.3)
    assert found.next_loss == approx(30 * 0.85**2)
    assert not found.is_done


def test_after_the_update_the_plot_still_shows_where_it_came_from() -> None:
    looker = look("line-through-origin", "autograd")
    foreseen = looker.to("Gradient").slope()
    done = looker.to("Update").slope()
    assert done.is_done
    assert (done.at, done.next_at, done.next_loss) == (0.0, foreseen.next_at, foreseen.next_loss)
    assert looker.to("Reset").slope() == done


def test_a_wrong_gradient_is_shown_as_the_lesson_computes_it() -> None:
    """Four times the slope of the curve: a tangent that does not touch."""
    found = look("sum-or-mean", "manual").to("Gradient").slope()
    assert found.slope == -120.0
    at = min(range(len(found.xs)), key=lambda i: abs(found.xs[i]))
    curve = (found.losses[at + 1] - found.losses[at - 1]) / (found.xs[at + 1] - found.xs[at - 1])
    assert curve == pytest.approx(-30, rel=0.1)
    assert found.next_at == 1.2


@pytest.mark.parametrize("mode", ["manual", "autograd"])
def test_twenty_points_show_the_step_and_the_lowest_place(mode: str) -> None:
    found = look("twenty-points", mode).to("Gradient").slope()
    next_at = {"manual": 3.2604, "autograd": 1.6302}[mode]
    assert found.next_at == approx(next_at)
    assert found.xs[0] < 0 < next_at < 22 / 3 < found.xs[-1]


def test_the_window_does_not_jump_from_step_to_step() -> None:
    looker = look("line-through-origin", "autograd")
    first = before = looker.slope()
    for _ in range(60):
        looker.run.step_phase()
        before = looker.slope(before=before)
    looker.run.run(80)
    last = looker.slope(before=before)
    assert last.xs == first.xs
    assert last.losses == first.losses
    assert last.at == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        ("torch.optim.Adam([w], lr=0.1)", 3),
        ("torch.optim.SGD([w], lr=0.01, momentum=0.9)", 3),
    ],
)
def test_the_next_step_is_the_optimizers_own(
    start: Callable[..., Run], optimizer: str, steps: int
) -> None:
    setup = f"{PLAIN['Setup']}\no = {optimizer}"
    looker = Looker(start(Setup=setup, Update="o.step()", Reset="o.zero_grad()"))
    looker.run.run(steps)
    foreseen = looker.to("Gradient").slope()
    assert foreseen.next_at is not None
    assert looker.to("Update").run.frame().values["w"].data == (foreseen.next_at,)


def test_places_are_those_that_the_parameter_can_hold() -> None:
    found = look("one-weight", "autograd").slope()
    assert all(float(np.float32(x)) == x for x in found.xs)


# ── Two parameters ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["manual", "autograd", "model"])
def test_the_plane_of_two_parameters_is_that_of_the_formula(mode: str) -> None:
    found = look("thermometer", mode).to("Gradient").contour(path=((1.0, 0.0),))
    u = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]
    c = np.array([0.5, 14, 15, 28, 11, 8, 3, -4, 6, 13, 21])
    x = 0.1 * np.array(u)
    for y, row in zip(found.ys, found.losses, strict=True):
        assert row == approx([((w * x + y - c) ** 2).mean() for w in found.xs])
    assert found.axes == ("params[0]", "params[1]")
    assert found.loss == approx(80.3643)
    assert found.gradient == approx((-77.614, -10.640))
    assert found.next_at == approx((1.77614, 0.1064))
    assert found.xs[0] < 1 < 5.367 < found.xs[-1]
    assert found.ys[0] < -17.3 < 0 < found.ys[-1]


def test_two_parameters_of_one_number_make_a_plane_too() -> None:
    found = look("line-through-origin", "model").to("Update").contour()
    assert found.axes == ("w", "b")
    assert found.is_done
    assert (len(found.xs), len(found.ys), len(found.losses)) == (24, 16, 16)


def test_a_path_stays_in_view() -> None:
    found = look("thermometer", "manual").contour(path=((-3.0, 9.0), (1.0, 0.0)))
    assert found.xs[0] < -3
    assert found.ys[-1] > 9
    assert found.path == ((-3.0, 9.0), (1.0, 0.0))


def test_a_landscape_that_has_not_moved_is_not_computed_again() -> None:
    looker = look("thermometer", "autograd")
    before = looker.contour()
    asked: list[int] = []

    def until() -> bool:
        asked.append(1)
        return False

    looker.run.run(3)
    after = looker.contour(before=before, until=until)
    assert after.losses is before.losses
    assert after.at != before.at
    assert len(asked) < 30


def test_a_landscape_whose_data_have_moved_is_computed_anew(start: Callable[..., Run]) -> None:
    setup = "x = torch.tensor([1.0, 2.0])\nw = torch.tensor([0.5, 0.1], requires_grad=True)"
    looker = Looker(start(Setup=setup, Predict="y_pred = w * x", Reset="w.grad.zero_()\nx *= 1.01"))
    before = looker.contour()
    looker.run.run(2)
    after = looker.contour(before=before)
    assert after.losses is not before.losses
    assert after.xs == before.xs


# ── More parameters, and batches ────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer", "model"])
def test_more_parameters_are_seen_in_a_slice_along_the_gradient(mode: str) -> None:
    looker = look("xor", mode)
    looker.to("Update").to("Gradient")
    found, frame = looker.slope(), looker.run.frame()
    length = math.sqrt(sum(g * g for v in frame.gradients.values() for g in v.data))
    assert found.axis == ""
    assert found.batch == frame.batch == 0
    assert found.at == 0
    assert found.slope == approx(-length)
    assert found.next_at == approx(0.01 * length)
    assert found.loss == approx(frame.loss.data[0])
    assert found.xs[0] < 0 < found.next_at < found.xs[-1]  # type: ignore[operator]
    looker.to("Update")
    assert looker.slope().next_loss == found.next_loss


def test_in_mid_epoch_it_is_the_loss_of_that_batch() -> None:
    looker = look("xor", "autograd")
    looker.run.step_epoch()
    for batch in range(3):
        looker.to("Gradient")
        found = looker.slope()
        assert found.batch == batch
        assert found.loss == looker.run.frame().loss.data[0]


def test_a_gradient_of_zero_is_no_direction(start: Callable[..., Run]) -> None:
    setup = "x = torch.ones(3)\nw = torch.zeros(3, requires_grad=True)"
    looker = Looker(start(Setup=setup, Loss="loss = ((w * x) ** 2).mean()"))
    assert looker.why_not() == Remark("gradient_is_zero")


# ── Where numbers end ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [-1e30, 1e38, math.inf, math.nan, 1e-45])
@pytest.mark.parametrize("slug", ["line-through-origin", "thermometer", "xor"])
def test_no_number_breaks_a_plot(slug: str, value: float, recwarn: Any) -> None:
    run = shipped(slug, "autograd")
    looker = Looker(run)
    at = standpoint_of(run.loop, run.learning_rate)
    moved = {n: np.full_like(v, value) for n, v in at.start.values.items()}
    looker.probe.loop.set_parameters(moved)
    broken = standpoint_of(looker.probe.loop, 0.01)
    for kind in ("landscape", "data", "plane"):
        found = plot_data_of(kind, look(slug, "autograd").probe, broken)
        assert found is not None
        if isinstance(found, SlopePlot | ContourPlot | DataPlot):
            assert all(
                map(math.isfinite, found.line_xs if isinstance(found, DataPlot) else found.xs)
            )
    assert not recwarn.list


def test_a_run_that_diverges_is_drawn_to_its_end() -> None:
    looker = look("twenty-points", "manual")
    looker.run.set(learning_rate=5.0)
    before: PlotData | None = None
    for _ in range(40):
        looker.run.step_epoch()
        before = looker.see(before=before)
    assert isinstance(before, NoPlot)
    assert before.why == Remark("parameters_not_finite")


def test_a_key_press_breaks_a_plot_off() -> None:
    looker = look("thermometer", "autograd")
    for after in (0, 5, 100):
        asked = iter(range(10_000))
        assert looker.see(until=lambda asked=asked, after=after: next(asked) >= after) is None
    assert looker.see("data", until=lambda: True) is None


def test_an_error_far_from_the_run_is_told_in_one_line(start: Callable[..., Run]) -> None:
    looker = Looker(start(Predict="y_pred = w * x\nassert w < 1.2, 'too\\nfar'"))
    assert looker.why_not() == Remark(
        "phase_raised", {"phase": "Predict", "error": ("text", {"text": "AssertionError: too far"})}
    )


def test_a_learner_who_stops_the_code_is_heard(start: Callable[..., Run]) -> None:
    stop = "if w > 1.2:\n    raise KeyboardInterrupt"
    looker = Looker(start(Predict=f"y_pred = w * x\n{stop}"))
    with pytest.raises(LessonRaised):
        looker.see()


# ── The data ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "slug", ["line-through-origin", "sum-or-mean", "thermometer", "one-weight"]
)
def test_the_models_line_goes_through_its_predictions(slug: str) -> None:
    run = shipped(slug)
    for mode in run.programs:
        looker = look(slug, mode)
        looker.run.run(2)
        found = looker.see("data")
        assert isinstance(found, DataPlot), found
        assert found.line_xs[0] < min(found.xs)
        assert found.line_xs[-1] > max(found.xs)
        line = np.interp(found.xs, found.line_xs, found.line)
        assert line == pytest.approx(found.predictions, rel=1e-4, abs=1e-4)


def test_the_line_is_that_of_the_parameters_at_this_moment() -> None:
    looker = look("line-through-origin", "autograd").to("Gradient")
    before = looker.see("data")
    after = looker.to("Update").see("data")
    assert isinstance(before, DataPlot)
    assert isinstance(after, DataPlot)
    assert before.predictions == (0, 0, 0, 0)
    assert after.predictions == approx((0.3, 0.6, 0.9, 1.2))
    assert after.targets == (2, 4, 6, 8)
    assert (after.input, after.target, after.prediction) == ("x", "y", "y_pred")


DATA = {
    "Setup": "x = torch.arange(1000.0)\ny = 2 * x\nw = torch.tensor(0.5, requires_grad=True)",
    "Loss": "loss = ((y_pred - y) ** 2).mean()",
}


def test_points_beyond_some_hundreds_are_only_counted(start: Callable[..., Run]) -> None:
    found = Looker(start(**DATA)).see("data")
    assert isinstance(found, DataPlot)
    assert len(found.xs) == 400
    assert found.left_out == 600
    assert (found.xs[0], found.xs[-1]) == (0, 999)


def test_batches_by_slices_are_put_together(start: Callable[..., Run]) -> None:
    front = FRONT.replace("epochs", "batches: 4\nepochs")
    setup = "x = torch.arange(8.0)\ny = 2 * x\nw = torch.tensor(0.5, requires_grad=True)"
    predict = "rows = slice(2 * batch, 2 * batch + 2)\ny_pred = w * x[rows]"
    loss = "loss = ((y_pred - y[rows]) ** 2).mean()"
    looker = Looker(start(front, Setup=setup, Predict=predict, Loss=loss))
    found = looker.see("data")
    assert isinstance(found, DataPlot)
    assert found.predictions == approx([0.5 * x for x in range(8)])
    assert found.line == approx([0.5 * x for x in found.line_xs])


def test_whole_numbers_as_input_have_a_line_between_them(start: Callable[..., Run]) -> None:
    setup = "x = np.array([1, 2, 3])\ny = 2 * x\nw = 0.5"
    code = {"Gradient": "dw = float((2 * x * (y_pred - y)).mean())", "Reset": ""}
    looker = Looker(start(Setup=setup, Loss=DATA["Loss"], Update="w -= 0.1 * dw", **code))
    found = looker.see("data")
    assert isinstance(found, DataPlot)
    assert found.line == approx([0.5 * x for x in found.line_xs])


def test_without_data_it_is_said_why(start: Callable[..., Run]) -> None:
    assert Looker(start()).why_not("data") == Remark("data_not_named")
    assert [look("xor").has_never(kind) for kind in ("data", "plane")] == [True, False]
    assert look("xor").why_not("data") == Remark("features_for_line", {"count": 2})
    why = Remark("features_for_plane", {"count": 1})
    assert look("thermometer").why_not("plane") == why


# ── The plane ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer", "model"])
def test_the_networks_output_over_the_plane_is_that_of_its_formula(mode: str) -> None:
    looker = look("xor", mode)
    looker.run.run(20)
    looker.to("Gradient")
    found = looker.see("plane")
    assert isinstance(found, PlanePlot)
    p = looker.run.loop.parameter_values()
    for y, row in zip(found.ys, found.outputs, strict=True):
        for x, output in zip(found.xs, row, strict=True):
            hidden = np.maximum(np.array([x, y]) @ p["w1"] + p["b1"], 0)
            assert output == approx(float((1 / (1 + np.exp(-(hidden @ p["w2"] + p["b2"]))))[0]))
    assert found.points == ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0))
    assert (found.xs[0], found.xs[-1]) == (-0.25, 1.25)
    assert found.axes == ("x[:, 0]", "x[:, 1]")


# ── Windows ─────────────────────────────────────────────────────────────────────────


def test_a_window_holds_what_matters_with_a_margin() -> None:
    low, high = window([0.0, 2.0]) or (0, 0)
    assert low < -0.2
    assert high > 2.2
    assert window([math.nan, math.inf]) is None
    assert window([1e308, -1e308]) is None


def test_a_window_is_kept_until_something_leaves_it_or_it_is_much_too_wide() -> None:
    wanted = window([0.0, 2.0])
    assert wanted is not None
    assert still_good([(-1.0, 3.0)], [wanted])
    assert not still_good([(0.5, 3.0)], [wanted])
    assert not still_good([(-1000.0, 1000.0)], [wanted])


@pytest.mark.parametrize("at", [-9.0, 2.99, 3.0, 5.0])
def test_the_lowest_place_of_a_parabola_is_found_exactly(at: float) -> None:
    assert lowest(lambda x: 4 * (x - 3) ** 2 + 1, at, 0.1) == approx(3)


def test_where_there_is_no_lowest_place_none_is_invented() -> None:
    assert lowest(lambda x: x, 0.0, 0.1) is None
    assert lowest(lambda x: -math.inf if x else 0.0, 0.0, 0.1) is None
    assert lowest(lambda x: math.nan, 0.0, 0.1) is None
