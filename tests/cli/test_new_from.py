"""`tutor new mine --from train.py`: a lesson that computes what the script computes."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from tests.cli.conftest import Tutor
from tutor.errors import ScriptError
from tutor.lesson import document, trust
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.protocol.inspections import LoopReport
from tutor.script.code_pieces import one_statement_a_line, with_named_rate
from tutor.script.lesson import lesson_of_script
from tutor.script.lesson_writer import WrittenLesson, lesson_from
from tutor.script.loops import outline_of
from tutor.script.program import script_programs, script_report
from tutor.script.source import ScriptSource
from tutor.training.program import programs_of
from tutor.training.run import Run
from tutor.validation.lesson_check import check

MANUAL = """\
from __future__ import annotations
import numpy as np
import sys  # not needed in the loop

rng = np.random.default_rng(3)
X = rng.normal(size=(12, 2))
t = X @ np.array([1.0, -2.0])
# the start
w = np.zeros(2)
lr = 0.1
for epoch in range(4):
    # forward
    y = X @ w
    loss = ((y - t) ** 2).mean()  # mean squared error
    grad_w = 2 * X.T @ (y - t) / len(X)
    w = w - lr * grad_w
    if epoch % 2 == 0:
        print(f"{epoch}: {loss:.6f} at {lr}")
print("done", w)
"""
AUTOGRAD = """\
import torch

