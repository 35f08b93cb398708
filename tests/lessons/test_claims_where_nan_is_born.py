"""What the lesson on the first NaN claims, computed with PyTorch and its own code."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from tests.lessons.runs import a_run, exercise, losses, repair_run
from tutor.lesson.exercise import Repair
from tutor.training.loop import LessonRaised

SLUG = "where-nan-is-born"


def gradient(under: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Of the sum of masked roots of h·w, at a height of 0 and one of 4."""
    w, h = torch.tensor(1.0, requires_grad=True), torch.tensor([0.0, 4.0])
    torch.where(h > 0, under(w * h), 0.0).sum().backward()
    assert w.grad is not None
    return w.grad.item()


def test_a_mask_after_the_root_makes_nan_and_a_small_number_under_it_does_not() -> None:
    assert math.isnan(gradient(torch.sqrt))
    assert gradient(lambda z: torch.sqrt(z + 1e-12)) == pytest.approx(1)
    assert 0.5 / math.sqrt(1e-12) == pytest.approx(500_000)


def test_a_hook_that_replaces_nan_comes_too_late() -> None:
    w, h = torch.tensor(1.0, requires_grad=True), torch.tensor([0.0, 4.0])
    w.register_hook(torch.nan_to_num)
    torch.where(h > 0, torch.sqrt(w * h), 0.0).sum().backward()
    assert w.grad == 0


def test_clipping_spreads_a_nan_to_all_numbers() -> None:
    w = torch.zeros(2, requires_grad=True)
    w.grad = torch.tensor([1.0, math.nan])
    torch.nn.utils.clip_grad_norm_([w], 1.0)
    assert w.grad.isnan().all()


def test_python_raises_where_tensors_compute_with_inf() -> None:
    with pytest.raises(ZeroDivisionError):
        0.5 / math.sqrt(0)
    assert (0.5 / torch.tensor(0.0).sqrt()).isinf()


@pytest.mark.filterwarnings("ignore:Error detected in LogBackward0")
def test_the_message_is_pytorchs_and_comes_from_the_gradient_of_epoch_one() -> None:
    where = f"{SLUG}/log-after"
    run = repair_run(where)
    with pytest.raises(LessonRaised) as raised:
        run.run_to(1)
    assert exercise(where, Repair).symptom.error in raised.value.message
    assert (raised.value.phase, run.at.epoch) == ("Gradient", 1)
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize(
    ("rate", "is_near"), [(0.01, False), (0.03, True), (0.06, True), (0.075, False)]
)
def test_which_rates_bring_the_loss_below_a_millionth_in_20_epochs(
    rate: float, is_near: bool
) -> None:
    found = losses(a_run(SLUG, "autograd", rate=rate), 20)
    assert bool(found.min() < 1e-6) is is_near


def test_with_two_tenths_the_first_gradient_is_7_and_the_second_predictions_are_nan() -> None:
    run = a_run(SLUG, "autograd", rate=0.2)
    assert run.step_epoch().gradients["w"].data == (7.0,)
    assert run.frame().values["w"].data == pytest.approx((-0.4,))
    run.step_phase()
    (are_nan,) = run.evaluate(["bool(y_pred[1:].isnan().all())"])
    assert are_nan.data == (1.0,)
