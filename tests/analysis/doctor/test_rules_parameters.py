"""The rules on parameters without a gradient, on optimizers, and on gradients by hand."""

from __future__ import annotations

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

# ── No gradient ─────────────────────────────────────────────────────────────────────

TWO = {
    **OPTIMIZER,
    "Setup": "x = torch.tensor([1.0, 2.0, 3.0])\n"
    "w = torch.tensor(0.5, requires_grad=True)\n"
    "b = torch.tensor(0.1, requires_grad=True)\n"
    "optimizer = torch.optim.SGD([w, b], lr=learning_rate)",
    "Predict": "y_pred = w * x + b",
}


def test_a_parameter_that_the_loss_does_not_use() -> None:
    faulty = {**TWO, "Predict": "y_pred = w * x"}
    finding = only_finding(faulty, "parameter_unused", "b", "b = torch.tensor", parameters="w, b")
    assert finding.numbers == {"passes": 3, "gradients": 0, "uses": 0, "parameters": 1}


def test_a_parameter_that_is_cut_off() -> None:
    faulty = {**TWO, "Predict": "shift = b * 1\ny_pred = w * x + shift.detach()"}
    finding = only_finding(faulty, "parameter_cut_off", "b", "shift.detach()", parameters="w, b")
    assert finding.numbers["gradients"] == 0
    assert finding.numbers["passes"] == 3
    assert fix_of(finding).code == "y_pred = w * x + shift"


def test_a_parameter_used_under_no_grad() -> None:
    faulty = {**TWO, "Predict": "with torch.no_grad():\n    shift = b * 1\ny_pred = w * x + shift"}
    only_finding(faulty, "parameter_cut_off", None, "shift = b", parameters="w, b")


def test_a_dead_unit() -> None:
    faulty = {**TWO, "Predict": "y_pred = torch.relu(w * x - 5) + b"}
    finding = only_finding(faulty, "gradient_always_zero", "w", parameters="w, b")
    assert finding.lesson == "dead-relu"
    assert finding.numbers["gradient"] == 0
    assert finding.numbers["loss"] != 0


def test_a_tensor_in_an_optimizer_that_asks_for_no_gradient() -> None:
    faulty = {**TWO, "Setup": TWO["Setup"].replace("(0.1, requires_grad=True)", "(0.1)")}
    finding = only_finding(faulty, "frozen_in_optimizer", "b", parameters="w, b")
    assert finding.numbers["requires_grad"] is False
    assert fix_of(finding).code == "b = torch.tensor(0.1, requires_grad=True)"


@pytest.mark.parametrize(
    "phases",
    [
        TWO,
        # Frozen on purpose.
        {**TWO, "Setup": TWO["Setup"] + "\nb.requires_grad_(False)"},
        {**TWO, "Setup": TWO["Setup"].replace("(0.1, requires_grad=True)", "(0.1)").replace(
            "[w, b]", "[w]")},
        # The loss is 0, and so is every gradient.
        {**TWO, "Loss": "loss = ((y_pred - y_pred.detach()) ** 2).mean()"},
    ],
)  # fmt: skip
def test_parameters_that_rest_for_a_reason_are_no_mistake(phases: dict[str, str]) -> None:
    assert not found_in(phases, parameters="w, b")


# ── Not held by the optimizer ───────────────────────────────────────────────────────


def test_a_parameter_that_no_optimizer_holds() -> None:
    faulty = {**TWO, "Setup": TWO["Setup"].replace("[w, b]", "[w]")}
    finding = only_finding(faulty, "parameter_not_held", "b", "SGD", parameters="w, b")
    assert finding.numbers["held"] == finding.numbers["left_out"] == 1
    assert finding.numbers["change"] == 0
    assert finding.numbers["gradient"] != 0
    assert fix_of(finding).code == "optimizer = torch.optim.SGD([w, b], lr=learning_rate)"


MODEL = """x = torch.tensor([[1.0], [2.0], [3.0]])
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(1, 2)
        {attribute}
    def forward(self, x):
        return {forward}
torch.manual_seed(0)
model = Net()
w = model.first.weight
optimizer = torch.optim.SGD({held}, lr=learning_rate)"""


def network(attribute: str, forward: str, held: str = "model.parameters()") -> dict[str, str]:
    """A lesson whose model has this attribute, and this forward pass."""
    setup = MODEL.format(attribute=attribute, forward=forward, held=held)
    return {
        **OPTIMIZER,
        "Setup": setup,
        "Predict": "y_pred = model(x)",
        "Loss": "loss = ((y_pred - x) ** 2).mean()",
    }


LISTED = "self.layers = [torch.nn.Linear(2, 1)]"


def test_layers_in_a_plain_list() -> None:
    faulty = network(LISTED, "self.layers[0](self.first(x))")
    finding = only_finding(faulty, "layers_in_list", "model.layers[0].weight", "self.layers = ")
    assert (finding.numbers["registered"], finding.numbers["left_out"]) == (2, 2)
    assert fix_of(finding).code == "self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 1)])"
    assert fix_of(finding).loss_with is not None


