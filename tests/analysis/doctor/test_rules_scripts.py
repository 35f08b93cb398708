"""The doctor's rules on scripts: seeds, functions, and what comes after the loop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.doctor.faulty import fix_of, found_in, line_of, only_finding, script_lesson
from tutor.analysis.doctor import examination, forks
from tutor.analysis.doctor.examination import examine
from tutor.protocol.frame import RunRecipe
from tutor.script.program import script_programs
from tutor.training import time_limit

# ── Seeds ───────────────────────────────────────────────────────────────────────────

TORCH = """\
import torch
from torch import nn
{seed}
x = torch.randn(16, 3)
y = x.sum(1, keepdim=True)
model = nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(4):
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
NUMPY = """\
import numpy as np
{seed}
x = np.random.randn(20)
w = 0.0
for epoch in range(5):
    error = w * x - 2 * x
    loss = (error**2).mean()
    dw = 2 * (error * x).mean()
    w -= 0.1 * dw
"""


@pytest.mark.parametrize(("script", "draws"), [(TORCH, "torch.randn"), (NUMPY, "np.random.randn")])
def test_random_numbers_without_a_seed(script: str, draws: str) -> None:
    text = script.format(seed="")
    finding = found_in(text)["not_seeded"]
    assert (finding.line, finding.variable) == (line_of(text, f"{draws}("), draws)
    assert finding.numbers["loss"] != finding.numbers["other"]


@pytest.mark.parametrize(
    "text",
    [
        TORCH.format(seed="torch.manual_seed(0)"),
        NUMPY.format(seed="np.random.seed(1)"),
        NUMPY.format(seed="rng = np.random.default_rng(3)").replace(
            "np.random.randn", "rng.normal"
        ),
        # Nothing is drawn.
        NUMPY.format(seed="").replace("np.random.randn(20)", "np.arange(5.0)"),
    ],
)
def test_random_numbers_with_a_seed(text: str) -> None:
    assert not found_in(text)


def test_only_the_generator_without_a_seed_is_named() -> None:
    text = TORCH.format(seed="import numpy as np\ntorch.manual_seed(0)").replace(
        "torch.randn(16, 3)", "torch.tensor(np.random.randn(16, 3), dtype=torch.float32)"
    )
    finding = found_in(text)["not_seeded"]
    assert finding.variable == "np.random.randn"


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("model = nn.Linear(3, 1)", "nn.Linear"),
        ("class Net(nn.Linear):\n    pass\nmodel = Net(3, 1)\nnn.init.normal_(model.weight)",
         "nn.init.normal_"),
    ],
)  # fmt: skip
def test_a_seed_that_is_set_after_the_model_is_too_late(model: str, variable: str) -> None:
    text = TORCH.format(seed="torch.manual_seed(0)").replace("model = nn.Linear(3, 1)", "")
    text = text.replace("torch.manual_seed(0)", f"{model}\nimport os\ntorch.manual_seed(0)")
    finding = found_in(text)["seeded_late"]
    assert (finding.variable, finding.line) == (variable, line_of(text, f"{variable}("))
    assert finding.numbers["seed_line"] == line_of(text, "torch.manual_seed(0)")
    assert finding.fix is not None
    assert finding.fix.end_line == line_of(text, "from torch import nn")


def test_a_generator_that_is_seeded_does_not_seed_all_others() -> None:
    text = TORCH.format(seed="g = torch.Generator().manual_seed(0)").replace(
        "torch.randn(16, 3)", "torch.randn(16, 3, generator=g)"
    )
    finding = found_in(text)["not_seeded"]
    assert finding.variable == "nn.Linear"


def test_a_run_that_goes_on_from_a_file_is_seeded(tmp_path: Path) -> None:
    text = f"""\
import os
import numpy as np

path = {str(tmp_path / "weight.npy")!r}
w = float(np.load(path)) if os.path.exists(path) else 0.0
x = np.arange(1.0, 4.0)
for epoch in range(5):
    error = w * x - 2 * x
    loss = (error**2).mean()
    dw = 2 * (error * x).mean()
    w -= 0.02 * dw
    np.save(path, w)
"""
    assert not found_in(text)


