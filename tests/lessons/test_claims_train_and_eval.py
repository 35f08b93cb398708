"""What the lesson on train, eval and no_grad claims, computed with its own code."""

from __future__ import annotations

import numpy as np
import pytest

from tests import shipped
from tests.lessons.runs import repair_run
from tutor.training.run import Run

SLUG = "train-and-eval"


def a_seeded_run(mode: str, seed: int, rate: float | None = None) -> Run:
    return Run(shipped.programs(SLUG), mode, learning_rate=rate, seed=seed)


def weights(run: Run) -> np.ndarray:
    return np.array(run.frame().values["w"].data)


@pytest.mark.parametrize("seed", range(4))
def test_the_first_weight_falls_and_the_other_three_rise(seed: int) -> None:
    run = a_seeded_run("model", seed)
    run.run_to(200)
    found = weights(run)
    assert found[0] < 0.5
    assert found[1:].min() > 0.05


def test_with_dropout_the_loss_is_least_on_average_where_all_weights_are_a_fifth() -> None:
    """E[L] = mean(t²) · ((Σw − 1)² + Σw²): the variance of what dropout leaves is Σw² t²."""
    best = np.linalg.solve(np.ones((4, 4)) + np.eye(4), np.ones(4))
    assert best == pytest.approx([0.2] * 4)


@pytest.mark.parametrize("seed", range(4))
def test_a_small_rate_comes_to_a_fifth_and_no_longer_jumps(seed: int) -> None:
    run = a_seeded_run("autograd", seed, 0.001)
    run.run_to(1000)
    changes = abs(np.diff(run.history.losses.numbers()[-100:]))
    assert changes.max() < 0.05
    assert weights(run) == pytest.approx([0.2] * 4, abs=0.12)
    assert weights(run).sum() == pytest.approx(0.8, abs=0.17)


@pytest.mark.parametrize("seed", range(4))
def test_at_the_lessons_rate_the_reported_loss_changes_by_more_than_a_tenth(seed: int) -> None:
    run = a_seeded_run("autograd", seed)
    run.run_to(200)
    changes = abs(np.diff(run.history.losses.numbers()[-100:]))
    assert 0.1 < changes.max() < 0.3


def test_a_model_that_stays_in_evaluation_mode_trusts_one_sensor() -> None:
    assert weights(repair_run(f"{SLUG}/no-way-back", 200))[0] > 0.9
