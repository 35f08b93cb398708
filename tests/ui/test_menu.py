from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from tutor.lesson.library import Headline
from tutor.lesson.model import Lesson
from tutor.progress.records import ExerciseResult
from tutor.protocol.commands import OpenLesson
from tutor.session.journal import Journal
from tutor.ui.app import TutorApp
from tutor.ui.lesson_lines import LessonProgress, matching
from tutor.ui.panes.lines import LinesPane
from tutor.ui.screens.dialogs import AskTrust, ViewText
from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.lesson_list import LessonsPane, MenuScreen

from .conftest import LARGE, SMALL, MakeApp, come_true, open_lesson, settled, text_of
from .exercises import CHOOSE, with_exercises
from .fake_engine import FakeEngine
from .kept import Kept, chosen_in_view, curriculum, in_chapters, left
from .lessons import HEADLINES, lesson


@pytest.fixture
def menu(engine: FakeEngine) -> Callable[..., TutorApp]:
    """The app at the menu of twenty-four lessons."""

    def make(journal: Journal, **more: Any) -> TutorApp:
        def opened(path: Path) -> Lesson:
            named = {"slug": path.stem, "path": path, "title": path.stem}
            return msgspec.structs.replace(with_exercises(CHOOSE), **named)

        more = {"ascii_only": False, "is_trusted": lambda lesson: True, **more}
        return TutorApp(engine, curriculum, opened, journal=journal, **more)

    return make


Menu = Callable[..., TutorApp]


def rows(app: TutorApp) -> list[str]:
    return text_of(app, "lessons").split("\n")


def chosen(app: TutorApp) -> str:
    return next(row for row in rows(app) if row.startswith("▶")).removeprefix("▶").strip()


# ── What it tells ───────────────────────────────────────────────────────────────────


async def test_who_has_done_nothing_is_told_what_to_press_and_enter_opens_the_first_lesson(
    menu: Menu, engine: FakeEngine
) -> None:
    app = menu(Journal())
    async with app.run_test(size=SMALL) as pilot:
        assert "enter opens a lesson · space steps · ? shows all keys" in rows(app)[0]
        assert chosen(app).startswith("1 ")
        await pilot.press("enter")
        assert "line" in text_of(app, "header")


async def test_every_row_tells_how_many_exercises_are_done(menu: Menu) -> None:
    done: dict[str, dict[str, ExerciseResult]] = {
        "line": {"first": "done", "second": "done", "third": "skipped"},
        "xor": {"first": "done", "second": "tried"},
        "lesson-3": {"first": "tried", "gone": "done"},
    }
    app = menu(Kept(done=done))
    async with app.run_test(size=SMALL):
        marks = [row[5:13].strip() for row in rows(app)[1:5]]
        assert marks == ["✓ 2/3", "· 1/3", "· 0/3", ""]
        assert "Welcome" not in rows(app)[0]


async def test_the_details_of_the_chosen_lesson_stand_below_and_never_move(menu: Menu) -> None:
    app = menu(Kept(left(exercise="second"), {"line": {"first": "done", "second": "skipped"}}))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("down")
        lines = text_of(app, "details").split("\n")
        assert "One weight learns y = 2x." in lines
        assert "Gradient   manual · autograd" in lines
        assert "Exercises  1 of 3 done, 1 skipped: 2 predictions, 1 repair" in lines
        assert "Position   epoch 3 · autograd · cpu · lr 0.01 · exercise 2" in lines
        await pilot.press("down")
        assert "Builds on  The lesson line · 1/3" in text_of(app, "details")
        assert len(text_of(app, "details").split("\n")) == len(lines)


async def test_all_lessons_can_be_reached_in_a_small_terminal(menu: Menu) -> None:
    app = menu(Journal())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("end")
        shown = "\n".join("".join(s.text for s in strip) for strip in painted(app))
        assert "▶ 24" in shown
        assert "24 of 24 lessons ▲ more" in shown
        await pilot.press("pageup", "pageup", "pageup")
        shown = "\n".join("".join(s.text for s in strip) for strip in painted(app))
        assert "Welcome" in shown
        assert "1 of 24 lessons ▼ more" in shown


