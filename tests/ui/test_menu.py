"""The menu: what it tells of each lesson, and the ways from it into one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tutor.lesson.library import Headline
from tutor.lesson.model import Lesson
from tutor.progress import ExerciseResult
from tutor.protocol.commands import OpenLesson
from tutor.session.journal import Journal
from tutor.ui.lesson_lines import LessonProgress, matching
from tutor.ui.screens.dialogs import AskTrust, ViewText
from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.lesson_list import LessonsPane, MenuScreen

from .conftest import SMALL, Learner, MakeApp, at_screen, come_true
from .exercises import CHOOSE, with_exercises
from .fake_engine import FakeEngine
from .kept import Kept, chosen_in_view, curriculum, in_chapters, left
from .lessons import HEADLINES, lesson

Results = dict[str, dict[str, ExerciseResult]]


def with_a_choice(path: Path) -> Lesson:
    named = {"slug": path.stem, "path": path, "title": path.stem}
    return replace(with_exercises(CHOOSE), **named)


def at_menu(journal: Journal | None = None, **more: Any) -> pytest.MarkDecorator:
    """The mark of a test whose learner is at the menu of twenty-four lessons."""
    options = {"opened": with_a_choice, "is_trusted": lambda lesson: True, **more}
    return pytest.mark.app(menu=True, lessons=curriculum, journal=journal or Journal(), **options)


def at_chapters(done: Results | None = None) -> pytest.MarkDecorator:
    """The mark of a test whose learner is at the menu of twenty-one lessons."""
    return pytest.mark.app(menu=True, lessons=in_chapters(), journal=Kept(done=done))


def plain_lesson(path: Path) -> Lesson:
    """The lesson that `left` is a bookmark of, or one that is like it."""
    return lesson(path.stem)


def rows(learner: Learner) -> list[str]:
    return learner.text("lessons").split("\n")


def chosen(learner: Learner) -> str:
    return next(row for row in rows(learner) if row.startswith("▶")).removeprefix("▶").strip()


def numbers(learner: Learner) -> list[int]:
    """Of the lessons that are listed."""
    return [int(row.removeprefix("▶").split()[0]) for row in rows(learner)]


# ── What it tells ───────────────────────────────────────────────────────────────────


@at_menu()
async def test_who_has_done_nothing_is_told_what_to_press_and_enter_opens_the_first_lesson(
    learner: Learner,
) -> None:
    assert "enter opens a lesson · space steps · ? shows all keys" in rows(learner)[0]
    assert chosen(learner).startswith("1 ")
    await learner.press("O")
    assert learner.sees("Nothing to resume yet", "status")
    await learner.press("escape")
    assert learner.sees("No lesson is open yet", "status")
    await learner.press("enter")
    assert learner.sees("line", "header")
    for key, title in (("n", "xor"), ("n", "lesson-3"), ("p", "xor")):
        await learner.press(key)
        assert learner.sees(title, "header")


DONE: Results = {
    "line": {"first": "done", "second": "done", "third": "skipped"},
    "xor": {"first": "done", "second": "tried"},
    "lesson-3": {"first": "tried", "gone": "done"},
}


@at_menu(Kept(left(exercise="second"), DONE))
async def test_every_row_tells_how_many_exercises_are_done_and_the_details_never_move(
    learner: Learner,
) -> None:
    marks = [row[5:13].strip() for row in rows(learner)[1:5]]
    assert marks == ["✓ 2/3", "· 1/3", "· 0/3", ""]
    assert "Welcome" not in rows(learner)[0]
    await learner.press("down")
    lines = learner.text("details").split("\n")
    assert "One weight learns y = 2x." in lines
    assert "Gradient   manual · autograd" in lines
    assert "Exercises  2 of 3 done, 1 skipped: 2 predictions, 1 repair" in lines
    assert "Position   epoch 3 · autograd · cpu · lr 0.01 · exercise 2" in lines
    await learner.press("down")
    assert learner.sees("Builds on  The lesson line ✓ 2/3", "details")
    assert len(learner.text("details").split("\n")) == len(lines)


def painted(learner: Learner) -> str:
    strips = learner.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@at_menu()
async def test_all_lessons_can_be_reached_in_a_small_terminal(learner: Learner) -> None:
    await learner.press("end")
    assert "▶ 24" in painted(learner)
    assert "24 of 24 lessons ▲ more" in painted(learner)
    await learner.press("pageup", "pageup", "pageup")
    assert "Welcome" in painted(learner)
    assert "1 of 24 lessons ▼ more" in painted(learner)


A_CHAPTER: Results = {
    f"lesson-{n}": dict.fromkeys(("first", "second", "third"), "done") for n in range(1, 6)
}


@at_chapters({**A_CHAPTER, "lesson-7": {"first": "done"}})
async def test_each_chapter_stands_below_its_heading_which_no_key_chooses(
    learner: Learner,
) -> None:
    app = learner.app
    assert len(rows(learner)) == 1 + 21 + 6
    headings = [row.strip() for row in rows(learner) if "──" in row]
    assert headings == [
        "── First steps · ✓ 15 of 15 exercises done",
        "── PyTorch's graph · 1 of 15 exercises done",
        "── Descending · 4 lessons",
        "── Networks · 3 lessons",
        "── Practice · 3 lessons",
        "── Other lessons · 1 lesson",
    ]
    found = []
    for key in ["down"] * 21:
        found.append(int(chosen_in_view(app).split()[1]))
        await learner.press(key)
    assert found == [*range(1, 22)]
    pane = app.screen.query_one(LessonsPane)
    for number in range(20, 0, -1):
        await learner.press("up")
        assert f"Lesson {number} " in chosen_in_view(app)
        if number == 11:  # the first lesson of a chapter: its heading is in view
            assert "Descending" in pane.lines[pane.scroll_offset.y].plain
    assert pane.scroll_offset.y == 0


@at_chapters()
async def test_a_page_is_as_long_as_the_view_with_its_headings(learner: Learner) -> None:
    """A search finds lessons without them."""
    seen: set[int] = set()
    for _ in range(3):
        pane = learner.app.screen.query_one(LessonsPane)
        top, height = pane.scroll_offset.y, pane.scrollable_content_region.height
        seen.update(range(top, top + height))
        await learner.press("pagedown")
        assert chosen_in_view(learner.app)
    assert seen == set(range(28)), "no row is passed over unseen"
    assert "Lesson 21" in chosen_in_view(learner.app)
    await learner.press(*["pageup"] * 3)
    assert "Lesson 1 " in chosen_in_view(learner.app)
    await learner.press("slash", *"lesson-2")
    assert numbers(learner) == [2, 20, 21], "without their headings"
    await learner.press("escape")
    assert len(rows(learner)) == 1 + 21 + 6


async def test_nothing_is_read_of_the_journal_before_the_first_paint(make_app: MakeApp) -> None:
    kept = Kept(left())
    app = make_app(menu=True, lessons=curriculum, journal=kept)
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


@at_menu(Kept(left(exercise="second")), opened=plain_lesson)
async def test_enter_goes_on_exactly_where_the_learner_was(learner: Learner) -> None:
    assert chosen(learner) == "Go on: The lesson line · autograd · epoch 3 · exercise 2"
    await learner.press("enter")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.sees("epoch 3", "header")
    (opened,) = (c for c in learner.engine.sent if isinstance(c, OpenLesson))
    assert (opened.recipe, opened.epoch, opened.step) == (left().recipe, 3, 2)


@at_menu(Kept(left()), opened=plain_lesson)
async def test_enter_that_comes_before_the_journal_is_read_still_goes_on(learner: Learner) -> None:
    menu = learner.app._menu_screen
    menu.is_known = False
    menu.action_open_chosen()
    assert not any(isinstance(c, OpenLesson) for c in learner.engine.sent)
    menu.on_screen_resume()
    await learner.settle()
    assert learner.sees("epoch 3", "header")


@at_menu(Kept())
async def test_going_on_from_the_menu_is_going_back_to_the_lesson_that_is_open(
    learner: Learner,
) -> None:
    await learner.press("down", "enter", "s", "m")
    assert "◂ open now" in chosen(learner)
    assert rows(learner)[0].strip().startswith("Go on: The lesson xor")
    await learner.press("O")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.engine.kinds().count("OpenLesson") == 1


@at_menu(Kept(left()), opened=plain_lesson)
async def test_a_lesson_that_was_left_resumes_and_says_how_to_start_again(
    learner: Learner,
) -> None:
    """From the menu, and from the lesson beside it."""
    for keys in (["down", "enter"], ["n", "p"]):
        await learner.press(*keys)
        assert learner.sees("You are back where you left off · R starts again", "status")
        assert learner.sees("epoch 3", "header")
    await learner.press("R")
    assert learner.sees("epoch 0", "header")


# ── Other ways to a lesson ──────────────────────────────────────────────────────────

KNOWN = with_exercises(CHOOSE)


@at_menu(Kept(replace(left(), fingerprint=KNOWN.fingerprint())), opened=lambda _: KNOWN)
async def test_the_fast_track_begins_with_the_exercises_and_keeps_the_run_that_was_left(
    learner: Learner,
) -> None:
    """Its exercise has a run of its own; leaving it leads back to the learner's."""
    await learner.press("down", "a")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.attempt.exercise.id == CHOOSE.id
    await learner.press("escape")
    assert learner.session.attempt is None
    assert learner.sees("epoch 3", "header")


