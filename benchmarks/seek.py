"""Time to seek in a long run, and the memory that its history takes, by length.

    python -m benchmarks.seek [--lessons one-weight xor …] [--modes manual …]
                              [--epochs 100000] [--seeks 40] [--all]

Runs each lesson in its modes and seeks places at random: the end of an epoch, a phase
within one, and one phase back from there; the median, the worst, and the worst by the
processor's own clock, which busy neighbours do not disturb. Then a network of 784-128-10
with Adam, whose one snapshot is larger than a small lesson's whole history; and such a
network in a script, with four batches an epoch. `--all` is
every mode of every lesson for a million epochs (an hour or two). Memory is the growth of
the resident set of a process that does nothing else, and beside it what the history
itself reckons its snapshots to take.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from benchmarks.home import own_home
from tests.training.conftest import FRONT, lesson_text
from tutor.lesson.document import parse, read
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.program import script_programs
from tutor.script.source import ScriptSource
from tutor.training.devices import use_one_thread
from tutor.training.program import programs_of
from tutor.training.run import Run

LESSONS = Path(__file__).parents[1] / "lessons"
Times: TypeAlias = tuple[float, float]
"""Of one seek, by the clock on the wall and by the thread's own. Milliseconds."""
SEEN_AT = (1_000, 10_000, 100_000, 1_000_000)
"""Epochs at which the memory is read."""

NETWORK = lesson_text(
    FRONT.replace("[w]", "[w1]").replace("0.1", "0.001"),
    Setup="""\
x, y = torch.rand(64, 784), torch.randint(0, 10, (64,))
net = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
w1 = net[0].weight
optimizer = torch.optim.Adam(net.parameters(), lr=learning_rate)""",
    Predict="y_pred = net(x)",
    Loss="loss = torch.nn.functional.cross_entropy(y_pred, y)",
    Update="optimizer.step()",
    Reset="optimizer.zero_grad()",
)

SCRIPT = """
import torch
from torch import nn
x, y = torch.rand(256, 784), torch.randint(0, 10, (256,))
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 64, shuffle=True)
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
for epoch in range(1000):
    for xb, yb in loader:
        loss = nn.functional.cross_entropy(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def main() -> None:
    options = _options()
    print(f"{'lesson':<20} {'mode':<10} {'epochs':>9}  {'seek':>7} {'worst':>7}", end="")
    print(
        f" {'cpu':>7}  {'into':>7} {'worst':>7} {'cpu':>7}  {'back':>7} {'worst':>7} {'cpu':>7}",
        end="",
    )
    print(" ms  MiB by length (reckoned)")
    for lesson, mode, epochs in _cases(options):
        # A process of its own: memory that is given back does not always leave a process.
        process = multiprocessing.get_context("spawn").Process(
            target=_measure, args=(lesson, mode, epochs, options.seeks)
        )
        process.start()
        process.join()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    slugs = sorted(path.stem for path in LESSONS.glob("*.md"))
    parser.add_argument("--lessons", nargs="*", default=slugs, choices=slugs, metavar="LESSON")
    parser.add_argument("--modes", nargs="*", default=["autograd"])
    parser.add_argument("--epochs", type=int, default=20_000)
    parser.add_argument("--network-epochs", type=int, default=5_000)
    parser.add_argument("--seeks", type=int, default=40)
    parser.add_argument("--all", action="store_true")
    return parser.parse_args()


def _cases(options: argparse.Namespace) -> Iterator[tuple[Lesson, str, int]]:
    for slug in options.lessons:
        lesson = read(LESSONS / f"{slug}.md")
        for mode in lesson.modes:
            if options.all:
                yield lesson, mode, 1_000_000
            elif mode in options.modes:
                yield lesson, mode, options.epochs
    if options.network_epochs:
        path = Path(tempfile.gettempdir()) / "network.md"
        yield parse(NETWORK, path), "autograd", options.network_epochs
        source = ScriptSource(path=path.with_name("network.py"), text=SCRIPT, digest="")
        script = lesson_of_script(source, outline_of(SCRIPT), ScriptOptions())
        yield script, "model", min(options.network_epochs, 1000)


def _measure(lesson: Lesson, mode: str, epochs: int, seeks: int) -> None:
    """One row of the table."""
    use_one_thread()
    run = Run((script_programs if lesson.script else programs_of)(lesson), mode)
    run.run_to(10)
    before, sizes = _resident(), []
    for length in [*(n for n in SEEN_AT if n < epochs), epochs]:
        run.run_to(length)
        sizes.append(f"{_resident() - before:.0f} ({run.history.size / 2**20:.1f})")
    chance, times = random.Random(0), [list[Times](), list[Times](), list[Times]()]
    for _ in range(seeks):
        epoch, step = chance.randint(1, epochs), chance.randint(1, run.loop.steps)
        times[0].append(_milliseconds(partial(run.seek, epoch)))
        times[1].append(_milliseconds(partial(run.seek, chance.randint(1, epochs), step)))
        times[2].append(_milliseconds(run.back))
    columns = "  ".join(map(_summary, times))
    print(f"{lesson.slug:<20} {mode:<10} {epochs:>9}  {columns}     {' '.join(sizes)}", flush=True)


def _summary(times: Sequence[Times]) -> str:
    wall, cpu = zip(*times, strict=True)
    return f"{statistics.median(wall):>7.1f} {max(wall):>7.1f} {max(cpu):>7.1f}"


def _milliseconds(move: Callable[[], object]) -> Times:
    started, by_thread = time.perf_counter(), time.thread_time()
    move()
    return (time.perf_counter() - started) * 1000, (time.thread_time() - by_thread) * 1000


def _resident() -> float:
    """The memory that this process holds, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    with own_home():
        main()
