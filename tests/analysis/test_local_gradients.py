"""The questions of "be autograd" are PyTorch's own answers, in the order of backward."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from tutor.analysis.graph import graph_of
from tutor.analysis.local_gradients import local_gradients
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import GradientFlow, LocalGradientQuestion, LocalGradients
from tutor.training.probe import Probe
from tutor.training.run import Run

Start = Callable[..., Run]

SETUP = """x = torch.tensor(2.0)
y = torch.tensor(3.0)
w = torch.tensor(0.5, requires_grad=True)
b = torch.tensor(0.25, requires_grad=True)"""

OPERATIONS = (
    "w * b", "w * x", "x * w * 3", "w ** 2", "w ** b", "b / w", "w / x", "w - b", "y - w", "-w",
    "w + b", "w * w", "torch.sigmoid(w)", "torch.tanh(w)", "torch.relu(w)", "torch.relu(-w)",
    "torch.exp(w)", "torch.log(w)", "torch.sqrt(w)", "abs(w - 1)", "torch.maximum(w, b)",
)  # fmt: skip

GRAPHS = {
    "a line": ("y_pred = w * x + b", "loss = (y_pred - y) ** 2"),
    "a value used twice": ("h = torch.tanh(w)\ny_pred = h * x + h / b", "loss = (y_pred - y) ** 2"),
    "a leaf used twice": ("y_pred = w * w * x + w", "loss = torch.exp(-y_pred) + torch.log(b)"),
    "a branch of a branch": ("h = w * b\nk = h * h + h", "loss = k * h - torch.sigmoid(k)"),
    "logistic": ("y_pred = torch.sigmoid(w * x + b)", "loss = -torch.log(1 - y_pred)"),
    "a dead unit": ("y_pred = torch.relu(w * x - 3)", "loss = (y_pred - y) ** 2"),
}


BATCH = """x = torch.tensor([1.0, 2.0, 3.0])
y = torch.tensor([2.0, 4.0, 7.0])
w = torch.tensor(0.5, requires_grad=True)
b = torch.tensor(0.25, requires_grad=True)"""

BATCHES = {
    "the mean of squares": ("y_pred = w * x + b", "loss = ((y_pred - y) ** 2).mean()"),
    "a sum": ("y_pred = torch.tanh(w * x) * b", "loss = ((y_pred - y) ** 2).sum()"),
    "a vector used twice": (
        "y_pred = w * x\nh = y_pred * y_pred + b",
        "loss = (h - y_pred).mean()",
    ),
    "a shared number": ("k = w * b\ny_pred = k * x + k", "loss = ((y_pred - y) ** 2).mean()"),
    "rows": ("y_pred = (w * x.reshape(3, 1) + b).reshape(3)", "loss = ((y_pred - y) ** 2).mean()"),
}

WHOLE = {
    **{name: (SETUP, *phases) for name, phases in GRAPHS.items()},
    **{name: (BATCH, *phases) for name, phases in BATCHES.items()},
}


def questions(run: Run) -> LocalGradients:
    probe = Probe(run.program, run.device, run.learning_rate, run.settings.seed)
    return local_gradients(probe, run.standpoint())


def leaves(setup: str = SETUP) -> dict[str, torch.Tensor]:
    names: dict[str, torch.Tensor] = {}
    exec(setup, {"torch": torch}, names)
    return names


def flowing_in(total: LocalGradientQuestion) -> float:
    """What a learner who adds up all products gets."""
    return sum(
        g * local
        for flow in total.flows
        for g, local in zip(flow.gradients, flow.local_gradients, strict=True)
    )


def told(steps: tuple[LocalGradientQuestion, ...]) -> list[tuple[str, str]]:
    return [(step.output or "=", step.input) for step in steps]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_local_gradient_is_what_pytorch_says_of_that_operation(
    start: Start, operation: str
) -> None:
    local = questions(start(Setup=SETUP, Predict=f"y_pred = {operation}", Loss="loss = y_pred * 3"))
    names = leaves()
    expected = torch.autograd.grad(eval(operation, {"torch": torch}, names), names["w"])[0].item()
    chained = 1.0
    for step in local.questions[1:]:  # the first is of the loss in y_pred
        chained *= step.expected if step.asks == "local" and step.input != "b" else 1.0
    assert chained == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("setup", "predict", "loss"), WHOLE.values(), ids=WHOLE)
def test_what_reaches_a_value_is_the_sum_over_all_ways_to_it(
    start: Start, setup: str, predict: str, loss: str
) -> None:
    local = questions(start(Setup=setup, Predict=predict, Loss=loss))
    names = leaves(setup)
    exec(f"{predict}\n{loss}", {"torch": torch}, names)
    totals = {step.input: step for step in local.questions if step.asks == "total"}
    for total in totals.values():
        assert flowing_in(total) == pytest.approx(total.expected, rel=1e-5)
    for name in re.findall(r"\b[wb]\b", f"{predict} {loss}"):
        (expected,) = torch.autograd.grad(names["loss"], names[name], retain_graph=True)
        assert totals[name].expected == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(("setup", "predict", "loss"), WHOLE.values(), ids=WHOLE)
def test_each_question_is_about_an_operation_of_the_graph_that_is_drawn(
    start: Start, setup: str, predict: str, loss: str
) -> None:
    run = start(Setup=setup, Predict=predict, Loss=loss)
    probe = Probe(run.program, run.device, run.learning_rate, run.settings.seed)
    nodes = {node.order: node for node in graph_of(probe, run.standpoint()).nodes}
    known = 0
    for step in questions(run).questions:
        node = nodes[step.order]
        assert step.known >= known  # nothing that was shown is hidden again
        known = step.known
        if step.asks == "total":
            assert node.gradient.data[-1] == pytest.approx(step.expected)
            assert not node.name or step.input.startswith(node.name)
        else:
            assert not node.is_leaf
            assert any(node.value.data[-1:] == (x,) for x in step.values.values())


def test_of_several_numbers_the_last_is_followed(start: Start) -> None:
    predict, loss = BATCHES["the mean of squares"]
    steps = questions(start(Setup=BATCH, Predict=predict, Loss=loss)).questions
    assert told(steps)[:3] == [
        ("mean((y_pred - y) ** 2)", "((y_pred - y) ** 2)[2]"),
        ("((y_pred - y) ** 2)[2]", "(y_pred - y)[2]"),
        ("(y_pred - y)[2]", "y_pred[2]"),
    ]
    assert [step.expected for step in steps[:3]] == pytest.approx([1 / 3, 2 * -5.25, 1])
    assert steps[1].values == {"(y_pred - y)[2]": -5.25, "((y_pred - y) ** 2)[2]": 27.5625}
    assert steps[-2].values == {"w": 0.5, "x[2]": 3.0, "(w * x)[2]": 1.5}
    (flow,) = steps[-1].flows
    assert (flow.output, flow.local_gradients) == ("w * x", (1.0, 2.0, 3.0))


def test_the_questions_stand_in_the_order_of_backward(start: Start) -> None:
    predict, loss = GRAPHS["a line"]
    steps = questions(start(Setup=SETUP, Predict=predict, Loss=loss)).questions
    assert told(steps) == [
        ("(y_pred - y) ** 2", "y_pred - y"),
        ("y_pred - y", "y_pred"),
        ("w * x + b", "w * x"),
        ("w * x + b", "b"),
        ("=", "b"),
        ("w * x", "w"),
        ("=", "w"),
    ]
    assert steps[0].values == {"y_pred - y": -1.75, "loss": 3.0625}
    assert steps[1].values == {"y_pred": 1.25, "y": 3.0, "y_pred - y": -1.75}
    assert steps[-1].flows == (GradientFlow("w * x", (-3.5,), (2.0,)),)


def test_what_is_used_twice_is_asked_for_before_one_goes_on(start: Start) -> None:
    predict, loss = GRAPHS["a value used twice"]
    steps = told(questions(start(Setup=SETUP, Predict=predict, Loss=loss)).questions)
    assert steps.index(("=", "h")) > max(steps.index(("h * x", "h")), steps.index(("h / b", "h")))
    assert steps.index(("=", "h")) < steps.index(("tanh(w)", "w"))


def test_what_leaves_a_number_as_it_is_is_not_asked(start: Start) -> None:
    setup = SETUP.replace("tensor(0.5", "tensor([0.5]").replace("tensor(2.0)", "tensor([2.0])")
    loss = "loss = ((y_pred.reshape(1, 1) - y) ** 2).mean()"
    steps = questions(start(Setup=setup, Predict="y_pred = w * x", Loss=loss)).questions
    assert [step.input for step in steps] == ["reshape(y_pred, 1, 1) - y", "y_pred", "w", "w"]


def test_a_layer_is_one_operation(start: Start) -> None:
    setup = "x = torch.tensor([[2.0]])\nlayer = torch.nn.Linear(1, 1)\nw = layer.weight"
    steps = questions(start(Setup=setup, Predict="y_pred = layer(x)", Loss="loss = y_pred ** 2"))
    assert told(steps.questions)[1:3] == [("layer(x)", "layer.bias"), ("layer(x)", "w")]
    assert steps.questions[2].expected == 2.0


def test_gradients_that_are_handed_back_are_asked_too(start: Start) -> None:
    gradient = "w.grad, = torch.autograd.grad(loss, w)"
    steps = questions(start(Setup=SETUP, Predict="y_pred = w * x", Gradient=gradient)).questions
    assert steps[-1].asks == "total"
    assert steps[-1].expected == pytest.approx(2 * (1.0 - 4.0) * 2.0)


def test_of_two_walks_back_the_last_is_asked(start: Start) -> None:
    twice = "loss.backward(retain_graph=True)\nloss.backward()"
    steps = questions(start(Setup=SETUP, Predict="y_pred = w * x", Gradient=twice)).questions
    assert steps[-1].expected == pytest.approx(-12.0)


@pytest.mark.parametrize(
    ("phases", "why"),
    [
        (
            {"Setup": "x = torch.ones(7)\nw = torch.tensor(0.5, requires_grad=True)"},
            Remark(
                "too_many_numbers",
                {"expression": "(y_pred - 2 * x) ** 2", "count": 7, "most": 6},
            ),
        ),
        (
            {"Predict": "y_pred = torch.softmax(w * x, 0)"},
            Remark("mixes_numbers", {"expression": "y_pred"}),
        ),
        ({"Gradient": "dw = w.grad"}, Remark("no_backward")),
        ({"Predict": "y_pred = w", "Loss": "loss = w.sum()"}, Remark("nothing_computed")),
        (
            {
                "Setup": "x = np.array([1.0, 2.0, 3.0])\nw = np.float64(0.5)",
                "Gradient": "dw = 1",
                "Update": "w = w - dw",
                "Reset": "",
            },
            Remark("by_hand"),
        ),
    ],
)
def test_where_there_is_nothing_to_ask_it_says_why(
    start: Start, phases: dict[str, str], why: Remark
) -> None:
    assert questions(start(**phases)) == LocalGradients(why=why)


def test_where_the_lesson_raises_there_is_nothing_to_ask(start: Start) -> None:
    local = questions(start(Gradient="loss.backward()\nloss.backward()"))
    assert local.why is not None
    assert local.why.values["phase"] == "Gradient"
    assert local.why.values["error"][1]["text"].startswith("RuntimeError: Trying")


def test_asking_leaves_the_run_as_it_was(start: Start) -> None:
    noisy = {"Setup": SETUP, "Predict": "y_pred = w * x + torch.randn(())"}
    run, other = start(**noisy), start(**noisy)
    torch.manual_seed(1)
    frames = [other.step_phase() for _ in range(8)]
    torch.manual_seed(1)
    seen = []
    for _ in range(8):
        seen.append(run.step_phase())
        assert questions(run).questions
    assert seen == frames
