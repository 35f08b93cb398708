"""The doctor over learners' own scripts."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.analysis.doctor.faulty import fix_of, found_in, line_of, report_on

NETWORK = dedent("""
    import torch
    from torch import nn

    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 20)[:, None]
    y = x ** 2

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(1, 8), nn.Linear(8, 1)])
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.layers[1](torch.tanh(self.layers[0](x))) * self.scale

    def train(epochs=20):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        total = 0
        for epoch in range(epochs):
            optimizer.zero_grad()
            y_pred = model(x)
            loss = nn.functional.mse_loss(y_pred, y)
            loss.backward()
            optimizer.step()
            total += loss.item()
            print(epoch, loss.item())

    if __name__ == "__main__":
        train()
""")


def test_a_correct_network_has_no_findings() -> None:
    report = report_on(NETWORK)
    assert not report.findings
    assert report.epochs == 3
    assert report.is_complete


@pytest.mark.parametrize(
    ("right", "wrong", "code", "variable", "fixed"),
    [
        ("optimizer.zero_grad()", "pass", "gradients_not_reset", "", "optimizer.zero_grad()"),
        (
            "nn.ModuleList([nn.Linear(1, 8), nn.Linear(8, 1)])",
            "[nn.Linear(1, 8), nn.Linear(8, 1)]",
            "layers_in_list",
            "model.layers[0].weight",
            "self.layers = torch.nn.ModuleList([nn.Linear(1, 8), nn.Linear(8, 1)])",
        ),
        ("total += loss.item()", "total += loss", "loss_kept_with_graph", "total",
         "total += loss.item()"),
        ("y = x ** 2", "y = (x ** 2)[:, 0]", "broadcast_in_loss", "y_pred",
         "loss = nn.functional.mse_loss(y_pred, y[:, None])"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_each_mistake_in_a_function_of_a_script(
    right: str, wrong: str, code: str, variable: str, fixed: str
) -> None:
    assert right in NETWORK
    (finding,) = found_in(NETWORK.replace(right, wrong)).values()
    assert finding.code == code
    assert variable in finding.variable
    assert fix_of(finding).code == fixed
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_without is not None


def test_all_fixes_are_tried_together() -> None:
    faulty = NETWORK.replace("nn.ModuleList([nn.Linear(1, 8), nn.Linear(8, 1)])",
                             "[nn.Linear(1, 8), nn.Linear(8, 1)]")  # fmt: skip
    faulty = faulty.replace("optimizer.zero_grad()", "pass").replace(
        "y = x ** 2", "y = x[:, 0] ** 2"
    )
    report = report_on(faulty)
    assert len(report.findings) == 3
    together = report.together
    assert together is not None
    assert together.fixes == 3
    assert together.loss_without is not None
    alone = [finding.fix.loss_with for finding in report.findings if finding.fix]
    assert all(loss is not None and together.loss_with < loss for loss in alone)
    assert together.loss_with < together.loss_without


BY_HAND = dedent("""
    import numpy as np

    x = np.array([1.0, 2.0, 3.0])
    y = 2 * x
    weights = {"w": 0.0}
    lr = 0.01
    for epoch in range(20):
        y_pred = weights["w"] * x
        loss = ((y_pred - y) ** 2).mean()
        slope = (2 * x * (y_pred - y)).mean()
        weights["w"] -= lr * slope
""")


def test_a_gradient_by_hand_in_a_script() -> None:
    assert not report_on(BY_HAND).findings
    faulty = BY_HAND.replace(".mean()\n    weights", ".sum()\n    weights")
    (finding,) = report_on(faulty).findings
    assert (finding.code, finding.variable) == ("gradient_scaled", "slope")
    assert finding.line == line_of(faulty, "slope =")
    assert finding.numbers["factor"] == pytest.approx(3)


LEAF = dedent("""
    import torch

    x = torch.tensor([1.0, 2.0, 3.0])
    w = torch.tensor(0.5, requires_grad=True)
    for epoch in range(20):
        loss = ((w * x - 2 * x) ** 2).mean()
        loss.backward()
        w = w - 0.01 * w.grad
""")


def test_a_lost_leaf_in_a_script() -> None:
    report = report_on(LEAF)
    (finding,) = report.findings
    assert (finding.code, finding.line) == ("lost_leaf", line_of(LEAF, "w = w -"))
    assert not report.is_complete
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_without is None


SAMPLES = dedent("""
    xs, ys = [1.0, 2.0, 3.0], [2.0, 4.0, 6.0]
    w, lr = 0.5, 0.01
    while True:
        cost = grad = 0.0
        for x, y in zip(xs, ys):
            diff = w * x - y
            cost += diff * diff / len(xs)
            grad += 2 * diff * x / len(xs)
        w -= lr * grad
        if cost < 1e-3:
            break
""")


def test_a_gradient_that_is_summed_over_samples_is_looked_at_when_it_is_whole() -> None:
    assert not report_on(SAMPLES).findings


def test_a_script_that_ends_early_is_examined_to_its_end() -> None:
    short = NETWORK.replace("epochs=20", "epochs=2").replace(
        "total += loss.item()", "total += loss"
    )
    report = report_on(short)
    assert {finding.code for finding in report.findings} == {"loss_kept_with_graph"}
    assert report.epochs == 2


STRANGE = dedent("""
    class Strange:
        def __getattr__(self, name):
            raise RuntimeError(name)
        def __eq__(self, other):
            raise ValueError
        def __len__(self):
            return -1
    strange, slots = Strange(), {Strange: 1, "own": Strange()}
    listed = [Strange(), None, float]
""")


def test_objects_that_raise_whatever_is_asked_of_them_hide_no_mistake() -> None:
    faulty = STRANGE + NETWORK.replace("optimizer.zero_grad()", "pass")
    assert set(found_in(faulty)) == {"gradients_not_reset"}


HIDDEN = dedent("""
    import torch

    x = torch.tensor([1.0, 2.0, 3.0])
    w = torch.tensor(0.5, requires_grad=True)
    state = {"training": {"optimizer": torch.optim.SGD([w], lr=0.05)}}
    for epoch in range(10):
        loss = ((w * x - 2 * x) ** 2).mean()
        loss.backward()
        state["training"]["optimizer"].step()
""")


def test_an_optimizer_without_a_name_is_seen_when_it_makes_a_step() -> None:
    assert set(found_in(HIDDEN)) == {"gradients_not_reset"}
