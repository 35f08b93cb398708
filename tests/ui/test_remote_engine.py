"""The screen of an engine on another machine: its name, a lost connection, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.conftest import Learner, MakeApp, at_screen
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


async def lose(learner: Learner) -> None:
    learner.engine.lose()
    await learner.settle()


async def test_the_header_names_the_machine_and_leaves_room_beside_it(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    for host, shown in ((HOST, "far-machine"), (f"me@{'far-' * 20}machine", "far-")):
        engine.host = host
        app = make_app()
        async with at_screen(app) as learner:
            assert learner.sees(f"cpu on {shown}", "header")
            assert learner.sees("epoch", "header")
            for key in ("c", "m", "M"):  # comparison, menu, map
                await learner.press(key)
                assert learner.sees(f"on {shown}", "header")


async def test_a_lost_connection_leaves_the_screen_and_names_the_key(learner: Learner) -> None:
    engine, key = learner.engine, RECONNECT.keys[0]
    await learner.press("s", "space", key)
    assert engine.reconnected == 0, "it is not lost"
    assert not learner.sees(RECONNECT.label, "footer")
    await lose(learner)
    numbers = learner.text("numbers")
    assert learner.sees(HOST, "status")
    assert learner.sees(f"{RECONNECT.key_label} {RECONNECT.label}", "footer")
    for other in ("c", "!", "x"):  # no screen opens that needs it
        assert learner.sees(f"{RECONNECT.key_label} ", "status"), other
        await learner.press(other)
    engine.refuses_connection = "no route to it"
    await learner.press(key)
    assert learner.sees("no route to it", "status")
    engine.refuses_connection = ""
    await learner.press(key)
    assert engine.reconnected == 2
    assert not learner.sees(RECONNECT.label, "footer")
    assert learner.text("numbers") == numbers
    assert learner.sees("epoch 2", "status")
    assert isinstance(engine.sent[-1], Inspect), "the new process does not know what is seen"
    await learner.press("space")
    assert isinstance(engine.sent[-1], StepPhase)


async def test_a_lesson_that_is_refused_for_a_lost_connection_is_not_opened_otherwise(
    learner: Learner,
) -> None:
    await learner.press("s")
    await lose(learner)
    for key in ("n", "p"):
        before = sum(isinstance(c, OpenLesson) for c in learner.engine.sent)
        await learner.press(key)
        assert sum(isinstance(c, OpenLesson) for c in learner.engine.sent) <= before + 1
        assert learner.sees(HOST, "status")


async def test_only_where_the_engine_is_elsewhere_can_it_be_connected_to(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    for host in (HOST, ""):
        engine.host = host
        app = make_app()
        async with at_screen(app) as learner:
            assert (RECONNECT.help in help_text(app)) is bool(host)
            assert learner.sees(" on ", "header") is bool(host)
            await learner.press("C")
            assert engine.reconnected == 0


async def test_figures_from_another_machine_are_written_here(
    learner: Learner, tmp_path: Path
) -> None:
    file, engine = tmp_path / "figures.csv", learner.engine
    for _ in range(2):  # and no file is replaced
        engine.holds = True
        _write(learner.session, file)
        asked = next(c for c in reversed(engine.sent) if isinstance(c, WriteSeries))
        assert asked.is_sent
        number = len(engine.sent) - engine.sent[::-1].index(asked)  # the first has number 1
        await learner.hears(
            SeriesWritten(path=asked.path, text="epoch,loss\n1,2.0\n", answers=number)
        )
    await learner.hears(SeriesWritten(path=str(tmp_path / "unasked"), text="x"))
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "epoch,loss\n1,2.0\n"
    assert learner.session.notice.kind == "refused"
