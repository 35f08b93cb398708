"""What the lessons on optimisation and training claim, computed with their own code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests import shipped
from tests.lessons.runs import a_run, exercise, losses, repair_run, solved_run
from tutor.lesson.document import parse
from tutor.lesson.exercise import Predict
from tutor.protocol.frame import Element, Frame
from tutor.training.program import programs_of
from tutor.training.run import Run


def epochs(run: Run, count: int) -> list[Frame]:
    return [run.step_epoch() for _ in range(count)]


def value(frame: Frame, name: str = "w") -> tuple[float, ...]:
    return frame.values[name].data


# ── The border of divergence ────────────────────────────────────────────────────────


def test_at_two_over_the_curvature_the_weight_bounces_for_ever() -> None:
    seen = [value(frame)[0] for frame in epochs(a_run("border-of-divergence", rate=2 / 8), 20)]
    assert seen == [-1.0, 3.0] * 10


@pytest.mark.parametrize(("rate", "falls"), [(0.2499, True), (0.2501, False)])
def test_the_border_lies_exactly_there(rate: float, falls: bool) -> None:
    found = losses(a_run("border-of-divergence", rate=rate), 50)
    assert bool(found[-1] < found[0]) is falls
    assert found[-1] != found[0]


def test_one_over_the_curvature_lands_in_one_step() -> None:
    assert value(a_run("border-of-divergence", rate=1 / 8).step_epoch()) == (1.0,)


def test_four_times_the_rate_makes_the_same_losses_from_the_other_side() -> None:
    slow, fast = (a_run("border-of-divergence", rate=rate) for rate in (0.05, 0.2))
    assert losses(slow, 10) == pytest.approx(losses(fast, 10), rel=1e-4)
    side = [value(frame)[0] > 1 for frame in epochs(a_run("border-of-divergence", rate=0.2), 4)]
    assert side == [False, True, False, True]
    assert all(value(f)[0] > 1 for f in epochs(a_run("border-of-divergence", rate=0.05), 4))


@pytest.mark.parametrize(
    ("slug", "mode", "epochs", "goal", "rates", "too_far"),
    [
        ("border-of-divergence", None, 10, 1e-6, (0.077, 0.173), (0.075, 0.175)),
        ("where-nan-is-born", "autograd", 20, 1e-6, (0.03, 0.06), (0.01, 0.075)),
        ("accumulate-and-clip", "optimizer", 12, 0.201, (0.5, 0.6), (0.25,)),
    ],
)
def test_which_rates_bring_the_loss_below_the_goal_in_time(
    slug: str, mode: str | None, epochs: int, goal: float, rates: tuple[float, ...],
    too_far: tuple[float, ...],
) -> None:  # fmt: skip
    for rate in (*rates, *too_far):
        lowest = losses(a_run(slug, mode, rate=rate), epochs).min()
        assert bool(lowest < goal) is (rate in rates), rate


# ── Scaling ─────────────────────────────────────────────────────────────────────────


def test_scaled_inputs_need_one_step_where_raw_ones_keep_98_percent() -> None:
    assert losses(a_run("scaling-inputs", "scaled", rate=0.5), 2)[1] == pytest.approx(0, abs=1e-9)
    best = 2 / (2 + 200)
    distance = 3 - value(epochs(a_run("scaling-inputs", "raw", rate=best), 20)[-1])[0]
    assert distance == pytest.approx(3 * (99 / 101) ** 20, rel=1e-4)


@pytest.mark.parametrize("rate", [0.0096, 0.0098, 2 / 202, 0.00995])
def test_with_raw_inputs_the_loss_needs_about_400_epochs_to_a_millionth(rate: float) -> None:
    found = losses(a_run("scaling-inputs", "raw", rate=rate), 430)
    assert found[:380].min() > 1e-6
    assert bool(found.min() < 1e-6) is (rate < 0.00995)


def test_raw_inputs_bring_the_first_weight_to_2_6_in_200_epochs() -> None:
    assert value(epochs(a_run("scaling-inputs", "raw"), 200)[-1])[0] == pytest.approx(2.6, abs=0.05)


def test_raw_inputs_start_with_gradients_of_6_and_40_and_diverge_above_a_hundredth() -> None:
    assert a_run("scaling-inputs", "raw").step_epoch().gradients["w"].data == (-6.0, -40.0)
    assert losses(a_run("scaling-inputs", "raw", rate=0.0102), 60)[-1] > 13
    assert losses(a_run("scaling-inputs", "raw", rate=0.0098), 60)[-1] < 13


# ── Momentum and Adam ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("slug", ["momentum", "adam"])
def test_the_optimizer_takes_the_steps_that_are_written_out_by_hand(slug: str) -> None:
    for by_hand, by_torch in zip(
        epochs(a_run(slug, "manual"), 15), epochs(a_run(slug, "optimizer"), 15), strict=True
    ):
        assert value(by_hand) == pytest.approx(value(by_torch), rel=1e-5, abs=1e-6)


# 2 (1 + 0.9) / 50 = 0.076
@pytest.mark.parametrize(("rate", "is_bounded"), [(0.0755, True), (0.0765, False)])
def test_momentum_moves_the_border_out(rate: float, is_bounded: bool) -> None:
    found = losses(a_run("momentum", "manual", rate=rate), 150)
    assert bool(found[-1] < 1) is is_bounded


def test_momentum_keeps_the_root_of_its_factor_in_the_long_run() -> None:
    found = losses(a_run("momentum", "manual"), 150)
    assert (found[149] / found[49]) ** (1 / 200) == pytest.approx(math.sqrt(0.9), abs=0.01)
    assert (np.diff(found) > 0).any()
    for curvature in (2, 50):  # of the weight and the velocity: what an epoch makes of the two
        step = [[1 - 0.01 * curvature, -0.01 * 0.9], [curvature, 0.9]]
        assert np.abs(np.linalg.eigvals(step)) == pytest.approx([math.sqrt(0.9)] * 2)


def test_without_momentum_the_loss_of_the_second_sensor_falls_in_every_epoch() -> None:
    lesson = shipped.lesson("momentum")
    plain = lesson.source.replace("v = 0.9 * v + dw", "v = dw")
    assert plain != lesson.source
    run = Run(programs_of(parse(plain, lesson.path)), "manual")
    found = np.array([value(frame) for frame in epochs(run, 40)])
    assert (np.diff(run.history.losses.numbers()) < 0).all()
    assert (3 - found[1:, 0]) / (3 - found[:-1, 0]) == pytest.approx(0.98, abs=1e-3)
    assert losses(run, 110)[-1] == pytest.approx(0.02, abs=0.005)
    assert losses(a_run("momentum", "manual"), 150)[-1] < 1e-6


def test_the_velocity_carries_the_second_weight_on_until_epoch_5() -> None:
    second = [value(frame)[1] for frame in epochs(a_run("momentum", "manual"), 6)]
    assert second[1] > 0.4
    assert np.sign(np.diff(second)).tolist() == [1, 1, 1, -1, -1]


def test_adams_first_step_is_the_learning_rate_for_any_gradient() -> None:
    for rate in (0.01, 0.1, 1.0):
        frame = a_run("adam", "optimizer", rate=rate).step_epoch()
        assert frame.gradients["w"].data == (-6.0, -40.0)
        assert value(frame) == pytest.approx((rate, rate), rel=1e-5)


def test_adams_second_weight_overshoots_in_epoch_3_and_the_first_in_epoch_40() -> None:
    first, second = np.array([value(frame) for frame in epochs(a_run("adam"), 60)]).T
    assert 1 + (second > 0.2).argmax() == 3
    assert 1 + (first > 3).argmax() == 40
    assert pytest.approx(15) == 3 / 0.2


def test_adams_steps_begin_at_the_rate_and_become_far_shorter() -> None:
    steps = [abs(frame.watched["last step"].data[0]) for frame in epochs(a_run("adam"), 100)]
    assert steps[0] == pytest.approx(0.1, rel=1e-5)
    assert steps[29] == pytest.approx(0.058, abs=0.001)
    assert steps[99] == pytest.approx(0.001, abs=0.0005)
    assert max(steps) < 0.1001


@pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer"])
def test_all_of_adams_later_steps_are_shorter_than_its_first(mode: str) -> None:
    found = [frame.watched["last step"].data for frame in epochs(a_run("adam", mode), 200)]
    steps = np.abs(np.array(found))
    assert steps[0] == pytest.approx(0.1, rel=1e-5)
    assert (steps[1:] < steps[0]).all()


def test_a_thousandfold_loss_hardly_changes_adams_steps() -> None:
    steps = []
    for factor in (1, 1000):
        w = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.Adam([w], lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            (factor * (w - 3) ** 2).sum().backward()
            optimizer.step()
        steps.append(w.item())
    assert steps[0] == pytest.approx(steps[1], rel=1e-5)


@pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer"])
def test_near_its_goal_adam_steps_by_the_rate_though_the_gradient_is_small(mode: str) -> None:
    run = a_run("adam", mode)
    for index, start in enumerate((2.95, 0.15)):
        run.set(element=Element("w", (index,), start))
    frame = run.step_epoch()
    assert frame.gradients["w"].data == pytest.approx((-0.1, -10), rel=1e-4)
    assert value(frame) == pytest.approx((3.05, 0.25), rel=1e-5)


def test_alternating_gradients_cancel_in_the_velocity_only_in_part() -> None:
    steady, alternating, first = 0.0, 0.0, []
    for epoch in range(200):
        steady = 0.9 * steady + 1
        first.append(steady)
        alternating = 0.9 * alternating + (-1) ** epoch
    assert first[:3] == pytest.approx([1, 1.9, 2.71])
    assert steady == pytest.approx(1 / (1 - 0.9))
    assert abs(alternating) == pytest.approx(1 / (1 + 0.9))


@pytest.mark.parametrize("rate", [0.05, 0.06, 0.07])
def test_the_rates_that_the_hint_names_go_beyond_the_old_border(rate: float) -> None:
    found = losses(a_run("momentum", "manual", rate=rate), 150)
    assert found[1] > found[0]
    assert found[-1] < 0.001


def test_the_second_sensor_is_twice_as_sensitive_to_a_hectopascal() -> None:
    corners = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    per_hpa = {}
    for slug, hectopascals in (("momentum", 5), ("adam", 10), ("scaling-inputs", 10)):
        run = a_run(slug, shipped.lesson(slug).modes[0])
        x, y = (np.array(v.data) for v in run.evaluate(["x", "y"]))
        assert x.reshape(4, 2).tolist() == [[a, hectopascals * b] for a, b in corners]
        degree, per_hpa[slug] = np.linalg.lstsq(x.reshape(4, 2), y, rcond=None)[0]
        assert degree == pytest.approx(3)
    assert per_hpa == pytest.approx({"momentum": 0.4, "adam": 0.2, "scaling-inputs": 0.2})


def test_the_curvature_is_the_inputs_alone_for_a_line_and_not_for_a_sigmoid() -> None:
    x, y = torch.tensor([-2.0, 2.0]), torch.tensor([0.0, 1.0])

    def curvature(answer: Callable[[torch.Tensor], torch.Tensor], at: float) -> float:
        def loss(w: torch.Tensor) -> torch.Tensor:
            return ((answer(w * x) - y) ** 2).mean()

        return float(torch.autograd.functional.hessian(loss, torch.tensor(at)))

    assert curvature(lambda z: z, -3.0) == curvature(lambda z: z, 5.0) == 8
    assert curvature(torch.sigmoid, 0.0) != pytest.approx(curvature(torch.sigmoid, 2.0), rel=0.1)


def test_inputs_of_one_size_suit_one_rate_only_if_they_are_also_centred() -> None:
    def curvatures(x: np.ndarray) -> np.ndarray:
        return np.linalg.eigvalsh(2 * x.T @ x / len(x))

    random = np.random.default_rng(0)
    centred = random.standard_normal((4000, 2))
    shifted = centred + 5
    assert curvatures(centred)[1] / curvatures(centred)[0] < 1.2
    assert curvatures(shifted)[1] / curvatures(shifted)[0] > 40


# ── Cross-entropy ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("slug", "classes"), [("logistic", 2), ("cross-entropy", 3)])
def test_a_network_that_knows_nothing_starts_at_the_log_of_the_classes(
    slug: str, classes: int
) -> None:
    assert losses(a_run(slug), 1)[0] == pytest.approx(math.log(classes), rel=1e-6)


def test_a_weight_of_30_breaks_the_log_and_not_the_loss_with_logits() -> None:
    assert math.isnan(losses(a_run("logistic", "autograd", w=30), 1)[0])
    assert losses(a_run("logistic", "optimizer", w=30), 1)[0] == pytest.approx(10)


def test_least_squares_predicts_more_than_1_for_the_last_student() -> None:
    x, y = (np.array(v.data) for v in a_run("logistic", "manual").evaluate(["x", "y"]))
    line = np.polyval(np.polyfit(x, y, 1), x)
    assert (line.min(), line.max()) == pytest.approx((0.24, 1.10), abs=0.005)


def test_the_students_loss_stays_away_from_0_and_the_flowers_loss_approaches_it() -> None:
    students = losses(a_run("logistic", "manual", rate=1), 1000)
    assert students[-1] == pytest.approx(students[-500], abs=1e-5)
    assert students[-1] > 0.3
    flowers = losses(a_run("cross-entropy", "manual", rate=1), 1000)
    assert 0 < flowers[-1] < 0.002


def test_a_line_gives_student_2_a_value_between_those_of_students_1_and_3() -> None:
    (x,) = (value.data for value in a_run("logistic", "manual").evaluate(["x"]))
    assert x[0] < x[1] < x[2]


@pytest.mark.parametrize(("z", "is_one"), [(16.0, False), (17.0, True)])
def test_with_32_bits_a_sigmoid_is_exactly_1_from_about_17_on(z: float, is_one: bool) -> None:
    assert (torch.tensor(z).sigmoid().item() == 1) is is_one


@pytest.mark.parametrize("z", [-100.0, -30.0, -1.0, 0.0, 2.0, 100.0])
def test_the_loss_of_a_logit_is_computed_without_overflow(z: float) -> None:
    logit = torch.tensor(z)
    ours = max(-z, 0) + torch.log(1 + torch.exp(-logit.abs()))
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.tensor(1.0))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5, abs=1e-7)
    assert bool(torch.isinf(torch.log(1 + torch.exp(-logit)))) is (z == -100)


@pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer"])
@pytest.mark.parametrize("bias", [6, 60])
def test_the_loss_of_a_sure_and_wrong_flower_grows_and_its_error_does_not(
    mode: str, bias: float
) -> None:
    run = a_run("cross-entropy", mode)
    run.set(element=Element("b", (1,), bias))
    while run.step_phase().phase != "Gradient":
        pass
    error, own = run.evaluate(["error[0]", "-float(log(p[0, 0]))"])
    assert error.data == pytest.approx((-1, 1, 0), abs=0.01)
    assert own.data[0] == pytest.approx(bias, abs=0.01)


def test_a_number_added_to_all_logits_changes_no_probability() -> None:
    logits = np.random.default_rng(0).standard_normal((20, 3))

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(1, keepdims=True)

    for shift in (5, -10):
        assert softmax(logits + shift) == pytest.approx(softmax(logits))
    assert softmax(logits + np.array([5, 0, 0])) != pytest.approx(softmax(logits), rel=0.01)


def test_each_row_of_the_flowers_gradient_has_the_sum_0() -> None:
    for frame in epochs(a_run("cross-entropy", "autograd"), 5):
        rows = np.array(frame.gradients["w"].data).reshape(2, 3).sum(1)
        assert rows == pytest.approx([0, 0], abs=1e-6)


def test_a_second_softmax_holds_the_loss_above_its_lowest_value() -> None:
    lowest = -math.log(math.e / (math.e + 2))
    assert lowest == pytest.approx(0.551, abs=5e-4)
    run = repair_run("cross-entropy/softmax-twice", 500)
    assert lowest < run.frame().loss.data[0] < lowest + 0.01


def test_cross_entropy_expects_class_numbers_of_type_long_and_decimals_as_probabilities() -> None:
    logits, classes = torch.zeros(2, 3), torch.tensor([0, 2])
    cross_entropy = torch.nn.CrossEntropyLoss()
    with pytest.raises(RuntimeError, match=r"expected .*Long"):  # the words between differ
        cross_entropy(logits, classes.float())
    assert cross_entropy(logits, torch.eye(3)[classes]) == cross_entropy(logits, classes)


# ── Vanishing gradients and dead units ──────────────────────────────────────────────


def test_eight_sigmoids_leave_a_27000th_of_the_gradient() -> None:
    found = np.array(a_run("vanishing", "autograd").step_epoch().gradients["w"].data)
    assert found[7] / found[0] == pytest.approx(27_000, rel=0.02)
    assert (found[1:] / found[:-1] > 3.5).all()


def test_the_first_weight_does_not_move_by_a_thousandth_while_the_loss_falls() -> None:
    frame = a_run("vanishing", "manual").run_to(300)
    moved = np.abs(np.array(value(frame)) - 1)
    assert moved[0] < 0.001
    assert sorted(moved)[-2:] == [moved[6], moved[7]]
    assert frame.loss.data[0] < 0.01


def test_a_rate_that_suits_the_first_weight_saturates_the_last_sigmoid() -> None:
    first, second = epochs(a_run("vanishing", "autograd", rate=0.5 * 27_000), 2)
    assert value(first)[7] < -2000
    assert second.gradients["w"].data == (0.0,) * 8


def test_one_sigmoid_divides_the_gradient_by_4_to_5_and_four_by_about_500() -> None:
    _, second, third = (f.gradients["w"].data for f in epochs(a_run("vanishing", "autograd"), 3))
    assert 4 < second[7] / second[6] < 5
    assert third[7] / third[3] == pytest.approx(500, rel=0.02)


def test_the_slopes_of_tanh_lie_between_0_42_and_0_85() -> None:
    run = solved_run("vanishing/let-it-through", 1)
    outputs = [value.data[0] for value in run.evaluate([f"float(a[{k}])" for k in range(1, 9)])]
    slopes = [1 - a * a for a in outputs]
    assert (min(slopes), max(slopes)) == pytest.approx((0.42, 0.85), abs=0.005)


def test_a_layer_passes_back_more_than_a_quarter_only_with_a_weight_above_1() -> None:
    def factor(w: float, b: float, a: float) -> float:
        output = 1 / (1 + math.exp(-(w * a + b)))
        return w * output * (1 - output)

    grid = np.linspace(-1, 1, 41)
    assert max(abs(factor(w, b, a)) for w in grid for b in 5 * grid for a in grid) <= 1 / 4
    assert factor(4, -2, 0.5) == 1


def test_weights_of_8_saturate_the_sigmoids() -> None:
    a = 1 / (1 + math.exp(-8 * 0.99))
    assert (a, a * (1 - a)) == pytest.approx((0.9996, 0.0004), abs=5e-5)
    run = a_run("vanishing", "autograd")
    for number in range(8):
        run.set(element=Element("w", (number,), 8.0))
    found = run.step_epoch().gradients["w"].data
    assert abs(found[0] / found[7]) < 1e-10


def test_tanh_lets_at_least_a_tenth_through() -> None:
    found = solved_run("vanishing/let-it-through", 1).frame().gradients["w"].data
    assert 0.1 < found[0] / found[7] < 1


def test_the_unit_dies_in_its_second_epoch_and_never_returns() -> None:
    run = a_run("dead-relu", "autograd")
    frames = [*epochs(run, 3), run.run_to(300)]
    assert [f.watched["active points"].data[0] for f in frames] == [4, 4, 0, 0]
    assert value(frames[1]) == value(frames[-1]) == pytest.approx((-1.5,))
    assert frames[-1].loss.data == (7.5,)
    assert frames[-1].gradients["w"].data == (0.0,)


@pytest.mark.parametrize("rate", [0.15, 0.2, 0.25])
def test_the_second_step_makes_weight_and_bias_negative(rate: float) -> None:
    second = epochs(a_run("dead-relu", "autograd", rate=rate), 2)[1]
    assert value(second)[0] < 0
    assert value(second, "b")[0] < 0


def test_where_the_answer_is_0_to_all_four_points() -> None:
    x = np.array([1, 2, 3, 4])
    for w, b in np.random.default_rng(0).uniform(-5, 5, (1000, 2)):
        assert bool((w * x + b <= 0).all()) is bool(w + b <= 0 and 4 * w + b <= 0)


def test_a_dead_unit_is_on_a_level_loss_and_at_no_minimum() -> None:
    run = a_run("dead-relu", w=-1.5, b=-0.7)
    for step in (-0.01, 0.01):
        moved = a_run("dead-relu", w=-1.5 + step, b=-0.7 - step)
        assert moved.step_epoch().loss.data == run.seek(1).loss.data == (7.5,)
    assert a_run("dead-relu", w=1, b=0).step_epoch().loss.data == (0.0,)


@pytest.mark.parametrize(
    ("rate", "lives"), [(0.02, True), (0.06, True), (0.11, True), (0.13, False), (0.25, False)]
)
def test_below_the_border_of_the_line_the_unit_lives(rate: float, lives: bool) -> None:
    run = a_run("dead-relu", "manual", rate=rate)
    run.run_to(100)
    assert run.frame().watched["active points"].data == ((4.0,) if lives else (0.0,))


@pytest.mark.parametrize(("w", "b", "rests_at"), [(-1.5, 1.6, 7.25), (0.1, -0.7, 7.5)])
def test_a_unit_may_stay_dead_for_most_points_though_one_parameter_is_above_0(
    w: float, b: float, rests_at: float
) -> None:
    run = a_run("dead-relu", rate=0.05, w=w, b=b)
    run.run_to(300)
    assert run.frame().loss.data[0] == pytest.approx(rests_at, abs=1e-4)


def test_the_first_point_alone_is_learnt_and_brings_no_other_along() -> None:
    run = a_run("dead-relu", rate=0.05, w=-1.5, b=1.6)
    frame = run.run_to(300)
    assert value(frame) == pytest.approx((-1.05,), abs=1e-3)
    assert value(frame, "b") == pytest.approx((2.05,), abs=1e-3)
    assert frame.watched["active points"].data == (1.0,)
    assert losses(a_run("dead-relu", rate=0.05), 100)[-1] < 0.01


def test_the_last_point_alone_brings_the_others_along() -> None:
    run = a_run("dead-relu", rate=0.05, w=0.2, b=-0.7)
    alive = [frame.watched["active points"].data[0] for frame in epochs(run, 100)]
    assert (alive[0], alive[-1]) == (1, 4)


# ── Mini batches ────────────────────────────────────────────────────────────────────


def test_four_updates_from_two_samples_do_as_well_as_four_from_all_eight() -> None:
    run = a_run("mini-batches")
    x, y = (np.array(v.data) for v in run.evaluate(["x", "y"]))
    w = 0.0
    for _ in range(4):
        w -= 0.03 * (2 * x * (w * x - y)).mean()
    assert ((w * x - y) ** 2).mean() == pytest.approx(0.79, abs=0.005)
    assert losses(run, 1)[0] == pytest.approx(0.65, abs=0.005)


def test_about_one_seed_in_four_is_lucky() -> None:
    def first_loss(seed: int) -> float:
        return Run(shipped.programs("mini-batches"), seed=seed).step_epoch().loss.data[0]

    assert np.mean([first_loss(seed) < 0.5 for seed in range(100)]) == pytest.approx(0.25, abs=0.1)


def test_targets_that_are_shuffled_apart_leave_more_than_three_times_the_loss() -> None:
    run = repair_run("mini-batches/shuffled-apart", 200)
    assert run.history.losses.numbers()[-100:].mean() > 3 * 0.255
    assert run.evaluate(["float(w)"])[0].data[0] < 1.9


def test_a_question_about_a_batch_names_its_two_samples() -> None:
    predict = exercise("mini-batches/batch-gradient", Predict)
    for asked in map(predict.asked_in, range(1 + len(predict.again))):
        run = Run(shipped.programs("mini-batches"), seed=asked.stage.seed)
        run.step_phase()
        xs, ys = (batch.data for batch in run.evaluate(["x_batch", "y_batch"]))
        samples = [number for sample in zip(xs, ys, strict=True) for number in sample]
        named = re.findall(r"\$[xy] = ([0-9.]+)\$", asked.ask)
        assert [float(number) for number in named] == pytest.approx(samples)


def test_the_mean_of_the_batches_at_one_weight_is_the_full_gradient() -> None:
    frame = epochs(a_run("mini-batches"), 20)[-1]
    parts = frame.watched["parts"].data
    assert np.mean(parts) == pytest.approx(frame.watched["full gradient"].data[0], abs=1e-5)
    assert min(parts) < 0 < max(parts)


def test_at_a_weight_of_0_every_sample_says_that_it_must_grow() -> None:
    (each,) = (v.data for v in a_run("mini-batches").evaluate(["2 * x * (w * x - y)"]))
    assert max(each) < 0
    assert np.mean(each) == pytest.approx(-25.44, abs=0.005)


def test_a_smaller_rate_is_quieter() -> None:
    trembling = [losses(a_run("mini-batches", rate=rate), 60)[40:].max() for rate in (0.01, 0.06)]
    assert trembling[0] < 0.27 < trembling[1]
    assert losses(a_run("mini-batches"), 60).min() == pytest.approx(0.255, abs=5e-4)


# ── Finite differences ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("mode", "eps"), [("float32", 2.0**-23), ("float64", 2.0**-52)])
def test_the_best_h_is_near_the_third_root_of_eps(mode: str, eps: float) -> None:
    errors = losses(a_run("finite-differences", mode), 40)
    best = 0.5 ** errors.argmin()
    assert 1 / 4 < best / eps ** (1 / 3) < 4
    assert errors[-1] > 1000 * errors.min()
    assert errors[:6] == pytest.approx(0.25 ** np.arange(6), rel=1e-2)


@pytest.mark.parametrize(("h", "is_zero"), [(1e-9, True), (5e-8, True), (7e-8, False)])
def test_a_step_that_is_rounded_away_leaves_a_slope_of_zero(h: float, is_zero: bool) -> None:
    frame = a_run("finite-differences", "float32", h=h).step_epoch()
    assert (frame.watched["slope"].data == (0.0,)) is is_zero


def test_machine_epsilon_is_the_gap_above_1_and_rounding_at_most_half_of_it() -> None:
    for kind, eps in ((np.float32, 2.0**-23), (np.float64, 2.0**-52)):
        assert np.nextafter(kind(1), kind(2)) - kind(1) == eps
    numbers = np.random.default_rng(0).uniform(1, 100, 10_000)
    assert np.abs(numbers.astype(np.float32) / numbers - 1).max() <= 2.0**-24


def test_with_32_bits_so_small_an_error_is_an_accident_and_no_h_can_be_named_for_it() -> None:
    w = np.float32(1.3)
    h = np.geomspace(1e-5, 1e-1, 20_001, dtype=np.float32)
    up, down = w + h, w - h
    errors = np.abs((up * up * up - down * down * down) / (2 * h) - 3 * float(w) ** 2)
    assert 0 < (errors < 1e-9).mean() < 0.01
    assert np.median(errors[(h > 0.004) & (h < 0.006)]) == pytest.approx(2e-5, abs=2e-5)


def test_0_005_is_good_for_five_digits_with_32_bits() -> None:
    found = losses(a_run("finite-differences", "float32", h=0.005), 1)[0]
    assert 1e-6 < found < 5e-5
