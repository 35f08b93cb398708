"""What the lesson on overwritten tensors says of PyTorch's record, its counts and its message."""

from __future__ import annotations

import pytest
import torch

from tests.lessons.runs import repair_run
from tutor.training.loop import LessonRaised


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
