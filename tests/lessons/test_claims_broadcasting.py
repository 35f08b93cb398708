"""What the lesson on broadcasting claims of shapes and of the loss of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.lessons.runs import a_run


@pytest.mark.parametrize("mode", ["manual", "autograd"])
def test_the_weight_passes_its_goal_and_the_loss_falls_to_10_and_not_below(mode: str) -> None:
    run = a_run("broadcasting", mode)
    frames = [run.step_epoch() for _ in range(12)]
    weights = [frame.values["w"].data[0] for frame in frames]
    losses = [frame.loss.data[0] for frame in frames]
    assert weights[:4] == pytest.approx([2, 1, 0.5, 0.25], rel=1e-5)
    assert losses[:3] == pytest.approx([50, 20, 12.5], rel=1e-5)
    assert (np.diff(losses) < 0).all()
    assert losses[-1] == pytest.approx(10, abs=0.001)
    assert losses[-1] > 9.9999


def test_the_loss_of_all_pairs_is_never_below_the_variance_of_the_targets() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        y_pred, y = random.normal(0, 3, (6, 1)), random.normal(1, 2, 6)
        loss = ((y_pred - y) ** 2).mean()
        parts = y_pred.var() + y.var() + (y_pred.mean() - y.mean()) ** 2
        assert loss == pytest.approx(parts)
        assert ((random.permutation(y_pred) - y) ** 2).mean() == pytest.approx(loss)


def test_missing_dimensions_count_as_1_on_the_left_and_a_shorter_column_gives_a_table() -> None:
    assert (torch.zeros(4, 1) - torch.zeros(4)).shape == (4, 4)
    assert (torch.zeros(4, 1) - torch.zeros(3)).shape == (4, 3)
    assert (torch.zeros(4) - torch.zeros(2, 4)).shape == (2, 4)
    with pytest.raises(RuntimeError, match="non-singleton dimension 0"):
        torch.zeros(4) - torch.zeros(3)


def test_mse_loss_warns_of_two_shapes_and_computes_the_loss_of_all_pairs() -> None:
    y = torch.tensor([-4.0, -2.0, 2.0, 4.0])
    with pytest.warns(UserWarning, match="Using a target size"):
        loss = torch.nn.MSELoss()(y.reshape(4, 1), y)
    assert loss.item() == pytest.approx(20)