def main(steps, rate=0.05):
    x = torch.linspace(-1, 1, steps=8)
    y = 3 * x + 1
    w = torch.zeros(1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for i in range(1, 4):
        error = ((w * x + b) - y).pow(2).mean()
        error.backward()
        with torch.no_grad():
            w -= rate * w.grad
            b -= rate * b.grad
            w.grad.zero_()
            b.grad.zero_()
        print(i, error.item())
    return w

if __name__ == "__main__":
    w = main(3)
"""
MODEL = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
x = torch.rand(10, 3)
y = (x ** 2).sum(1, keepdim=True)

class Net(nn.Module):
    '''Two layers.'''

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(3, 4)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(4, 1, bias=False)

    def forward(self, x):
        return self.out(self.drop(torch.tanh(self.hidden(x))))

loader = DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True)
net = Net()
criterion = nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=1e-1, momentum=0.9)
for epoch in range(3):
    net.train()
    total = 0.0
    for step, (xb, yb) in enumerate(loader, start=1):
        opt.zero_grad()
        loss = criterion(net(xb), yb)
        loss.backward()
        opt.step()
        total += loss.item() * step
    print(epoch, total)
"""
SAMPLES = """\
xs = [1.0, 2.0, -1.0]
ys = [2.0, 4.1, -2.0]
w, lr = 0.0, 0.05
for epoch in range(3):
    for x, y in zip(xs, ys):
        prediction = w * x
        loss = (prediction - y) ** 2
        w -= lr * 2 * (prediction - y) * x
    print(w)
"""


FUNCTIONS = """\
import torch
from torch import nn

torch.manual_seed(5)
data = torch.randn(10, 2)
target = data.sum(1, keepdim=True)

def train_one_epoch(model, optimizer, rows, loss_fn=nn.MSELoss()):
    'One pass.'
    model.train()
    seen = 0.0
    for (xb,) in zip(rows.split(4)):
        pred = model(xb)
        loss = loss_fn(pred, xb.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen += loss.item()
    return seen / 3

def evaluate(model):
    with torch.no_grad():
        return (model(data) - target).abs().max().item()

net = nn.Linear(2, 1)
sgd = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(3):
    mean = train_one_epoch(net, sgd, rows=data)
    print(epoch, mean, evaluate(net))
"""
TENSORS_BY_HAND = """\
import torch
torch.manual_seed(0)
X = torch.randn(8, 2)
t = X.sum(dim=1)
w = torch.zeros(2)
for epoch in range(3):
    p = X @ w
    loss = ((p - t) ** 2).mean()
    g = 2 * X.T @ (p - t) / 8
    w -= 0.1 * g
    print(loss.item())
"""
CLIPPED = """\
import torch
model = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.5)
x = torch.ones(3, 2)
for epoch in range(3):
    opt.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), 50 * x[:, :1])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
"""

COUNTED = """\
import torch
torch.manual_seed(0)
x = torch.randn(8)
w = torch.zeros(1, requires_grad=True)
LAST = 4
epoch = 1
while epoch <= LAST:
    y_pred = w * x
    loss = ((y_pred - 3 * x) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    w.grad = None
    print(epoch, loss.item())
    epoch += 1
"""
METHOD = """\
import numpy as np

class Regression:
    'A line.'

    def __init__(self, lr=0.01, n_iters=1000):
        self.lr = lr
        self.n_iters = n_iters
        self.weights = None
        self.bias = None

    def fit(self, X, y):
        n, features = X.shape
        self.weights, self.bias = np.zeros(features), 0.0
        self.history = []
        for i in range(self.n_iters):
            y_pred = self.predict(X)
            loss = self._loss(y_pred, y)
            dw = 2 / n * X.T @ (y_pred - y)
            db = 2 / n * np.sum(y_pred - y)
            # down the slope
            self.weights -= self.lr * dw
            self.bias -= self.lr * db
            self.history.append(loss)
            if i % 2 == 0:
                print(f"{i}: {self.history[-1]:.6f}")
        return self

    def predict(self, X):
        return X @ self.weights + self.bias

    def _loss(self, y_pred, y):
        return np.mean((y_pred - y) ** 2)

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    X_train = rng.normal(size=(20, 2))
    y_train = X_train @ np.array([1.0, -2.0]) + 0.5
    model = Regression(lr=0.1, n_iters=4).fit(X_train, y_train)
    print(model.predict(X_train[:1]))
"""
LISTED = """\
import torch
torch.manual_seed(4)
x = torch.randn(8, 2)
W = torch.randn(2, 1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
params = [W, b]
lr = 0.1
for epoch in range(3):
    y_pred = x @ W + b
    loss = ((y_pred - x[:, :1]) ** 2).mean()
    for p in params:
        p.grad = None
    loss.backward()
    with torch.no_grad():
        for p in params:
            p -= lr * p.grad
    print(epoch, loss.item())
"""
TRAINER = """\
import torch
from torch import nn
torch.manual_seed(2)

class Trainer:
    def __init__(self, rate):
        self.model = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)
        self.data = torch.randn(10, 2)

    def train(self):
        for epoch in range(3):
            total = self.one_epoch(epoch)
            print(epoch, total)

    def one_epoch(self, epoch):
        self.optimizer.zero_grad()
        prediction = self.model(self.data)
        loss = nn.functional.mse_loss(prediction, self.data.sum(1, keepdim=True))
        loss.backward()
        self.optimizer.step()
        return loss.item()

Trainer(0.1).train()
"""
ARGUMENTS = """\
import argparse
import torch

def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.05)
    return parser.parse_args()

def main():
    args = parse_args()
    torch.manual_seed(1)
    x = torch.rand(10, 1)
    w = torch.zeros(1, requires_grad=True)
    opt = torch.optim.SGD([w], lr=args.lr)
    for epoch in range(args.epochs):
        for i in range(0, len(x), args.batch_size):
            rows = x[i : i + args.batch_size]
            opt.zero_grad()
            loss = ((rows * w - 2 * rows) ** 2).mean()
            loss.backward()
            opt.step()
        print(epoch, loss.item())

main()
"""
LOADED = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

class Points(Dataset):
    def __init__(self, count=20):
        super().__init__()
        self.x, self.scale = torch.linspace(-1, 1, count).view(-1, 1), 2
        self.y = self.x * self.scale

    def __len__(self):
        return len(self.x)

    def __getitem__(self, at):
        return self.x[at], self.y[at]

def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        return sum(nn.functional.mse_loss(model(x), y).item() for x, y in loader)

def show(model):
    return list(model.parameters())

torch.manual_seed(5)
data = Points()
size = int(0.8 * len(data))
train_set, test_set = random_split(data, [size, len(data) - size])
train_loader = DataLoader(train_set, batch_size=6, shuffle=True)
test_loader = DataLoader(test_set, batch_size=6)
model = nn.Linear(1, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    model.train()
    for at, (x, y) in enumerate(train_loader):
        opt.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        opt.step()
    print(epoch, at, evaluate(model, test_loader))
print(show(model))
"""
PASSED = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Trainer:
    def __init__(self, model, loader, lr=0.01, epochs=3):
        self.model = model
        self.loader = loader
        self.epochs = epochs
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr)

    def fit(self):
        for epoch in range(self.epochs):
            total = self.train_epoch()
            print(epoch, total)

    def train_epoch(self):
        total = 0.0
        for x, y in self.loader:
            self.optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)

def make_data(n=10):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=g)
    return TensorDataset(x, x.sum(1, keepdim=True))

if __name__ == "__main__":
    torch.manual_seed(0)
    loader = DataLoader(make_data(), batch_size=4, shuffle=True)
    model = nn.Linear(2, 1)
    trainer = Trainer(model, loader)
    trainer.fit()
    print(model.weight)
"""


NESTED = """\
import torch
from torch import nn
torch.manual_seed(3)

class Block(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.both = nn.ModuleList([nn.Linear(size, size, bias=i > 0) for i in range(2)])

    def forward(self, x):
        for layer in self.both:
            x = x + torch.relu(layer(self.norm(x)))
        return x

def batches(rows):
    for at in range(0, len(rows), 4):
        yield rows[at : at + 4]

model = nn.Sequential(*[Block(2) for _ in range(1)], nn.Linear(2, 1))
decayed = [p for p in model.parameters() if p.dim() > 1]
others = [p for p in model.parameters() if p.dim() < 2]
opt = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others}], lr=0.01)
data = torch.randn(10, 2)
for epoch in range(2):
    for rows in batches(data):
        opt.zero_grad()
        loss = nn.functional.mse_loss(model(rows), rows.sum(1, keepdim=True))
        loss.backward()
        opt.step()
    print(epoch, loss.item())
"""
"""The code does not say how many batches `batches` yields, nor what the groups hold."""


MINIMUM = """\
'''The least value of a function.'''
from __future__ import annotations
import torch; import math

w = torch.tensor(5.0, requires_grad=True)
for epoch in range(6):
    loss = (w - math.e) ** 2; loss.backward()
    with torch.no_grad(): w -= 0.1 * w.grad; w.grad = None
    if epoch % 2: print(epoch); print(loss.item())
"""
RETURNED = """\
import torch
x = torch.linspace(-1, 1, 6); y = 2 * x - 1
w = torch.zeros(1, requires_grad=True)
b = torch.zeros((), requires_grad=True)
for epoch in range(5):
    prediction = w * x + b
    loss = ((prediction - y) ** 2).mean()
    dw = torch.autograd.grad(loss, w, retain_graph=True)[0]
    (db,) = torch.autograd.grad(loss, b)
    with torch.no_grad():
        w -= 0.1 * dw
        b -= 0.1 * db
    print(epoch, loss.item(), dw.item(), db.item())
"""


FIRST = "dw = torch.autograd.grad(loss, w, retain_graph=True)[0]"


@pytest.fixture(autouse=True)
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def source_of(text: str) -> ScriptSource:
    return ScriptSource(path=Path("train.py"), text=text, digest="")


def made(text: str, loop: int = 1) -> WrittenLesson:
    source, outline = source_of(text), outline_of(text)

    def run() -> LoopReport:
        script = lesson_of_script(source, outline, ScriptOptions(loop=loop, name="train.py"))
        with contextlib.redirect_stdout(io.StringIO()):
            run = Run(script_programs(script))
            run.step_epoch()
            report = script_report(run.loop)
            run.close()
        return report

    return lesson_from(source, outline, loop, "mine", run)


def place_of(code: str, text: str) -> str:
    return f"train.py:{text[: text.index(code)].count(chr(10)) + 1}"


def lesson_of(text: str) -> Lesson:
    return document.parse(made(text).text, Path("mine.md"))


def code_of(text: str) -> dict[str, str]:
    lesson = lesson_of(text)
    return {
        str(s.phase): "".join(f.code for f in s.fences(lesson.modes[0])) for s in lesson.sections
    }


def numbers(thing: Any) -> np.ndarray:
    return thing.detach().numpy() if isinstance(thing, torch.Tensor) else np.asarray(thing)


def run_script(text: str) -> tuple[dict[str, Any], list[str]]:
    names: dict[str, Any] = {"__name__": "__main__"}
    without_arguments = mock.patch.object(sys, "argv", ["train.py"])
    with without_arguments, contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(text, "train.py", "exec"), names)
    return names, out.getvalue().splitlines()


def run_lesson(lesson: Lesson) -> tuple[dict[str, Any], list[str]]:
    (mode,) = lesson.modes
    with contextlib.redirect_stdout(io.StringIO()) as out:
        run = Run(programs_of(lesson), mode)
        for _ in range(lesson.epochs[mode]):
            run.step_epoch()
    return run.loop.namespace, out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("text", "parameters", "same"),
    [
        (MANUAL, ("w",), {"w": "w"}),
        (AUTOGRAD, ("w", "b"), {"w": "w"}),
        (MINIMUM, ("w",), {"w": "w", "loss": "loss"}),
        (RETURNED, ("w", "b"), {"w": "w", "b": "b"}),
        (
            MODEL,
            ("hidden_weight", "hidden_bias", "out_weight"),
            {"hidden_weight": "net.hidden.weight", "out_weight": "net.out.weight"},
        ),
        (SAMPLES, ("w",), {"w": "w"}),
        (FUNCTIONS, ("weight", "bias"), {"weight": "net.weight", "bias": "net.bias"}),
        (COUNTED, ("w",), {"w": "w"}),
        (METHOD, ("weights", "bias"), {"weights": "model.weights", "bias": "model.bias"}),
        (LISTED, ("W", "b"), {"W": "W", "b": "b"}),
        (TRAINER, ("weight", "bias"), {}),
        (ARGUMENTS, ("w",), {}),
        (LOADED, ("weight", "bias"), {"weight": "model.weight"}),
        (PASSED, ("weight", "bias"), {"weight": "model.weight"}),
        (
            NESTED,
            (
                "both_weight_0_0",
                "both_weight_0_1",
                "weight_1",
                "norm_weight_0",
                "norm_bias_0",
                "both_bias_0_1",
                "bias_1",
            ),
            {"both_weight_0_1": "model[0].both[1].weight"},
        ),
    ],
    ids=[
        *("manual", "autograd", "minimum", "returned", "model", "samples", "functions"),
        *("counted", "method", "listed", "trainer", "arguments", "loaded", "passed", "nested"),
    ],
)
def test_the_lesson_runs_to_the_numbers_of_the_script(
    text: str, parameters: Sequence[str], same: dict[str, str]
) -> None:
    lesson = lesson_of(text)
    assert lesson.parameters[lesson.modes[0]] == parameters
    names, printed = run_script(text)
    mine, mine_printed = run_lesson(lesson)
    assert mine_printed == printed[: len(mine_printed)]
    assert len(mine_printed) >= lesson.epochs[lesson.modes[0]] // 2
    for name, expression in same.items():
        np.testing.assert_array_equal(numbers(mine[name]), numbers(eval(expression, names)))


