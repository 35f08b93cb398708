"""The screen of an engine on another machine: its name, a lost connection, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.conftest import LARGE, SMALL, Learner, MakeApp, settled, text_of
from tests.ui.fake_engine import FakeEngine
from tutor.protocol.commands import Inspect, OpenLesson, StepPhase, WriteSeries
from tutor.protocol.events import SeriesWritten
from tutor.ui.app import TutorApp
from tutor.ui.commands import RECONNECT
from tutor.ui.screens.dialogs import _write

HOST = "me@far-machine"


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.host = HOST
    return engine


def help_text(app: TutorApp) -> str:
    return "\n".join(c.help for c in app.screen.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_the_header_names_the_machine(learner: Learner, size: tuple[int, int]) -> None:
    assert learner.sees("cpu on far-machine", "header")
    for key in ("c", "m", "M"):  # comparison, menu, map
        await learner.press(key)
        assert learner.sees("on far-machine", "header")


async def test_a_long_name_of_the_machine_leaves_room_in_the_header(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    engine.host = f"me@{'far-' * 20}machine"
    app = make_app()
    async with app.run_test(size=SMALL):
        header = text_of(app, "header")
        assert "cpu on far-" in header
        assert "epoch" in header


async def test_a_lost_connection_leaves_the_screen_and_names_the_key(learner: Learner) -> None:
    await learner.press("s", "space")
    assert not learner.sees(RECONNECT.label, "footer")
    learner.engine.lose()
    await learner.settle()
    numbers = learner.text("numbers")
    assert learner.sees(HOST, "status")
    assert learner.sees(f"{RECONNECT.key_label} ", "status")
    assert learner.sees(f"{RECONNECT.key_label} {RECONNECT.label}", "footer")
    await learner.press(RECONNECT.keys[0])
    assert learner.engine.reconnected == 1
    assert not learner.sees(RECONNECT.label, "footer")
    assert learner.text("numbers") == numbers
    assert learner.sees("epoch 2", "status")
    assert isinstance(learner.engine.sent[-1], Inspect), (
        "the new process does not know what is seen"
    )
    await learner.press("space")
    assert isinstance(learner.engine.sent[-1], StepPhase)


async def test_while_the_connection_is_lost_no_screen_opens_that_needs_it(learner: Learner) -> None:
    learner.engine.lose()
    await learner.settle()
    for key in ("c", "!", "x", RECONNECT.keys[0]):
        assert learner.sees(f"{RECONNECT.key_label} ", "status"), key
        await learner.press(key)
    assert learner.engine.reconnected == 1


@pytest.mark.app(size=LARGE)
async def test_a_connection_that_can_not_be_made_is_told_and_may_be_tried_again(
    learner: Learner,
) -> None:
    learner.engine.refuses_connection = "no route to it"
    learner.engine.lose()
    await learner.settle()
    await learner.press("C")
    assert learner.sees("no route to it", "status")
    learner.engine.refuses_connection = ""
    await learner.press("C")
    assert learner.engine.reconnected == 2
    assert not learner.sees(RECONNECT.label, "footer")


async def test_a_lesson_that_is_refused_for_a_lost_connection_is_not_opened_otherwise(
    learner: Learner,
) -> None:
    await learner.press("s")
    learner.engine.lose()
    await learner.settle()
    for key in ("n", "p"):
        before = sum(isinstance(c, OpenLesson) for c in learner.engine.sent)
        await learner.press(key)
        assert sum(isinstance(c, OpenLesson) for c in learner.engine.sent) <= before + 1
        assert learner.sees(HOST, "status")


async def test_only_where_the_engine_is_elsewhere_can_it_be_connected_to(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        assert RECONNECT.help in help_text(app)
        await pilot.press("C")
        assert engine.reconnected == 0
    engine.host = ""
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        assert RECONNECT.help not in help_text(app)
        assert " on " not in text_of(app, "header")
        await pilot.press("C")
        assert engine.reconnected == 0


async def test_figures_from_another_machine_are_written_here(
    make_app: MakeApp, engine: FakeEngine, tmp_path: Path
) -> None:
    file = tmp_path / "figures.csv"
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        for _ in range(2):  # and no file is replaced
            engine.holds = True
            _write(app.session, file)
            asked = next(c for c in reversed(engine.sent) if isinstance(c, WriteSeries))
            assert asked.is_sent
            number = len(engine.sent) - engine.sent[::-1].index(asked)  # the first has number 1
            engine.tell(SeriesWritten(path=asked.path, text="epoch,loss\n1,2.0\n", answers=number))
            await settled(pilot)
        engine.tell(SeriesWritten(path=str(tmp_path / "unasked"), text="x"))
        await settled(pilot)
        assert list(tmp_path.iterdir()) == [file]
        assert file.read_text() == "epoch,loss\n1,2.0\n"
        assert app.session.notice.kind == "refused"