def test_a_tensor_that_is_no_parameter() -> None:
    faulty = network(
        "self.b = torch.zeros(1, requires_grad=True)", "self.first(x).sum(1, True) + self.b"
    )
    finding = only_finding(faulty, "tensor_not_registered", "model.b")
    assert fix_of(finding).code.startswith("self.b = torch.nn.Parameter(")


@pytest.mark.parametrize(
    ("attribute", "held"),
    [
        ("self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 1)])", "model.parameters()"),
        (LISTED, "[*model.parameters(), *model.layers[0].parameters()]"),
    ],
)
def test_layers_that_are_held_are_no_mistake(attribute: str, held: str) -> None:
    assert not found_in(network(attribute, "self.layers[0](self.first(x))", held))


def test_a_second_model_that_is_at_rest_is_no_mistake() -> None:
    teacher = network("pass", "self.first(x)")
    made = "teacher = torch.nn.Linear(2, 1).eval()\nmodel = Net()"
    teacher["Setup"] = teacher["Setup"].replace("model = Net()", made)
    teacher["Predict"] = "y_pred = teacher(model(x))"
    assert not found_in(teacher)
    teacher["Setup"] = teacher["Setup"].replace(".eval()", "")
    finding = found_in(teacher)["parameter_not_held"]
    assert finding.numbers["left_out"] == 2
    assert "[*model.parameters(), *teacher.parameters()]" in fix_of(finding).code


def test_a_part_of_a_model_may_be_trained_alone() -> None:
    assert not found_in(network(LISTED, "self.first(x)", "model.first.parameters()"))
    head = network("self.second = torch.nn.Linear(2, 1)", "self.second(self.first(x))",
                   "model.second.parameters()")  # fmt: skip
    assert not found_in(head)


def test_an_optimizer_that_holds_tensors_of_a_model_that_was_replaced() -> None:
    faulty = network("pass", "self.first(x)")
    faulty["Setup"] += "\nmodel.first = torch.nn.Linear(1, 2)\nw = model.first.weight"
    (finding,) = found_in(faulty).values()
    assert finding.code == "optimizer_holds_old_tensors"
    assert finding.line == line_of(faulty, "optimizer = ")
    assert (finding.numbers["held"], finding.numbers["gone"]) == (2, 2)
    assert (
        fix_of(finding).code == "optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)"
    )
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_without is not None
    assert fix_of(finding).loss_with < fix_of(finding).loss_without


# ── Gradients by hand ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("gradient", "code", "factor", "fixed"),
    [
        ("(2 * x * error).sum()", "gradient_scaled", 3, "(2 * x * error).mean()"),
        ("(x * error).mean() / 4", "gradient_scaled", 0.125, "(x * error).mean() / 4 * 8"),
        ("-(2 * x * error).mean()", "gradient_of_wrong_sign", None, "(2 * x * error).mean()"),
        ("(x * y_pred).mean()", "gradient_wrong", None, None),
    ],
)
def test_a_gradient_by_hand_that_is_wrong(
    gradient: str, code: str, factor: float | None, fixed: str | None
) -> None:
    faulty = {**MANUAL, "Gradient": f"error = y_pred - 2 * x\ndw = {gradient}"}
    finding = only_finding(faulty, code, "dw", "dw = ", mode="manual")
    assert finding.numbers["slope"] == pytest.approx(-14)
    assert finding.numbers["gradient"] != pytest.approx(-14)
    assert finding.numbers.get("factor") == (factor and pytest.approx(factor))
    assert (finding.fix and finding.fix.code) == (fixed and f"dw = {fixed}")


MATRIX = {
    "Setup": "x = np.array([[1.0, 2.0], [3.0, -1.0], [2.0, 2.0]])\n"
    "y = x @ np.array([[1.0, 2.0], [-1.0, 0.5]])\n"
    "w = np.zeros((2, 2))",
    "Predict": "y_pred = x @ w",
    "Loss": "loss = ((y_pred - y) ** 2).mean()",
    "Gradient": "dw = x.T @ (y_pred - y) / 3",
    "Update": "w -= learning_rate * dw",
}


def test_a_transposed_gradient() -> None:
    faulty = {**MATRIX, "Gradient": "dw = (y_pred - y).T @ x / 3"}
    (finding,) = found_in(faulty, mode="manual").values()
    assert finding.code == "gradient_transposed"
    assert fix_of(finding).code == "dw = ((y_pred - y).T @ x / 3).T"


HALF = {
    **MANUAL,
    "Gradient": "error = y_pred - 2 * x\ndw = (x * error).mean()",
}


@pytest.mark.parametrize("phases", [MANUAL, MATRIX, HALF])
def test_a_right_gradient_by_hand_is_no_mistake(phases: dict[str, str]) -> None:
    assert not found_in(phases, mode="manual")


def test_a_gradient_by_autograd_is_not_looked_at() -> None:
    assert not found_in({**AUTOGRAD, "Gradient": "loss.backward()\nw.grad *= 2"})
