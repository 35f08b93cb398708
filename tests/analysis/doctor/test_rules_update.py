"""The rules on gradients that are not reset and on leaves that are lost."""

from __future__ import annotations

import pytest

from tests.analysis.doctor.faulty import (
    AUTOGRAD,
    OPTIMIZER,
    fix_of,
    found_in,
    line_of,
    only_finding,
    report_on,
)

# ── Gradients that are not reset ────────────────────────────────────────────────────


def test_a_missing_reset_by_hand() -> None:
    faulty = {**AUTOGRAD, "Reset": ""}
    finding = only_finding(faulty, "gradients_not_reset", "w", "loss.backward()")
    numbers = finding.numbers
    # x is 1, 2, 3: the gradient is 28/3 (w - 2), from w = 0.5 first.
    assert numbers["old"] == pytest.approx(28 / 3 * -1.5)
    assert numbers["own"] == pytest.approx(28 / 3 * (0.5 + 0.05 * 14 - 2))
    assert numbers["used"] == pytest.approx(numbers["own"] + numbers["old"])
    fix = finding.fix
    assert fix is not None
    assert (fix.code, fix.place) == ("w.grad = None", "after")
    assert fix.line == line_of(faulty, "w -= learning_rate")
    assert fix.loss_with is not None
    assert fix.loss_without is not None
    assert fix.loss_with < fix.loss_without / 10


def test_a_missing_reset_with_an_optimizer() -> None:
    faulty = {**OPTIMIZER, "Reset": ""}
    finding = found_in(faulty)["gradients_not_reset"]
    assert fix_of(finding).code == "optimizer.zero_grad()"
    assert fix_of(finding).line == line_of(faulty, "optimizer.step()")


@pytest.mark.parametrize(
    "phases",
    [
        AUTOGRAD,
        OPTIMIZER,
        {**AUTOGRAD, "Reset": "w.grad.zero_()"},
        # Two losses are added up before one update.
        {**OPTIMIZER, "Gradient": "loss.backward(retain_graph=True)\n(0.1 * loss).backward()"},
        # Momentum kept in the gradient itself is meant.
        {**AUTOGRAD, "Reset": "w.grad *= 0.5"},
    ],
)
def test_a_reset_in_any_form_is_no_mistake(phases: dict[str, str]) -> None:
    assert not found_in(phases)


def test_batches_that_are_added_up_before_one_update_are_no_mistake() -> None:
    accumulated = {
        **OPTIMIZER,
        "Loss": OPTIMIZER["Loss"] + " / 3",
        "Update": "if batch == 2:\n    optimizer.step()",
        "Reset": "if batch == 2:\n    optimizer.zero_grad()",
    }
    assert not found_in(accumulated, batches=3)


def test_clipping_hides_no_missing_reset() -> None:
    clip = "\ntorch.nn.utils.clip_grad_norm_([w], 1.0)"
    faulty = {**OPTIMIZER, "Gradient": "loss.backward()" + clip, "Reset": ""}
    assert "gradients_not_reset" in found_in(faulty)
    assert not found_in({**OPTIMIZER, "Gradient": "loss.backward()" + clip})


ALTERNATING = {
    **OPTIMIZER,
    "Setup": "x = torch.tensor([1.0, 2.0, 3.0])\n"
    "w = torch.tensor(0.5, requires_grad=True)\n"
    "v = torch.tensor(0.5, requires_grad=True)\n"
    "first = torch.optim.SGD([w], lr=learning_rate)\n"
    "second = torch.optim.SGD([v], lr=learning_rate)",
    "Predict": "y_pred = v * x",
    "Loss": "first.zero_grad()\nloss = ((w * y_pred.detach() - 2 * x) ** 2).mean()",
    "Gradient": "loss.backward()\nfirst.step()",
    "Update": "second.zero_grad()\n((w * v * x - 2 * x) ** 2).mean().backward()\nsecond.step()",
    "Reset": "",
}
"""Two optimizers in turn: the second loss leaves a gradient in the first's parameter."""


def test_a_gradient_that_another_loss_leaves_is_no_mistake_if_it_is_reset_before_the_step() -> None:
    assert not found_in(ALTERNATING, parameters="w, v")
    faulty = {**ALTERNATING, "Loss": ALTERNATING["Loss"].replace("first.zero_grad()\n", "")}
    assert found_in(faulty, parameters="w, v")["gradients_not_reset"].variable == "w"


def test_a_reset_between_backward_and_the_update() -> None:
    faulty = {**OPTIMIZER, "Update": "optimizer.zero_grad()\noptimizer.step()", "Reset": ""}
    finding = only_finding(faulty, "reset_before_update", "w", "optimizer.zero_grad()")
    assert finding.numbers["gradient"] == pytest.approx(-14)
    assert finding.numbers["used"] == "None"
    assert fix_of(finding).code == "optimizer.step()\noptimizer.zero_grad()"
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_with < 0.01


# ── A lost leaf ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("update", "fix", "requires_grad"),
    [
        (
            "w = w - learning_rate * w.grad",
            "with torch.no_grad():\n    w -= learning_rate * w.grad\nw.grad = None",
            True,
        ),
        (
            "with torch.no_grad():\n    w = w - learning_rate * w.grad",
            "w -= learning_rate * w.grad\nw.grad = None",
            False,
        ),
    ],
)
def test_a_lost_leaf(update: str, fix: str, requires_grad: bool) -> None:
    faulty = {**AUTOGRAD, "Update": update, "Reset": ""}
    finding = found_in(faulty)["lost_leaf"]
    assert (finding.variable, finding.line) == ("w", line_of(faulty, "w = w - "))
    assert finding.numbers["gradient_before"] == pytest.approx(-14)
    assert finding.numbers["gradient"] == "None"
    assert finding.numbers["requires_grad"] is requires_grad
    assert fix_of(finding).code == fix
    assert fix_of(finding).loss_without is None  # it raises in epoch 2
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_with < 0.01


def test_two_leaves_that_are_lost_together_are_fixed_together() -> None:
    faulty = {
        **AUTOGRAD,
        "Setup": AUTOGRAD["Setup"] + "\nb = torch.tensor(0.0, requires_grad=True)",
        "Predict": "y_pred = w * x + b",
        "Update": "w = w - learning_rate * w.grad\nb = b - learning_rate * b.grad",
        "Reset": "",
    }
    findings = report_on(faulty, parameters="w, b").findings
    assert [f.variable for f in findings if f.code == "lost_leaf"] == ["w", "b"]
    assert all(f.fix and f.fix.loss_with and f.fix.loss_with < 1 for f in findings)


@pytest.mark.parametrize(
    "update",
    [
        "w = (w - learning_rate * w.grad).detach().requires_grad_()",
        "w = w - learning_rate * w.grad\nw = w.detach()\nw.requires_grad_()",
        "w.data = w.data - learning_rate * w.grad",
    ],
)
def test_a_new_leaf_is_no_mistake(update: str) -> None:
    assert not found_in({**AUTOGRAD, "Update": update, "Reset": "w.grad = None"})


def test_a_weight_without_leaf_is_no_mistake_where_autograd_hands_the_gradient_back() -> None:
    phases = {
        **AUTOGRAD,
        "Gradient": "(gradient,) = torch.autograd.grad(loss, w)",
        "Update": "w = (w - learning_rate * gradient).detach().requires_grad_()",
        "Reset": "",
    }
    assert "lost_leaf" not in found_in(phases)
