"""Every lesson that ships is proven: what it shows is what it computes, in every mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutor import formula
from tutor.lesson.document import read
from tutor.lesson.model import Formula, Lesson
from tutor.training.check import check
from tutor.training.frame import NONE
from tutor.training.program import programs_of
from tutor.training.run import Run

LESSONS = Path(__file__).parents[2] / "lessons"
SHIPPED = sorted(LESSONS.glob("*.md"))

each_lesson = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)

WIDEST_PANE = 56
"""Cells that a formula may take: what the formula pane has at 120 columns."""


def formulas(lesson: Lesson) -> list[Formula]:
    return [b for s in lesson.sections for b in s.blocks if isinstance(b, Formula)]


def test_six_lessons_ship() -> None:
    assert {path.stem for path in SHIPPED} == {
        "one-weight",
        "line-through-origin",
        "sum-or-mean",
        "twenty-points",
        "xor",
        "thermometer",
    }


@each_lesson
def test_a_shipped_lesson_is_proven(path: Path) -> None:
    assert [str(finding) for finding in check(read(path))] == []


@each_lesson
def test_its_formulas_fit_the_pane_with_wide_numbers_in_them(path: Path) -> None:
    for shown in formulas(read(path)):
        picture = formula.draw(
            formula.parse(shown.latex), dict.fromkeys(shown.boxed, "-0.0025"), width=WIDEST_PANE
        )
        assert picture.width <= WIDEST_PANE, shown.latex


@each_lesson
def test_every_phase_shows_live_values_in_every_mode_that_runs_it(path: Path) -> None:
    lesson = read(path)
    programs = programs_of(lesson)
    for mode in lesson.modes:
        run = Run(programs, mode)
        frames = [run.frame()]
        while run.at.epoch < 2 or not run.at_end:
            frames.append(run.step_phase())
        for frame in frames:
            live = frame.boxed.get(frame.phase or "", {})
            assert live, (mode, frame.phase)
            assert [e for e, value in live.items() if value.dtype == "text"] == []
        phases = {s.phase for s in lesson.sections if s.phase and s.fences(mode)}
        assert {frame.phase for frame in frames} == phases


@each_lesson
def test_a_reset_leaves_a_zero_or_none_to_be_seen(path: Path) -> None:
    lesson = read(path)
    programs = programs_of(lesson)
    for mode in lesson.modes:
        run = Run(programs, mode)
        frame = run.step_epoch()
        while frame.phase != "Reset" and run.at.epoch < 3:
            frame = run.step_phase()
        if frame.phase == "Reset":
            (left,) = frame.boxed["Reset"].values()
            assert left == NONE or set(left.data) == {0.0}
            zeroed = any("zero_()" in fence.code for fence in lesson.phase("Reset").fences(mode))
            assert (left == NONE) != zeroed


@each_lesson
def test_it_ends_with_three_things_to_remember(path: Path) -> None:
    last = read(path).sections[-1]
    assert last.heading == "What to remember"
    lines = "".join(getattr(b, "markdown", "") for b in last.blocks).strip().splitlines()
    assert [line[:2] for line in lines] == ["- ", "- ", "- "]


@each_lesson
def test_its_lines_of_prose_are_short_enough_for_an_editor(path: Path) -> None:
    too_long = [line for line in path.read_text().splitlines() if len(line) > 90]
    assert too_long == []
