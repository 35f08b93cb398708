"""The rules on data that require a gradient, on layers, and on gradients that are added up."""

from __future__ import annotations

import pytest

from tests.analysis.doctor.faulty import (
    AUTOGRAD,
    OPTIMIZER,
    fix_of,
    found_in,
    line_of,
    only_finding,
)

# ── Data that require a gradient ────────────────────────────────────────────────────

W = "w = torch.tensor(0.5, requires_grad=True)"
DATA = f"x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)\n{W}"


@pytest.mark.parametrize(
    ("setup", "line", "fix"),
    [
        (DATA, "x = ", "x = torch.tensor([1.0, 2.0, 3.0])"),
        (
            f"x = torch.tensor([1.0, 2.0, 3.0])\nx.requires_grad_()\n{W}",
            "x.requires",
            "x.requires_grad_(False)",
        ),
        (
            f"x = torch.tensor([1.0, 2.0, 3.0])\nx.requires_grad = True\n{W}",
            "x.requires",
            "x.requires_grad = False",
        ),
    ],
)
def test_data_that_require_a_gradient(setup: str, line: str, fix: str) -> None:
    faulty = {**AUTOGRAD, "Setup": setup}
    finding = only_finding(faulty, "data_require_gradient", "x", line)
    # In epoch 1 dL/dx is 2 (0.5 - 2)² x / 3, and each backward adds to it.
    assert finding.numbers["size"] == 3
    assert finding.numbers["first"] == pytest.approx(1.5 * 14**0.5)
    assert float(str(finding.numbers["last"])) > float(str(finding.numbers["first"]))
    assert fix_of(finding).code == fix


def test_targets_that_require_a_gradient() -> None:
    target = "y = torch.tensor([2.0, 4.0, 6.0], requires_grad=True)"
    faulty = {
        **AUTOGRAD,
        "Setup": f"{AUTOGRAD['Setup']}\n{target}",
        "Loss": "loss = torch.nn.functional.mse_loss(y_pred, y)",
    }
    (finding,) = found_in(faulty).values()
    assert (finding.variable, finding.line) == ("y", line_of(faulty, "y = torch"))


@pytest.mark.parametrize(
    "phases",
    [
        # An attack, or a map of what matters: `x.grad` is read.
        {
            "Update": "with torch.no_grad():\n    worse = x + 0.1 * x.grad.sign()\n"
            "    w -= learning_rate * w.grad"
        },
        # Learnt inputs.
        {
            "Setup": f"{DATA}\noptimizer = torch.optim.SGD([x, w], lr=0.01)",
            "Update": "optimizer.step()",
            "Reset": "optimizer.zero_grad()",
        },
        {
            "Update": "with torch.no_grad():\n    w -= 0.01 * w.grad\n    x -= 0.01 * x.grad",
            "Reset": "w.grad = x.grad = None",
        },
        # A differential equation.
        {
            "Predict": "u = w * x\n"
            "y_pred = x * torch.autograd.grad(u.sum(), x, create_graph=True)[0]"
        },
    ],
)
def test_data_whose_gradient_is_used(phases: dict[str, str]) -> None:
    found = found_in({**AUTOGRAD, "Setup": DATA, **phases})
    assert "data_require_gradient" not in found


def test_a_weight_that_nothing_changes_is_no_data() -> None:
    weights = (
        "x = torch.randn(3, 3)\nw = torch.tensor(0.5, requires_grad=True)\n"
        "v = torch.ones(3, requires_grad=True)"
    )
    found = found_in({**AUTOGRAD, "Setup": weights, "Predict": "y_pred = w * (x @ v)"})
    assert "data_require_gradient" not in found


# ── Layers ──────────────────────────────────────────────────────────────────────────

DEEP = {
    "Setup": """torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 1)
parts = []
for i in range(7):
    parts += [torch.nn.Linear(4, 4), torch.nn.Sigmoid()]
model = torch.nn.Sequential(*parts, torch.nn.Linear(4, 1))
w = model[0].weight
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)""",
    "Predict": "y_pred = model(x)",
    "Loss": "loss = ((y_pred - y) ** 2).mean()",
    "Gradient": "loss.backward()",
    "Update": "optimizer.step()",
    "Reset": "optimizer.zero_grad()",
}
LARGE = """
with torch.no_grad():
    for part in model:
        if hasattr(part, "weight"):
            part.weight.mul_(8)"""


def deep(activation: str, more: str = "") -> dict[str, str]:
    return {**DEEP, "Setup": DEEP["Setup"].replace("Sigmoid()", activation) + more}


def test_gradients_that_vanish() -> None:
    finding = only_finding(DEEP, "gradients_vanish", "w", "w = ", mode="model")
    first, last = (float(str(finding.numbers[name])) for name in ("first", "last"))
    assert 0 < first < 1e-6 < 1e-2 < last
    assert (finding.numbers["layers"], finding.numbers["last_layer"]) == (8, "model[14].weight")
    assert finding.lesson == "vanishing"


