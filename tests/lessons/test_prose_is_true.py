"""What the lessons' prose claims about numbers, computed with the lessons' own code."""

from __future__ import annotations

import numpy as np
import pytest

from tests import shipped
from tutor.lesson.document import parse
from tutor.training.program import programs_of
from tutor.training.run import Run


def a_run(slug: str, mode: str, learning_rate: float | None = None) -> Run:
    return Run(shipped.programs(slug), mode, learning_rate=learning_rate)


def weight(run: Run) -> float:
    return run.frame().values["w"].data[0]


def loss(run: Run) -> float:
    return run.frame().loss.data[0]


def test_with_one_weight_each_epoch_halves_the_error() -> None:
    run = a_run("one-weight", "autograd")
    errors = [2 - weight(run)]
    for _ in range(3):
        run.step_epoch()
        errors.append(2 - weight(run))
    assert errors == [1.0, 0.5, 0.25, 0.125]


def test_with_one_weight_learning_rate_one_half_lands_in_one_step() -> None:
    run = a_run("one-weight", "manual", learning_rate=0.5)
    run.step_epoch()
    assert weight(run) == 2.0


def test_with_one_weight_learning_rate_one_never_settles() -> None:
    run = a_run("one-weight", "manual", learning_rate=1.0)
    seen = []
    for _ in range(4):
        run.step_epoch()
        seen.append(weight(run))
    assert seen == [3.0, 1.0, 3.0, 1.0]


def test_with_one_weight_a_second_gradient_without_reset_is_minus_three() -> None:
    lesson = shipped.lesson("one-weight")
    forgetful = lesson.source.replace("w.grad.zero_()\n", "pass\n")
    assert forgetful != lesson.source
    run = Run(programs_of(parse(forgetful, lesson.path)), "autograd")
    run.run_to(2)
    assert run.frame().gradients["w"].data == (-3.0,)


def test_autograd_takes_the_steps_of_the_sum_at_four_times_the_rate() -> None:
    by_hand = a_run("sum-or-mean", "manual")
    autograd = a_run("sum-or-mean", "autograd", learning_rate=0.04)
    for _ in range(5):
        by_hand.step_epoch()
        autograd.step_epoch()
        assert weight(by_hand) == pytest.approx(weight(autograd), rel=1e-6)


def test_the_published_gradient_is_the_sum_of_the_parts_and_autograds_their_mean() -> None:
    for mode, which in (("manual", "their sum"), ("autograd", "their mean")):
        frame = a_run("sum-or-mean", mode).step_epoch()
        assert frame.gradients["w"].data == frame.watched[which].data


def test_twenty_points_by_hand_takes_autograds_steps_at_a_twentieth_of_the_rate() -> None:
    by_hand = a_run("twenty-points", "manual", learning_rate=0.0005)
    autograd = a_run("twenty-points", "autograd")
    by_hand.run_to(10)
    autograd.run_to(10)
    assert weight(by_hand) == pytest.approx(weight(autograd), rel=1e-6)


@pytest.mark.parametrize(
    ("mode", "rate", "factor"),
    [("manual", 0.001, 0.5554), ("manual", 0.01, -3.446), ("autograd", 0.01, 0.7777)],
)
def test_each_step_of_twenty_points_multiplies_the_distance(
    mode: str, rate: float, factor: float
) -> None:
    run = a_run("twenty-points", mode, learning_rate=rate)
    goal = 2.2 / 0.3
    before = goal - weight(run)
    run.step_epoch()
    assert (goal - weight(run)) / before == pytest.approx(factor, abs=1e-4)


def test_in_xor_the_first_sample_leaves_the_silent_unit_and_the_input_weights_alone() -> None:
    gradients = a_run("xor", "manual").seek(0).gradients
    assert gradients["w1"].data == (0, 0, 0, 0)
    assert gradients["b1"].data[1] == gradients["w2"].data[1] == 0
    assert gradients["b1"].data[0] != 0
    assert gradients["w2"].data[0] != 0


def test_in_xor_the_loss_falls_fastest_in_the_third_thousand() -> None:
    run = a_run("xor", "manual")
    losses = []
    for epoch in (1, 1000, 2000, 3000, 4000, 5000):
        run.seek(epoch)
        losses.append(loss(run))
    falls = -np.diff(losses)
    assert falls.argmax() == 2
    assert falls[0] < falls[1]
    assert losses[-1] == pytest.approx(0.014, abs=0.0005)


