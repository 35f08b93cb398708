"""The rules on a rate that is too large, and on the first number that is not finite."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.analysis.doctor.faulty import (
    AUTOGRAD,
    MANUAL,
    OPTIMIZER,
    fix_of,
    found_in,
    lesson_of,
    line_of,
    only_finding,
    report_on,
)
from tutor.analysis.doctor.examination import examine

# The mean of x² is 14/3: the curvature of the loss is 28/3, and the limit 2 / (28/3) = 3/14.
CURVATURE, LIMIT = 28 / 3, 3 / 14


def with_optimizer(optimizer: str) -> dict[str, str]:
    return {**OPTIMIZER, "Setup": f"{AUTOGRAD['Setup']}\n{optimizer}"}


# ── A rate above the limit ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("optimizer", "line", "variable", "rate", "limit", "fix"),
    [
        (
            "optimizer = torch.optim.SGD([w], lr=0.3)",
            "SGD([w]",
            "lr",
            0.3,
            LIMIT,
            "optimizer = torch.optim.SGD([w], lr=0.1)",
        ),
        ("step = 0.3\noptimizer = torch.optim.SGD([w], step)", "step =", "step", 0.3, LIMIT, None),
        (
            "lr = 0.45\noptimizer = torch.optim.SGD([w], lr=lr, momentum=0.9)",
            "lr = 0.45",
            "lr",
            0.45,
            1.9 * LIMIT,
            "lr = 0.2",
        ),
    ],
)
def test_an_optimizer_that_diverges(
    optimizer: str, line: str, variable: str, rate: float, limit: float, fix: str | None
) -> None:
    faulty = with_optimizer(optimizer)
    finding = only_finding(faulty, "diverges", variable, line)
    numbers = finding.numbers
    assert numbers["rate"] == rate
    assert numbers["bound"] == pytest.approx(limit)
    assert numbers["curvature"] == pytest.approx(CURVATURE)
    assert numbers["loss"] == pytest.approx(10.5)
    assert float(str(numbers["loss_later"])) > 1000
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_with < 3
    assert fix in (None, fix_of(finding).code)


@pytest.mark.parametrize(("phases", "mode"), [(AUTOGRAD, "autograd"), (MANUAL, "manual")])
def test_an_update_by_hand_that_diverges(phases: Mapping[str, str], mode: str) -> None:
    finding = found_in(phases, mode=mode, rate=0.3)["diverges"]
    assert (finding.variable, finding.numbers["rate"]) == ("learning_rate", 0.3)
    assert finding.line == line_of(phases, "w -= ", mode=mode)
    assert finding.numbers["bound"] == pytest.approx(LIMIT)
    assert finding.lesson == "border-of-divergence"


@pytest.mark.parametrize(
    ("phases", "options"),
    [
        (AUTOGRAD, {"rate": 0.99 * LIMIT}),
        (MANUAL, {"rate": 0.99 * LIMIT, "mode": "manual"}),
        # Above the limit without momentum, below that with it.
        (with_optimizer("optimizer = torch.optim.SGD([w], lr=0.35, momentum=0.9)"), {}),
        (with_optimizer("optimizer = torch.optim.Adam([w], lr=0.5)"), {}),
        # The gradient is clipped: the steps are short in spite of the rate.
        (
            {
                **with_optimizer("optimizer = torch.optim.SGD([w], lr=0.3)"),
                "Update": "torch.nn.utils.clip_grad_norm_([w], 0.01)\noptimizer.step()",
            },
            {},
        ),
        # It grows because it is made to grow.
        ({**AUTOGRAD, "Predict": "y_pred = w * x\nx = x * 1.05"}, {"rate": 1e-4}),
        # A closure, called several times a step.
        (
            {
                **with_optimizer("optimizer = torch.optim.LBFGS([w], lr=1)"),
                "Update": """def closure():
    optimizer.zero_grad()
    value = ((w * x - 2 * x) ** 2).mean()
    value.backward()
    return value
optimizer.step(closure)""",
            },
            {},
        ),
    ],
)
def test_a_rate_that_is_low_enough(phases: Mapping[str, str], options: dict[str, object]) -> None:
    assert not found_in(phases, **options)


def test_two_losses_with_two_optimizers_are_no_divergence() -> None:
    game = {
        "Setup": """torch.manual_seed(0)
w = torch.tensor(0.5, requires_grad=True)
v = torch.tensor(0.5, requires_grad=True)
one, other = torch.optim.SGD([w], lr=0.1), torch.optim.SGD([v], lr=0.1)""",
        "Predict": "product = w * v",
        "Loss": "loss = product",
        "Gradient": "loss.backward()",
        "Update": "one.step()\none.zero_grad()\nother.zero_grad()",
        "Reset": """loss = -(w * v)
