"""What the lesson on schedules claims, computed with its own code."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lessons.runs import a_run, repair_run
from tutor.protocol.frame import Frame
from tutor.training.run import Run


def weights(run: Run, epochs: int) -> np.ndarray:
    """`w_flat`, `w_early` and `w_late` after each epoch."""
    return np.array([_weights(run.step_epoch()) for _ in range(epochs)])


def _weights(frame: Frame) -> list[float]:
    return [frame.values[name].data[0] for name in ("w_flat", "w_early", "w_late")]


def test_the_late_schedule_ends_nearest_and_the_flat_one_still_jumps() -> None:
    seen = weights(a_run("schedules", "manual"), 12)
    assert seen[0] == pytest.approx([60, 60, 43], abs=0.6)
    assert np.abs(seen[-1] - 100) == pytest.approx([6, 18, 0.5], abs=0.5)
    assert np.abs(np.diff(seen[-4:, 0], axis=0)).max() > 3
    assert np.abs(np.diff(seen[-4:, 1:], axis=0)).max() < 0.1


@pytest.mark.parametrize("mode", ["autograd", "optimizer"])
def test_the_modes_make_the_same_updates(mode: str) -> None:
    by_hand, other = a_run("schedules", "manual"), a_run("schedules", mode)
    assert weights(other, 12) == pytest.approx(weights(by_hand, 12), abs=1e-3)


def test_the_early_schedule_stops_at_82_however_long_it_runs() -> None:
    assert weights(a_run("schedules", "manual"), 60)[11:, 1] == pytest.approx(82, abs=0.05)


@pytest.mark.parametrize(
    ("rate", "is_reached"), [(0.2, False), (0.25, True), (0.3, True), (0.4, True)]
)
def test_which_rates_bring_the_early_schedule_near_enough(rate: float, is_reached: bool) -> None:
    run = a_run("schedules", "manual", rate=rate)
    run.run_to(12)
    assert (run.frame().watched["full losses"].data[1] < 2005) is is_reached


def test_without_warm_up_adams_first_step_takes_a_good_weight_as_far_as_the_rate() -> None:
    run = a_run("schedules", "adam", rate=2, w_flat=100, w_early=100, w_late=100)
    while run.step_phase().phase != "Update":
        pass
    assert _weights(run.frame()) == pytest.approx([98, 98, 99.5], abs=1e-4)


def test_pytorch_warns_of_the_wrong_order_and_the_first_rate_is_never_used() -> None:
    words = r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"
    run = repair_run("schedules/two-steps")
    for _ in range(3):
        run.step_phase()
    with pytest.warns(UserWarning, match=words):
        frame = run.step_phase()
    assert frame.phase == "Update"
    assert frame.values["w_late"].data == pytest.approx((0.05 * 80,))
