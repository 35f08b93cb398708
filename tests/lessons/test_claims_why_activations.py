"""What the lesson on activation functions says of linear layers on XOR, and of ReLU."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lessons.runs import a_run, exercise, losses, repair_run, trial_of
from tutor.lesson.exercise import Predict, Repair

LINEAR = ("manual", "autograd", "model")


@pytest.mark.parametrize(("mode", "rate"), zip(LINEAR, (0.05, 0.2, 0.5), strict=True))
def test_linear_layers_end_at_a_quarter_whatever_the_rate(mode: str, rate: float) -> None:
    run = a_run("why-activations", mode, rate=rate)
    found = losses(run, 400)
    assert found.min() > 0.25 - 1e-6
    assert found[-1] == pytest.approx(0.25, abs=1e-4)


def test_the_best_line_predicts_one_half_for_all_four() -> None:
    x = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=float)
    y = np.array([0, 1, 1, 0], dtype=float)
    weights, residual, *_ = np.linalg.lstsq(x, y, rcond=None)
    assert weights == pytest.approx([0, 0, 0.5])
    assert residual / 4 == pytest.approx([0.25])
    run = a_run("why-activations", "manual")
    run.run_to(200)
    assert run.frame().watched["predictions"].data == pytest.approx((0.5,) * 4, abs=1e-4)


def test_two_linear_layers_predict_what_their_product_predicts() -> None:
    run = a_run("why-activations", "manual")
    run.run_to(3)
    run.step_phase()
    (same,) = run.evaluate(["np.allclose(y_pred, x @ (w2 @ w1).T + w2 @ b1 + b2)"])
    assert same.data == (1.0,)


def test_with_relu_the_same_start_falls_below_a_hundredth_in_60_epochs() -> None:
    run = a_run("why-activations", "relu")
    assert run.run_to(60).loss.data[0] < 0.01


def test_the_weights_of_the_exercise_are_xor() -> None:
    trial = trial_of("why-activations/by-hand")
    assert isinstance(trial.exercise, Predict)
    run = trial.begin(trial.exercise.stage)
    run.step_phase()
    assert run.frame().watched["predictions"].data == (0, 1, 1, 0)


@pytest.mark.parametrize(("function", "epochs"), [("tanh", 200), ("sigmoid", 1000)])
def test_tanh_is_there_in_200_epochs_and_a_sigmoid_later(function: str, epochs: int) -> None:
    where = "why-activations/in-the-wrong-place"
    code = exercise(where, Repair).solution_code.replace("relu", function)
    found = repair_run(where, epochs, code).history.losses.numbers()
    assert found[-1] < 0.01
    assert (found[199] < 0.01) == (epochs == 200)