async def test_each_chapter_stands_below_its_heading_which_no_key_chooses(
    engine: FakeEngine,
) -> None:
    done: dict[str, dict[str, ExerciseResult]] = {
        f"lesson-{n}": dict.fromkeys(("first", "second", "third"), "done") for n in range(1, 10)
    }
    done["lesson-12"] = {"first": "done"}
    app = TutorApp(engine, in_chapters(), open_lesson, journal=Kept(done=done), ascii_only=False)
    async with app.run_test(size=SMALL) as pilot:
        assert len(rows(app)) == 1 + 41 + 6
        headings = [row.strip() for row in rows(app) if "──" in row]
        assert headings == [
            "── First steps · ✓ 27 of 27 exercises done",
            "── PyTorch's graph · 1 of 27 exercises done",
            "── Descending · 8 lessons",
            "── Networks · 7 lessons",
            "── Practice · 7 lessons",
            "── Other lessons · 1 lesson",
        ]
        numbers = []
        for key in ["down"] * 41 + ["up"] * 41:
            numbers.append(int(chosen_in_view(app).split()[1]))
            await pilot.press(key)
        assert numbers == [*range(1, 42), *range(41, 0, -1)]
        assert app.screen.query_one(LinesPane).scroll_offset.y == 0


async def test_a_page_is_as_long_as_the_view_with_its_headings(engine: FakeEngine) -> None:
    app = TutorApp(engine, in_chapters(), open_lesson, journal=Journal(), ascii_only=False)
    async with app.run_test(size=SMALL) as pilot:
        seen: set[int] = set()
        for _ in range(6):
            pane = app.screen.query_one(LessonsPane)
            top, height = pane.scroll_offset.y, pane.scrollable_content_region.height
            seen.update(range(top, top + height))
            await pilot.press("pagedown")
            assert chosen_in_view(app)
        assert seen == set(range(48)), "no row is passed over unseen"
        assert "Lesson 41" in chosen_in_view(app)
        await pilot.press(*["pageup"] * 6)
        assert "Lesson 1 " in chosen_in_view(app)


async def test_going_up_to_the_first_lesson_of_a_chapter_shows_its_heading(
    engine: FakeEngine,
) -> None:
    app = TutorApp(engine, in_chapters(), open_lesson, journal=Journal(), ascii_only=False)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("end", *["up"] * 22)
        assert "Lesson 19" in chosen_in_view(app)
        pane = app.screen.query_one(LessonsPane)
        assert "Descending" in pane.lines[pane.scroll_offset.y].plain


async def test_a_search_finds_lessons_without_their_headings(engine: FakeEngine) -> None:
    app = TutorApp(engine, in_chapters(), open_lesson, journal=Journal(), ascii_only=False)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("slash", *"lesson-2")
        assert [int(row.removeprefix("▶").split()[0]) for row in rows(app)] == [2, *range(20, 30)]
        await pilot.press("escape")
        assert len(rows(app)) == 1 + 41 + 6


def painted(app: TutorApp) -> list[Any]:
    return list(app.screen._compositor.render_strips())


async def test_nothing_is_read_of_the_journal_before_the_first_paint(menu: Menu) -> None:
    kept = Kept(left())
    app = menu(kept)
    asked: list[int] = []

    class Watched(MenuScreen):
        def on_mount(self) -> None:
            super().on_mount()
            asked.append(kept.asked)

    app._menu_screen = Watched(app._curriculum)
    async with app.run_test(size=SMALL):
        assert asked == [0]
        assert kept.asked > 0


# ── Going on ────────────────────────────────────────────────────────────────────────


async def test_enter_goes_on_exactly_where_the_learner_was(menu: Menu, engine: FakeEngine) -> None:
    app = menu(Kept(left(exercise="second")))
    async with app.run_test(size=LARGE) as pilot:
        assert chosen(app) == "Go on: The lesson line · autograd · epoch 3 · exercise 2"
        app._open_lesson = lambda path: lesson("line")
        await pilot.press("enter")
        assert isinstance(app.screen, LessonScreen)
        assert "epoch 3" in text_of(app, "header")
    (opened,) = (c for c in engine.sent if isinstance(c, OpenLesson))
    assert (opened.record, opened.epoch, opened.step) == (left().recipe, 3, 2)


