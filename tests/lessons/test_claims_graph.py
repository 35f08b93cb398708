"""What the lessons on shapes and on PyTorch's graph claim, computed with PyTorch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.lessons.runs import a_run, exercise, repair_run
from tutor.lesson.exercise import Repair
from tutor.training.lesson_error import LessonRaised

# ── Broadcasting ──────────────────────────────────────────────────────────────────


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


# ── Backward with a vector ────────────────────────────────────────────────────────


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


# ── Registered parameters ─────────────────────────────────────────────────────────


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


# ── Overwritten tensors ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("where", "phase", "shape"),
    [
        ("overwritten/written-over", "Gradient", r"\[torch.FloatTensor \[2\]\]"),
        ("overwritten/step-too-early", "Gradient", r"\[torch.FloatTensor \[\]\]"),
    ],
)
def test_the_message_names_shape_and_versions(where: str, phase: str, shape: str) -> None:
    with pytest.raises(LessonRaised, match=f"{shape}.* is at version 1; expected version 0") as it:
        repair_run(where).run_to(1)
    assert it.value.phase == phase


def network(v: float = 0.5) -> tuple[torch.Tensor, ...]:
    u, second = torch.tensor(2.0, requires_grad=True), torch.tensor(v, requires_grad=True)
    h = u * torch.tensor([1.0, 2.0])
    return u, second, h


def test_a_product_saves_the_factors_that_a_gradient_needs_and_not_its_result() -> None:
    u, v, h = network()
    y_pred = v * h
    assert y_pred.grad_fn is not None
    assert h.grad_fn is not None
    assert y_pred.grad_fn._saved_self is v  # type: ignore[attr-defined]
    assert y_pred.grad_fn._saved_other is h  # type: ignore[attr-defined]
    assert u is not h.grad_fn._saved_self  # type: ignore[attr-defined]
    y_pred += h
    y_pred.sum().backward()


@pytest.mark.parametrize(
    ("operation", "input_is_saved", "result_is_saved"),
    [
        (torch.square, True, False),
        (torch.exp, False, True),
        (torch.sigmoid, False, True),
        (lambda h: h + 1, False, False),
    ],
)
def test_what_an_operation_saves_must_stay_unchanged(
    operation: object, input_is_saved: bool, result_is_saved: bool
) -> None:
    for number, is_saved in enumerate((input_is_saved, result_is_saved)):
        h = network()[2]
        pair = (h, operation(h))  # type: ignore[operator]
        loss = pair[1].sum()
        with torch.no_grad():
            pair[number].add_(1)
        if is_saved:
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()
        else:
            loss.backward()


def test_a_write_through_data_mixes_old_numbers_with_new_ones() -> None:
    u, v, h = network()
    first, second = (v * h + h - torch.tensor([5.0, 10.0])) ** 2
    first.backward(retain_graph=True)
    for weight in (u, v):
        weight.data -= 0.005 * weight.grad  # type: ignore[operator]
    second.backward()
    assert u.grad is not None
    assert u.grad.item() == pytest.approx(-30.64, abs=1e-4)


def test_a_change_that_changes_no_number_is_refused_as_well() -> None:
    _, v, h = network(v=0.0)
    h += v * h
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        h.sum().backward()


# ── The first NaN ─────────────────────────────────────────────────────────────────


def masked_gradient(under: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Of the sum of masked roots of h·w, at a height of 0 and one of 4."""
    w, h = torch.tensor(1.0, requires_grad=True), torch.tensor([0.0, 4.0])
    torch.where(h > 0, under(w * h), 0.0).sum().backward()
    assert w.grad is not None
    return w.grad.item()


def test_a_mask_after_the_root_makes_nan_and_a_small_number_under_it_does_not() -> None:
    assert math.isnan(masked_gradient(torch.sqrt))
    assert masked_gradient(lambda z: torch.sqrt(z + 1e-12)) == pytest.approx(1)
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
    where = "where-nan-is-born/log-after"
    run = repair_run(where)
    with pytest.raises(LessonRaised) as raised:
        run.run_to(1)
    assert exercise(where, Repair).symptom.error in raised.value.error.values["text"]
    assert (raised.value.phase, run.at.epoch) == ("Gradient", 1)
    assert not torch.is_anomaly_enabled()


def test_with_two_tenths_the_first_gradient_is_7_and_the_second_predictions_are_nan() -> None:
    run = a_run("where-nan-is-born", "autograd", rate=0.2)
    assert run.step_epoch().gradients["w"].data == (7.0,)
    assert run.frame().values["w"].data == pytest.approx((-0.4,))
    run.step_phase()
    (are_nan,) = run.evaluate(["bool(y_pred[1:].isnan().all())"])
    assert are_nan.data == (1.0,)
