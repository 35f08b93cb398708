"""What the lesson on batch norm claims, computed with its own code and with PyTorch's module."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.lessons.runs import a_run, repair_run
from tutor.protocol.frame import Element
from tutor.training.run import Run

SLUG = "batch-norm"


def value(run: Run, expression: str) -> np.ndarray:
    (found,) = run.evaluate([expression])
    return np.array(found.data)


@pytest.mark.parametrize("mode", ["manual", "autograd"])
def test_by_hand_it_is_batchnorm1d_with_its_gradients_and_running_values(mode: str) -> None:
    by_hand, module = a_run(SLUG, mode), a_run(SLUG, "model")
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
    run = a_run(SLUG, "manual")
    run.step_epoch()
    assert value(run, "dz.ravel()") == pytest.approx([-0.1, 0.1, -0.1, 0.1], abs=1e-4)


def test_another_fourth_sample_changes_all_predictions() -> None:
    norm = torch.nn.BatchNorm1d(1)
    before, after = (norm(torch.tensor([[1.0], [1.0], [3.0], [z]])) for z in (3.0, 9.0))
    assert ((before - after).abs() > 0.1).all()


def test_ten_times_the_weights_make_the_same_loss_and_a_tenth_of_the_gradient() -> None:
    small, large = a_run(SLUG, "autograd"), a_run(SLUG, "autograd")
    for number in (0, 1):
        large.set(element=Element("w", (0, number), 10.0))
    one, ten = small.step_epoch(), large.step_epoch()
    assert one.gradients["w"].data == pytest.approx((-2, 2), abs=1e-3)
    assert ten.gradients["w"].data == pytest.approx((-0.2, 0.2), abs=1e-4)
    assert one.gradients["gamma"].data == pytest.approx(ten.gradients["gamma"].data, abs=1e-3)


@pytest.mark.parametrize("mode", ["manual", "model"])
def test_the_new_sample_comes_to_4_46_as_the_running_variance_is_a_third_larger(mode: str) -> None:
    run = a_run(SLUG, mode)
    run.run_to(100)
    assert value(run, "answer.ravel()") == pytest.approx([4.46], abs=0.005)
    ratio = value(run, "running_var.ravel()") / np.square(value(run, "z.ravel()")).mean()
    assert ratio == pytest.approx(4 / 3, abs=0.01)


def test_with_constant_statistics_the_second_number_is_0_and_the_sum_is_not() -> None:
    run = repair_run(f"{SLUG}/constant-statistics", 1)
    assert value(run, "dz.ravel()") == pytest.approx([-0.2, 0, -0.1, 0.1], abs=1e-4)
