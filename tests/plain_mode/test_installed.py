"""`tutor --plain` on its real engine, fed through a pipe."""

import os
import subprocess
from pathlib import Path

from tests.terminal import TUTOR


def test_a_pipe_is_answered_line_by_line_and_ends_it(tmp_path: Path):
    typed = [
        *("s", "lr 0.5", "next", "nonsense", "mode autograd", "s", "values", "open one-weight"),
        "mode autograd",
        "next 2",
        "operation",
        "operation",
        "next",
        "graph",
        "inside loss",
        "compare",
        "plot slope",
        "epoch 2",
        "plot loss",
        "fork",
        "then",
        "set w = 2",
        "then A",
        "then A",
        "runs",
        "runs delete A",
        f"export figures {tmp_path}/f",
    ]
    told = [
        "x equals 1; y equals 2; w equals 1.",
        "w rose from 1 to 1.5.",
        "The learning rate went from 0.25 to 0.5.",
        "y hat equals 1.5 times 1, which equals 1.5.",
        "There is no command nonsense.",
        "The gradient mode is autograd, on cpu.",
        "The loss is 0.25.\nw is 2. Its gradient in this step is -1; 0 is left over for the next.",
        "x equals 1; y equals 2; w equals 1.",
        "Step 1 of 4 of backward.",
        "Operation 1, PowBackward0, computes the square of operation 2, held by loss.",
        "Step 2 of 4 of backward.",
        "Operation 1, PowBackward0, computes the square of operation 2, held by loss.",
        "Leaf w. Value: 1. Gradient: -2. grad: before None, now -2.",
        "It is not a leaf. requires_grad is True; grad_fn is PowBackward0.",
        "By manual, autograd and finite differences: -2.",
        "The slope there is -2: the loss falls as w grows.",
        "It was lowest in epoch 2: 0.25.",
        "Run A at the same position:\nThe loss is 0.25.\nw is 1.75.",
        "w is 2 now.",
        "Run A at the same position:\nThe loss is 0.25.\nw is 1.75.",
        "Run A at the same position:\nThe loss is 0.25.\nw is 1.75.",
        "Run B, this run: mode autograd, learning rate 0.25, seed 0, 2 epochs, loss 0.25",
        "Written to ",
    ]
    run = subprocess.run(
        [TUTOR, "--plain", "one-weight"],
        input="\n".join(typed),
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"TUTOR_PROGRESS": str(tmp_path / "progress.db")},
    )
    assert (run.returncode, run.stderr) == (0, "")
    at = -1
    for line in told:
        at = run.stdout.find(line, at + 1)
        assert at >= 0, (line, run.stdout)
    assert "\x1b" not in run.stdout
    assert (tmp_path / "f.csv").read_text().count("\n") == 3
