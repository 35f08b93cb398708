"""What a shipped lesson's formulas show while it runs, and how its text is laid out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import shipped
from tutor import formula
from tutor.protocol.frame import NONE
from tutor.training.run import Run

ALL = (*shipped.ORIGINALS, *shipped.TRANSLATIONS)
each_lesson = pytest.mark.parametrize("path", shipped.ORIGINALS, ids=lambda path: path.stem)
each_file = pytest.mark.parametrize(
    "path",
    ALL,
    ids=lambda path: str(path.relative_to(shipped.FOLDER)).removesuffix(".md"),
)

WIDEST_PANE = 56
"""Cells that a formula may take: what the formula pane has at 120 columns."""


@each_file
def test_its_formulas_fit_the_pane_with_wide_numbers_in_them(path: Path) -> None:
    for shown in shipped.formulas(shipped.read_once(path)):
        picture = formula.draw(
            formula.parse(shown.latex), dict.fromkeys(shown.boxed, "-0.0025"), width=WIDEST_PANE
        )
        assert picture.width <= WIDEST_PANE, shown.latex


@each_lesson
def test_every_phase_shows_live_values_and_a_reset_leaves_a_zero_or_none(path: Path) -> None:
    """In every mode that runs it."""
    lesson = shipped.read_once(path)
    for mode in lesson.modes:
        run = Run(shipped.programs(path.stem), mode)
        frames = [run.frame()]
        while run.at.epoch < 2 or not run.at_end:
            frames.append(run.step_phase())
        for frame in frames:
            live = frame.boxed.get(frame.phase or "", {})
            assert live, (mode, frame.phase)
            assert [e for e, value in live.items() if value.dtype == "text"] == []
            if (frame.phase, frame.at.epoch, frame.batch) == ("Reset", 2, 0):
                (left,) = live.values()
                assert left == NONE or set(left.data) == {0.0}
                code = "".join(fence.code for fence in lesson.phase("Reset").fences(mode))
                assert (left == NONE) != ("zero_()" in code)
        phases = {s.phase for s in lesson.sections if s.phase and s.fences(mode)}
        assert {frame.phase for frame in frames} == phases


def test_no_line_begins_with_a_number_and_a_point_as_a_list_would() -> None:
    """Markdown makes a list of it, even in the middle of a sentence."""
    assert found_in(r"(?m)^\d+[.)] .*", ALL) == []


def test_no_formula_says_that_the_rule_of_the_update_equals_the_present_value() -> None:
    """Before the update the box holds the old value, and the equation would be false."""
    assert found_in(r"\\leftarrow(?:(?!\\qquad|&)[^\n])*= *\\boxed.*", ALL) == []


def test_lines_of_prose_are_short_enough_for_an_editor() -> None:
    assert found_in(r"(?m)^.{91,}$", shipped.ORIGINALS) == []


def found_in(pattern: str, paths: Iterable[Path]) -> list[tuple[str, str]]:
    """The file and the text of each place where the pattern is found."""
    return [(str(path), text) for path in paths for text in re.findall(pattern, path.read_text())]
