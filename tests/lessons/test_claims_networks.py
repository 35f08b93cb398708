"""What the lessons on networks claim, computed with their own code and with PyTorch's modules."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from tests import shipped
from tests.lessons.runs import a_run, exercise, losses, repair_run, trial_of
from tutor.lesson.exercise import Predict, Repair
from tutor.protocol.frame import Element
from tutor.training.run import Run

# ── The gradient of a layer ───────────────────────────────────────────────────────


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(4, 3, 2), (1, 5, 1), (3, 3, 3)])
def test_the_formulas_agree_with_autograd_for_layers_of_other_sizes(
    rows: int, inputs: int, outputs: int
) -> None:
    torch.manual_seed(0)
    X, W = torch.randn(rows, inputs), torch.randn(inputs, outputs)
    b, Y = torch.randn(outputs), torch.randn(rows, outputs)
    for tensor in (X, W, b):
        tensor.requires_grad_()
    Z = X @ W + b
    ((Z - Y) ** 2).sum().backward()
    delta = 2 * (Z - Y).detach()
    assert torch.allclose(W.grad, X.detach().T @ delta, atol=1e-4)  # type: ignore[arg-type]
    assert torch.allclose(b.grad, delta.sum(0), atol=1e-4)  # type: ignore[arg-type]
    assert torch.allclose(X.grad, delta @ W.detach().T, atol=1e-4)  # type: ignore[arg-type]


def test_linear_stores_the_transpose_and_its_gradients_are_delta_t_x_and_delta_w() -> None:
    torch.manual_seed(0)
    layer, X = torch.nn.Linear(3, 2), torch.randn(4, 3, requires_grad=True)
    Z = layer(X)
    assert layer.weight.shape == (2, 3)
    assert torch.allclose(Z, X @ layer.weight.T + layer.bias)
    (Z**2).sum().backward()
    delta, x = 2 * Z.detach(), X.detach()
    assert torch.allclose(layer.weight.grad, delta.T @ x, atol=1e-5)  # type: ignore[arg-type]
    assert torch.allclose(X.grad, delta @ layer.weight.detach(), atol=1e-5)  # type: ignore[arg-type]


def test_all_modes_come_to_the_same_loss() -> None:
    losses = []
    for mode in ("manual", "autograd", "optimizer", "model"):
        run = a_run("layer-gradient", mode)
        run.run_to(60)
        losses.append(run.frame().loss.data[0])
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-3)


def test_with_four_outputs_a_sum_over_the_wrong_axis_gives_no_message() -> None:
    b, delta = np.zeros(4), np.arange(16.0).reshape(4, 4)
    b -= delta.sum(axis=1)
    assert (b != -delta.sum(axis=0)).any()


# ── Starting weights ──────────────────────────────────────────────────────────────


def layers(run: Run) -> list[float]:
    """The standard deviations of the input and of each layer's outputs."""
    return list(run.frame().watched["std of each layer"].data)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_twins_stay_equal_and_end_at_a_loss_of_5_quarters(rate: float) -> None:
    run = a_run("starting-weights", "twins", rate=rate)
    run.run_to(200)
    first, second = run.frame().values["w"].data
    assert first == second
    assert run.frame().loss.data == pytest.approx((1.25,), abs=1e-4)


def test_a_weight_of_the_other_sign_parts_the_twins() -> None:
    run = a_run("starting-weights", "twins")
    run.set(element=Element("w", (1,), -0.25))
    run.run_to(30)
    assert run.frame().loss.data[0] < 0.01
    assert run.frame().values["w"].data == pytest.approx((1, -1), abs=0.05)


def test_with_the_size_of_a_quarter_all_layers_are_near_1() -> None:
    run = a_run("starting-weights", "deep")
    run.step_epoch()
    assert all(0.75 < std < 1.05 for std in layers(run))


def test_in_every_layer_only_the_second_and_the_fourth_have_another_factor() -> None:
    trial = trial_of("starting-weights/every-layer")
    run = trial.begin(trial.exercise.stage)
    run.step_epoch()
    found = layers(run)
    factors = [b / a for a, b in pairwise(found)]
    assert factors == pytest.approx([1, 4, 1, 1 / 4, 1], rel=0.2)
    assert 0.5 < found[-1] < 2


def test_with_the_forgotten_root_a_thousandth_is_left_and_the_loss_does_not_fall() -> None:
    run = repair_run("starting-weights/root-forgotten", 100)
    assert layers(run)[-1] == pytest.approx(1e-3, rel=0.2)
    assert run.frame().loss.data == pytest.approx(run.seek(1).loss.data, rel=1e-3)


def test_weights_of_0_get_gradients_of_0() -> None:
    w = torch.zeros(5, 32, 32, requires_grad=True)
    outputs = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    for weights in w:
        outputs = torch.relu(outputs @ weights)
    ((outputs.mean(dim=1) - 1) ** 2).mean().backward()
    assert w.grad is not None
    assert not w.grad.any()


def test_kaiming_normal_draws_with_the_root_of_2_over_n() -> None:
    weights = torch.empty(500, 32)
    torch.nn.init.kaiming_normal_(weights, generator=torch.Generator().manual_seed(0))
    assert weights.std().item() == pytest.approx((2 / 32) ** 0.5, rel=0.02)


# ── Activation functions ──────────────────────────────────────────────────────────


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


# ── Batch norm ────────────────────────────────────────────────────────────────────


def numbers_of(run: Run, expression: str) -> np.ndarray:
    (found,) = run.evaluate([expression])
    return np.array(found.data)