@pytest.mark.parametrize(
    "text",
    [
        AUTOGRAD,
        MINIMUM,
        RETURNED,
        MODEL,
        FUNCTIONS,
        TENSORS_BY_HAND,
        CLIPPED,
        COUNTED,
        METHOD,
        LISTED,
        TRAINER,
    ],
    ids=lambda text: next(n for n, value in globals().items() if value is text).lower(),
)
def test_the_lesson_passes_the_check(text: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        assert check(lesson_of(text)) == ()


def test_its_settings_and_code_are_the_scripts() -> None:
    lesson, code = lesson_of(MANUAL), code_of(MANUAL)
    assert (lesson.learning_rate, lesson.epochs) == ({"manual": 0.1}, {"manual": 4})
    assert code["Setup"].startswith("import numpy as np\nrng = ")
    assert "sys" not in code["Setup"]
    assert "# the start\nw = np.zeros(2)" in code["Setup"]
    assert code["Predict"] == "epoch += 1\n# forward\ny = X @ w\n"
    assert code["Loss"] == "loss = ((y - t) ** 2).mean()  # mean squared error\n"
    assert code["Gradient"] == "grad_w = 2 * X.T @ (y - t) / len(X)\ndw = grad_w\n"
    assert code["Update"] == "w = w - learning_rate * grad_w\n"
    assert "learning_rate" in code["Report"]
    assert made(MANUAL).left_out == place_of('print("done', MANUAL)
    assert made(PASSED).left_out == place_of("print(model.weight)", PASSED)
    assert "w" in lesson.boxed_by_phase()["Update"]


def test_a_function_is_minimized_in_a_lesson_without_predict() -> None:
    lesson = lesson_of(MINIMUM)
    assert [s.phase for s in lesson.sections if s.phase] == [
        *("Setup", "Loss", "Gradient", "Update", "Reset", "Report")
    ]
    assert lesson.learning_rate["autograd"] == 0.1
    assert "w -= learning_rate * w.grad" in code_of(MINIMUM)["Update"]


@pytest.mark.parametrize(
    "other",
    ["a -= 0.2 * a.grad; w -= 0.1 * w.grad", "learning_rate = 3.0; w -= 0.1 * w.grad"],
    ids=["two numbers", "a name that is taken"],
)
def test_a_number_stays_in_the_update_where_it_is_not_the_learning_rate(other: str) -> None:
    text = MINIMUM.replace("w -= 0.1 * w.grad", other)
    text = text.replace("w = torch", "a = torch.zeros(1, requires_grad=True)\nw = torch")
    text = text.replace("- math.e) ** 2", "- math.e) ** 2 + (0 * a).sum()")
    assert "0.1 * w.grad" in code_of(text)["Update"]


def test_statements_of_all_blocks_get_lines_of_their_own() -> None:
    text = """\
if a: b = 1; c = 2
else: b = 3
try: d = 1
except ValueError: d = 2; e = 3
match a:
    case 1: f = "é"; g = 5
    case _:
        f = 6; g = 7
"""
    rows, origin = one_statement_a_line(text)
    assert ast.dump(ast.parse(rows)) == ast.dump(ast.parse(text))
    assert [row.strip() for row in rows.split("\n") if row.startswith(" ")] == [
        *("b = 1", "c = 2", "b = 3", "d = 1", "d = 2", "e = 3"),
        *("case 1:", 'f = "é"', "g = 5", "case _:", "f = 6", "g = 7"),
    ]
    assert origin[:3] == (1, 1, 1)
    assert len(origin) == len(rows.split("\n"))


def test_the_named_rate_stands_above_a_decorated_function() -> None:
    text = MINIMUM.replace("import torch; import math\n", "@print\ndef first(): pass\n")
    text, _ = one_statement_a_line(text)
    found, _ = with_named_rate(text, outline_of(text).loops[0].phases, "learning_rate")
    assert [type(s).__name__ for s in ast.parse(found).body[2:4]] == ["Assign", "FunctionDef"]


def test_a_function_that_holds_the_loop_is_taken_apart() -> None:
    code = code_of(AUTOGRAD)
    assert "steps = 3" in code["Setup"]
    assert "def " not in "".join(code.values())
    assert code["Predict"] == "i += 1\ny_pred = w * x + b\n"
    assert code["Loss"].endswith("loss = error\n")
    assert code["Update"] == (
        "with torch.no_grad():\n    w -= learning_rate * w.grad\n"
        "with torch.no_grad():\n    b -= learning_rate * b.grad\n"
    )
    assert code["Reset"].startswith("with torch.no_grad():\n    w.grad.zero_()\n")


def test_a_function_that_each_epoch_calls_is_taken_apart() -> None:
    lesson, code = lesson_of(FUNCTIONS), code_of(FUNCTIONS)
    assert lesson.batches == 3
    assert "def train_one_epoch" not in code["Setup"]
    assert code["Setup"].index("net = ") < code["Setup"].index("model = net")
    assert code["Predict"] == (
        "if batch == 0:\n    epoch += 1\n    loss_fn = nn.MSELoss()\n    model.train()\n"
        "    seen = 0.0\n    batches_of_epoch = list(zip(rows.split(4)))\n"
        "xb, = batches_of_epoch[batch]\npred = model(xb)\n"
    )
    assert code["Report"] == "mean = seen / 3\nprint(epoch, mean, evaluate(net))\n"


def test_data_that_only_move_have_no_formula() -> None:
    moved = MODEL.replace(
        "        opt.zero_grad()\n", "        xb, yb = xb.to('cpu'), yb.to('cpu')\n"
    )
    assert moved != MODEL
    text = made(moved).text
    assert r"\leftarrow \text{xb}" not in text
    assert "xb, yb = xb.to('cpu'), yb.to('cpu')" in text


def test_batches_become_the_lessons() -> None:
    lesson, code = lesson_of(MODEL), code_of(MODEL)
    assert lesson.batches == 3
    assert code["Reset"] == (
        "if batch == 0:\n    epoch += 1\n    net.train()\n    total = 0.0\n"
        "    batches_of_epoch = list(loader)\n"
        "xb, yb = batches_of_epoch[batch]\nstep = batch + 1\nopt.zero_grad()\n"
    )
    assert code["Predict"] == "y_pred = net(xb)\n"
    assert "lr=learning_rate, momentum=0.9" in code["Setup"]
    assert code["Setup"].endswith(
        "hidden_weight = net.hidden.weight\nhidden_bias = net.hidden.bias\n"
        "out_weight = net.out.weight\n"
    )
    assert code["Report"] == "print(epoch, total)\n"


@pytest.mark.parametrize("items", ["trange(3)", "tqdm.tqdm(range(3))", "track(range(0, 3), 'run')"])
def test_a_progress_bar_counts_as_the_range_behind_it(items: str) -> None:
    """Of epochs, and of batches."""
    imports = "import tqdm\nfrom tqdm import trange\nfrom rich.progress import track\n"
    batch = inside(f"for i in {items}:\n", "p = w * x + i + epoch\n" + STEP.partition("\n")[2])
    code = code_of(imports + HEAD + inside(f"for epoch in {items}:\n", batch))
    assert "epoch = -1  # counts the epochs" in code["Setup"]
    assert code["Predict"] == "if batch == 0:\n    epoch += 1\ni = batch\np = w * x + i + epoch\n"


HEAD = "import torch\nw = torch.zeros(2, requires_grad=True)\nx = torch.ones(2)\n"
STEP = """\
p = w * x
loss = ((p - 3) ** 2).sum()
loss.backward()
with torch.no_grad():
    w -= 0.1 * w.grad
w.grad = None
"""
FOR = "for epoch in range(3):\n"


def inside(head: str, body: str) -> str:
    return head + indent(body, "    ")


LOOP = inside(FOR, STEP)


@pytest.mark.parametrize(
    "end",
    [
        "if loss < 5:\n    print('small')\n    break\nprint(loss.item())\n",
        "print(loss.item())\nif loss < 5:\n    break\nelif loss < 6:\n    print('soon')\n",
        "if loss > 6:\n    continue\nprint(loss.item())\nif loss < 5:\n    break\n",
    ],
)
def test_a_lesson_goes_on_where_the_script_ends_its_loop(end: str) -> None:
    text = HEAD + inside(FOR.replace("3", "20"), STEP + end)
    written = made(text)
    assert written.stops == place_of("break", text)
    _, printed = run_script(text)
    _, mine_printed = run_lesson(document.parse(written.text, Path("mine.md")))
    assert mine_printed[: len(printed)] == printed
    assert len(mine_printed) > len(printed) > 0


def test_a_rate_from_the_command_line_is_the_lessons() -> None:
    assert lesson_of(ARGUMENTS).learning_rate == {"optimizer": 0.05}
    assert "lr=learning_rate)" in code_of(ARGUMENTS)["Setup"]


GROUPS = """\
import torch
from torch import nn
torch.manual_seed(0)
coder = nn.GRU(2, 3, batch_first=True)
cell = nn.GRUCell(3, 3)
out = nn.Linear(3, 1, bias=False)
scale = torch.ones(1, requires_grad=True)
opt = torch.optim.SGD(GIVEN, lr=0.1)
rows = torch.rand(4, 5, 2)
for epoch in range(2):
    for batch in rows.split(2):
        opt.zero_grad()
        state = coder(batch)[1][0]
        loss = nn.functional.mse_loss(out(cell(state)) * scale, batch[:, 0, :1])
        loss.backward()
        opt.step()
    print(epoch, loss.item())
"""


@pytest.mark.parametrize(
    "given",
    [
        "[*coder.parameters(), *cell.parameters(), *out.parameters(), scale]",
        "list(coder.parameters()) + list(cell.parameters()) + [*out.parameters(), scale]",
        "[{'params': coder.parameters(), 'lr': 0.2}, {'params': [*cell.parameters(), "
        "*out.parameters(), scale]}]",
    ],
)
def test_an_optimizer_may_hold_parameters_of_several_modules(given: str) -> None:
    text = GROUPS.replace("GIVEN", given)
    lesson = lesson_of(text)
    of_coder = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    of_cell = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    assert lesson.parameters == {"model": (*of_coder, *of_cell, "weight", "scale")}
    names, printed = run_script(text)
    mine, mine_printed = run_lesson(lesson)
    assert mine_printed == printed
    np.testing.assert_array_equal(numbers(mine["scale"]), numbers(names["scale"]))


def test_a_parameter_without_a_plain_name_gets_one() -> None:
    text = """\
import torch
held = [torch.ones(2, requires_grad=True) for _ in range(2)]
named = {"fc.weight": torch.ones(2, requires_grad=True), "if": torch.zeros(2, requires_grad=True)}
opt = torch.optim.SGD([*held, *named.values()], lr=0.1)
for epoch in range(2):
    opt.zero_grad()
    y = held[0] * held[1] * named["fc.weight"] + named["if"]
    loss = ((y - 3) ** 2).sum()
    loss.backward()
    opt.step()
    print(loss.item())
"""
    lesson = lesson_of(text)
    assert lesson.parameters == {"optimizer": ("held_0", "held_1", "fc_weight", "named_if")}
    assert run_lesson(lesson)[1] == run_script(text)[1]


def test_parameters_in_a_dictionary_are_named_by_their_keys() -> None:
    text = LISTED.replace("params = [W, b]", "params = {'W': W, 'b': b}; del W, b")
    text = text.replace("x @ W + b", "x @ params['W'] + params['b']")
    text = text.replace("in params:", "in params.values():")
    lesson = lesson_of(text)
    assert lesson.parameters == {"autograd": ("params_W", "params_b")}
    assert run_lesson(lesson)[1] == run_script(text)[1]


OWN_FUNCTION = """\
import torch

class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient

w = torch.ones(2, requires_grad=True)
for epoch in range(2):
    y = Square.apply(w)
    loss = (y - 3).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.01 * w.grad
    w.grad.zero_()
    print(loss.item())
"""
OWN_STEP = """\
import torch
torch.manual_seed(0)

class Descent:
    def __init__(self, parameters, rate):
        self.parameters, self.rate = list(parameters), rate

    def step(self):
        with torch.no_grad():
            for p in self.parameters:
                p -= self.rate * p.grad
                p.grad = None

model = torch.nn.Linear(2, 1)
descent = Descent(model.parameters(), 0.1)
x = torch.ones(3, 2)
for epoch in range(2):
    y = model(x)
    loss = (y - 3).pow(2).mean()
    loss.backward()
    descent.step()
    print(loss.item())
"""


@pytest.mark.parametrize(
    ("text", "parameters"), [(OWN_FUNCTION, ("w",)), (OWN_STEP, ("weight", "bias"))]
)
def test_a_function_of_autograd_or_an_update_may_be_the_scripts_own(
    text: str, parameters: Sequence[str]
) -> None:
    lesson = lesson_of(text)
    assert list(lesson.parameters.values()) == [parameters]
    assert run_lesson(lesson)[1] == run_script(text)[1]


@pytest.mark.parametrize(
    "loss",
    ["loss = lambda a, b: ((a - b) ** 2).sum()", "def loss(a, b): return ((a - b) ** 2).sum()"],
)
def test_a_function_that_is_called_loss_gets_another_name(loss: str) -> None:
    step = STEP.replace("loss = ((p - 3) ** 2).sum()", "l = loss(p, 3)").replace("loss.", "l.")
    text = f"{HEAD}{loss}\n" + inside(FOR, step + "print(l.item())\n")
    assert code_of(text)["Loss"] == "l = loss_function(p, 3)\nloss = l\n"
    assert run_lesson(lesson_of(text))[1] == run_script(text)[1]


def test_pictures_are_left_out() -> None:
    drawing = "plt.cla()\nplt.plot(x.numpy(), label='x')\nif epoch > 1:\n    plt.pause(0.1)\n"
    text = "import matplotlib.pyplot as plt\n" + HEAD + inside(FOR, STEP + drawing)
    text += "fig, ax = plt.subplots()\nax.plot([1])\nplt.show()\n"
    kept = "if epoch > 1:\n    pass\n"
    assert code_of(text) == code_of(HEAD + inside(FOR, STEP + kept))


def test_a_loop_within_try_is_the_loop_alone() -> None:
    text = inside("try:\n", LOOP) + "except KeyboardInterrupt:\n    w = 3\nfinally:\n    w = 4\n"
    written = made(HEAD + text)
    assert written.left_out == "train.py:13"
    assert "w = 3" not in written.text
    assert code_of(HEAD + text) == code_of(HEAD + LOOP)


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        (inside("while True:\n", STEP), 4, "while_loop"),
        ("n = int(input())\n" + LOOP, 4, "asks_for_input"),
        (
            inside(FOR, STEP.replace("w.grad = ", "if loss < 1:\n    break\nw.grad = ")),
            11,
            "leaves_loop",
        ),
        (inside(FOR, STEP + "try:\n    break\nfinally:\n    w = 1\n"), 12, "leaves_loop"),
        (inside(FOR, inside("for _ in range(2):\n", STEP + "break\n")), 12, "leaves_loop"),
        (
            "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('n')\n"
            "args = parser.parse_args()\n" + LOOP,
            7,
            "reads_arguments",
        ),
        (inside("for epoch in range(len(open('f').read())):\n", STEP), 4, "no_number_of_epochs"),
        (inside("with open('log', 'w') as log:\n", LOOP), 4, "loop_in_with"),
        (inside("if 1:\n", LOOP), 4, "loop_in_condition"),
        (
            inside("try:\n", inside(FOR, STEP + "raise OSError\n")) + "except OSError:\n    pass\n",
            12,
            "leaves_loop",
        ),
        (
            inside(FOR, inside("def closure():\n", STEP + "return loss\n") + "opt.step(closure)\n"),
            5,
            "phase_in_closure",
        ),
        (
            inside(FOR, inside("def step():\n", STEP + "return loss\n") + "print(step())\n"),
            5,
            "phase_in_function",
        ),
        ("def f(batch): pass\nbatch = 3\nw.batch = batch\n" + LOOP, 5, "binds_batch"),
        (inside("def run():\n", "global w\n" + LOOP) + "run()\nrun()\n", 14, "function_used_twice"),
        (
            "import matplotlib.pyplot as plt\n" + inside(FOR, STEP + "w.data += plt.plot()\n"),
            12,
            "draws_picture",
        ),
        (
            inside(FOR, inside("for i in range(int(w.sum())):\n", STEP)),
            5,
            "number_of_batches_changes",
        ),
        (inside(FOR, inside("for i in range(epoch + 1):\n", STEP)), 5, "number_of_batches_changes"),
        (LOOP + "else:\n    pass\n", 12, "loop_with_else"),
        (inside(FOR, STEP + STEP.replace("loss", "other")), 12, "phase_twice"),
        *(
            (RETURNED.replace(FIRST, other), 11, "gradients_without_names")
            for other in (
                FIRST.replace("dw = ", "dw = -"),
                "gs = torch.autograd.grad(loss, [w], retain_graph=True); dw = gs[0]",
            )
        ),
        (
            "import torch.distributed as dist\n"
            + LOOP.replace("backward()", "backward()\n    dist.all_reduce(w.grad)"),
            9,
            "phase_of_no_lesson",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value else "",
)
def test_what_no_lesson_can_say_is_refused_with_its_line(text: str, line: int, code: str) -> None:
    with pytest.raises(ScriptError) as raised:
        made(HEAD + text)
    assert (raised.value.code, raised.value.values["place"]) == (code, f"train.py:{line}")


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("class Trainer:", "class Trainer(nn.Module):", ("not_plain", "Trainer")),
        (
            "Trainer(0.1).train()",
            "a, b = Trainer(0.1), Trainer(0.2)\na.train()",
            ("not_one_instance", "Trainer"),
        ),
        ("Trainer(0.1).train()", "t = Trainer(0.1)\nprint(t)\nt.train()", ("passed_on", "t")),
        ("torch.manual_seed(2)", "data = 3", ("ambiguous", "data")),
        (
            "        prediction = self.model",
            "        model = 0\n        prediction = self.model",
            ("ambiguous", "model"),
        ),
        (
            "    def train(self)",
            "    @torch.enable_grad()\n    def train(self)",
            ("decorated", "train"),
        ),
    ],
    ids=["base", "two instances", "bare", "module's name", "local name", "decorated"],
)
def test_a_class_that_is_more_than_its_names_is_refused(
    before: str, after: str, why: tuple[str, str]
) -> None:
    text = TRAINER.replace(before, after)
    compile(text, "train.py", "exec")
    with pytest.raises(ScriptError) as raised:
        made(text)
    assert re.fullmatch(r"train\.py:\d+", raised.value.values["place"])
    assert (raised.value.code, raised.value.values["why"]) == ("loop_in_method", why)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    epoch += 1", "    epoch += 2"),
        ("    w.grad = None", "    w.grad = None\n    LAST = 9"),
        ("    w.grad = None", "    w.grad = None\n    if epoch > 2:\n        epoch += 1"),
        ("epoch = 1", "epoch = len(x)"),
        ("epoch <= LAST", "epoch <= LAST and w < 9"),
    ],
)
def test_a_while_loop_that_does_not_just_count_is_refused(before: str, after: str) -> None:
    with pytest.raises(ScriptError) as raised:
        made(COUNTED.replace(before, after))
    assert (raised.value.code, raised.value.values["place"]) == ("while_loop", "train.py:7")