async def test_enter_that_comes_before_the_journal_is_read_still_goes_on(
    menu: Menu, engine: FakeEngine
) -> None:
    app = menu(Kept(left()))
    async with app.run_test(size=SMALL) as pilot:
        app._menu_screen.is_known = False
        app._menu_screen.action_open_chosen()
        assert not any(isinstance(c, OpenLesson) for c in engine.sent)
        app._open_lesson = lambda path: lesson("line")
        app._menu_screen.on_screen_resume()
        await settled(pilot)
        assert "epoch 3" in text_of(app, "header")


async def test_going_on_from_the_menu_is_going_back_to_the_lesson_that_is_open(
    menu: Menu, engine: FakeEngine
) -> None:
    app = menu(Kept())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("down", "enter", "s", "m")
        assert "◂ open now" in chosen(app)
        assert rows(app)[0].strip().startswith("Go on: The lesson xor")
        await pilot.press("O")
        assert isinstance(app.screen, LessonScreen)
    assert engine.kinds().count("OpenLesson") == 1


async def test_with_nothing_to_go_on_with_the_key_says_so(menu: Menu) -> None:
    app = menu(Journal())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("O")
        assert "Nothing to resume yet" in text_of(app, "status")


async def test_enter_on_a_lesson_that_was_left_resumes_it_and_says_how_to_start_again(
    menu: Menu, engine: FakeEngine
) -> None:
    app = menu(Kept(left()))
    app._open_lesson = lambda path: lesson("line")
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("down", "enter")
        assert "You are back where you left off · R starts again" in text_of(app, "status")
        assert "epoch 3" in text_of(app, "header")
        await pilot.press("R")
        assert "epoch 0" in text_of(app, "header")


# ── Other ways to a lesson ──────────────────────────────────────────────────────────


async def test_the_fast_track_begins_with_the_exercises(menu: Menu, engine: FakeEngine) -> None:
    app = menu(Journal())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("a")
        assert isinstance(app.screen, LessonScreen)
        assert app.session.attempt is not None
        assert app.session.attempt.exercise.id == CHOOSE.id


async def test_a_word_finds_a_lesson_and_enter_opens_it(menu: Menu) -> None:
    app = menu(Journal())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("slash", *"son-2")
        numbers = [row.split()[-3 if "exercises" in row else -1] for row in rows(app)]
        assert len(numbers) == 5, "20 to 24"
        await pilot.press("down", "enter")
        assert "lesson-21" in text_of(app, "header")
        await pilot.press("m")
        assert len(rows(app)) == 25, "all are listed again"


async def test_escape_leaves_the_search_and_lists_all_again(menu: Menu) -> None:
    app = menu(Journal())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("slash", *"zzz")
        assert [row.strip() for row in rows(app)] == ["No lesson contains these words"]
        await pilot.press("enter")
        assert "no lesson" in text_of(app, "status")
        await pilot.press("escape")
        assert len(rows(app)) == 25
        assert not app.screen.query("#find")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rate", [4, 2, 3, 1]),
        ("RATE border", [2]),
        ("autograd", []),
        ("", [1, 2, 3, 4]),
    ],
)
def test_what_has_the_words_in_its_title_comes_first_and_a_mode_is_no_word(
    words: str, found: list[int]
) -> None:
    lessons = [
        Headline("a", Path(), "Adam", "Step by step.", exercises=(("a-high-rate", "reach"),)),
        Headline("rate-border", Path(), "The border"),
        Headline("c", Path(), "Twenty points", "A small rate."),
        Headline("d", Path(), "Learning rates"),
    ]
    curriculum = [LessonProgress(replace(h, modes=("manual", "autograd"))) for h in lessons]
    assert [number for number, _ in matching(curriculum, words)] == found


async def test_n_and_p_follow_the_order_of_the_curriculum(menu: Menu) -> None:
    app = menu(Journal())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("enter")
        for key, title in (("n", "xor"), ("n", "lesson-3"), ("p", "xor")):
            await pilot.press(key)
            assert title in text_of(app, "header")


