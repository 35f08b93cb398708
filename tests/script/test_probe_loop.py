"""The graph of a script's batch, computed apart from the script."""

from __future__ import annotations

import pytest

from tests.script.marked_scripts import lesson_of, muted
from tutor.analysis.graph import graph_of
from tutor.lesson.code_checks import ladder
from tutor.lesson.model import LOSS
from tutor.protocol.frame import Remark
from tutor.script.program import script_programs
from tutor.training.probe import Probe
from tutor.training.run import Run

TRAINER = """import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(8, 2)
y = x.sum(1, keepdim=True)

class Trainer:
    def __init__(self):
        self.model = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def fit(self):
        for epoch in range(4):
            self.optimizer.zero_grad()
            total = 0
            for xb, yb in zip(x.split(4), y.split(4)):
                loss = ((self.model(xb) - yb) ** 2).mean() / 2
                loss.backward()
                total += loss.item()
                self.optimizer.step()

Trainer().fit()
"""
LBFGS = """import torch

x = torch.linspace(0, 1, 8)
w = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.LBFGS([w], max_iter=2)

def closure():
    optimizer.zero_grad()
    loss = ((w * x - 2 * x) ** 2).mean()
    loss.backward()
    return loss

for epoch in range(3):
    optimizer.step(closure)
"""


def opened(code: str) -> Run:
    return Run(script_programs(lesson_of(code)), quiet=muted)


def test_the_graph_names_parameters_of_an_object_and_knows_running_totals() -> None:
    run = opened(TRAINER)
    run.step_epoch()
    graph = graph_of(Probe(run.program, "cpu", 0.1, 0), run.standpoint())
    assert "phase_raised" not in {remark.code for remark in graph.remarks}
    named = {node.name for node in graph.nodes}
    assert {"loss", "self.model.weight", "self.model.bias"} <= named


def test_the_graph_of_a_step_with_a_closure_is_that_of_its_last_backward() -> None:
    run = opened(LBFGS)
    run.step_epoch()
    graph = graph_of(Probe(run.program, "cpu", 0.1, 0), run.standpoint())
    assert "w" in {node.name for node in graph.nodes}


def test_a_reset_before_the_batches_is_of_the_first_batch() -> None:
    run = opened(TRAINER)
    run.step_epoch()
    frames = [run.step_phase() for _ in range(7)]
    batch = ["Loss", "Gradient", "Update"]
    assert [f.phase for f in frames] == ["Reset", *batch, *batch]
    assert [f.batch + 1 for f in frames] == [1, 1, 1, 1, 2, 2, 2]
    assert {f.batches for f in frames} == {2}


def test_the_name_batch_is_the_scripts_own() -> None:
    """Lessons have the number of the batch in it."""
    run = opened("""import torch

x = torch.tensor([1.0, 2.0, 4.0, 8.0])
w = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.01)
for epoch in range(2):
    for batch in torch.tensor([[3, 1], [2, 0]]):
        optimizer.zero_grad()
        loss = ((w * x[batch] - 3 * x[batch]) ** 2).mean()
        loss.backward()
        optimizer.step()
""")
    for _ in range(2):
        run.step_phase()
    frame = run.step_phase()
    probe = Probe(run.program, "cpu", 0.1, 0)
    graph = graph_of(probe, run.standpoint())
    assert frame.phase == "Gradient"
    assert graph.nodes[0].value.data == frame.loss.data
    probe.stand(run.standpoint())
    assert probe.loss() == frame.loss.data[0]


BY_HAND = """import numpy as np

x = np.linspace(-1, 1, 6)

class Linear:
    def __init__(self):
        self.w = np.ones(1)
    def forward(self, x):
        return self.w * x
    def backward(self, e):
        self.dw = 2 * np.mean(e * x)
    def step(self):
        self.w = self.w - 0.1 * self.dw

net = Linear()
for epoch in range(3):
    order = np.random.permutation(6)
    for i in order.reshape(2, 3):
        y = net.forward(x)
        loss = np.mean((y - 2 * x) ** 2) + 0 * order[0]
        net.backward(y - 2 * x)
        net.step()
"""


def test_a_script_by_hand_has_no_graph_and_no_other_mode() -> None:
    run = opened(BY_HAND)
    probe = Probe(run.program, "cpu", 0.1, 0)
    not_yet = Remark("name_not_set_yet", {"name": "order"})
    assert graph_of(probe, run.standpoint()).remarks == (not_yet,)
    run.step_epoch()
    assert graph_of(probe, run.standpoint()).remarks == (Remark("by_hand_in_script"),)
    assert [set(row.by_hand.values()) for row in ladder(lesson_of(BY_HAND))] == 4 * [{True}]


SUMS = """class Fit:
    def train(self, data):
        w = [0.0, 0.0]
        hidden = 0.5
        for epoch in range(4):
            self.sse, total, errors = 0, 0, []
            for x, t in data:
                hidden = 0.9 * hidden + w[0] * x
                err = t - (hidden + w[1])
                {loss}
                w[0] += 0.05 * err * x
                w[1] += 0.05 * err

Fit().train([(x / 10, 3 * x / 10 - 1) for x in range(6)])
"""


@pytest.mark.parametrize(
    "loss",
    [
        "self.sse += err ** 2",
        "total = total + err ** 2; loss = total / 6",
        "errors.append(err ** 2); loss = sum(errors)",
    ],
)
def test_each_evaluation_of_a_sum_over_batches_begins_where_the_batch_began(loss: str) -> None:
    run = opened(SUMS.format(loss=loss))
    run.seek(2, 3 * 2 + 2)
    assert run.frame().phase == LOSS
    probe = Probe(run.program, "cpu", 0.1, 0)
    probe.stand(run.standpoint())
    (shown,) = run.frame().loss.data
    assert [probe.loss() for _ in range(3)] == [shown] * 3
    run.close()
