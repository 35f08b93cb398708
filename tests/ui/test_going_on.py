"""Who goes on stands at the same field, with what was typed, or in the editor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.widgets import Input

from tutor.lesson.exercise import Exercise
from tutor.lesson.model import Lesson
from tutor.progress.records import ExerciseResult
from tutor.session.journal import Bookmark
from tutor.ui.app import TutorApp
from tutor.ui.screens.editor import EditorScreen
from tutor.ui.screens.lesson import LessonScreen

from .conftest import SMALL, text_of
from .exercises import PREDICT, REPAIR, with_exercises
from .fake_engine import FakeEngine
from .kept import Kept, curriculum, left
from .lessons import lesson

GoneOn = Callable[..., AbstractAsyncContextManager[tuple[TutorApp, Any, Kept]]]


@pytest.fixture
def gone_on(engine: FakeEngine) -> GoneOn:
    """Somebody who was at this exercise, and has pressed enter in the menu."""

    @asynccontextmanager
    async def run(exercise: Exercise, **more: object) -> AsyncIterator[tuple[TutorApp, Any, Kept]]:
        lesson = with_exercises(exercise)
        place = msgspec.structs.replace(
            left(), fingerprint=lesson.fingerprint(), exercise=exercise.id, **more
        )
        kept = Kept(place)

        def opened(path: Path) -> Any:
            return lesson

        app = TutorApp(
            engine, curriculum, opened, journal=kept, ascii_only=False, is_trusted=lambda _: True
        )
        async with app.run_test(size=SMALL) as pilot:
            await pilot.press("enter")
            yield app, pilot, kept

    return run


def last(kept: Kept) -> Bookmark:
    assert kept.last is not None
    return kept.last


async def test_a_half_typed_answer_stands_in_the_field_again(gone_on: GoneOn) -> None:
    async with gone_on(PREDICT, typed="−2") as (app, pilot, kept):
        field = app.screen.query_one("#exercise-answer", Input)
        assert (field.value, field.has_focus) == ("−2", True)
        await pilot.press("5", ".")
        assert field.value == "−25."
        assert last(kept).typed == "−25."
        await pilot.press("1", "enter")
        assert last(kept).typed == ""
        await pilot.press("enter")
        assert (field.value, field.display, last(kept).round) == ("", True, 1)


async def test_the_editor_is_open_again_until_it_is_left(gone_on: GoneOn) -> None:
    async with gone_on(REPAIR, is_editing=True) as (app, pilot, kept):
        assert isinstance(app.screen, EditorScreen)
        assert "update goes the wrong way" in text_of(app, "task")
        await pilot.press("escape")
        assert isinstance(app.screen, LessonScreen)
        assert not last(kept).is_editing
        await pilot.press("o")
        assert last(kept).is_editing
        await pilot.press("ctrl+q")
    assert last(kept).is_editing, "who quits in the editor has not left it"


async def test_what_another_tutor_has_done_is_seen_when_the_menu_is_shown(
    engine: FakeEngine,
) -> None:
    class Shared(Kept):
        news: dict[str, dict[str, ExerciseResult]]

        def refresh(self) -> None:
            self.done = self.news

    kept = Shared()
    kept.news = {}
    lesson = with_exercises(PREDICT)
    app = TutorApp(engine, curriculum, lambda _: lesson, journal=kept, is_trusted=lambda _: True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("enter")
        kept.news = {lesson.slug: {"first": "done"}}
        await pilot.press("A")
        assert "done" in text_of(app, "exercises")
        await pilot.press("escape", "m")
        assert "1 of 3 done" in text_of(app, "details")


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_lesson_left_in_another_installed_tutor_is_resumed_in_this_one(
    engine: FakeEngine, tmp_path: Path, is_own: bool
) -> None:
    """A file of the learner's own was trusted when it was left, and so is opened itself."""
    other = tmp_path / "line.md"
    other.touch()
    kept = Kept(msgspec.structs.replace(left(), path=str(other)))

    def read(path: Path) -> Lesson:
        return msgspec.structs.replace(lesson("line"), path=path)

    def is_trusted(read: Lesson) -> bool:
        return is_own or read.path != other

    app = TutorApp(engine, curriculum, read, journal=kept, is_trusted=is_trusted)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("O")
        assert isinstance(app.screen, LessonScreen)
        assert app.session.view is not None
        assert (app.session.view.lesson.path == other) is is_own
        assert "epoch 3" in text_of(app, "header")
