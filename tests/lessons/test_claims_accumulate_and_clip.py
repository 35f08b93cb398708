"""What the lesson on accumulated and clipped gradients claims, computed with its own code."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lessons.runs import a_run, losses, repair_run
from tutor.training.run import Run

SLUG = "accumulate-and-clip"
MODES = ("manual", "autograd", "optimizer")


def weights(run: Run) -> np.ndarray:
    return np.array(run.frame().values["w"].data)


@pytest.mark.parametrize("mode", MODES)
def test_four_micro_batches_make_the_gradient_and_the_step_of_all_ten(mode: str) -> None:
    run = a_run(SLUG, mode)
    for _ in range(25):
        (all_ten,) = run.evaluate(["2 * x.T @ (x @ w - y) / 10"])
        full, before = np.array(all_ten.data), weights(run)
        frame = run.step_epoch()
        assert frame.gradients["w"].data == pytest.approx(tuple(full), abs=1e-5)
        step = -0.25 * full / max(1, np.linalg.norm(full))
        assert weights(run) - before == pytest.approx(step, abs=1e-5)


def test_the_smallest_loss_is_a_fifth_at_three_and_four() -> None:
    run = a_run(SLUG, "autograd")
    run.run_to(40)
    assert weights(run) == pytest.approx((3, 4), abs=1e-4)
    assert run.frame().loss.data[0] == pytest.approx(0.2, abs=1e-6)


def test_steps_are_as_long_as_the_rate_until_the_gradient_is_shorter_than_one() -> None:
    run, place, lengths = a_run(SLUG, "optimizer"), np.zeros(2), []
    for _ in range(20):
        run.step_epoch()
        lengths.append(np.linalg.norm(weights(run) - place))
        place = weights(run)
    assert lengths[:18] == pytest.approx([0.25] * 18, abs=1e-4)
    assert lengths[19] == pytest.approx(0.125, abs=1e-4)


@pytest.mark.parametrize(("rate", "is_near"), [(0.25, False), (0.5, True), (0.6, True)])
def test_which_rates_reach_the_goal_in_twelve_epochs(rate: float, is_near: bool) -> None:
    assert bool(losses(a_run(SLUG, "optimizer", rate=rate), 12).min() < 0.201) is is_near


@pytest.mark.parametrize("rate", [1.5, 3])
def test_a_rate_above_one_neither_diverges_nor_comes_to_rest(rate: float) -> None:
    found = losses(a_run(SLUG, "optimizer", rate=rate), 400)
    assert found[-50:].min() > 0.4
    assert found[10:].max() < 0.2 + rate**2


def test_a_reset_in_each_micro_batch_keeps_the_weights_equal_and_the_loss_above_0_7() -> None:
    run = repair_run(f"{SLUG}/each-for-itself", 40)
    assert run.history.losses.numbers().min() == pytest.approx(0.7, abs=0.01)
    assert np.ptp(weights(run)) < 1e-5


def test_a_sum_that_is_clipped_four_times_points_elsewhere() -> None:
    step = weights(repair_run(f"{SLUG}/clipped-too-often", 1))
    assert step / 0.25 == pytest.approx((0.53, 0.85), abs=0.005)
