"""The list of a lesson's exercises."""

from __future__ import annotations

import msgspec
from textual.app import App

from tutor.lesson.exercise import Exercise
from tutor.progress.records import ExerciseResult
from tutor.session.exercise_controller import ExerciseController
from tutor.session.journal import Journal
from tutor.session.session import Session
from tutor.ui.screens.lists import ExerciseList, ExercisesScreen

from .conftest import SMALL
from .exercises import CHOOSE, PREDICT, REPAIR, with_exercises
from .fake_engine import FakeEngine


class Controller(ExerciseController):
    """Remembers which exercise was begun."""

    begun: str | None = None

    def results(self) -> dict[str, ExerciseResult]:
        return {"first": "done", "fix": "tried"}

    def begin(self, id: str | None = None) -> None:
        self.begun = id


class Alone(App[None]):
    """The list and nothing else."""

    CSS_PATH = "../../tutor/ui/tutor.tcss"

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.animation_level = "none"
        self._session = session

    def on_mount(self) -> None:
        self.push_screen(ExercisesScreen(self._session, ascii_only=False))


def lesson_session(*exercises: Exercise) -> Session:
    session = Session(FakeEngine())
    session.controller = Controller(session, Journal())
    session.open(with_exercises(*exercises or (PREDICT, REPAIR, CHOOSE)))
    return session


def begun_in(session: Session) -> str | None:
    assert isinstance(session.controller, Controller)
    return session.controller.begun


async def test_it_shows_kind_and_state_and_begins_with_the_chosen_one() -> None:
    session = lesson_session()
    app = Alone(session)
    async with app.run_test(size=SMALL) as pilot:
        listed = app.screen.query_one(ExerciseList)
        rows = [row.plain.split() for row in listed.lines]
        assert [(row[0], row[-1]) for row in rows] == [("✓", "done"), ("▶", "tried"), ("◇", "new")]
        assert ["repair" in row for row in rows[1:]] == [True, False]
        assert ["choice" in row for row in rows[1:]] == [False, True]
        assert listed.size.height == 3
        await pilot.press("0", "7")  # there are none
        assert isinstance(app.screen, ExercisesScreen)
        await pilot.press("down", "escape")
        assert not isinstance(app.screen, ExercisesScreen)
        assert begun_in(session) is None, "escape begins nothing"
        app.on_mount()
        await pilot.press("down", "down", "up", "up", "down", "enter")
        assert begun_in(session) == "fix"
        assert not isinstance(app.screen, ExercisesScreen)
        app.on_mount()
        await pilot.press("3")
        assert begun_in(session) == "choose", "a number begins the exercise that has it"
        assert not isinstance(app.screen, ExercisesScreen)


async def test_of_many_a_number_of_two_digits_can_be_typed() -> None:
    many = (msgspec.structs.replace(PREDICT, id=f"number-{n}") for n in range(1, 14))
    session = lesson_session(*many)
    app = Alone(session)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("1")
        assert app.screen.query_one(ExerciseList).chosen == "number-1"
        await pilot.press("2")
        assert begun_in(session) == "number-12"
