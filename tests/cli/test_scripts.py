"""A learner's own script on the command line: `tutor run`, `tutor inspect`, and refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Tutor
from tests.terminal import TUTOR
from tutor.cli.main import _split

SCRIPT = """import argparse
import torch

options = argparse.ArgumentParser()
options.add_argument("--epochs", type=int, default=4)
options = options.parse_args()
torch.manual_seed(0)
x = torch.randn(6, 1)
w = torch.zeros(1, 1, requires_grad=True)


def train(epochs):
    for epoch in range(epochs):
        loss = ((x @ w - 2 * x) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w.sub_(0.1 * w.grad)
        w.grad = None
        print("epoch", epoch, end="; ")
        print(loss.item())


train(options.epochs)
with open("weights.txt", "w") as file:
    file.write(str(w.item()))
print("done", w.item())
"""


@pytest.fixture
def script(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    path = home / "train.py"
    path.write_text(SCRIPT)
    return path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The installed program: its child process passes a script's output on."""
    return subprocess.run(
        [TUTOR, *arguments], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )


def test_a_run_prints_figures_and_beside_them_what_python_prints(script: Path) -> None:
    (script.parent / "weights.txt").write_text("mine")
    done = run("run", script, "--trust", "--format", "jsonl", "--", "--epochs", "3")
    kept = (script.parent / "weights.txt").read_text()
    plain = subprocess.run(
        [sys.executable, script.name, "--epochs", "3"], capture_output=True, text=True, check=True
    )
    assert done.stderr == plain.stdout
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [f["epoch"] for f in figures] == [1, 2, 3]
    assert f"done {figures[-1]['values']['w'][0][0]}" in plain.stdout
    assert kept == "mine", "nothing of the learner's is overwritten"


def test_inspect_tells_what_is_understood(script: Path) -> None:
    done = run("inspect", script, "--trust", "--json")
    found = json.loads(done.stdout)
    assert found["refused"] is None
    assert found["loops"] == [
        {
            "line": 13,
            "function": "train",
            "mode": "autograd",
            "parameters": ["w"],
            "loss": "loss",
            "prediction": "",
            "phases": [
                {"name": "Loss", "lines": [14, 14]},
                {"name": "Gradient", "lines": [15, 15]},
                {"name": "Update", "lines": [16, 17]},
                {"name": "Reset", "lines": [18, 18]},
                {"name": "Report", "lines": [19, 20]},
            ],
        }
    ]
    assert found["findings"] == []


def test_a_script_runs_only_after_it_has_been_trusted(tutor: Tutor, script: Path) -> None:
    done = tutor("run", str(script))
    assert done.returncode == 1
    assert "--trust" in done.stderr
    assert done.stdout == ""


def test_what_can_not_be_stepped_costs_one_line_with_its_place(tutor: Tutor, home: Path) -> None:
    wrong = home / "wrong.py"
    cases = [
        ("for i in range(3:\n", ":1:"),
        ("print(1)\n", "no training loop"),
        ("", "empty"),
        ("from sklearn.svm import SVC\nclf = SVC()\nclf.fit([[0]], [1])\n", ":3:"),
    ]
    for text, part in cases:
        wrong.write_text(text)
        for command in ("open", "run", "inspect"):
            done = tutor(command, str(wrong), *(["--plain"] if command == "open" else []))
            assert done.returncode == 1
            assert done.stderr.count("\n") == 1
            assert part in done.stderr
    assert json.loads(tutor("inspect", str(wrong), "--json").stdout)["refused"]
    missing = tutor("run", str(home / "missing.py"))
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


def test_a_loop_that_is_not_there_is_wrong_usage(tutor: Tutor, script: Path) -> None:
    assert tutor("run", str(script), "--loop", "2", "--trust").returncode == 2
    assert tutor("inspect", "xor").returncode == 2


def test_arguments_after_two_dashes_are_the_scripts() -> None:
    assert _split(["run", "t.py", "--epochs", "2", "--", "--lr", "1"]) == (
        ["run", "t.py", "--epochs", "2"],
        ["--lr", "1"],
    )
    assert _split(["why", "--", "-x"]) == (["why", "--", "-x"], [])


FAULTY = """import torch

torch.manual_seed(0)
x, y = torch.randn(6, 3), torch.tensor([0.0, 1, 2, 0, 1, 2])
model = torch.nn.Linear(3, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.parametrize("command", [("run", "--doctor"), ("inspect",)])
def test_the_doctor_says_why_a_script_raises(
    tutor: Tutor, script: Path, command: tuple[str, ...]
) -> None:
    script.write_text(FAULTY)
    done = tutor(*command, str(script), "--trust")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "cross_entropy(model(x), y.long())" in said
    assert "RuntimeError: expected" in done.stderr
