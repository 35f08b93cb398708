"""What the lesson on a layer's gradient claims of shapes, sums and `nn.Linear`, by autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.lessons.runs import a_run


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