@at_menu()
async def test_a_word_finds_a_lesson_and_enter_opens_it(learner: Learner) -> None:
    await learner.press("slash", *"zzz")
    assert [row.strip() for row in rows(learner)] == ["No lesson contains these words"]
    await learner.press("enter")
    assert learner.sees("no lesson", "status")
    await learner.press("escape")
    assert len(rows(learner)) == 25, "all are listed again"
    assert not learner.app.screen.query("#find")
    await learner.press("slash", *"son-2")
    assert numbers(learner) == [*range(20, 25)]
    await learner.press("down", "enter")
    assert learner.sees("lesson-21", "header")
    await learner.press("m")
    assert len(rows(learner)) == 25


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


# ── Opening ─────────────────────────────────────────────────────────────────────────


@pytest.mark.app(menu=True)
async def test_enter_opens_the_lesson_under_the_cursor(learner: Learner) -> None:
    await learner.press("down", "enter")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.sees("XOR", "header")
    assert learner.engine.kinds().count("OpenLesson") == 1


@pytest.mark.app(menu=True)
async def test_a_lesson_with_a_fault_is_not_opened_and_says_why(learner: Learner) -> None:
    await learner.press("end", "enter")
    assert isinstance(learner.app.screen, MenuScreen)
    assert learner.sees("/lessons/bad.md:3: ", "status")


