"""Who goes on stands at the same field, with what was typed, or in the editor."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.session.driven import current_attempt
from tutor.lesson.exercise import Exercise
from tutor.lesson.model import Lesson
from tutor.progress import ExerciseResult
from tutor.session.bookmark import Bookmark, UnfinishedAttempt
from tutor.ui.screens.editor import EditorScreen
from tutor.ui.screens.lesson import LessonScreen

from .conftest import Learner, MakeApp, at_screen
from .exercises import PREDICT, REPAIR, with_exercises
from .kept import Kept, curriculum, left
from .lessons import lesson


def gone_on(
    exercise: Exercise, *, typed: str = "", is_editing: bool = False
) -> pytest.MarkDecorator:
    """The mark of a test whose learner was at this exercise, and has pressed enter in the menu."""
    lesson = with_exercises(exercise)
    place = msgspec.structs.replace(
        left(),
        fingerprint=lesson.fingerprint(),
        exercise=exercise.id,
        is_editing=is_editing,
        unfinished=(UnfinishedAttempt(exercise=exercise.id, typed=typed),),
    )
    return pytest.mark.app(
        menu=True, lessons=curriculum, opened=lambda _: lesson, journal=Kept(place), keys=["enter"]
    )


def last(learner: Learner) -> Bookmark:
    kept = learner.session.journal
    assert isinstance(kept, Kept)
    assert kept.last is not None
    return kept.last


@gone_on(PREDICT, typed="−2")
async def test_a_half_typed_answer_stands_in_the_field_again(learner: Learner) -> None:
    field = learner.field
    assert (field.value, field.has_focus) == ("−2", True)
    await learner.press("5", ".")
    assert field.value == "−25."
    assert current_attempt(last(learner)).typed == "−25."
    await learner.press("1", "enter")
    assert current_attempt(last(learner)).typed == ""
    await learner.press("enter")
    assert (field.value, field.display, current_attempt(last(learner)).round) == ("", True, 1)


@gone_on(REPAIR, is_editing=True)
async def test_the_editor_is_open_again_until_it_is_left(learner: Learner) -> None:
    assert isinstance(learner.app.screen, EditorScreen)
    assert learner.sees("update goes the wrong way", "task")
    await learner.press("escape")
    assert isinstance(learner.app.screen, LessonScreen)
    assert not last(learner).is_editing
    await learner.press("o")
    assert last(learner).is_editing
    await learner.press("ctrl+q")
    assert last(learner).is_editing, "who quits in the editor has not left it"


class Shared(Kept):
    """A journal into which another tutor writes, too."""

    def __init__(self) -> None:
        super().__init__()
        self.news: dict[str, dict[str, ExerciseResult]] = {}

    def refresh(self) -> None:
        self.done = self.news


async def test_what_another_tutor_has_done_is_seen_when_the_menu_is_shown(
    make_app: MakeApp,
) -> None:
    kept, lesson = Shared(), with_exercises(PREDICT)
    async with at_screen(
        make_app(menu=True, lessons=curriculum, opened=lambda _: lesson, journal=kept)
    ) as learner:
        await learner.press("enter")
        kept.news = {lesson.slug: {"first": "done"}}
        await learner.press("A")
        assert learner.sees("done", "exercises")
        await learner.press("escape", "m")
        assert learner.sees("1 of 3 done", "details")


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_lesson_left_in_another_installed_tutor_is_resumed_in_this_one(
    make_app: MakeApp, tmp_path: Path, is_own: bool
) -> None:
    """A file of the learner's own was trusted when it was left, and so is opened itself."""
    other = tmp_path / "line.md"
    other.touch()

    def opened(path: Path) -> Lesson:
        return msgspec.structs.replace(lesson("line"), path=path)

    app = make_app(
        menu=True,
        lessons=curriculum,
        opened=opened,
        journal=Kept(msgspec.structs.replace(left(), path=str(other))),
        is_trusted=lambda read: is_own or read.path != other,
    )
    async with at_screen(app) as learner:
        await learner.press("O")
        assert isinstance(app.screen, LessonScreen)
        assert app.session.view is not None
        assert (app.session.view.lesson.path == other) is is_own
        assert learner.sees("epoch 3", "header")