def test_the_rate_is_one_of_several_names_of_an_assignment() -> None:
    text = (
        "import torch\nw = torch.zeros(1, requires_grad=True)\nlr, size = 0.25, 3\n"
        "def sgd(params, lr):\n    with torch.no_grad():\n        for p in params:\n"
        "            p -= lr * p.grad\n            p.grad.zero_()\n"
        "for epoch in range(4):\n    y_pred = w * size\n    loss = ((y_pred - 6) ** 2).sum()\n"
        "    loss.backward()\n    sgd([w], lr)\n"
    )
    written = made(text).text
    assert "learning_rate: 0.25" in written
    assert "sgd([w], learning_rate)" in written
    assert "p -= lr * p.grad" in written
    assert "size = 3" in written


def test_a_context_around_several_phases_is_written_around_each() -> None:
    prediction, *rest = STEP.splitlines(keepends=True)
    context = "with torch.autocast('cpu', enabled=False):\n"
    written = made(HEAD + inside(FOR, inside(context, prediction + rest[0]) + "".join(rest[1:])))
    assert written.text.count("torch.autocast") == 2


def test_a_dictionary_of_parameters_is_no_parameter() -> None:
    text = (
        "import numpy as np\ndef start():\n    return {'w': 0.0, 'b': 0.0}\n"
        "def slopes(p, error):\n    return {'dw': p['w'] + error, 'db': error}\n"
        "def step(p, grads, lr=0.1):\n    for k in ('w', 'b'):\n"
        "        p[k] = p[k] - lr * grads['d' + k]\n    return p\n"
        "p = start()\nfor i in range(3):\n    y_pred = p['w'] * 2 + p['b']\n"
        "    loss = (y_pred - 3) ** 2\n    grads = slopes(p, 2 * (y_pred - 3))\n"
        "    p = step(p, grads)\n"
    )
    with pytest.raises(ScriptError) as raised:
        made(text)
    assert (raised.value.code, raised.value.values["name"]) == ("parameters_in_one_name", "p")


