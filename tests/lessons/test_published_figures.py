"""The figures that the published runs printed come out of our lessons.

How many of their digits arithmetic determines is measured: each run is repeated from starts
moved by one float32 step, and a figure may differ by as far as that moves it and by half of
its last printed digit. Nearly all printed digits are determined. The exceptions are printed to
float32's own end (XOR's losses to their seventh digit), and the bias of XOR's first hidden
unit, which ends near zero after 20,000 updates: of -5.1987e-04 the first two digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import moved_start, shipped
from tutor.protocol.frame import Frame, Value
from tutor.training.program import Program
from tutor.training.run import Run

PUBLISHED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("published_runs.json").read_text()
)["runs"]

DRAWS = 3
"""The most runs from a moved start that measure the spread of a published run."""

RECOVERED_START = {"line-model"}
"""Runs that were published without a seed: their start was recovered from rounded figures.

Their losses agree within a thousandth, as the note in the file says.
"""


def half_a_digit(printed: str) -> float:
    """Half of what a one in the last printed digit is worth."""
    match = re.fullmatch(r"-?\d+\.(\d*)(?:e([+-]\d+))?", printed)
    assert match, printed
    return 0.5 * 10.0 ** (int(match[2] or 0) - len(match[1]))


def agrees(ours: float, printed: str, spread: float) -> bool:
    """Whether a figure of ours is the published one, as far as arithmetic determines it.

    `spread`: how far the figure moves with a start moved by one float32 step. A thousandth of
    half a digit is left to the decimal numbers, which are not exact in binary.
    """
    return abs(ours - float(printed)) <= spread + 1.001 * half_a_digit(printed)


def flat(printed: Any) -> list[str]:
    """All figures in a figure, a vector or a matrix, in row-major order."""
    return [printed] if isinstance(printed, str) else [f for row in printed for f in flat(row)]


def named(frame: Frame, name: str, run_id: str) -> Value:
    """What a published run calls `name`, in one of our frames."""
    if run_id == "thermometer-raw-gradient":
        return frame.watched["raw gradient"]
    if name == "loss":
        return frame.loss
    gradients = {f"d{parameter}": value for parameter, value in frame.gradients.items()}
    return {**frame.values, **gradients, **frame.watched}[name]


Figures = list[tuple[str, tuple[float, ...], list[str]]]
"""Where and what it is, the numbers of our run, and the published texts."""


def figures_of(published: dict[str, Any], programs: Mapping[str, Program], rate: float) -> Figures:
    """All figures of a published run, beside those of ours with these programs."""
    run = Run(programs, published["mode"], learning_rate=rate)
    found: Figures = []

    def read(frame: Frame, figures: dict[str, Any]) -> None:
        for name, printed in figures.items():
            ours = named(frame, name, published["id"]).data
            found.append((f"epoch {frame.at.epoch}: {name}", ours, flat(printed)))

    read(run.frame(), published.get("before", {}))
    for line in published["printed"]:
        figures = dict(line)
        # What has no epoch was printed after the single update before epoch 1.
        read(run.seek(figures.pop("epoch", 0)), figures)
    if "after" in published:
        read(run.seek(published["epochs"]), published["after"])
    return found


def spreads(runs: list[Figures]) -> list[list[float]]:
    """By figure and element: the distance from the least to the greatest of the runs."""
    columns = [[run[index][1] for run in runs] for index in range(len(runs[0]))]
    return [[max(e) - min(e) for e in zip(*column, strict=True)] for column in columns]


def differences(published: dict[str, Any], rate_factor: float = 1.0) -> list[str]:
    """One line for each number of a published run that ours does not show.

    With a `rate_factor` other than 1, ours is run with another learning rate.
    """
    slug, mode = published["lesson"], published["mode"]
    unmoved = shipped.programs(slug)
    rate = (published["learning_rate"] or unmoved[mode].learning_rate) * rate_factor
    runs = [figures_of(published, unmoved, rate)]
    lines = disagreements(published, runs)
    for draw in range(DRAWS):
        if not lines:
            break  # another run would only widen the spread
        moved = moved_start.programs(slug, mode, draw)
        runs.append(figures_of(published, moved, rate))
        lines = disagreements(published, runs)
    return lines


def disagreements(published: dict[str, Any], runs: list[Figures]) -> list[str]:
    """One line for each number of the first run that differs by more than the runs' spread."""
    lines = []
    for (what, ours, texts), spread in zip(runs[0], spreads(runs), strict=True):
        assert len(ours) == len(texts), what
        for number, text, width in zip(ours, texts, spread, strict=True):
            recovered = published["id"] in RECOVERED_START and what.endswith("loss")
            slack = width + 1e-3 * abs(float(text)) if recovered else width
            if not agrees(number, text, slack):
                lines.append(f"{what} is {number}, published {text}, determined to {slack:.1e}")
    return lines


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda run: run["id"])
def test_a_published_run_comes_out_as_far_as_arithmetic_determines_it(
    published: dict[str, Any],
) -> None:
    assert differences(published) == []


@pytest.mark.parametrize(
    "run_id", ["twenty-points-manual", "line-autograd-20", "line-model", "thermometer-autograd"]
)
def test_another_learning_rate_does_not_pass_for_the_published_run(run_id: str) -> None:
    published = next(run for run in PUBLISHED if run["id"] == run_id)
    assert differences(published, rate_factor=1.001) != []


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda run: run["id"])
def test_the_lesson_proposes_the_published_learning_rate(published: dict[str, Any]) -> None:
    lesson = shipped.lesson(published["lesson"])
    if published["learning_rate"] is not None:
        assert lesson.learning_rate[published["mode"]] == published["learning_rate"]


@pytest.mark.parametrize(
    ("ours", "printed", "spread"),
    [
        (0.30001, "0.3000", 0.0),
        (0.30005, "0.3000", 0.0),
        (0.30006, "0.3000", 1e-5),
        (-0.00051987, "-5.1987e-04", 0.0),
        (-0.0005182, "-5.1987e-04", 2e-6),
        (1.2, "1.", 0.0),
    ],
)
def test_a_figure_within_its_spread_and_half_a_digit_is_accepted(
    ours: float, printed: str, spread: float
) -> None:
    assert agrees(ours, printed, spread)


@pytest.mark.parametrize(
    ("ours", "printed", "spread"),
    [
        (0.30006, "0.3000", 0.0),
        (0.00051987, "-5.1987e-04", 0.0),
        (-0.0005182, "-5.1987e-04", 1e-6),
        (float("nan"), "1.", 0.0),
        (1.0, "1.0000", float("nan")),
    ],
)
def test_a_figure_further_away_is_refused(ours: float, printed: str, spread: float) -> None:
    assert not agrees(ours, printed, spread)


def test_a_start_moved_by_one_step_is_another_start_and_hardly_so() -> None:
    unmoved = Run(shipped.programs("xor"), "autograd").frame().values
    moved = Run(moved_start.programs("xor", "autograd", 0), "autograd").frame().values
    assert moved != unmoved
    for name, value in unmoved.items():
        assert moved[name].data == pytest.approx(value.data, rel=2e-6, abs=1e-30)
