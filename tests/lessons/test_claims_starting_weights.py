"""What the lesson on starting weights says of twins, and of the layers' standard deviations."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tests.lessons.runs import a_run, repair_run, trial_of
from tutor.protocol.frame import Element
from tutor.training.run import Run


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