@pytest.mark.parametrize("mode", ["manual", "autograd"])
def test_by_hand_it_is_batchnorm1d_with_its_gradients_and_running_values(mode: str) -> None:
    by_hand, module = a_run("batch-norm", mode), a_run("batch-norm", "model")
    for _ in range(30):
        one, other = by_hand.step_epoch(), module.step_epoch()
        for name in ("w", "gamma", "beta"):
            assert one.values[name].data == pytest.approx(other.values[name].data, abs=1e-4)
            assert one.gradients[name].data == pytest.approx(other.gradients[name].data, abs=1e-4)
        for label, shown in one.watched.items():
            assert shown.data == pytest.approx(other.watched[label].data, rel=1e-4, abs=1e-3)


def test_the_formula_of_its_gradient_is_autograds_at_random_numbers() -> None:
    torch.manual_seed(0)
    for size in (2, 5, 100):
        norm = torch.nn.BatchNorm1d(1).double()
        z = torch.randn(size, 1, dtype=torch.float64, requires_grad=True)
        out = norm(z)
        out.retain_grad()
        (torch.randn(size, 1, dtype=torch.float64) * out**2).sum().backward()
        assert out.grad is not None
        root = (z.var(correction=0) + norm.eps).sqrt().item()
        n, g = ((z - z.mean()) / root).detach(), norm.weight.item() * out.grad
        expected = (g - g.mean() - n * (g * n).mean()) / root
        assert z.grad is not None
        assert torch.allclose(z.grad, expected)
        assert z.grad.sum().abs() < 1e-9


def test_a_sample_that_is_right_gets_a_gradient_and_all_of_them_add_up_to_0() -> None:
    run = a_run("batch-norm", "manual")
    run.step_epoch()
    assert numbers_of(run, "dz.ravel()") == pytest.approx([-0.1, 0.1, -0.1, 0.1], abs=1e-4)


def test_another_fourth_sample_changes_all_predictions() -> None:
    norm = torch.nn.BatchNorm1d(1)
    before, after = (norm(torch.tensor([[1.0], [1.0], [3.0], [z]])) for z in (3.0, 9.0))
    assert ((before - after).abs() > 0.1).all()


def test_ten_times_the_weights_make_the_same_loss_and_a_tenth_of_the_gradient() -> None:
    small, large = a_run("batch-norm", "autograd"), a_run("batch-norm", "autograd")
    for number in (0, 1):
        large.set(element=Element("w", (0, number), 10.0))
    one, ten = small.step_epoch(), large.step_epoch()
    assert one.gradients["w"].data == pytest.approx((-2, 2), abs=1e-3)
    assert ten.gradients["w"].data == pytest.approx((-0.2, 0.2), abs=1e-4)
    assert one.gradients["gamma"].data == pytest.approx(ten.gradients["gamma"].data, abs=1e-3)


@pytest.mark.parametrize("mode", ["manual", "model"])
def test_the_new_sample_comes_to_4_46_as_the_running_variance_is_a_third_larger(mode: str) -> None:
    run = a_run("batch-norm", mode)
    run.run_to(100)
    assert numbers_of(run, "answer.ravel()") == pytest.approx([4.46], abs=0.005)
    ratio = numbers_of(run, "running_var.ravel()") / np.square(numbers_of(run, "z.ravel()")).mean()
    assert ratio == pytest.approx(4 / 3, abs=0.01)


def test_with_constant_statistics_the_second_number_is_0_and_the_sum_is_not() -> None:
    run = repair_run("batch-norm/constant-statistics", 1)
    assert numbers_of(run, "dz.ravel()") == pytest.approx([-0.2, 0, -0.1, 0.1], abs=1e-4)


# ── Train, eval and no_grad ───────────────────────────────────────────────────────


def a_seeded_run(mode: str, seed: int, rate: float | None = None) -> Run:
    return Run(shipped.programs("train-and-eval"), mode, learning_rate=rate, seed=seed)


def four_weights(run: Run) -> np.ndarray:
    return np.array(run.frame().values["w"].data)


@pytest.mark.parametrize("seed", range(2))
def test_the_first_weight_falls_and_the_other_three_rise(seed: int) -> None:
    run = a_seeded_run("model", seed)
    run.run_to(200)
    found = four_weights(run)
    assert found[0] < 0.5
    assert found[1:].min() > 0.05


def test_with_dropout_the_loss_is_least_on_average_where_all_weights_are_a_fifth() -> None:
    """E[L] = mean(t²) · ((Σw − 1)² + Σw²): the variance of what dropout leaves is Σw² t²."""
    best = np.linalg.solve(np.ones((4, 4)) + np.eye(4), np.ones(4))
    assert best == pytest.approx([0.2] * 4)


@pytest.mark.parametrize("seed", range(2))
def test_a_small_rate_comes_to_a_fifth_and_no_longer_jumps(seed: int) -> None:
    run = a_seeded_run("autograd", seed, 0.001)
    run.run_to(1000)
    changes = abs(np.diff(run.history.losses.numbers()[-100:]))
    assert changes.max() < 0.05
    assert four_weights(run) == pytest.approx([0.2] * 4, abs=0.12)
    assert four_weights(run).sum() == pytest.approx(0.8, abs=0.17)


@pytest.mark.parametrize("seed", range(2))
def test_at_the_lessons_rate_the_reported_loss_changes_by_more_than_a_tenth(seed: int) -> None:
    run = a_seeded_run("autograd", seed)
    run.run_to(200)
    changes = abs(np.diff(run.history.losses.numbers()[-100:]))
    assert 0.1 < changes.max() < 0.3


def test_a_model_that_stays_in_evaluation_mode_trusts_one_sensor() -> None:
    assert four_weights(repair_run("train-and-eval/no-way-back", 200))[0] > 0.9