def test_gradients_that_vanish_by_hand() -> None:
    layers = ", ".join(["torch.full((2, 2), 0.2, requires_grad=True)"] * 6)
    faulty = {
        **AUTOGRAD,
        "Setup": f"x = torch.ones(3, 2)\nlayers = [{layers}]\nw = layers[0]",
        "Predict": "y_pred = x\nfor layer in layers:\n    y_pred = torch.sigmoid(y_pred @ layer)",
        "Loss": "loss = ((y_pred - 1) ** 2).mean()",
        "Update": "for p in layers:\n    p.data -= learning_rate * p.grad",
        "Reset": "for p in layers:\n    p.grad = None",
    }
    finding = found_in(faulty)["gradients_vanish"]
    assert (finding.variable, finding.numbers["layers"]) == ("w", 6)


def test_gradients_that_explode() -> None:
    faulty = deep("LeakyReLU(0.9)", LARGE)
    finding = only_finding(faulty, "gradients_explode", "w", mode="model", rate=1e-15)
    first, last = (float(str(finding.numbers[name])) for name in ("first", "last"))
    assert first > 1000 * last
    clipped = {
        **faulty,
        "Update": "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\noptimizer.step()",
    }
    assert not found_in(clipped, mode="model", rate=1e-9)


@pytest.mark.parametrize(
    "phases",
    [
        deep("Tanh()"),
        deep("LeakyReLU(0.9)"),
        # Inputs that are not scaled: one layer's gradient is large, and no more.
        {**deep("LeakyReLU(0.9)"), "Predict": "y_pred = model(100 * x)"},
        # Layers that are frozen.
        deep("Tanh()", "\nmodel[0].requires_grad_(False)\nmodel[2].requires_grad_(False)"),
        # Sigmoids, but not many.
        {**DEEP, "Setup": DEEP["Setup"].replace("range(7)", "range(2)")},
    ],
)
def test_gradients_of_one_size(phases: dict[str, str]) -> None:
    found = found_in(phases, mode="model", rate=1e-3)
    assert not {"gradients_vanish", "gradients_explode"} & set(found)


# ── Gradients that are added up ─────────────────────────────────────────────────────

ADDED = {
    **OPTIMIZER,
    "Update": "if (batch + 1) % 4 == 0:\n    optimizer.step()",
    "Reset": "if (batch + 1) % 4 == 0:\n    optimizer.zero_grad()",
}
BY_HAND = {
    **AUTOGRAD,
    "Update": "if batch == 3:\n    with torch.no_grad():\n        w -= learning_rate * w.grad",
    "Reset": "if batch == 3:\n    w.grad = None",
}
CHUNKS = {
    **OPTIMIZER,
    "Predict": "loss = None",
    "Loss": "loss = None",
    "Gradient": """for part in x.chunk(3):
    loss = ((w * part - 2 * part) ** 2).mean()
    loss.backward()""",
}


@pytest.mark.parametrize(
    ("faulty", "count", "fix"),
    [
        (ADDED, 4, "(loss / 4).backward()"),
        (BY_HAND, 4, "(loss / 4).backward()"),
        (CHUNKS, 3, "(loss / 3).backward()"),
    ],
)
def test_means_that_are_added_up(faulty: dict[str, str], count: int, fix: str) -> None:
    batches = 4 if count == 4 else 1
    finding = only_finding(
        faulty, "accumulated_without_division", "w", "loss.backward()", batches=batches
    )
    assert finding.numbers["backwards"] == count
    assert finding.numbers["used"] == pytest.approx(14 * count)
    assert finding.numbers["mean"] == pytest.approx(14)
    assert fix_of(finding).code == fix


MEAN = "loss = ((y_pred - 2 * x) ** 2).mean()"


@pytest.mark.parametrize(
    ("phases", "batches"),
    [
        ({**ADDED, "Loss": f"{MEAN} / 4"}, 4),
        ({**ADDED, "Loss": f"{MEAN}\nloss = loss / 4"}, 4),
        ({**ADDED, "Gradient": "(loss / 4).backward()"}, 4),
        ({**ADDED, "Gradient": "(0.25 * loss).backward()"}, 4),
        ({**ADDED, "Gradient": "loss.backward(torch.tensor(0.25))"}, 4),
        # The gradient is divided, or clipped.
        ({**ADDED, "Update": "if batch == 3:\n    w.grad /= 4\n    optimizer.step()"}, 4),
        (
            {
                **ADDED,
                "Update": "if batch == 3:\n    torch.nn.utils.clip_grad_norm_([w], 1.0)\n"
                "    optimizer.step()",
            },
            4,
        ),
        # A sum over all samples, with a rate for it.
        ({**ADDED, "Loss": "loss = ((y_pred - 2 * x) ** 2).sum() / 12"}, 4),
        ({**BY_HAND, "Update": BY_HAND["Update"] + " / 4"}, 4),
        ({**BY_HAND, "Update": BY_HAND["Update"].replace("w.grad", "(w.grad / 4)")}, 4),
        ({**CHUNKS, "Gradient": CHUNKS["Gradient"].replace(".mean()", ".mean() / 3")}, 1),
        # Two tasks, and two losses of one batch.
        ({**CHUNKS, "Gradient": CHUNKS["Gradient"].replace("x.chunk(3)", "(x, 2 * x)")}, 1),
        ({**OPTIMIZER, "Gradient": "loss.backward(retain_graph=True)\nloss.backward()"}, 1),
        (OPTIMIZER, 4),
    ],
)
def test_sums_that_are_meant(phases: dict[str, str], batches: int) -> None:
    assert not found_in(phases, batches=batches, rate=0.01)