async def test_a_lesson_from_elsewhere_runs_only_after_the_learner_has_said_so(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    """Its text can be viewed before."""
    trusted: list[str] = []

    def trust(lesson: Lesson) -> str:
        trusted.append(lesson.slug)
        return "not remembered: the disk is full"

    async with at_screen(make_app(menu=True, trust_lesson=trust)) as learner:
        for no in ("n", "escape"):
            await learner.press("home", "down", "down", "enter")
            assert isinstance(learner.app.screen, AskTrust)
            await learner.press(no)
            assert isinstance(learner.app.screen, MenuScreen)
        await learner.press("home", "down", "down", "enter", "v")
        assert isinstance(learner.app.screen, ViewText)
        shown = [line.plain for line in learner.pane("source").lines]
        assert "prose with [bold]brackets[/bold] and an escape ^[[31m" in shown
        await learner.press("escape")
        assert isinstance(learner.app.screen, AskTrust)
        assert (trusted, engine.kinds().count("OpenLesson")) == ([], 0)
        await learner.press("y")
        assert isinstance(learner.app.screen, LessonScreen)
        assert learner.sees("the disk is full", "status")
    assert (trusted, engine.kinds().count("OpenLesson")) == (["far"], 1)


@pytest.mark.app(menu=True)
async def test_q_quits_from_the_menu(learner: Learner) -> None:
    await learner.press("q")
    await come_true(lambda: not learner.app.is_running)


@pytest.mark.app(first=HEADLINES[1].path)
async def test_a_path_is_read_after_the_first_paint_and_opened(learner: Learner) -> None:
    assert learner.sees("XOR", "header")
    assert learner.engine.kinds().count("OpenLesson") == 1


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
    learner: Learner,
) -> None:
    assert isinstance(learner.app.screen, AskTrust)
    await learner.press("n")
    assert isinstance(learner.app.screen, MenuScreen)
    assert learner.text("status") == "far.md was not opened"
    assert learner.engine.kinds().count("OpenLesson") == 0
