"""The rule on the arguments of loss functions."""

from __future__ import annotations

import pytest

from tests.analysis.doctor.faulty import found_in, line_of

CLASSES = {
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
    return {**CLASSES, "Loss": f"loss = {loss}"}


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
    (finding,) = found_in(faulty, mode="model").values()
    assert (finding.code, finding.variable) == ("loss_arguments_swapped", variable)
    assert finding.line == line_of(faulty, loss, mode="model")
    assert finding.numbers["loss"] != finding.numbers["loss_in_order"]
    assert 0 < float(str(finding.numbers["loss_in_order"])) < 2
    assert finding.fix is not None
    assert finding.fix.code == f"loss = {fixed}"
    assert finding.fix.loss_with is not None


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
    assert finding.fix is not None
    assert finding.fix.code == f"loss = {fixed}"
    assert finding.fix.loss_with is not None
    assert finding.fix.loss_without is None  # it raises


@pytest.mark.parametrize(
    ("loss", "fixed"),
    [
        ("F.nll_loss(logits, c)", "F.nll_loss(logits.log_softmax(dim=1), c)"),
        ("F.nll_loss(logits.softmax(1), c)", "F.nll_loss(torch.log(logits.softmax(1)), c)"),
    ],
)
def test_a_likelihood_without_logarithm(loss: str, fixed: str) -> None:
    finding = found_in(with_loss(loss), mode="model")["not_log_probabilities"]
    assert abs(float(str(finding.numbers["sum"])) - 1) > 0.5
    assert finding.fix is not None
    assert finding.fix.code == f"loss = {fixed}"


def test_targets_beyond_one() -> None:
    loss = "F.binary_cross_entropy_with_logits(logits[:, 0], c.float())"
    finding = found_in(with_loss(loss), mode="model")["targets_not_probabilities"]
    assert (finding.variable, finding.numbers["target"]) == ("c.float()", 2)


def test_logits_where_probabilities_belong() -> None:
    faulty = with_loss("F.binary_cross_entropy(9 * logits[:, 0], b)")
    finding = found_in(faulty, mode="model")["not_probabilities"]
    assert finding.variable == "9 * logits[:, 0]"
    assert not 0 <= float(str(finding.numbers["given"])) <= 1
    assert finding.fix is not None
    assert "F.binary_cross_entropy_with_logits(9 * logits[:, 0], b)" in finding.fix.code
    assert finding.fix.loss_with is not None


def test_cross_entropy_of_one_class() -> None:
    loss = "F.cross_entropy(logits[:, :1], b[:, None])"
    finding = found_in(with_loss(loss), mode="model")["one_class"]
    assert (finding.numbers["classes"], finding.numbers["loss"]) == (1, 0)
    assert finding.fix is not None
    assert "F.binary_cross_entropy_with_logits(" in finding.fix.code


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
    phases = {**CLASSES, "Report": "with torch.no_grad():\n    val = binary(b, p.detach())"}
    assert not found_in(phases, mode="model")
