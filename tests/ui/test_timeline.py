"""The timeline and the list of runs, as keys and text on a screen."""

from tutor.protocol.commands import DeleteRun, Fork, RenameRun, Restart, Seek, SelectRun
from tutor.ui.screens.lists import RunsPane, RunsScreen

from .conftest import Learner
from .fake_engine import FakeEngine


def seeks(engine: FakeEngine) -> list[tuple[int, int | None]]:
    return [(c.epoch, c.step) for c in engine.sent if isinstance(c, Seek)]


async def test_t_opens_a_line_of_time_and_the_arrows_go_along_it(learner: Learner) -> None:
    await learner.press("s", "s", "s", "t", "left", "left")
    assert seeks(learner.engine) == [(2, None), (1, None)]
    assert learner.sees("epoch 1 of 3", "timeline")
    await learner.press("end", "home", "right")
    assert seeks(learner.engine)[2:] == [(3, None), (0, None), (1, None)]
    await learner.press("enter", "j", *"2 loss", "enter")
    assert seeks(learner.engine)[-1] == (2, 2), "j jumps into a phase"
    await learner.press("S")
    assert learner.engine.sent[-1] == Restart(new_seed=True)


async def test_at_the_only_epoch_every_key_names_it(learner: Learner) -> None:
    """An epoch that is no number would end the engine's process."""
    await learner.press("t")
    for key in ("left", "right", "home", "end", "pageup", "pagedown"):
        learner.engine.sent.clear()
        await learner.press(key)
        assert seeks(learner.engine) == [(0, None)], key


async def test_escape_goes_back_to_where_it_began_and_enter_stays(learner: Learner) -> None:
    """Arrows up and down go from phase to phase, but not beyond the run."""
    engine = learner.engine
    await learner.press("s", "s", "t", "down")
    assert "StepPhase" not in engine.kinds()
    await learner.press("up", "up", "down")
    assert engine.kinds()[-3:] == ["BackPhase", "BackPhase", "StepPhase"]
    await learner.press("left", "escape")
    assert seeks(engine)[-1] == (2, 5)
    assert not learner.shows("timeline")
    await learner.press("t", "home", "enter")
    assert engine.at.epoch == 0
    assert not learner.shows("timeline")
    assert engine.stopped == 0


async def test_wishes_that_come_faster_than_the_run_can_be_played_are_dropped_but_the_last(
    learner: Learner,
) -> None:
    await learner.press("s", "s", "s", "s", "s", "t")
    learner.engine.holds = True
    await learner.press("left", "left", "left", "left")
    assert seeks(learner.engine) == [(4, None)]
    learner.engine.release()
    await learner.settle()
    assert seeks(learner.engine) == [(4, None), (1, None)]


async def test_f_keeps_a_run_and_capital_f_lists_renames_compares_and_deletes(
    learner: Learner,
) -> None:
    await learner.press("s", "f")
    assert any(isinstance(c, Fork) for c in learner.engine.sent)
    assert learner.session.inspected.then == "B", "it is compared with at once"
    await learner.press("F")
    assert isinstance(learner.app.screen, RunsScreen)
    pane = learner.app.screen.query_one(RunsPane)
    assert [run.name for run in pane.runs] == ["A", "B"]
    assert pane.lines[1].plain.startswith("▶ A")
    assert pane.lines[1].plain.rstrip().endswith("this run")
    await learner.press("down", "n", *"slow", "enter")
    assert RenameRun(name="B", new="slow") in learner.engine.sent, "typing replaces the name"
    assert pane.lines[2].plain.startswith("▶ B slow")
    await learner.press("d")
    assert DeleteRun(name="slow") not in learner.engine.sent, "it asks once more"
    await learner.press("d")
    assert DeleteRun(name="slow") in learner.engine.sent
    assert [run.name for run in pane.runs] == ["A"]
    await learner.press("escape")
    assert not isinstance(learner.app.screen, RunsScreen)


async def test_enter_in_the_list_goes_on_with_another_run(learner: Learner) -> None:
    await learner.press("s", "f", "F", "down", "enter")
    assert SelectRun(name="B") in learner.engine.sent
    assert not isinstance(learner.app.screen, RunsScreen)


async def test_an_event_that_comes_while_the_app_ends_does_not_look_for_the_list_of_runs(
    learner: Learner,
) -> None:
    await learner.press("s", "F")
    screen = learner.app.screen
    assert isinstance(screen, RunsScreen)
    await screen.query("*").remove()
    screen.update_from_session()
