"""Epochs a second of one lesson on one rank and on two: what do the ranks cost, and gain?

    python -m benchmarks.ranks [ROUNDS]

A regression on few samples, where all that counts is the time of an all-reduce, and on many, which
two ranks share. Compares one process, the plain loop under torchrun, and the Run of the tutor on
two ranks, whole epochs and phase by phase.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import print_table
from benchmarks.home import own_home
from tutor.lesson.document import parse
from tutor.training.devices import use_one_thread
from tutor.training.program import programs_of
from tutor.training.rank_group import RANKS
from tutor.training.run import Run

SIZES = {64: 400, 2**18: 20}
"""By number of samples: the epochs that are timed."""

SETUP = """x = torch.linspace(-1, 1, {samples})[rank::world_size]
y = 2 * x
w = torch.tensor(0.0, requires_grad=True)
"""
PHASES = {
    "Predict": "y_pred = torch.tanh(w * x)\n",
    "Loss": "loss = ((y_pred - y) ** 2).mean()\n",
    "Gradient": "loss.backward()\n",
    "Synchronize": "dist.all_reduce(w.grad)\nw.grad /= world_size\n",
    "Update": "with torch.no_grad():\n    w -= learning_rate * w.grad\n",
    "Reset": "w.grad = None\n",
}
PLAIN = """import sys, time
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
rank, world_size, learning_rate = dist.get_rank(), dist.get_world_size(), 0.01
torch.set_num_threads(1)
{setup}
for epoch in range({epochs} + 5):
    if epoch == 5:
        started = time.perf_counter()
{phases}
if rank == 0:
    print({epochs} / (time.perf_counter() - started))
"""


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    use_one_thread()
    for samples, epochs in SIZES.items():
        rates: dict[str, list[float]] = {
            "one process": [],
            "two, torchrun": [],
            "two, Run": [],
            "two, by phase": [],
        }
        one, two = run_on(1, samples), run_on(2, samples)
        for _ in range(rounds):
            rates["one process"].append(rate_of(one, epochs))
            rates["two, torchrun"].append(rate_of_torchrun(samples, epochs))
            rates["two, Run"].append(rate_of(two, epochs))
            rates["two, by phase"].append(rate_by_phase(two, epochs // 4))
        print_table(f"{samples} samples", "epochs/s", rates, "one process", max)
    RANKS.end()


def run_on(workers: int, samples: int) -> Run:
    """A run on so many ranks, a few epochs on."""
    front = "---\ntitle: Ranks\nsummary: Ranks.\nparameters: [w]\n"
    front += f"workers: {workers}\n---\n" if workers > 1 else "---\n"
    setup = SETUP.format(samples=samples)
    if workers == 1:
        setup = "rank, world_size = 0, 1\n" + setup
    phases = {n: c for n, c in PHASES.items() if workers > 1 or n != "Synchronize"}
    fences = {"Setup": setup} | phases
    text = front + "".join(f"\n## {n}\n```python\n{c}```\n" for n, c in fences.items())
    run = Run(programs_of(parse(text, Path("ranks.md"))))
    run.run_to_without_frame(5)
    return run


def rate_of(run: Run, epochs: int) -> float:
    started = time.perf_counter()
    run.run_to_without_frame(run.at.epoch + epochs)
    return epochs / (time.perf_counter() - started)


def rate_by_phase(run: Run, epochs: int) -> float:
    started = time.perf_counter()
    for _ in range(epochs * len(run.program.loop)):
        run.step_phase_without_frame()
    return epochs / (time.perf_counter() - started)


def rate_of_torchrun(samples: int, epochs: int) -> float:
    body = "".join(f"    {row}\n" for code in PHASES.values() for row in code.splitlines())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "plain.py")
        path.write_text(
            PLAIN.format(setup=SETUP.format(samples=samples), epochs=epochs, phases=body)
        )
        command = (sys.executable, "-m", "torch.distributed.run", "--standalone")
        ran = subprocess.run(
            (*command, "--nproc-per-node", "2", str(path)),
            capture_output=True,
            text=True,
            check=True,
        )
    return float(ran.stdout)


if __name__ == "__main__":
    with own_home():
        main()
