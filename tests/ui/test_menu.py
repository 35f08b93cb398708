from collections.abc import Callable
from pathlib import Path

import pytest

from tutor.lesson.model import Lesson
from tutor.ui.app import TutorApp
from tutor.ui.panes.lines import LinesPane
from tutor.ui.screens.dialogs import AskTrust, ViewText
from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.menu import MenuScreen

from .conftest import SMALL
from .fake_engine import FakeEngine
from .lessons import HEADLINES
from .test_lesson_screen import settled, text_of

MakeApp = Callable[..., TutorApp]


async def test_enter_opens_the_lesson_under_the_cursor(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    app = make_app(menu=True)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("down", "enter")
        await settled(pilot)
        assert isinstance(app.screen, LessonScreen)
        assert "XOR" in text_of(app, "header")
    assert engine.kinds().count("Open") == 1


async def test_a_lesson_with_a_fault_is_not_opened_and_says_why(make_app: MakeApp) -> None:
    app = make_app(menu=True)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("end", "enter")
        await settled(pilot)
        assert isinstance(app.screen, MenuScreen)
        assert "no Predict phase" in text_of(app, "status")


async def test_going_back_without_an_open_lesson_says_what_to_do(make_app: MakeApp) -> None:
    app = make_app(menu=True)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert "No lesson is open yet" in text_of(app, "status")


@pytest.mark.parametrize(("key", "runs"), [("y", True), ("n", False), ("escape", False)])
async def test_a_lesson_from_elsewhere_runs_only_after_the_learner_has_said_so(
    make_app: MakeApp, engine: FakeEngine, key: str, runs: bool
) -> None:
    trusted: list[Lesson] = []
    app = make_app(menu=True, trust_lesson=trusted.append)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("down", "down", "enter")
        await settled(pilot)
        assert isinstance(app.screen, AskTrust)
        assert engine.kinds().count("Open") == 0
        await pilot.press(key)
        await settled(pilot)
        assert isinstance(app.screen, LessonScreen) is runs
    assert [lesson.slug for lesson in trusted] == (["far"] if runs else [])
    assert engine.kinds().count("Open") == int(runs)


async def test_the_text_of_a_lesson_can_be_viewed_before_it_is_trusted(make_app: MakeApp) -> None:
    app = make_app(menu=True)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("down", "down", "enter")
        await settled(pilot)
        await pilot.press("v")
        await settled(pilot)
        assert isinstance(app.screen, ViewText)
        shown = [line.plain for line in app.screen.query_one("#source", LinesPane).lines]
        assert "prose with [bold]brackets[/bold] and an escape ^[[31m" in shown
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, AskTrust)


async def test_q_quits_from_the_menu(make_app: MakeApp) -> None:
    app = make_app(menu=True)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.press("q")
        await pilot.pause()
        assert not app.is_running


async def test_a_path_is_read_after_the_first_paint_and_opened(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    app = make_app(first=HEADLINES[1].path)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert "XOR" in text_of(app, "header")
    assert engine.kinds().count("Open") == 1


async def test_a_path_that_is_no_lesson_ends_the_app_with_its_words(
    make_app: MakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(first=Path("/lessons/none.md"))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert not app.is_running
    assert app.return_code == 1
    assert capsys.readouterr().err == "/lessons/none.md: there is no such file\n"


async def test_a_path_to_a_lesson_that_is_not_trusted_asks_and_then_shows_the_menu(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    app = make_app(first=HEADLINES[2].path)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert isinstance(app.screen, AskTrust)
        await pilot.press("n")
        await settled(pilot)
        assert isinstance(app.screen, MenuScreen)
        assert text_of(app, "status") == "far.md is not opened"
    assert engine.kinds().count("Open") == 0
