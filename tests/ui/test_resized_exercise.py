"""A window that shrinks and grows in the middle of an exercise: nothing typed is lost or sent."""

from __future__ import annotations

import pytest

from tutor.lesson.exercise import Exercise
from tutor.protocol.commands import StepPhase
from tutor.ui.commands import PANE_TITLES

from .conftest import LARGE, SMALL, Learner, MakeApp, at_screen, doing
from .exercises import AUTOGRAD, CHOOSE, PREDICT, REPAIR, with_exercises

BESIDE = (120, 30)
"""Two panes stand side by side."""


@doing(PREDICT, keys=["a", "-", "3", "1", "left"])
async def test_half_an_answer_is_typed_on_where_it_was_left(learner: Learner) -> None:
    field = learner.field
    for small, end in (((60, 18), SMALL), ((80, 21), LARGE), ((79, 24), SMALL)):
        await learner.resize(small)
        await learner.press("9", "enter", "escape", "space")  # nothing of it can be seen: it waits
        assert not any(isinstance(command, StepPhase) for command in learner.engine.sent)
        assert (learner.attempt.state, learner.attempt.tries) == ("asking", 0)
        await learner.resize(end)
        assert (field.value, field.cursor_position, field.has_focus) == ("-31", 2, True)
    await learner.press("0", "delete")
    assert field.value == "-30"
    await learner.press("enter")
    assert learner.attempt.state == "done"


@doing(CHOOSE, keys=["a", "2"])
async def test_letters_stay_keys_and_a_picked_choice_stays_picked(learner: Learner) -> None:
    await learner.resize((60, 18), LARGE)
    await learner.press("enter")
    assert learner.attempt.state == "done"


@doing(REPAIR, keys=["a", "o", "#", "a"])
async def test_code_is_typed_on_where_it_was_left(learner: Learner) -> None:
    await learner.resize((50, 10), LARGE)
    await learner.press("b")
    assert learner.area.text.startswith("#abw +=")


@pytest.mark.parametrize(("exercise", "pane"), [(REPAIR, "code"), (AUTOGRAD, "graph")])
async def test_beside_it_stands_what_it_needs_in_every_layout(
    make_app: MakeApp, exercise: Exercise, pane: str
) -> None:
    async with at_screen(make_app(first=with_exercises(exercise, PREDICT))) as learner:
        await learner.press("a")
        for size in (SMALL, BESIDE, LARGE):
            await learner.resize(size)
            assert learner.shows(pane)
        await learner.press("escape", "k")
        for size in (LARGE, BESIDE, SMALL):
            await learner.resize(size)
            assert learner.shows("formula")  # where no graph need be
            assert not learner.shows("graph")


@pytest.mark.parametrize("pane", ["1", "3", "5"])
@doing(PREDICT)
async def test_in_another_layout_the_exercise_is_in_view_and_what_is_hidden_has_no_focus(
    learner: Learner, pane: str
) -> None:
    await learner.press("4", "escape", pane)
    for size in (LARGE, BESIDE, (60, 18), LARGE):
        await learner.resize(size)
        focused = learner.app.screen.focused
        assert focused is None or size == (60, 18) or focused.region.area
        if size == LARGE and pane != "5":
            assert learner.shows("exercise")
    in_its_place = "formula" if pane == "1" else "exercise-text"
    assert learner.focused == in_its_place, "not the field: letters were keys, and stay keys"
    await learner.press("a", "2")
    assert learner.field.value == "42"


@pytest.mark.app(first=with_exercises(PREDICT))
async def test_without_an_exercise_the_pane_that_was_chosen_stays_in_front(
    learner: Learner,
) -> None:
    """Of those that share a place in one layout and stand beside each other in the next."""
    for key in "57":
        pane = learner.app.screen.query_one(f"#{list(PANE_TITLES)[int(key) - 1]}")
        await learner.press(key)
        for size in (LARGE, SMALL):
            await learner.resize(size)
            assert (pane.display, pane.has_focus_within) == (True, True), key
        await learner.press("1", "3")
        await learner.resize(LARGE)
        await learner.press(key)
        await learner.resize(SMALL)
        assert (pane.display, pane.has_focus_within) == (True, True), key
