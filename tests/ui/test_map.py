"""The map: what builds on what, and the ways to it and from it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tutor.lesson.map import rows as map_rows
from tutor.ui.lesson_lines import LessonProgress, map_row
from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.lesson_list import MenuScreen

from .conftest import Learner
from .kept import KINDS, Kept, chosen_in_view, in_chapters
from .lessons import HEADLINES, headline

LESSONS = (
    replace(headline("line", "A line through the origin"), exercises=KINDS),
    replace(headline("xor", "XOR with a hidden layer"), builds_on=("line",)),
    replace(headline("far", "From far away"), builds_on=("line", "nothing")),
)


BEGUN = {"line": dict.fromkeys(("first", "second", "third"), "done")}


@pytest.mark.app(
    menu=True, lessons=LESSONS, journal=Kept(done=BEGUN), is_trusted=lambda lesson: True, keys="M"
)
async def test_each_lesson_stands_below_what_it_builds_on_with_what_is_done(
    learner: Learner,
) -> None:
    """Enter opens it, and escape leads back to where the map was opened."""
    shown = [row[2:] for row in learner.text("lessons").split("\n")]
    assert shown[0].rstrip() == "✓ 3/3   A line through the origin"
    assert shown[1].rstrip() == "        ├─ XOR with a hidden layer"
    assert shown[2].startswith("        └─ From far away  ✗ it builds on `nothing`")
    assert "▶" in learner.text("lessons").split("\n")[1], "the first that is not done"
    assert learner.sees("Builds on  A line through the origin ✓ 3/3", "details")
    await learner.press("escape")
    assert isinstance(learner.app.screen, MenuScreen)
    await learner.press("M", "home", "down", "enter")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.sees("XOR", "header")
    await learner.press("M")
    rows = learner.text("lessons").split("\n")
    chosen = next(row for row in rows if row.startswith("▶"))
    assert "XOR with a hidden layer  ◂ open now" in chosen
    await learner.press("escape")
    assert isinstance(learner.app.screen, LessonScreen)


DONE = {"lesson-1": {"first": "done", "second": "tried"}}


@pytest.mark.app(menu=True, lessons=in_chapters(), journal=Kept(done=DONE), keys="M")
async def test_the_map_shows_each_chapter_below_its_heading(learner: Learner) -> None:
    shown = [row[2:].rstrip() for row in learner.text("lessons").split("\n")]
    assert len(shown) == 21 + 6
    assert shown[0] == "── First steps · 1 of 15 exercises done"
    assert shown[6] == "── PyTorch's graph · 5 lessons"
    assert shown[7].strip() == "Lesson 6  builds on Lesson 5"
    assert shown[8].strip() == "└─ Lesson 7"
    assert shown[-2] == "── Other lessons · 1 lesson"
    await learner.press(*["down"] * 5)
    assert "Lesson 6 " in chosen_in_view(learner.app), "no key chooses a heading"
    await learner.press("end")
    assert "Lesson 21" in chosen_in_view(learner.app)


def test_what_else_a_lesson_builds_on_is_named_by_its_title() -> None:
    titles = {h.slug: h.title for h in HEADLINES}
    both = replace(headline("both", "Both"), builds_on=("line", "xor"))
    row = map_rows([HEADLINES[0], HEADLINES[1], both])[-1]
    wide, narrow = (
        map_row(row, LessonProgress(both), False, titles, width).plain for width in (78, 50)
    )
    assert wide.endswith("Both  also builds on A line through the origin")
    assert narrow.endswith("Both  also builds on 1 other")
