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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests import shipped
from tutor.lesson.model import SETUP, Fence, Section
from tutor.protocol.frame import Frame, Value
from tutor.training.program import Program, programs_of
from tutor.training.run import Run

PUBLISHED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("published_runs.json").read_text()
)["runs"]

DRAWS = 6
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


def moments(published: Mapping[str, Any]) -> Iterator[tuple[int | None, Mapping[str, Any]]]:
    """The figures that a published run printed, by epoch; None is the start."""
    yield None, published.get("before", {})
    for line in published["printed"]:
        # What has no epoch was printed after the single update before epoch 1.
        yield line.get("epoch", 0), {name: line[name] for name in line if name != "epoch"}
    yield published["epochs"], published.get("after", {})


def differences(published: Mapping[str, Any], rate_factor: float = 1.0) -> Iterator[str]:
    """A line for each number of a published run that ours does not show.

    With a `rate_factor` other than 1, ours is run with another learning rate. Runs from a moved
    start go along from the first figure on that differs without them.
    """
    slug, mode = published["lesson"], published["mode"]
    unmoved, moved_mode = shipped.programs(slug), cheapest_equal(slug, mode)
    rate = (published["learning_rate"] or unmoved[mode].learning_rate) * rate_factor
    moved = (moved_programs(slug, moved_mode, draw) for draw in range(DRAWS))
    runs = [Run(unmoved, mode, learning_rate=rate)]
    for epoch, figures in moments(published):
        frames = [frame_at(run, epoch) for run in runs]
        while (lines := disagreements(published, figures, frames)) and (more := next(moved, None)):
            runs.append(Run(more, moved_mode, learning_rate=rate))
            frames.append(frame_at(runs[-1], epoch))
        yield from lines


def cheapest_equal(slug: str, mode: str) -> str:
    """The mode by hand where it makes the figures of `mode`: NumPy is far faster than autograd."""
    lesson, by_hand = shipped.lesson(slug), "manual"
    is_equal = by_hand in lesson.modes and by_hand not in lesson.own_gradient
    return by_hand if is_equal and lesson.parameters[by_hand] == lesson.parameters[mode] else mode


def moved_programs(slug: str, mode: str, draw: int) -> Mapping[str, Program]:
    """The program of a lesson in `mode`, its start moved as the seed `draw` says."""
    lesson = shipped.lesson(slug)
    code = f"from tutor.validation.device_figures import move\nmove(globals(), {draw})\n"
    moving = Fence(code=code, line=lesson.sections[-1].line, modes=(mode,))

    def with_moved_setup(section: Section) -> Section:
        if section.phase != SETUP:
            return section
        return msgspec.structs.replace(section, blocks=(*section.blocks, moving))

    sections = tuple(map(with_moved_setup, lesson.sections))
    return programs_of(msgspec.structs.replace(lesson, sections=sections), [mode])


def frame_at(run: Run, epoch: int | None) -> Frame:
    return run.frame() if epoch is None else run.seek(epoch)


def disagreements(
    published: Mapping[str, Any], figures: Mapping[str, Any], frames: Sequence[Frame]
) -> list[str]:
    """A line for each number of the first frame that differs by more than the frames' spread."""
    lines = []
    for name, printed in figures.items():
        found = np.array([named(frame, name, published["id"]).data for frame in frames])
        texts, spread = flat(printed), np.ptp(found, axis=0)
        recovered = published["id"] in RECOVERED_START and name == "loss"
        for number, text, width in zip(found[0], texts, spread, strict=True):
            slack = width + 1e-3 * abs(float(text)) if recovered else width
            if not agrees(number, text, slack):
                what = f"epoch {frames[0].at.epoch}: {name} is {number}"
                lines.append(f"{what}, published {text}, determined to {slack:.1e}")
    return lines


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda run: run["id"])
def test_a_published_run_comes_out_as_far_as_arithmetic_determines_it(
    published: dict[str, Any],
) -> None:
    assert list(differences(published)) == []


@pytest.mark.parametrize(
    "run_id", ["twenty-points-manual", "line-autograd-20", "line-model", "thermometer-autograd"]
)
def test_another_learning_rate_does_not_pass_for_the_published_run(run_id: str) -> None:
    published = next(run for run in PUBLISHED if run["id"] == run_id)
    assert next(differences(published, rate_factor=1.001), None)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda run: run["id"])
def test_the_lesson_proposes_the_published_learning_rate(published: dict[str, Any]) -> None:
    lesson = shipped.lesson(published["lesson"])
    if published["learning_rate"] is not None:
        assert lesson.learning_rate[published["mode"]] == published["learning_rate"]


@pytest.mark.parametrize(
    ("ours", "printed", "spread", "is_accepted"),
    [
        (0.30001, "0.3000", 0.0, True),
        (0.30005, "0.3000", 0.0, True),
        (0.30006, "0.3000", 1e-5, True),
        (0.30006, "0.3000", 0.0, False),
        (-0.00051987, "-5.1987e-04", 0.0, True),
        (0.00051987, "-5.1987e-04", 0.0, False),
        (-0.0005182, "-5.1987e-04", 2e-6, True),
        (-0.0005182, "-5.1987e-04", 1e-6, False),
        (1.2, "1.", 0.0, True),
        (float("nan"), "1.", 0.0, False),
        (1.0, "1.0000", float("nan"), False),
    ],
)
def test_a_figure_is_accepted_within_its_spread_and_half_a_digit(
    ours: float, printed: str, spread: float, *, is_accepted: bool
) -> None:
    assert agrees(ours, printed, spread) is is_accepted


def test_a_start_moved_by_one_step_is_another_start_and_hardly_so() -> None:
    unmoved = Run(shipped.programs("xor"), "autograd").frame().values
    moved = Run(moved_programs("xor", "autograd", 0), "autograd").frame().values
    assert moved != unmoved
    for name, value in unmoved.items():
        assert moved[name].data == pytest.approx(value.data, rel=2e-6, abs=1e-30)
