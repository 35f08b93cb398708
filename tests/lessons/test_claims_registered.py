"""What the lesson on registered parameters says of models, optimizers and buffers."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.lessons.runs import a_run


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)
        self.listed = [torch.nn.Linear(1, 1)]
        self.plain = torch.zeros(1, requires_grad=True)
        self.register_buffer("mean", torch.zeros(1))


def test_a_forgotten_bias_gets_a_gradient_that_nobody_uses_or_clears() -> None:
    run = a_run("registered", "forgotten")
    for epoch in range(1, 5):
        frame = run.step_epoch()
        assert frame.values["b"].data == (0.0,)
        assert frame.gradients["b"].data == (-2.0 * epoch,)
    assert run.run_to(20).loss.data == pytest.approx((1.0,))


@pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer", "model"])
def test_otherwise_both_numbers_halve_their_distance(mode: str) -> None:
    run = a_run("registered", mode)
    assert [run.step_epoch().loss.data[0] for _ in range(3)] == [2.0, 0.5, 0.125]


def test_a_model_looks_into_modules_and_not_into_lists() -> None:
    model = Model()
    assert {name for name, _ in model.named_parameters()} == {"linear.weight", "linear.bias"}
    assert set(model.state_dict()) == {"linear.weight", "linear.bias", "mean"}


def test_what_is_not_registered_is_not_moved() -> None:
    model = Model()
    there = copy.deepcopy(model).to("meta")
    assert there.linear.weight.device == there.mean.device == torch.device("meta")
    assert there.plain.device == there.listed[0].weight.device == torch.device("cpu")


def test_an_optimizer_is_silent_about_a_list_if_anything_else_is_registered() -> None:
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert len(optimizer.param_groups[0]["params"]) == 2
