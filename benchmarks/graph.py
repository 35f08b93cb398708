"""What tracing the autograd graph of one step costs, against one epoch stepped phase by phase.

    python -m benchmarks.graph [ROUNDS]

For the longest shipped lesson, a dense network of 784-128-10 and a chain of 2,000
operations: the epoch, the trace (`graph_of` in a probe that is there already), how many
nodes it found and how many bytes its message takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.figures import print_table
from benchmarks.home import own_home
from tests.training.conftest import FRONT, lesson_text
from tutor.analysis.graph import graph_of
from tutor.lesson.document import parse, read
from tutor.training.devices import use_one_thread
from tutor.training.loop import Loop
from tutor.training.probe import Probe, standpoint_of
from tutor.training.program import Program, programs_of
from tutor.training.set_up import set_up
from tutor.wording.remarks import remarks_text

LESSONS = Path(__file__).parents[1] / "lessons"

LOSS = "loss = ((y_pred - y) ** 2).mean()"
DENSE = lesson_text(
    FRONT.replace("[w]", "[w1]"),
    Setup="x, y = torch.randn(64, 784), torch.randn(64, 10)\n"
    "w1 = (torch.randn(784, 128) / 28).requires_grad_()\n"
    "w2 = (torch.randn(128, 10) / 11).requires_grad_()",
    Predict="y_pred = torch.relu(x @ w1) @ w2",
    Loss=LOSS,
    Update="with torch.no_grad():\n    w1 -= learning_rate * w1.grad",
    Reset="w1.grad = None",
)
CHAIN = lesson_text(
    Setup="w, y = torch.tensor(0.5, requires_grad=True), torch.tensor(1.0)",
    Predict="y_pred = w * 1\nfor _ in range(1000):\n    y_pred = torch.tanh(y_pred * w)",
    Loss=LOSS,
)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    use_one_thread()
    measure("xor, autograd", programs_of(read(LESSONS / "xor.md"))["autograd"], rounds)
    for name, text in (("784-128-10, 64 samples", DENSE), ("2,000 operations", CHAIN)):
        (program,) = programs_of(parse(text, Path(f"{name}.md"))).values()
        measure(name, program, rounds)


def measure(name: str, program: Program, rounds: int) -> None:
    """Print the table of one program."""
    loop = set_up(program, "cpu", program.learning_rate, 0)
    probe = Probe(program, "cpu", program.learning_rate, 0)
    epoch_of(loop)  # what only the first one pays
    samples: dict[str, list[float]] = {"an epoch, stepped": [], "the trace": []}
    for _ in range(rounds):
        samples["an epoch, stepped"].append(milliseconds(lambda: epoch_of(loop)))
        at = standpoint_of(loop, program.learning_rate)
        samples["the trace"].append(milliseconds(lambda at=at: graph_of(probe, at)))  # type: ignore[misc]
    graph = graph_of(probe, standpoint_of(loop, program.learning_rate))
    print_table(f"graph of {name}", "ms", samples, "an epoch, stepped", min)
    size = len(msgspec.msgpack.encode(graph))
    print(f"  {len(graph.nodes)} nodes, {size} bytes {remarks_text(graph.remarks)}\n")


def epoch_of(loop: Loop) -> None:
    """One epoch as the learner steps it, phase by phase."""
    loop.begin_epoch()
    while not loop.at_end:
        loop.run_step()


def milliseconds(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    with own_home():
        main()
