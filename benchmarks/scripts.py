"""A training script of one's own: what does it cost that the tutor runs it?

    python -m benchmarks.scripts [ROUNDS]

Compares the script as Python runs it with its Run in the tutor, in turn, by the thread's own clock:
a loop of small tensors, and an MLP 784-128-10 with batches of 64, on a tenth of MNIST's rows. The
tutor runs it to its end, and with the figures that `tutor run` prints as text. Both
are compiled before; the scripts' own code before their loops counts.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: both compute on one thread

from benchmarks.figures import print_table
from benchmarks.home import own_home
from tutor.engine.lesson_commands import figures_writer
from tutor.lesson.model import ScriptOptions
from tutor.protocol.commands import FEWER_AND_FEWER
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.program import script_programs
from tutor.script.source import ScriptSource
from tutor.training.program import Program
from tutor.training.run import Run
from tutor.training.series import readings

SMALL = """
import torch
torch.manual_seed(0)
x = torch.randn(20, 1)
y = 3 * x + 1
w = torch.zeros(1, 1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)
for epoch in range(20_000):
    loss = ((x @ w + b - y) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.01 * w.grad
        b -= 0.01 * b.grad
    w.grad = b.grad = None
"""

MLP = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.rand(6_400, 784)
y = torch.randint(0, 10, (6_400,))
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(20):
    for xb, yb in zip(x.split(64), y.split(64)):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(xb), yb)
        loss.backward()
        optimizer.step()
"""

SCRIPTS = {"small tensors": (SMALL, 20_000), "MLP 784-128-10": (MLP, 20)}
"""By name: the code, and its epochs."""


def main(rounds: int) -> None:
    """Print epochs a second of each script, by Python and in the tutor."""
    for name, (code, epochs) in SCRIPTS.items():
        compiled, programs = compile(code, "script.py", "exec"), _programs(code)
        rates: dict[str, list[float]] = {"python": [], "tutor": [], "with figures": []}
        for _ in range(rounds):
            rates["python"].append(epochs / _seconds(partial(exec, compiled, {})))
            rates["tutor"].append(epochs / _seconds(partial(_run, programs)))
            rates["with figures"].append(epochs / _seconds(partial(_write_figures, programs)))
        print_table(name, "epochs/s", rates, "python", max)


def _seconds(run: Callable[[], object]) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.thread_time()
        run()
        return time.thread_time() - started


def _programs(code: str) -> Mapping[str, Program]:
    source = ScriptSource(path=Path("script.py"), text=code, digest="")
    return script_programs(lesson_of_script(source, outline_of(code), ScriptOptions()))


def _run(programs: Mapping[str, Program]) -> None:
    run = Run(programs)
    run.run_to_without_frame(10**9)
    run.close()


def _write_figures(programs: Mapping[str, Program]) -> None:
    run, write = Run(programs), figures_writer("text", io.StringIO())
    for reading in readings(run, None, FEWER_AND_FEWER):
        write(reading)
    run.close()


if __name__ == "__main__":
    with own_home():
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
