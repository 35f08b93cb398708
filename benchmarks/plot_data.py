"""What each plot costs, in epochs of its lesson: what would looking take from training?

    python -m benchmarks.plot_data [ROUNDS]

Compares, for each shipped lesson and mode, in turn: an epoch at full speed; a standpoint
of the run; each plot that the lesson has, drawn anew; and the landscape once more with
the plot before at hand, as it is while one steps.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.home import own_home
from tutor.analysis.plot_data import plot_data_of
from tutor.lesson.document import read
from tutor.lesson.model import Lesson
from tutor.protocol.inspections import BatchPlotKind, NoPlot
from tutor.training.devices import use_one_thread
from tutor.training.probe import Probe
from tutor.training.program import programs_of
from tutor.training.run import Run

LESSONS = Path(__file__).parents[1] / "lessons"
EPOCHS = 300
KINDS: tuple[BatchPlotKind, ...] = ("data", "landscape", "plane")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    use_one_thread()
    print(f"cost in epochs of the same lesson (median of {rounds} rounds, taken in turn)")
    for path in sorted(LESSONS.glob("*.md")):
        lesson = read(path)
        for mode in lesson.modes:
            samples = measured(lesson, mode, rounds)
            epoch = statistics.median(samples.pop("epoch"))
            print(f"\n  {path.stem}, {mode}: an epoch takes {epoch * 1e6:.0f} µs")
            for name, times in samples.items():
                middle = statistics.median(times)
                print(f"    {name:<22} {middle / epoch:>8.1f} epochs  {middle * 1e3:>8.2f} ms")


def measured(lesson: Lesson, mode: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each, round by round."""
    run = Run(programs_of(lesson), mode)
    probe = Probe(run.program, run.device, run.learning_rate, run.recipe.seed)
    run.run(20)
    at = run.standpoint()
    shown = {kind: plot_data_of(kind, probe, at, run.trail()) for kind in KINDS}
    drawn: list[BatchPlotKind] = [k for k in KINDS if not isinstance(shown[k], NoPlot)]
    samples: dict[str, list[float]] = {"epoch": [], "standpoint": []}
    for _ in range(rounds):
        samples["epoch"].append(seconds(lambda: run.run(EPOCHS)) / EPOCHS)
        samples["standpoint"].append(seconds(run.standpoint))
        at = run.standpoint()
        look = partial(plot_data_of, probe=probe, at=at, path=run.trail())
        for kind in drawn:
            samples.setdefault(kind, []).append(seconds(partial(look, kind)))
        again = partial(look, "landscape", before=shown["landscape"])
        samples.setdefault("landscape, once more", []).append(seconds(again))
    return samples


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    with own_home():
        main()
