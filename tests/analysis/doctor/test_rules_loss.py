"""The rules on a loss: broadcasting, its arguments, and losses kept with their graphs."""

from __future__ import annotations

import math

import pytest

from tests.analysis.doctor.faulty import (
    AUTOGRAD,
    MANUAL,
    OPTIMIZER,
    fix_of,
    found_in,
    line_of,
    only_finding,
)

# ── Broadcasting ────────────────────────────────────────────────────────────────────

COLUMN = {
    **AUTOGRAD,
    "Setup": "x = torch.tensor([[1.0], [2.0], [3.0]])\n"
    "y = torch.tensor([2.0, 4.0, 6.0])\n"
    "w = torch.tensor(0.5, requires_grad=True)",
    "Loss": "loss = ((y_pred - y) ** 2).mean()",
}
"""A prediction of shape (3, 1), and a target of shape (3,)."""


@pytest.mark.parametrize(
    ("loss", "fixed"),
    [
        ("loss = ((y_pred - y) ** 2).mean()", "loss = ((y_pred - y[:, None]) ** 2).mean()"),
        (
            "loss = torch.nn.functional.mse_loss(y_pred, y)",
            "loss = torch.nn.functional.mse_loss(y_pred, y[:, None])",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_column_against_a_flat_target(loss: str, fixed: str) -> None:
    faulty = {**COLUMN, "Loss": loss}
    finding = only_finding(faulty, "broadcast_in_loss", "y_pred", loss)
    assert finding.numbers["shape"] == (3, 1)
    assert finding.numbers["other_shape"] == (3,)
    assert finding.numbers["differences"] == 9
    assert fix_of(finding).code == fixed
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_with < 0.001
    assert fix_of(finding).loss_without is not None
    assert fix_of(finding).loss_without > 1


def test_the_same_in_numpy_and_the_other_way_round() -> None:
    faulty = {
        **MANUAL,
        "Setup": "x = np.array([[1.0], [2.0], [3.0]])\ny = np.array([2.0, 4.0, 6.0])\nw = 0.5",
        "Loss": "errors = y - y_pred\nloss = (errors**2).mean()",
        "Gradient": "dw = (-2 * x * errors).mean()",
    }
    finding = found_in(faulty, mode="manual")["broadcast_in_loss"]
    assert finding.line == line_of(faulty, "errors = y")
    assert finding.numbers["against"] == "y_pred"


@pytest.mark.parametrize(
    "phases",
    [
        {"Loss": "loss = ((y_pred - y[:, None]) ** 2).mean()"},
        {"Loss": "loss = ((y_pred[:, 0] - y) ** 2).mean()"},
        # All pairs of the predictions with some centres are meant: these are columns and rows.
        {"Loss": "loss = ((y_pred - torch.tensor([[1.0, 2.0]])) ** 2).mean()"},
        {"Predict": "y_pred = w * x\ndistances = y_pred - y", "Loss": "loss = y_pred.mean() ** 2"},
    ],
)
def test_shapes_that_are_meant_are_no_mistake(phases: dict[str, str]) -> None:
    assert not found_in({**COLUMN, **phases})


# ── Probabilities as logits ─────────────────────────────────────────────────────────

CLASSES = {
    **OPTIMIZER,
    "Setup": "x = torch.tensor([[1.0, 0], [0, 1], [1, 1]])\n"
    "y = torch.tensor([0, 1, 1])\n"
    "w = torch.zeros(2, 3, requires_grad=True)\n"
    "optimizer = torch.optim.SGD([w], lr=learning_rate)",
    "Predict": "z = x @ w",
    "Loss": "loss = torch.nn.functional.cross_entropy(z, y)",
}


@pytest.mark.parametrize(
    ("predict", "fixed"),
    [
        ("z = torch.softmax(x @ w, dim=1)", "z = x @ w"),
        ("z = (x @ w).softmax(1)", "z = x @ w"),
        ("z = torch.exp(x @ w)\nz = z / z.sum(1, keepdim=True)", None),
    ],
)
def test_softmax_before_cross_entropy(predict: str, fixed: str | None) -> None:
    faulty = {**CLASSES, "Predict": predict}
    finding = only_finding(
        faulty, "softmax_before_cross_entropy", "z", "cross_entropy(z, y)", rate=1.0
    )
    assert finding.numbers["row_sum"] == pytest.approx(1)
    assert finding.numbers["lowest"] == pytest.approx(-math.log(math.e / (math.e + 2)))
    assert (finding.fix and finding.fix.code) == fixed


def test_softmax_among_the_layers() -> None:
    faulty = {
        **CLASSES,
        "Setup": "x = torch.tensor([[1.0, 0], [0, 1], [1, 1]])\n"
        "y = torch.tensor([0, 1, 1])\n"
        "model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softmax(dim=1))\n"
        "w = model[0].weight\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)",
        "Predict": "z = model(x)",
    }
    finding = found_in(faulty, rate=1.0)["softmax_before_cross_entropy"]
    assert fix_of(finding).line == line_of(faulty, "Sequential")
    assert fix_of(finding).code == "model = torch.nn.Sequential(torch.nn.Linear(2, 3))"
    assert fix_of(finding).loss_first is not None
    shorter = {**faulty, "Setup": faulty["Setup"].replace("torch.nn.Linear(2, 3), ", "*linear, ")}
    shorter["Setup"] = "linear = [torch.nn.Linear(2, 3)]\n" + shorter["Setup"]
    by_lines = shorter["Setup"].replace("*linear, ", "*linear,\n    ").replace("=1))", "=1),\n)")
    lines = found_in({**faulty, "Setup": by_lines}, rate=1.0)["softmax_before_cross_entropy"]
    assert fix_of(lines).code == ""
    assert fix_of(lines).loss_with == fix_of(finding).loss_with
    inner = {**faulty, "Setup": faulty["Setup"].replace("=1))", "=1), torch.nn.Flatten())")}
    within = found_in(inner, rate=1.0)["softmax_before_cross_entropy"]
    assert "torch.nn.Identity(), torch.nn.Flatten()" in fix_of(within).code
    negative = {**faulty, "Loss": "loss = torch.nn.functional.nll_loss(z, y)"}
    assert "softmax_before_nll" in found_in(negative, rate=1.0)


BINARY = {
    **CLASSES,
    "Setup": CLASSES["Setup"].replace("[0, 1, 1])", "[0.0, 1, 1])").replace("2, 3", "2"),
    "Loss": "loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)",
}


def test_a_sigmoid_before_logits() -> None:
    faulty = {**BINARY, "Predict": "z = torch.sigmoid(x @ w).squeeze()"}
    finding = only_finding(faulty, "sigmoid_before_logits", "z", rate=1.0)
    assert finding.numbers["smallest"] == finding.numbers["largest"] == 0.5
    assert fix_of(finding).code == "z = (x @ w).squeeze()"


@pytest.mark.parametrize(
    "phases",
    [
        CLASSES,
        {**CLASSES, "Predict": "z = torch.log_softmax(x @ w, 1)"},
        {**CLASSES, "Predict": "z = x @ w\np = torch.softmax(z, 1)"},
        BINARY,
        {
            **BINARY,
            "Predict": "p = torch.sigmoid(x @ w)",
            "Loss": "loss = torch.nn.functional.binary_cross_entropy(p, y)",
        },
    ],
)
def test_logits_are_no_mistake(phases: dict[str, str]) -> None:
    assert not found_in(phases, rate=1.0)


# ── A loss kept with its graph ──────────────────────────────────────────────────────

KEEPING = {**OPTIMIZER, "Setup": OPTIMIZER["Setup"] + "\ntotal = 0\nlosses = []"}


@pytest.mark.parametrize(
    ("line", "fixed", "variable"),
    [
        ("total += loss", "total += loss.item()", "total"),
        ("total = total + loss", "total = total + loss.item()", "total"),
        ("losses.append(loss)", "losses.append(loss.item())", "losses"),
        ("losses.append(2 * loss)", "losses.append((2 * loss).item())", "losses"),
    ],
)
def test_a_loss_kept_with_its_graph(line: str, fixed: str, variable: str) -> None:
    faulty = {**KEEPING, "Reset": f"optimizer.zero_grad()\n{line}"}
    finding = only_finding(faulty, "loss_kept_with_graph", variable, line)
    assert finding.numbers["kept"] == 2
    assert finding.numbers["needed"] == 1
    assert fix_of(finding).code == fixed


@pytest.mark.parametrize(
    ("line", "use"),
    [
        ("total += loss", "print(total.item())"),
        ("total += loss", "mean = total / 2\nmean.item()"),
        ("losses.append(loss)", "print([one.item() for one in losses])"),
        ("losses.append(loss)", "for one in losses:\n    one.item()"),
        ("losses.append(loss)", "torch.stack(losses).mean()"),
        ("losses.append(loss)", "(sum(losses) / len(losses)).item()"),
    ],
)
def test_a_sum_that_is_used_as_a_tensor_stays_one(line: str, use: str) -> None:
    faulty = {**KEEPING, "Reset": f"optimizer.zero_grad()\n{line}", "Report": use}
    finding = only_finding(faulty, "loss_kept_with_graph", None, line)
    assert ".detach()" in fix_of(finding).code
    assert fix_of(finding).loss_with is not None


def test_a_loss_kept_in_an_attribute() -> None:
    history = "class History:\n    pass\nkept = History()\nkept.losses = []"
    faulty = {
        **OPTIMIZER,
        "Setup": f"{OPTIMIZER['Setup']}\n{history}",
        "Reset": "optimizer.zero_grad()\nkept.losses.append(loss)",
    }
    finding = only_finding(faulty, "loss_kept_with_graph", "kept.losses")
    assert fix_of(finding).code == "kept.losses.append(loss.item())"


def test_a_sum_that_each_epoch_begins_anew_is_kept_within_the_epoch() -> None:
    faulty = {
        **KEEPING,
        "Predict": "if batch == 0:\n    total = 0\ny_pred = w * x",
        "Reset": "optimizer.zero_grad()\ntotal += loss",
    }
    assert "loss_kept_with_graph" in found_in(faulty, batches=3)


@pytest.mark.parametrize(
    "reset",
    [
        "total += loss.item()\nlosses.append(loss.detach())",
        "with torch.no_grad():\n    total += loss",
        "rmse = loss.sqrt()",
    ],
)
def test_numbers_that_are_kept_are_no_mistake(reset: str) -> None:
    assert not found_in({**KEEPING, "Reset": f"optimizer.zero_grad()\n{reset}"})


def test_losses_that_are_added_up_before_backward_are_no_mistake() -> None:
    phases = {**KEEPING, "Loss": "loss = 0\nfor i in range(3):\n    loss += (y_pred[i] - 2) ** 2"}
    assert not found_in(phases)


# ── Arguments of loss functions ─────────────────────────────────────────────────────

NET = {
    "Setup": """torch.manual_seed(0)
x = torch.randn(6, 3)
c = torch.tensor([0, 1, 2, 0, 1, 2])
b = (c > 0).float()
net = torch.nn.Linear(3, 3)
w = net.weight
optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate)
F = torch.nn.functional
cross, binary = torch.nn.CrossEntropyLoss(), torch.nn.BCELoss()""",
    "Predict": "logits = net(x)\np = torch.sigmoid(logits[:, 0])",
    "Loss": "loss = F.cross_entropy(logits, c)",
    "Gradient": "loss.backward()",
    "Update": "optimizer.step()",
    "Reset": "optimizer.zero_grad()",
}


def with_loss(loss: str) -> dict[str, str]:
    return {**NET, "Loss": f"loss = {loss}"}


@pytest.mark.parametrize(
    ("loss", "variable", "fixed"),
    [
        ("F.cross_entropy(c, logits)", "c", "F.cross_entropy(logits, c)"),
        (
            "cross(F.one_hot(c, 3).float(), logits)",
            "F.one_hot(c, 3).float()",
            "cross(logits, F.one_hot(c, 3).float())",
        ),
        ("F.nll_loss(c, logits.log_softmax(1))", "c", "F.nll_loss(logits.log_softmax(1), c)"),
        (
            "F.binary_cross_entropy(b, p, reduction='mean')",
            "b",
            "F.binary_cross_entropy(p, b, reduction='mean')",
        ),
        ("binary(b, p)", "b", "binary(p, b)"),
    ],
)
def test_prediction_and_target_swapped(loss: str, variable: str, fixed: str) -> None:
    faulty = with_loss(loss)
    finding = only_finding(faulty, "loss_arguments_swapped", variable, loss, mode="model")
    assert finding.numbers["loss"] != finding.numbers["loss_in_order"]
    assert 0 < float(str(finding.numbers["loss_in_order"])) < 2
    assert fix_of(finding).code == f"loss = {fixed}"
    assert fix_of(finding).loss_with is not None


@pytest.mark.parametrize(
    ("loss", "code", "dtype", "fixed"),
    [
        (
            "cross(logits, c.float())",
            "targets_not_indices",
            "float32",
            "cross(logits, c.long())",
        ),
        (
            "F.nll_loss(logits.log_softmax(1), b)",
            "targets_not_indices",
            "float32",
            "F.nll_loss(logits.log_softmax(1), b.long())",
        ),
        (
            "F.cross_entropy(logits, c.int())",
            "targets_not_indices",
            "int32",
            "F.cross_entropy(logits, c.int().long())",
        ),
        ("binary(p, c > 0)", "targets_not_float", "bool", "binary(p, (c > 0).float())"),
        (
            "F.binary_cross_entropy_with_logits(logits[:, 0], b.long())",
            "targets_not_float",
            "int64",
            "F.binary_cross_entropy_with_logits(logits[:, 0], b.float())",
        ),
    ],
)
def test_targets_of_the_wrong_type(loss: str, code: str, dtype: str, fixed: str) -> None:
    faulty = with_loss(loss)
    finding = found_in(faulty, mode="model")[code]
    assert finding.line == line_of(faulty, loss, mode="model")
    assert finding.numbers["dtype"] == dtype
    assert finding.numbers["shape"] == (6,)
    assert fix_of(finding).code == f"loss = {fixed}"
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_without is None  # it raises


@pytest.mark.parametrize(
    ("loss", "fixed"),
    [
        ("F.nll_loss(logits, c)", "F.nll_loss(logits.log_softmax(dim=1), c)"),
        ("F.nll_loss(2 * logits, c)", "F.nll_loss((2 * logits).log_softmax(dim=1), c)"),
        ("F.nll_loss(logits.softmax(1), c)", "F.nll_loss(torch.log(logits.softmax(1)), c)"),
    ],
)
def test_a_likelihood_without_logarithm(loss: str, fixed: str) -> None:
    finding = found_in(with_loss(loss), mode="model")["not_log_probabilities"]
    assert abs(float(str(finding.numbers["sum"])) - 1) > 0.5
    assert fix_of(finding).code == f"loss = {fixed}"


def test_targets_beyond_one() -> None:
    loss = "F.binary_cross_entropy_with_logits(logits[:, 0], c.float())"
    finding = found_in(with_loss(loss), mode="model")["targets_not_probabilities"]
    assert (finding.variable, finding.numbers["target"]) == ("c.float()", 2)


def test_logits_where_probabilities_belong() -> None:
    faulty = with_loss("F.binary_cross_entropy(9 * logits[:, 0], b)")
    finding = found_in(faulty, mode="model")["not_probabilities"]
    assert finding.variable == "9 * logits[:, 0]"
    assert not 0 <= float(str(finding.numbers["given"])) <= 1
    assert "F.binary_cross_entropy_with_logits(9 * logits[:, 0], b)" in fix_of(finding).code
    assert fix_of(finding).loss_with is not None


def test_cross_entropy_of_one_class() -> None:
    loss = "F.cross_entropy(logits[:, :1], b[:, None])"
    finding = found_in(with_loss(loss), mode="model")["one_class"]
    assert (finding.numbers["classes"], finding.numbers["loss"]) == (1, 0)
    assert "F.binary_cross_entropy_with_logits(" in fix_of(finding).code


@pytest.mark.parametrize(
    "loss",
    [
        "F.cross_entropy(logits, c)",
        "F.cross_entropy(logits, F.one_hot(c, 3).float())",
        "F.nll_loss(logits.log_softmax(1), c)",
        "F.nll_loss(torch.log(logits.softmax(1)), c)",
        # The focal loss weighs log-probabilities, which then do not add up to 1.
        "F.nll_loss((1 - logits.softmax(1)) ** 2 * logits.log_softmax(1), c)",
        "binary(p, b)",
        "F.binary_cross_entropy_with_logits(logits[:, 0], b)",
        "F.mse_loss(b, logits[:, 0])",
        "F.l1_loss(b, logits[:, 0])",
        # A distribution to be learnt by another one that is learnt too.
        "F.kl_div(logits.log_softmax(1), logits.softmax(1))",
        # One class of several.
        "F.cross_entropy(logits, c, weight=torch.ones(3))",
    ],
)
def test_arguments_as_they_should_be(loss: str) -> None:
    assert not found_in(with_loss(loss), mode="model")


def test_a_loss_of_an_evaluation_is_not_swapped() -> None:
    """Under no_grad nothing tells which is the prediction."""
    phases = {**NET, "Report": "with torch.no_grad():\n    val = binary(b, p.detach())"}
    assert not found_in(phases, mode="model")
