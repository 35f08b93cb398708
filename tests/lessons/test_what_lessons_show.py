"""What a shipped lesson's formulas show while it runs, how its text is laid out, and its Chinese.

That a translation has the code, exercises and settings of its original is checked in
`test_lessons_pass_check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests import shipped
from tutor import formula
from tutor.lesson.model import Lesson
from tutor.protocol.frame import NONE
from tutor.training.run import Run
from tutor.ui.prose import inline_formulas, prose_lines

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


# ── In Chinese ──────────────────────────────────────────────────────────────────────


TRANSLATED = (
    "ddp",
    "line-through-origin",
    "one-weight",
    "sum-or-mean",
    "thermometer",
    "twenty-points",
    "two-workers",
    "xor",
)

each_translation = pytest.mark.parametrize("slug", TRANSLATED)


def chinese(slug: str) -> Lesson:
    return shipped.read_once(shipped.FOLDER / "zh" / f"{slug}.md")


def english(slug: str) -> Lesson:
    return shipped.lesson(slug)


def prose(lesson: Lesson) -> list[str]:
    """All Markdown of a lesson's sections."""
    return [b.markdown for s in lesson.sections for b in s.blocks if hasattr(b, "markdown")]


def test_these_lessons_are_there_in_chinese() -> None:
    assert sorted(path.stem for path in shipped.FOLDER.glob("zh/*.md")) == list(TRANSLATED)


@each_translation
def test_its_title_summary_and_prose_are_chinese(slug: str) -> None:
    lesson = chinese(slug)
    exercises = [text for e in lesson.exercises for text in (e.ask, e.explain, *e.hints)]
    spoken = [text for text in exercises if re.sub(r"\$[^$]*\$|`[^`]*`|[\s.。，]", "", text)]
    untranslated = [
        text
        for text in (lesson.title, lesson.summary, *prose(lesson), *spoken)
        if not re.search("[\u4e00-\u9fff]", text)
    ]
    assert untranslated == []


@each_translation
def test_its_formulas_differ_from_the_originals_in_words_alone(slug: str) -> None:
    def bare(lesson: Lesson) -> list[str]:
        return [re.sub(r"\\text\{[^}]*\}", "", f.latex).strip() for f in shipped.formulas(lesson)]

    assert [re.sub(r"\s", "", f) for f in bare(chinese(slug))] == [
        re.sub(r"\s", "", f) for f in bare(english(slug))
    ]


@each_translation
def test_what_its_prose_calls_code_is_called_so_in_the_original(slug: str) -> None:
    def code(lesson: Lesson) -> set[str]:
        return {span for text in prose(lesson) for span in re.findall("`([^`]+)`", text)}

    assert code(chinese(slug)) == code(english(slug))


@each_translation
def test_its_prose_fits_a_narrow_pane(slug: str) -> None:
    inline = inline_formulas(False)
    rows = [row for text in prose(chinese(slug)) for row in prose_lines(text, 38, inline)]
    assert [row.plain for row in rows if row.cell_length > 38] == []


@each_translation
def test_it_uses_the_standard_terms(slug: str) -> None:
    text = (shipped.FOLDER / "zh" / f"{slug}.md").read_text()
    for_terms = ("甩出", "弯一弯", "回头路", "说话的", "余下的", "要记住的")
    assert [term for term in for_terms if term in text] == []
    words = re.sub(r"`[^`]*`|\$[^$]*\$", "", " ".join(prose(chinese(slug))))
    assert not re.search(r"\bepochs?\b", words), "轮"
