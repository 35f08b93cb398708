"""Every figure that the published runs printed comes out of our lessons, to the last digit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import shipped
from tutor.training.frame import Frame, Value
from tutor.training.run import Run

PUBLISHED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("published_runs.json").read_text()
)["runs"]

Agrees = Callable[[float, str], bool]


def exactly(ours: float, printed: str) -> bool:
    """Whether our number, printed with as many digits, is the published text."""
    return as_printed(ours, printed) == printed


def in_the_last_digit_but_one_at_most(ours: float, printed: str) -> bool:
    """Published on a GPU, which adds up in another order than a CPU."""
    return abs(float(as_printed(ours, printed)) - float(printed)) < 1.5 * last_digit(printed)


def within_a_thousandth(ours: float, printed: str) -> bool:
    """The published run was not seeded: its start was recovered from its rounded figures.

    The printed figure is rounded itself: it stands for all that is half a digit around it.
    """
    return abs(ours - float(printed)) <= 1e-3 * float(printed) + last_digit(printed) / 2


LOOSER: dict[tuple[str, str], Agrees] = {
    ("twenty-points-autograd", "loss"): in_the_last_digit_but_one_at_most,
    ("line-model", "loss"): within_a_thousandth,
}
"""The figures that need not agree exactly, by run and name: each for the reason given above."""


def last_digit(printed: str) -> float:
    """What a one in the last printed digit is worth."""
    return 10.0 ** -len(printed.partition(".")[2])


def as_printed(ours: float, printed: str) -> str:
    """`ours` with as many decimals as `printed` has, and an exponent if that has one."""
    match = re.fullmatch(r"-?\d+\.(\d*)(e[+-]\d+)?", printed)
    assert match, printed
    return f"{ours:#.{len(match[1])}{'e' if match[2] else 'f'}}"


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


def differences(frame: Frame, figures: dict[str, Any], run_id: str) -> list[str]:
    """One line for each of the `figures` that the frame does not show."""
    lines = []
    for name, printed in figures.items():
        ours, texts = named(frame, name, run_id).data, flat(printed)
        agrees = LOOSER.get((run_id, name), exactly)
        if len(ours) != len(texts) or not all(map(agrees, ours, texts)):
            lines.append(f"epoch {frame.at.epoch}: {name} is {ours}, published {texts}")
    return lines


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda run: run["id"])
def test_a_published_run_comes_out_to_the_printed_digit(published: dict[str, Any]) -> None:
    programs = shipped.programs(published["lesson"])
    run = Run(programs, published["mode"], learning_rate=published["learning_rate"])
    wrong = differences(run.frame(), published.get("before", {}), published["id"])
    for line in published["printed"]:
        figures = dict(line)
        # What has no epoch was printed after the single update before epoch 1.
        frame = run.seek(figures.pop("epoch", 0))
        wrong += differences(frame, figures, published["id"])
    if "after" in published:
        wrong += differences(run.seek(published["epochs"]), published["after"], published["id"])
    assert wrong == []


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda run: run["id"])
def test_the_lesson_proposes_the_published_learning_rate(published: dict[str, Any]) -> None:
    lesson = shipped.lesson(published["lesson"])
    if published["learning_rate"] is not None:
        assert lesson.learning_rate[published["mode"]] == published["learning_rate"]


@pytest.mark.parametrize(
    ("agrees", "ours", "printed"),
    [
        (exactly, 0.30001, "0.3000"),
        (exactly, -0.00051987, "-5.1987e-04"),
        (exactly, 1.2, "1."),
        (in_the_last_digit_but_one_at_most, 597.7401, "597.7400"),
        (within_a_thousandth, 1.0009, "1.0000"),
        (within_a_thousandth, 0.0000070823, "0.00000709"),
    ],
)
def test_a_figure_that_agrees_is_accepted(agrees: Agrees, ours: float, printed: str) -> None:
    assert agrees(ours, printed)


@pytest.mark.parametrize(
    ("agrees", "ours", "printed"),
    [
        (exactly, 0.30006, "0.3000"),
        (exactly, 0.00051987, "-5.1987e-04"),
        (exactly, float("nan"), "1."),
        (in_the_last_digit_but_one_at_most, 597.7402, "597.7400"),
        (in_the_last_digit_but_one_at_most, float("nan"), "597.7400"),
        (within_a_thousandth, 1.0011, "1.0000"),
        (within_a_thousandth, 0.0000070759, "0.00000709"),
    ],
)
def test_a_figure_that_differs_is_refused(agrees: Agrees, ours: float, printed: str) -> None:
    assert not agrees(ours, printed)