# ── The command ─────────────────────────────────────────────────────────────────────


def test_the_command_writes_a_lesson_that_passes_the_check(tutor: Tutor, home: Path) -> None:
    (home / "train.py").write_text(MANUAL)
    done = tutor("new", "mine", "--from", "train.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  tutor check mine.md --trust " in done.stdout
    assert "from train.py:19 on" in done.stdout
    assert (home / "train.py").read_text() == MANUAL
    lesson = document.read(home / "mine.md")
    assert not trust.is_trusted(lesson)  # the code is the script's, which may be anyone's
    assert tutor("check", "mine.md", "--trust").returncode == 0


def test_a_script_runs_for_what_its_code_does_not_say_once_it_is_trusted(
    tutor: Tutor, home: Path
) -> None:
    (home / "train.py").write_text("open('ran', 'w')\n" + NESTED)
    refused = tutor("new", "mine", "--from", "train.py")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--trust" in refused.stderr
    assert not (home / "mine.md").exists()
    done = tutor("new", "mine", "--from", "train.py", "--trust")
    assert (done.returncode, done.stderr) == (0, "")
    lesson = document.read(home / "mine.md")
    assert lesson.batches == 3
    assert not trust.is_trusted(lesson)
    assert not (home / "ran").exists()  # what a script writes goes into a folder of its own


def test_arguments_for_the_script_are_refused_rather_than_dropped(tutor: Tutor, home: Path) -> None:
    (home / "train.py").write_text(MANUAL)
    refused = tutor("new", "mine", "--from", "train.py", "--", "--epochs", "3")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert not (home / "mine.md").exists()


def test_an_error_of_the_script_is_told_and_leaves_no_file(tutor: Tutor, home: Path) -> None:
    (home / "train.py").write_text(MODEL.replace("net = Net()", "net = Net(1)"))
    done = tutor("new", "mine", "--from", "train.py", "--trust")
    assert (done.returncode, done.stdout) == (1, "")
    assert place_of("net = Net", MODEL) in done.stderr
    assert "TypeError" in done.stderr
    assert not (home / "mine.md").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--from", "missing.py"], 1, "missing.py"),
        (["--from", "train.py", "--loop", "2"], 2, "train.py"),
        (["--from", "no_loop.py"], 1, "no_loop.py"),
        (["--from", "while.py"], 1, "while.py:4: "),
    ],
)
def test_what_can_not_be_written_leaves_no_file(
    tutor: Tutor, home: Path, arguments: list[str], status: int, says: str
) -> None:
    (home / "train.py").write_text(MANUAL)
    (home / "no_loop.py").write_text("x = 1\n")
    (home / "while.py").write_text(HEAD + inside("while True:\n", STEP))
    done = tutor("new", "mine", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr
    assert not (home / "mine.md").exists()


def test_a_lesson_that_is_there_stays(tutor: Tutor, home: Path) -> None:
    (home / "train.py").write_text(MANUAL)
    (home / "mine.md").write_text("years of work")
    assert tutor("new", "mine", "--from", "train.py").returncode == 1
    assert (home / "mine.md").read_text() == "years of work"
    assert tutor("new", "mine", "--from", "train.py", "--force").returncode == 0
