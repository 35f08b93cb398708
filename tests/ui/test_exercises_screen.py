"""The list of a lesson's exercises."""

from __future__ import annotations

import msgspec
import pytest

from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.lists import ExerciseList, ExercisesScreen

from .conftest import Learner, doing
from .exercises import CHOOSE, PREDICT, REPAIR
from .kept import Kept

DONE = Kept(done={"line": {"first": "done", "fix": "tried"}})


@doing(PREDICT, REPAIR, CHOOSE, journal=DONE, keys="A")
async def test_it_shows_kind_and_state_and_begins_with_the_chosen_one(learner: Learner) -> None:
    listed = learner.app.screen.query_one(ExerciseList)
    rows = [row.plain.split() for row in listed.lines]
    assert [(row[0], row[-1]) for row in rows] == [("✓", "done"), ("▶", "tried"), ("◇", "new")]
    assert ["repair" in row for row in rows[1:]] == [True, False]
    assert ["choice" in row for row in rows[1:]] == [False, True]
    assert listed.size.height == 3
    await learner.press("0", "7")  # there are none
    assert isinstance(learner.app.screen, ExercisesScreen)
    await learner.press("down", "escape")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.session.attempt is None, "escape begins nothing"
    await learner.press("A", "down", "down", "up", "up", "down", "enter")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.attempt.exercise is REPAIR
    await learner.press("A", "3")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.attempt.exercise is CHOOSE, "a number begins the exercise that has it"


MANY = [msgspec.structs.replace(PREDICT, id=f"number-{n}") for n in range(1, 14)]


@pytest.mark.parametrize(("keys", "begun"), [("12", "number-12"), ("2", "number-2")])
@doing(*MANY, keys="A")
async def test_of_many_a_number_of_two_digits_can_be_typed(
    learner: Learner, keys: str, begun: str
) -> None:
    await learner.press(keys[0])
    if len(keys) > 1:
        assert learner.app.screen.query_one(ExerciseList).chosen == "number-1"
        await learner.press(keys[1])
    assert learner.attempt.exercise.id == begun
