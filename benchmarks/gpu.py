"""A GPU: what recording and a live screen cost there, and where it is faster than the CPU.

    python -m benchmarks.gpu [ROUNDS] [--device D]     (the first GPU)

First the thermometer lesson on the device: the loop written plainly, the Run of `tutor run`, and
the app. Then two trainings on the CPU and on the device: the twenty points of the lesson of that
name, and a network of 784, 128 and 10 units with ever larger batches. `--device cpu` shows that
the program runs; its ratios are then of the CPU to itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.figures import print_table
from benchmarks.home import own_home
from benchmarks.throughput import EPOCHS, app, plain, rate_of, rate_of_app, rate_of_run
from tutor.training import devices

POINTS = 20
LAYERS = (784, 128, 10)
BATCHES = (64, 1024, 16384)

Step = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--device", default=(*devices.available(), "")[1])
    options = parser.parse_args()
    if not options.device:
        parser.error("PyTorch finds no GPU here; `--device cpu` shows that this program runs")
    device = devices.check(options.device)
    print(f"{device}: {devices.describe(device)}; PyTorch {torch.__version__}\n")
    threads = torch.get_num_threads()
    devices.use_one_thread()  # as the tutor computes
    measure_tutor(options.rounds, device)
    torch.set_num_threads(threads)
    measure_claims(options.rounds, device)


def measure_tutor(rounds: int, device: str) -> None:
    samples: dict[str, list[float]] = {"plain loop": [], "Run, recording": [], "live app": []}
    loop = partial(plain, device=device)
    loop()  # the first use of a GPU loads its kernels
    with app(120, 36, device) as terminal:
        for _ in range(rounds):
            samples["plain loop"].append(rate_of(loop))
            samples["Run, recording"].append(rate_of_run(device))
            samples["live app"].append(rate_of_app(terminal))
    print_table(f"thermometer on {device}, {EPOCHS} epochs", "epochs/s", samples, "plain loop", max)


def measure_claims(rounds: int, device: str) -> None:
    tasks: dict[str, Callable[[str], Step]] = {f"{POINTS} points": twenty_points}
    name = "-".join(map(str, LAYERS))
    tasks |= {f"{name}, a batch of {size}": partial(network, size) for size in BATCHES}
    for task, make in tasks.items():
        rows = {"on the CPU": "cpu", f"on the device {device}": device}
        steps = {row: make(where) for row, where in rows.items()}
        samples: dict[str, list[float]] = {row: [] for row in rows}
        for _ in range(rounds):
            for row, where in rows.items():
                samples[row].append(steps_a_second(steps[row], where))
        print_table(task, "steps/s", samples, "on the CPU", max)


def steps_a_second(step: Step, device: str, seconds: float = 0.5) -> float:
    """Steps until that time is over, with all that was started on the device."""
    step()
    devices.synchronize(device)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            step()
        devices.synchronize(device)
        count += 10
    return count / (time.perf_counter() - started)


def twenty_points(device: str) -> Step:
    """One epoch of the lesson twenty-points, in autograd mode."""
    i = torch.arange(POINTS, dtype=torch.float32, device=device)
    x, y = 0.3 * i, 2.2 * i
    w = torch.tensor(0.0, device=device, requires_grad=True)

    def step() -> None:
        loss = ((w * x - y) ** 2).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert w.grad is not None
            w.sub_(0.001 * w.grad)
            w.grad.zero_()

    return step


def network(batch: int, device: str) -> Step:
    """One step of a classifier on a batch."""
    units, hidden, classes = LAYERS
    model = torch.nn.Sequential(
        torch.nn.Linear(units, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes)
    ).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.rand(batch, units, device=device)
    y = torch.randint(classes, (batch,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


if __name__ == "__main__":
    with own_home():
        main()