# ── NaN in a later epoch ────────────────────────────────────────────────────────────

LATE = """\
import torch

x = torch.tensor([1.0, 2.0, 3.0, -4.0])
y = torch.tensor([1.0, 1.0, 1.0, 0.0])
w = torch.tensor(0.0, requires_grad=True)
for epoch in range(100):
    p = torch.sigmoid(w * x)
    loss = -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.5 * w.grad * (1 + epoch)
    w.grad = None
"""


def test_nan_in_a_later_epoch() -> None:
    finding = only_finding(LATE, "first_not_finite", "loss", "torch.log(p)")
    assert finding.numbers == {"operation": "log", "argument": 0, "result": "-inf"}
    assert not found_in(LATE.replace("(1 + epoch)", "1"))


FUNCTION = """\
import numpy as np


def predict(w, x):
    return np.log(w * x)


x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])
w = 1.0
for epoch in range(10):
    p = predict(w, x)
    loss = np.mean((p - y) ** 2)
    dw = np.mean(2 * (p - y) / w)
    w -= 0.1 * dw
"""


def test_a_function_that_makes_no_number_in_numpy() -> None:
    finding = found_in(FUNCTION)["first_not_finite"]
    assert (finding.line, finding.variable) == (line_of(FUNCTION, "p = predict"), "p")
    assert (finding.numbers["operation"], finding.numbers["result"]) == ("predict", "-inf")


BATCHES = """\
import torch

torch.manual_seed(0)
x = 5 * torch.randn(120, 5)
y = x.sum(1, keepdim=True)
model = torch.nn.Linear(5, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
for epoch in range(3):
    for i in range(0, 120, 20):
        loss = ((model(x[i : i + 20]) - y[i : i + 20]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def test_a_run_that_diverges_within_its_first_epoch() -> None:
    finding = only_finding(BATCHES, "diverges", None, "lr=1.0")
    assert float(str(finding.numbers["bound"])) < 0.1
    assert fix_of(finding).loss_with is not None
    assert fix_of(finding).loss_with < 1
    assert not found_in(BATCHES.replace("lr=1.0", "lr=0.01"))


SAMPLES = """\
import numpy as np

rng = np.random.default_rng(0)
x = 3 * rng.normal(size=(8, 2))
y = x @ np.array([1.0, 2.0])
w = np.zeros(2)
for epoch in range(20):
    for x_i, y_i in zip(x, y):
        error = x_i @ w - y_i
        loss = error**2
        gradient = 2 * error * x_i
        w -= 0.2 * gradient
"""


def test_samples_by_hand_that_diverge() -> None:
    finding = only_finding(SAMPLES, "diverges", None, "0.2 *")
    # Of one sample the curvature along the gradient is 2 |x|².
    curvature, bound = (float(str(finding.numbers[name])) for name in ("curvature", "bound"))
    assert bound == pytest.approx(2 / curvature)
    rng = np.random.default_rng(0)
    possible = 2 * ((3 * rng.normal(size=(8, 2))) ** 2).sum(1)
    assert abs(possible - curvature).min() < 1e-3 * curvature
    assert not found_in(SAMPLES.replace("0.2 *", "0.01 *"))


def test_the_rate_is_no_other_number_of_that_size() -> None:
    text = SAMPLES.replace("y = x @", "noise = 0.2\ny = 0.2 * rng.normal(size=8) + x @")
    finding = found_in(text)["diverges"]
    assert finding.line == line_of(text, "w -= 0.2 *")


# ── Functions, classes, and the rest of the script ──────────────────────────────────

CLASSIFIER = """\
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(40, 3)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def evaluate():
    {evaluation}