def test_in_xor_a_rate_of_one_silences_a_hidden_unit_and_the_loss_stays_near_a_sixth() -> None:
    run = a_run("xor", "manual", learning_rate=1.0)
    run.run_to(300)
    hidden, away = run.evaluate(
        ["relu(x @ w1 + b1).max(axis=0)", "abs(losses[-100:] - 1 / 6).max()"]
    )
    assert hidden.data[1] == 0 < hidden.data[0]
    assert away.data[0] < 0.001


def test_in_xor_the_answers_that_the_exercises_name_are_those_of_epoch_one() -> None:
    run = a_run("xor", "manual")
    run.seek(0)
    answers: list[float] = []
    while len(answers) < 4:
        if run.step_phase().phase == "Predict":
            answers.append(run.frame().watched["o2"].data[0])
    assert [round(answer, 3) for answer in answers] == [0.504, 0.509, 0.497, 0.493]


def test_with_a_line_the_gradient_is_fifteen_times_the_distance() -> None:
    run = a_run("line-through-origin", "manual")
    for _ in range(3):
        distance = weight(run) - 2
        assert run.step_epoch().gradients["w"].data[0] == pytest.approx(15 * distance, rel=1e-5)


def test_the_model_of_a_line_is_thrown_out_just_below_a_rate_of_twelve_hundredths() -> None:
    assert border(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.1197, abs=0.0002)


def test_a_squeezed_column_is_at_best_the_mean_of_the_targets_with_a_loss_of_five() -> None:
    targets = np.array([2.0, 4.0, 6.0, 8.0])
    answers = np.full(4, targets.mean())
    assert targets.mean() == 5
    assert ((answers[None, :] - targets[:, None]) ** 2).mean() == 5


def border(x: np.ndarray) -> float:
    """The rate beyond which a weight and a bias on inputs `x` diverge: 2 / largest curvature."""
    curvatures = 2 * np.array([[(x * x).mean(), x.mean()], [x.mean(), 1.0]])
    return float(2 / np.linalg.eigvalsh(curvatures).max())


def test_the_thermometer_is_near_its_lowest_loss_after_2000_epochs_and_not_after_1000() -> None:
    run = a_run("thermometer", "manual")
    run.run_to(1000)
    assert loss(run) > 3.5
    run.run_to(2000)
    assert loss(run) == pytest.approx(2.93, abs=0.03)


def test_the_thermometers_border_is_just_below_33_thousandths() -> None:
    u, _ = thermometer_data()
    assert border(0.1 * u.astype(float)) == pytest.approx(0.03298, abs=0.00002)


def test_the_first_line_says_8_where_the_warmest_reading_is_28_degrees() -> None:
    u, c = thermometer_data()
    assert (0.1 * u.max(), c[u.argmax()]) == pytest.approx((8.19, 28))


def test_the_thermometer_diverges_at_a_rate_of_four_hundredths() -> None:
    run = a_run("thermometer", "manual", learning_rate=0.04)
    start = run.step_epoch().loss.data[0]
    run.run_to(100)
    assert loss(run) > 1000 * start


def test_the_thermometers_bias_is_the_slow_parameter() -> None:
    run = a_run("thermometer", "manual")
    w, b = run.seek(500).values["params"].data
    assert abs(w / 5.3671 - 1) < abs(b / -17.3012 - 1)


def thermometer_data() -> tuple[np.ndarray, np.ndarray]:
    lesson = shipped.lesson("thermometer")
    namespace = {"np": np}
    setup = lesson.phase("Setup")
    assert setup is not None
    for fence in setup.fences("manual"):
        exec(fence.code, namespace)
    return namespace["u"], namespace["c"]  # type: ignore[return-value]


def test_raw_readings_still_leave_a_loss_near_25_after_5000_epochs() -> None:
    u, c = thermometer_data()
    w, b = 1.0, 0.0
    for _ in range(5000):
        error = w * u + b - c
        w, b = w - 1e-4 * 2 * (error * u).mean(), b - 1e-4 * 2 * error.mean()
    assert ((w * u + b - c) ** 2).mean() == pytest.approx(25, abs=0.2)


def test_gradients_that_are_never_zeroed_make_the_thermometer_swing() -> None:
    u, c = thermometer_data()
    x, params, gradient, losses = 0.1 * u, np.array([1.0, 0.0]), np.zeros(2), []
    for _ in range(200):
        error = params[0] * x + params[1] - c
        losses.append((error**2).mean())
        gradient += [2 * (error * x).mean(), 2 * error.mean()]
        params -= 0.01 * gradient
    turns = np.diff(np.sign(np.diff(losses))).astype(bool).sum()
    assert turns > 20
    assert max(losses[-20:]) > 10 * 2.9276
