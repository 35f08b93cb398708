"""Every lesson that ships is proven: what it shows is what it computes, in every mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutor import formula
from tutor.lesson.document import read
from tutor.lesson.model import Formula, Lesson
from tutor.training.check import check

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
def test_every_phase_with_a_formula_shows_live_values(path: Path) -> None:
    for section in read(path).sections:
        shown = [b for b in section.blocks if isinstance(b, Formula)]
        if section.phase and shown:
            assert any(b.boxed for b in shown), section.heading


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
