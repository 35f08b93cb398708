"""The lessons in Chinese: their words.

That their code, exercises and settings are those of the originals is checked in
`test_lessons_pass_check`, the width of their formulas in `test_what_lessons_show`.
"""

from __future__ import annotations

import re

import pytest

from tests import shipped
from tutor.lesson.model import Lesson
from tutor.ui.prose import inline_formulas, prose_lines

LESSONS = shipped.FOLDER
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

each_lesson = pytest.mark.parametrize("slug", TRANSLATED)


def chinese(slug: str) -> Lesson:
    return shipped.read_once(LESSONS / "zh" / f"{slug}.md")


def english(slug: str) -> Lesson:
    return shipped.lesson(slug)


def prose(lesson: Lesson) -> list[str]:
    """All Markdown of a lesson's sections."""
    return [b.markdown for s in lesson.sections for b in s.blocks if hasattr(b, "markdown")]


def test_these_lessons_are_there_in_chinese() -> None:
    assert sorted(path.stem for path in LESSONS.glob("zh/*.md")) == list(TRANSLATED)


@each_lesson
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


@each_lesson
def test_its_formulas_differ_from_the_originals_in_words_alone(slug: str) -> None:
    def bare(lesson: Lesson) -> list[str]:
        return [re.sub(r"\\text\{[^}]*\}", "", f.latex).strip() for f in shipped.formulas(lesson)]

    assert [re.sub(r"\s", "", f) for f in bare(chinese(slug))] == [
        re.sub(r"\s", "", f) for f in bare(english(slug))
    ]


@each_lesson
def test_what_its_prose_calls_code_is_called_so_in_the_original(slug: str) -> None:
    def code(lesson: Lesson) -> set[str]:
        return {span for text in prose(lesson) for span in re.findall("`([^`]+)`", text)}

    assert code(chinese(slug)) == code(english(slug))


@each_lesson
def test_its_prose_fits_a_narrow_pane(slug: str) -> None:
    inline = inline_formulas(False)
    rows = [row for text in prose(chinese(slug)) for row in prose_lines(text, 38, inline)]
    assert [row.plain for row in rows if row.cell_length > 38] == []


@each_lesson
def test_it_uses_the_standard_terms(slug: str) -> None:
    text = (LESSONS / "zh" / f"{slug}.md").read_text()
    for_terms = ("甩出", "弯一弯", "回头路", "说话的", "余下的", "要记住的")
    assert [term for term in for_terms if term in text] == []
    words = re.sub(r"`[^`]*`|\$[^$]*\$", "", " ".join(prose(chinese(slug))))
    assert not re.search(r"\bepochs?\b", words), "轮"
