"""What the lesson on backward with a vector claims of v, of the Jacobian and of its run's end."""

from __future__ import annotations

import pytest
import torch

from tests.lessons.runs import a_run


def test_at_the_end_v_is_not_0_and_the_gradient_is() -> None:
    for mode in ("manual", "autograd", "optimizer"):
        run = a_run("vector-backward", mode)
        run.run_to(29)
        frame = run.step_epoch()
        (v,) = run.evaluate(["2 * (y_pred - y)"])
        assert v.data == pytest.approx((-0.39, -0.13, 0.78), abs=0.005)
        assert frame.gradients["w"].data == pytest.approx((0, 0), abs=1e-3)


def test_a_v_with_a_single_1_gives_a_row_of_the_jacobian_and_a_sum_has_ones() -> None:
    X = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]])
    for v, expected in [*zip(torch.eye(3), X, strict=True), (torch.ones(3), X.sum(0))]:
        w = torch.ones(2, requires_grad=True)
        (X @ w).backward(v)
        assert torch.equal(w.grad, expected)  # type: ignore[arg-type]


def test_autograd_multiplies_v_where_the_jacobian_of_a_relu_would_be_a_diagonal() -> None:
    z = torch.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    v = torch.tensor([5.0, 7.0, -2.0])
    jacobian = torch.autograd.functional.jacobian(torch.relu, z)
    assert torch.equal(jacobian, torch.diag(torch.tensor([0.0, 1.0, 1.0])))
    torch.relu(z).backward(v)
    assert torch.equal(z.grad, v @ jacobian)  # type: ignore[arg-type]


def test_a_tensor_with_a_single_number_needs_no_v() -> None:
    w = torch.ones(1, requires_grad=True)
    (3 * w).backward()
    assert w.grad == 3
