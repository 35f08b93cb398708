"""What one comparison of all modes costs, in epochs of the lesson it is about.

    python -m benchmarks.compare [ROUNDS]

For each lesson, in turn: an epoch of the run in autograd mode (the mean of many), and a
comparison at its end: every mode's gradient in the lesson's own precision and in float64,
and the referee's finite differences. Then the same for a network of 101,770 parameters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.figures import print_table
from benchmarks.home import own_home
from tests.training.conftest import FRONT, lesson_text
from tutor.analysis.mode_comparison import ModeLockstep
from tutor.lesson.document import parse, read
from tutor.training.devices import use_one_thread
from tutor.training.program import Program, programs_of
from tutor.training.run import Run

LESSONS = Path(__file__).parents[1] / "lessons"
EPOCHS = 200
"""Over so many epochs the cost of one is measured: what is recorded about it counts too."""

NETWORK = lesson_text(
    FRONT.replace("[w]", "[w1, b1, w2, b2]").replace(
        "epochs:", "modes: [autograd, model]\nepochs:"
    ),
    Setup="""\
x, y = torch.rand(64, 784), torch.randint(10, (64,))
model = torch.nn.Sequential(
    torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
)
w1, b1, w2, b2 = model.parameters()
optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)""",
    Predict="y_pred = model(x)",
    Loss="loss = torch.nn.functional.cross_entropy(y_pred, y)",
    Update="optimizer.step()",
    Reset="optimizer.zero_grad()",
)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    use_one_thread()
    for path in sorted(LESSONS.glob("*.md")):
        programs = programs_of(read(path))
        if "autograd" in programs:  # the modes of others are different runs
            measure(path.stem, programs, rounds, EPOCHS)
    measure("784-128-10", programs_of(parse(NETWORK, Path("network.md"))), rounds, 10)


def measure(name: str, programs: Mapping[str, Program], rounds: int, epochs: int) -> None:
    """Print milliseconds for an epoch and for a comparison, taken in turn."""
    run = Run(programs, "autograd")
    lockstep = ModeLockstep(programs, run.device, run.learning_rate, 0)
    samples: dict[str, list[float]] = {"an epoch": [], "a comparison": []}
    for _ in range(rounds):
        started = time.perf_counter()
        run.run(epochs)
        samples["an epoch"].append(1000 * (time.perf_counter() - started) / epochs)
        started = time.perf_counter()
        lockstep.compare(run.standpoint(), run.at.epoch)
        samples["a comparison"].append(1000 * (time.perf_counter() - started))
    print_table(f"{name}, {len(programs)} modes", "ms", samples, "an epoch", min)


if __name__ == "__main__":
    with own_home():
        main()