for epoch in range(2):
    model.train()
    for i in range(0, 32, 16):
        optimizer.zero_grad()
        loss = criterion(model(x[i : i + 16]), y[i : i + 16])
        loss.backward()
        optimizer.step()
    {in_loop}
{after}
"""
WRONG = "with torch.no_grad():\n        return (model(x[32:]).argmax(1) == y[32:]).sum().item()"
RIGHT = f"model.eval()\n    {WRONG}"


@pytest.mark.parametrize(
    ("in_loop", "after"), [("print(evaluate())", ""), ("pass", "print(evaluate())")]
)
def test_an_evaluation_in_a_function(in_loop: str, after: str) -> None:
    text = CLASSIFIER.format(evaluation=WRONG, in_loop=in_loop, after=after)
    only_finding(text, "evaluated_in_training_mode", "model", "model(x[32:])")
    assert not found_in(CLASSIFIER.format(evaluation=RIGHT, in_loop=in_loop, after=after))


def test_a_trainer_class() -> None:
    text = """\
import torch
from torch import nn


class Trainer:
    def __init__(self, lr=0.9):
        torch.manual_seed(0)
        self.x = torch.randn(30, 3)
        self.y = self.x.sum(1, keepdim=True)
        self.model = nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr)

    def fit(self, epochs):
        for epoch in range(epochs):
            self.optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.model(self.x), self.y)
            loss.backward()
            self.optimizer.step()
            print(nn.functional.mse_loss(self.model(self.x), self.y).item())


Trainer().fit(30)
"""
    found = found_in(text)
    assert set(found) == {"diverges", "evaluated_with_graph"}
    assert (found["diverges"].line, found["diverges"].variable) == (line_of(text, "lr=0.9"), "lr")
    assert found["evaluated_with_graph"].variable == "self.model"
    assert found["evaluated_with_graph"].line == line_of(text, "print(")


def test_an_adversarial_game_and_a_loop_over_two_phases_are_no_mistakes() -> None:
    game = """\
import torch
from torch import nn

torch.manual_seed(0)
made = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
judge = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(8, 1))
loss_of = nn.BCEWithLogitsLoss()
first = torch.optim.Adam(made.parameters(), lr=1e-3)
second = torch.optim.Adam(judge.parameters(), lr=1e-3)
real = torch.randn(16, 2)
for epoch in range(4):
    judge.zero_grad()
    label = torch.ones(16, 1)
    loss_of(judge(real), label).backward()
    fake = made(torch.randn(16, 2))
    loss_of(judge(fake.detach()), label.fill_(0)).backward()
    second.step()
    made.zero_grad()
    loss = loss_of(judge(fake), label.fill_(1))
    loss.backward()
    first.step()
    with torch.no_grad():
        picture = made(torch.randn(4, 2)).detach().cpu()
    print(epoch, loss.item(), (picture - picture.min()) / (picture.max() - picture.min()))
"""
    assert not found_in(game)


@pytest.fixture
def limits() -> Iterator[None]:
    """The limits of time that a lesson's process has."""
    before = signal.getsignal(signal.SIGALRM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_limit, "_is_on", False)
        time_limit.limit_expressions()
        yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("epochs", [2, 9])