async def test_n_and_p_come_back_to_a_lesson_where_it_was_left(menu: Menu) -> None:
    """Steps and runs of one lesson outlive a look at the next."""
    app = menu(Kept(left()))
    app._open_lesson = lambda path: lesson(path.stem)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("down", "down", "enter")
        assert "epoch 0" in text_of(app, "header")
        await pilot.press("p")
        assert "epoch 3" in text_of(app, "header")
        assert "You are back where you left off · R starts again" in text_of(app, "status")


async def test_the_fast_track_keeps_the_run_that_was_left(menu: Menu, engine: FakeEngine) -> None:
    """Its exercise has a run of its own; leaving it leads back to the learner's."""
    known = with_exercises(CHOOSE)
    app = menu(Kept(msgspec.structs.replace(left(), fingerprint=known.fingerprint())))
    app._open_lesson = lambda path: known
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("down", "a")
        assert app.session.attempt is not None
        app.session.controller.leave()
        await settled(pilot)
        app._lesson_screen.update_from_session()
        assert "epoch 3" in text_of(app, "header")


# ── Opening ─────────────────────────────────────────────────────────────────────────


@pytest.mark.app(menu=True)
async def test_enter_opens_the_lesson_under_the_cursor(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("down", "enter")
    assert isinstance(app.screen, LessonScreen)
    assert "XOR" in text_of(app, "header")
    assert engine.kinds().count("OpenLesson") == 1


@pytest.mark.app(menu=True)
async def test_a_lesson_with_a_fault_is_not_opened_and_says_why(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("end", "enter")
    assert isinstance(app.screen, MenuScreen)
    assert "/lessons/bad.md:3: " in text_of(app, "status")


@pytest.mark.app(menu=True)
async def test_going_back_without_an_open_lesson_says_what_to_do(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("escape")
    assert "No lesson is open yet" in text_of(app, "status")


@pytest.mark.parametrize(("key", "runs"), [("y", True), ("n", False), ("escape", False)])
async def test_a_lesson_from_elsewhere_runs_only_after_the_learner_has_said_so(
    make_app: MakeApp, engine: FakeEngine, key: str, runs: bool
) -> None:
    trusted: list[Lesson] = []

    def trust(lesson: Lesson) -> str:
        trusted.append(lesson)
        return "not remembered: the disk is full"

    app = make_app(menu=True, trust_lesson=trust)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("down", "down", "enter")
        assert isinstance(app.screen, AskTrust)
        assert engine.kinds().count("OpenLesson") == 0
        await pilot.press(key)
        assert isinstance(app.screen, LessonScreen) is runs
        assert not runs or "the disk is full" in text_of(app, "status")
    assert [lesson.slug for lesson in trusted] == (["far"] if runs else [])
    assert engine.kinds().count("OpenLesson") == int(runs)


@pytest.mark.app(menu=True)
async def test_the_text_of_a_lesson_can_be_viewed_before_it_is_trusted(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("down", "down", "enter")
    await pilot.press("v")
    assert isinstance(app.screen, ViewText)
    shown = [line.plain for line in app.screen.query_one("#source", LinesPane).lines]
    assert "prose with [bold]brackets[/bold] and an escape ^[[31m" in shown
    await pilot.press("escape")
    assert isinstance(app.screen, AskTrust)


@pytest.mark.app(menu=True)
async def test_q_quits_from_the_menu(app: TutorApp, pilot: Pilot[None]) -> None:
    await pilot.press("q")
    await come_true(lambda: not app.is_running)


@pytest.mark.app(first=HEADLINES[1].path)
async def test_a_path_is_read_after_the_first_paint_and_opened(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    assert "XOR" in text_of(app, "header")
    assert engine.kinds().count("OpenLesson") == 1


async def test_a_path_that_is_no_lesson_ends_the_app_with_its_words(
    make_app: MakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(first=Path("/lessons/none.md"))
    async with app.run_test(size=SMALL):
        assert not app.is_running
    assert app.return_code == 1
    assert capsys.readouterr().err == "/lessons/none.md: there is no such file\n"


@pytest.mark.app(first=HEADLINES[2].path)
async def test_a_path_to_a_lesson_that_is_not_trusted_asks_and_then_shows_the_menu(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    assert isinstance(app.screen, AskTrust)
    await pilot.press("n")
    assert isinstance(app.screen, MenuScreen)
    assert text_of(app, "status") == "far.md was not opened"
    assert engine.kinds().count("OpenLesson") == 0
