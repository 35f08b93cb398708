"""Epochs a second of the thermometer lesson: what do recording and a live screen cost?

    python -m benchmarks.throughput [ROUNDS]           the Run, the app
    python -m benchmarks.throughput [ROUNDS] --plots   the app with each plot in view

Compares, in turn: the loop written plainly in PyTorch; that loop with a progress bar and
a print every 500 epochs; the Run of `tutor run`; and the app in a pseudo-terminal while
its panes are live (its rate read from the epochs in its header, so that neither the key
nor the last repaint counts).
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.figures import print_table
from benchmarks.home import own_home
from tests.terminal import TUTOR, Terminal
from tutor.lesson.document import read
from tutor.training.devices import synchronize, use_one_thread
from tutor.training.program import programs_of
from tutor.training.run import Run

EPOCHS = 5000
LESSON = Path(__file__).parents[1] / "lessons" / "thermometer.md"
CELSIUS = [0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0]
READINGS = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]


PLOTS = ("loss", "loss, log", "data", "landscape (contour)", "gradient norm")
"""What `v` turns through in this lesson, from the first on."""


def main() -> None:
    numbers = [word for word in sys.argv[1:] if word.isdecimal()]
    rounds = int(numbers[0]) if numbers else 15
    use_one_thread()
    if "--plots" in sys.argv:
        measure_plots(rounds)
    else:
        measure_app(rounds)


def measure_app(rounds: int) -> None:
    samples: dict[str, list[float]] = {
        "plain loop": [],
        "with tqdm and print": [],
        "Run, recording": [],
        "live app, 80×24": [],
        "live app, 120×36": [],
    }
    with app(80, 24) as small, app(120, 36) as large:
        for _ in range(rounds):
            samples["plain loop"].append(rate_of(plain))
            samples["with tqdm and print"].append(rate_of(decorated))
            samples["Run, recording"].append(rate_of_run())
            samples["live app, 80×24"].append(rate_of_app(small))
            samples["live app, 120×36"].append(rate_of_app(large))
    print_table(f"throughput, {EPOCHS} epochs", "epochs/s", samples, "plain loop", max)


def measure_plots(rounds: int) -> None:
    samples: dict[str, list[float]] = {"plain loop": [], "no plot in view": []}
    samples |= {f"with {name}": [] for name in PLOTS}
    with app(80, 24) as terminal:
        for _ in range(rounds):
            samples["plain loop"].append(rate_of(plain))
            terminal.press("3")
            samples["no plot in view"].append(rate_of_app(terminal))
            terminal.press("4")
            for name in PLOTS:
                terminal.settle()
                samples[f"with {name}"].append(rate_of_app(terminal))
                terminal.press("v")
            terminal.press("v")  # past the plane, to the first again
    print_table(f"the app at 80×24, {EPOCHS} epochs", "epochs/s", samples, "plain loop", max)


def plain(report: bool = False, device: str = "cpu") -> torch.Tensor:
    """The training loop as one would write it."""
    t_c = torch.tensor(CELSIUS, device=device)
    t_un = 0.1 * torch.tensor(READINGS, device=device)
    params = torch.tensor([1.0, 0.0], device=device, requires_grad=True)
    epochs = range(1, EPOCHS + 1)
    for epoch in tqdm(epochs) if report else epochs:
        if params.grad is not None:
            params.grad.zero_()
        w, b = params
        t_p = w * t_un + b
        loss = ((t_p - t_c) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            assert params.grad is not None
            params -= 1e-2 * params.grad
        if report and epoch % 500 == 0:
            print(f"Epoch {epoch}, Loss {float(loss):f}")
    synchronize(device)
    return params


def decorated() -> torch.Tensor:
    """The same with what the published run had about it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return plain(report=True)


def rate_of(loop: object) -> float:
    started = time.perf_counter()
    loop()  # type: ignore[operator]
    return EPOCHS / (time.perf_counter() - started)


def rate_of_run(device: str = "cpu") -> float:
    run = Run(programs_of(read(LESSON)), "autograd", device)
    started = time.perf_counter()
    run.run(EPOCHS)
    return EPOCHS / (time.perf_counter() - started)


def app(columns: int, rows: int, device: str = "cpu") -> Terminal:
    """The app, ready to run, in autograd mode."""
    command = [str(TUTOR), "thermometer", "--mode", "autograd", "--device", device]
    terminal = Terminal(command, columns, rows)
    terminal.wait_for("autograd", "next: ▶")
    return terminal


def rate_of_app(terminal: Terminal) -> float:
    """Epochs a second between the first and the last epoch that its header shows on the way."""
    terminal.press("R")
    terminal.wait_for("epoch 0 of")
    terminal.settle()
    terminal.press("r")
    seen: list[tuple[int, float]] = []
    while not seen or seen[-1][0] < EPOCHS:
        terminal.read(0.5)
        found = re.search(r"epoch (\d+) of", terminal.lines[0])
        if found and int(found[1]) and (not seen or int(found[1]) != seen[-1][0]):
            seen.append((int(found[1]), time.perf_counter()))
    # The last step comes with the end of the run and its settling down: leave it out.
    (first, since), (last, until) = seen[0], seen[-2]
    terminal.settle()
    return (last - first) / (until - since)


if __name__ == "__main__":
    with own_home():
        main()