@pytest.mark.usefixtures("limits")
def test_code_without_an_end_behind_the_loop_ends_the_examination(
    epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may as well be a second loop that takes hours."""
    text = f"""\
import torch
w = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
for epoch in range({epochs}):
    loss = (w - 3) ** 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(((w - 3) ** 2).item())
while True:
    pass
"""
    monkeypatch.setattr(examination, "SECONDS_TO_THE_END", 0.2)
    report = examine(script_lesson(text), compiled=script_programs)
    assert not report.is_complete
    assert not report.findings


SUMMED_UNTIL_SMALL = """\
import torch
w = torch.zeros(1, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.2)
loss = torch.ones(())
while loss.item() > 0.01:
    loss = (w - 3) ** 2
    loss.backward()
    optimizer.step()
{rest}
"""
"""Converges with a reset only."""


def test_fork_ends_with_its_loop_and_both_losses_are_of_that_epoch() -> None:
    """What follows the loop is not run by the fork, in which the loop has an end."""
    found = found_in(SUMMED_UNTIL_SMALL.format(rest="raise RuntimeError('the rest has run')"))
    fix = found["gradients_not_reset"].fix
    assert fix is not None
    assert fix.epochs == 8
    assert fix.loss_with == pytest.approx(9 * 0.36**7, rel=1e-3)
    assert fix.loss_without == pytest.approx(0.1291, rel=1e-2)


@pytest.mark.usefixtures("limits")
def test_fork_that_takes_long_within_a_phase_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SUMMED_UNTIL_SMALL.replace("    loss.back", "    wait(loss)\n    loss.back").replace(
        "loss = torch", "def wait(loss):\n    while 0.15 < loss < 0.16:\n        pass\nloss = torch"
    )
    monkeypatch.setattr(forks, "FORK_SECONDS", 0.3)
    fix = found_in(text.format(rest=""))["gradients_not_reset"].fix
    assert fix is not None
    assert fix.epochs == 0


# ── Figures of a fix, and of a gradient by hand ─────────────────────────────────────────

STEEP = """\
import torch
w = torch.tensor(2.0, requires_grad=True)
lr = {rate}
for epoch in range(12):
    loss = w ** 4
    loss.backward()
    with torch.no_grad():
        w -= lr * w.grad
    w.grad = None
"""
"""Diverges to where the curvature, 12 w², is ever greater; at the start it is 48."""


def test_rate_is_compared_where_the_loss_has_not_grown_yet_and_the_fork_has_the_fixed_one() -> None:
    """The run that is examined has the code's own rate; the fork must not take it over."""
    lesson = script_lesson(STEEP.format(rate=0.3))
    report = examine(lesson, RunRecipe("autograd", "cpu", 0.3, 0), compiled=script_programs)
    (finding,) = (one for one in report.findings if one.code == "diverges")
    assert finding.numbers["bound"] == pytest.approx(2 / 48, rel=1e-3)
    fix = finding.fix
    assert fix is not None
    assert fix.loss_with is not None
    assert fix.loss_with < 16.0
    assert fix.loss_without is None or not fix.loss_without < 16.0


LOGISTIC = """\
import numpy as np
x = np.linspace(-1, 1, 8)
y = (x > -0.4).astype(float)
w, b = 0, 0
for epoch in range(6):
    p = 1 / (1 + np.exp(-(w * x + b)))
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    dw = {dw}
    db = np.mean(p - y)
    w = w - {rate} * dw
    b = b - {rate} * db
"""
DW = "(1 / 8) * np.sum((p - y) * x)"


def test_gradient_by_hand_at_whole_numbers() -> None:
    assert not found_in(LOGISTIC.format(dw=DW, rate=0.1))


def test_gradient_by_hand_is_wrong_though_the_loss_is_no_number_after_it() -> None:
    found = found_in(LOGISTIC.format(dw="np.sum((p - y) * x)", rate=4000))
    assert found["gradient_off_by_factor"].variable == "dw"
    assert found["gradient_off_by_factor"].numbers["factor"] == pytest.approx(8)


LINE = LOGISTIC.replace("1 / (1 + np.exp(-(w * x + b)))", "w * x + b").replace(
    "-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))", "np.mean((p - y) ** 2)"
)


def test_one_factor_of_all_gradients_is_no_mistake() -> None:
    assert not found_in(LINE.format(dw="np.mean((p - y) * x)", rate=0.1))  # both lack the 2
    summed = LINE.replace("np.mean(p - y)", "np.sum(p - y)")
    found = found_in(summed.format(dw="np.sum((p - y) * x)", rate=0.01))
    finding = found.pop("gradient_scaled")
    assert not found
    assert (finding.variable, finding.fix) == ("dw", None)
    assert (finding.numbers["factor"], finding.numbers["parameters"]) == (pytest.approx(4), 2)


def test_factor_of_one_gradient_alone_is_a_mistake() -> None:
    found = found_in(LINE.format(dw="2 * np.mean((p - y) * x)", rate=0.1))
    finding = found["gradient_off_by_factor"]
    assert (finding.variable, finding.numbers["factor"]) == ("db", pytest.approx(0.5))


def test_gradient_of_one_epoch_needs_more_than_one_number_to_have_a_factor() -> None:
    once = NUMPY.format(seed="np.random.seed(0)").replace("range(5)", "range(1)")
    assert not found_in(once)
    assert set(found_in(once.replace("2 * (error", "3 * (error"))) == {"gradient_off_by_factor"}


def test_sign_of_a_product_is_taken_away() -> None:
    fix = found_in(LOGISTIC.format(dw="-" + DW, rate=0.1))["gradient_of_wrong_sign"].fix
    assert fix is not None
    assert fix.code == f"dw = {DW}"


@pytest.mark.parametrize(
    ("added", "subtracted"),
    [("b = b + {rate} * db", "b = b - {rate} * db"), ("b += {rate} * db", "b -= {rate} * db")],
)
def test_update_that_adds_the_gradient(added: str, subtracted: str) -> None:
    code = LOGISTIC.replace("b = b - {rate} * db", added)
    found = found_in(code.format(dw=DW, rate=0.1))
    assert set(found) == {"gradient_added"}
    finding = found["gradient_added"]
    assert (finding.variable, finding.numbers["parameter"]) == ("db", "b")
    assert finding.line == 1 + code.count("\n", 0, code.index(added))
    assert fix_of(finding).code == subtracted.format(rate=0.1)


RESHAPED = """\
import numpy as np
x = np.linspace(0, 1, 5)[:, None]
y = 4 + 3 * x[:, 0]
theta = np.zeros((2, 1))
x = np.c_[np.ones((5, 1)), x]
for step in range(20):
    gradients = 2 / 5 * {gradient}
    theta = theta - 0.1 * gradients
print(theta)
"""


def test_gradient_that_gives_its_parameter_another_shape() -> None:
    code = RESHAPED.format(gradient="x.T.dot(x.dot(theta) - y)")
    finding = only_finding(code, "broadcast_in_gradient", "theta", "gradients = ")
    assert finding.numbers["before"] == (2, 1)
    assert finding.numbers["after"] == (2, 5)
    assert fix_of(finding).code == "gradients = 2 / 5 * x.T.dot(x.dot(theta) - y[:, None])"
    assert not found_in(RESHAPED.format(gradient="x.T.dot(x.dot(theta) - y[:, None])"))
    code = RESHAPED.format(gradient="np.ones((2, 3))")
    finding = only_finding(code, "parameter_reshaped", "theta", "theta = theta")
    assert finding.numbers["after"] == (2, 3)


def test_negative_gradient_that_is_added_and_has_another_factor() -> None:
    code = LOGISTIC.replace("w = w - {rate} * dw", "w = w + {rate} * dw")
    assert not found_in(code.format(dw="-" + DW, rate=0.1))
    found = found_in(code.format(dw="-np.sum((p - y) * x)", rate=0.1))
    finding = found["gradient_off_by_factor"]
    assert (finding.variable, finding.numbers["factor"]) == ("dw", pytest.approx(8))
    assert finding.numbers["slope"] == pytest.approx(float(str(finding.numbers["gradient"])) / 8)


@pytest.mark.parametrize("name", ["L", "a", "eps", "mu", "l_rate", "learn_rate", "lr"])
def test_rate_has_any_name(name: str) -> None:
    code = LOGISTIC.replace("w, b = 0, 0", f"w, b = 0, 0\n{name} = {{rate}}")
    code = code.replace("{rate} * d", f"{name} * d").replace("(1 / 8) * np.sum", "np.mean")
    assert not found_in(code.format(dw="np.mean((p - y) * x)", rate=0.1))
    squares = code.replace(
        "-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))", "np.mean((p - y) ** 2)"
    )
    line = squares.replace("1 / (1 + np.exp(-(w * x + b)))", "w * x + b")
    line = line.replace("db = np.mean(p - y)", "db = 2 * np.mean(p - y)")
    (finding,) = found_in(line.format(dw="2 * np.mean((p - y) * x)", rate=3.0)).values()
    assert (finding.code, finding.variable, finding.line) == ("diverges", name, 5)
    assert fix_of(finding).code.startswith(f"{name} = ")