loss.backward()
other.step()
one.zero_grad()
other.zero_grad()""",
    }
    assert not found_in(game)


# ── The first number that is not finite ─────────────────────────────────────────────

ROOT = {
    **AUTOGRAD,
    "Setup": "x = torch.tensor([0.0, 4.0, 16.0])\nw = torch.tensor(1.0, requires_grad=True)",
}


def test_a_root_behind_a_mask_makes_the_first_nan() -> None:
    faulty = {**ROOT, "Predict": "z = w * x\ny_pred = torch.where(x > 0, z.sqrt(), 0.0)"}
    finding = only_finding(faulty, "first_gradient_not_finite", "y_pred", "z.sqrt()")
    assert finding.numbers == {"operation": "sqrt", "argument": 0, "got": 0, "gave": "nan"}
    assert finding.lesson == "where-nan-is-born"


def test_a_mask_before_the_root_is_no_mistake() -> None:
    inside = "z = torch.where(x > 0, w * x, 1.0)\ny_pred = torch.where(x > 0, z.sqrt(), 0.0)"
    assert not found_in({**ROOT, "Predict": inside})


@pytest.mark.parametrize(
    ("predict", "operation", "argument", "result", "line"),
    [
        ("p = torch.log(w * x)\ny_pred = 2 * p", "log", 0, "-inf", "torch.log"),
        ("p = 90 * w * x\ny_pred = torch.exp(p)", "exp", 360, "inf", "torch.exp"),
        ("p = w * x\ny_pred = x / p", "div", 0, "nan", "x / p"),
        ("p = w * x - 5\ny_pred = p ** 0.5", "pow", -5, "nan", "p ** 0.5"),
    ],
)
def test_the_first_operation_that_makes_no_number(
    predict: str, operation: str, argument: float, result: str, line: str
) -> None:
    faulty = {**ROOT, "Predict": predict}
    finding = found_in(faulty)["first_not_finite"]
    assert finding.line == line_of(faulty, line)
    assert finding.numbers == {"operation": operation, "argument": argument, "result": result}
    assert finding.variable == ("p" if "p = torch" in predict else "y_pred")


@pytest.mark.parametrize(
    ("predict", "variable", "operation", "argument", "result"),
    [
        ("p = np.log(w * x)\ny_pred = 2 * p", "p", "log", 0, "-inf"),
        ("p = w * x\ny_pred = x / p", "y_pred", "div", 0, "nan"),
        ("p = np.log((w * x).mean() - 20 / 3)\ny_pred = p * x", "p", "log", 0, "-inf"),
        # Of a product, no one element is the argument.
        ("p = (w * x * 1e200) @ (x * 1e200)\ny_pred = p * x", "p", "matmul", None, "inf"),
        ("q = abs(w * x - 4)\np = np.log(q).sum()\ny_pred = p * x", "p", "log", 0, "-inf"),
    ],
)
def test_operations_of_numpy_are_computed_again_part_by_part(
    predict: str, variable: str, operation: str, argument: float | None, result: str
) -> None:
    faulty = {
        **MANUAL,
        "Setup": "x = np.array([0.0, 4.0, 16.0])\nw = np.float64(1.0)",
        "Predict": predict,
        "Gradient": "dw = (2 * (y_pred - 2 * x)).mean()",
    }
    finding = found_in(faulty, mode="manual")["first_not_finite"]
    assert finding.variable == variable
    assert finding.line == line_of(faulty, f"{variable} = ", mode="manual")
    assert (finding.numbers["operation"], finding.numbers["result"]) == (operation, result)
    assert argument in (None, finding.numbers["argument"])


def test_data_that_hold_nan() -> None:
    setup = "x = torch.tensor([1.0, float('nan'), 3.0])\nw = torch.tensor(0.5, requires_grad=True)"
    faulty = {**AUTOGRAD, "Setup": setup}
    finding = only_finding(faulty, "data_not_finite", "x", "x = ")
    assert finding.numbers == {"count": 1, "size": 3}


@pytest.mark.parametrize(
    "predict",
    [
        # A mask of minus infinity before a softmax, and the best loss so far.
        "best = float('inf')\ny_pred = torch.softmax((w * x).masked_fill(x > 5, float('-inf')), 0)",
        # Infinities that nothing uses.
        "print(torch.log(w * x))\ny_pred = w * x",
        "p = torch.log(w * x)\ny_pred = torch.where(x < 0, p.detach(), w * x)",
    ],
)
def test_infinity_on_purpose(predict: str) -> None:
    assert not found_in({**ROOT, "Predict": predict}, rate=1e-3)


def test_a_run_that_diverges_to_infinity_is_told_once() -> None:
    report = examine(lesson_of(AUTOGRAD, rate=30), epochs=60)
    assert [finding.code for finding in report.findings] == ["diverges"]
    assert not report.failed


def test_hooks_of_the_code_are_left_alone() -> None:
    hooked = {**AUTOGRAD, "Setup": AUTOGRAD["Setup"] + "\nw.register_hook(lambda g: g * 2)"}
    assert not report_on(hooked).findings
