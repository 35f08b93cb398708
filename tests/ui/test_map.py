"""The map: what builds on what, and the ways to it and from it."""

from __future__ import annotations

from msgspec.structs import replace

from tutor.lesson.map import rows as map_rows
from tutor.ui.app import TutorApp
from tutor.ui.lesson_lines import LessonProgress, map_row
from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.lesson_list import MapScreen, MenuScreen

from .conftest import SMALL, open_lesson, text_of
from .fake_engine import FakeEngine
from .kept import KINDS, Kept, chosen_in_view, in_chapters
from .lessons import HEADLINES, headline

LESSONS = (
    replace(headline("line", "A line through the origin"), exercises=KINDS),
    replace(headline("xor", "XOR with a hidden layer"), builds_on=("line",)),
    replace(headline("far", "From far away"), builds_on=("line", "nothing")),
)


def make() -> TutorApp:
    kept = Kept(done={"line": dict.fromkeys(("first", "second", "third"), "done")})
    trusted = {"is_trusted": lambda lesson: True, "ascii_only": False}
    return TutorApp(FakeEngine(), LESSONS, open_lesson, journal=kept, **trusted)


async def test_each_lesson_stands_below_what_it_builds_on_with_what_is_done(
    engine: FakeEngine,
) -> None:
    app = make()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("M")
        assert isinstance(app.screen, MapScreen)
        shown = [row[2:] for row in text_of(app, "lessons").split("\n")]
        assert shown[0].rstrip() == "✓ 3/3   A line through the origin"
        assert shown[1].rstrip() == "        ├─ XOR with a hidden layer"
        assert shown[2].startswith("        └─ From far away  ✗ it builds on `nothing`")
        assert "▶" in text_of(app, "lessons").split("\n")[1], "the first that is not done"
        assert "Builds on  A line through the origin ✓ 3/3" in text_of(app, "details")


async def test_enter_opens_a_lesson_from_the_map_and_escape_leads_back_to_it(
    engine: FakeEngine,
) -> None:
    app = make()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("M", "escape")
        assert isinstance(app.screen, MenuScreen)
        await pilot.press("M", "home", "down", "enter")
        assert isinstance(app.screen, LessonScreen)
        assert "XOR" in text_of(app, "header")
        await pilot.press("M")
        chosen = next(row for row in text_of(app, "lessons").split("\n") if row.startswith("▶"))
        assert "XOR with a hidden layer  ◂ open now" in chosen
        await pilot.press("escape")
        assert isinstance(app.screen, LessonScreen)
    assert app.session.view is not None


async def test_the_map_shows_each_chapter_below_its_heading(engine: FakeEngine) -> None:
    done = {"lesson-1": {"first": "done", "second": "tried"}}
    app = TutorApp(engine, in_chapters(), open_lesson, journal=Kept(done=done), ascii_only=False)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("M")
        shown = [row[2:].rstrip() for row in text_of(app, "lessons").split("\n")]
        assert len(shown) == 41 + 6
        assert shown[0] == "── First steps · 1 of 27 exercises done"
        assert shown[10] == "── PyTorch's graph · 9 lessons"
        assert shown[11].strip() == "Lesson 10  builds on Lesson 9"
        assert shown[12].strip() == "└─ Lesson 11"
        assert shown[-2] == "── Other lessons · 1 lesson"
        for _ in range(41):
            assert chosen_in_view(app)
            await pilot.press("down")
        assert "Lesson 41" in chosen_in_view(app)


def test_what_else_a_lesson_builds_on_is_named_by_its_title() -> None:
    titles = {h.slug: h.title for h in HEADLINES}
    both = replace(headline("both", "Both"), builds_on=("line", "xor"))
    row = map_rows([HEADLINES[0], HEADLINES[1], both])[-1]
    wide, narrow = (
        map_row(row, LessonProgress(both), False, titles, width).plain for width in (78, 50)
    )
    assert wide.endswith("Both  also builds on A line through the origin")
    assert narrow.endswith("Both  also builds on 1 other")
