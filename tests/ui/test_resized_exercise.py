"""A window that shrinks and grows in the middle of an exercise: nothing typed is lost or sent."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tutor.protocol.commands import StepPhase
from tutor.ui.app import TutorApp
from tutor.ui.commands import PANE_TITLES

from .conftest import LARGE, SMALL, MakeApp, settled
from .exercises import AUTOGRAD, CHOOSE, PREDICT, REPAIR, with_exercises
from .fake_engine import FakeEngine

TOO_SMALL = ((60, 18), (80, 21), (79, 24), (40, 5))


async def resize(pilot: Any, *sizes: tuple[int, int]) -> None:
    for size in sizes:
        await pilot.resize_terminal(*size)


@pytest.mark.app(first=with_exercises(PREDICT))
async def test_half_an_answer_is_typed_on_where_it_was_left(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("a", "-", "3", "1", "left")
    field = app.screen.query_one("#exercise-answer", Input)
    for small, end in zip(TOO_SMALL, (SMALL, LARGE) * 2, strict=True):
        await resize(pilot, small)
        await pilot.press("9", "enter", "escape", "space")  # nothing of it can be seen: it waits
        await settled(pilot)
        assert not any(isinstance(command, StepPhase) for command in engine.sent)
        assert app.session.attempt is not None
        assert (app.session.attempt.state, app.session.attempt.tries) == ("asking", 0)
        await resize(pilot, end)
        assert (field.value, field.cursor_position, field.has_focus) == ("-31", 2, True)
    await pilot.press("0", "delete")
    assert field.value == "-30"
    await pilot.press("enter")
    assert app.session.attempt is not None
    assert app.session.attempt.state == "done"


@pytest.mark.app(first=with_exercises(CHOOSE))
async def test_letters_stay_keys_and_a_picked_choice_stays_picked(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("a", "2")
    await resize(pilot, (60, 18), LARGE, SMALL)
    await pilot.press("enter")
    assert app.session.attempt is not None
    assert app.session.attempt.state == "done"


@pytest.mark.app(first=with_exercises(REPAIR))
async def test_code_is_typed_on_where_it_was_left(app: TutorApp, pilot: Pilot[None]) -> None:
    await pilot.press("a", "o", "#", "a")
    await resize(pilot, (60, 18), LARGE, (50, 10), SMALL)
    await pilot.press("b")
    area = app.screen.query_one("#editor", TextArea)
    assert area.text.startswith("#abw +=")


@pytest.mark.parametrize(("exercise", "pane"), [(REPAIR, "code"), (AUTOGRAD, "graph")])
@pytest.mark.parametrize("size", [SMALL, (80, 22), (120, 30), LARGE], ids=str)
async def test_beside_it_stands_what_it_needs_in_every_layout(
    make_app: MakeApp, exercise: Any, pane: str, size: tuple[int, int]
) -> None:
    app = make_app(first=with_exercises(exercise, PREDICT))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("a")
        await resize(pilot, size)
        assert app.screen.query_one(f"#{pane}").display
        await pilot.press("escape", "k")
        assert app.screen.query_one("#formula").display  # where no graph need be
        assert not app.screen.query_one("#graph").display


@pytest.mark.parametrize("pane", ["1", "3", "5"])
@pytest.mark.app(first=with_exercises(PREDICT))
async def test_in_another_layout_the_exercise_is_in_view_and_what_is_hidden_has_no_focus(
    app: TutorApp, pilot: Pilot[None], pane: str
) -> None:
    await pilot.press("a", "4", "escape", pane)
    for size in (LARGE, (120, 30), (60, 18), LARGE):
        await resize(pilot, size)
        focused = app.screen.focused
        assert focused is None or size == (60, 18) or focused.region.area
        if size == LARGE and pane != "5":
            assert app.screen.query_one("#exercise").display
    await pilot.press("a", "2")
    field = app.screen.query_one("#exercise-answer", Input)
    assert field.value == "42"


@pytest.mark.app(first=with_exercises(PREDICT))
async def test_without_an_exercise_the_pane_that_was_chosen_stays_in_front(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    """Of those that share a place in one layout and stand beside each other in the next."""
    for key in "567":
        pane = app.screen.query_one(f"#{list(PANE_TITLES)[int(key) - 1]}")
        await pilot.press(key)
        for size in (LARGE, SMALL):
            await resize(pilot, size)
            assert (pane.display, pane.has_focus_within) == (True, True), key
        await pilot.press("1", "3")
        await resize(pilot, LARGE)
        await pilot.press(key)
        await resize(pilot, SMALL)
        assert (pane.display, pane.has_focus_within) == (True, True), key
