"""The timeline, as keys and text on a screen."""

from tutor.protocol.commands import Restart, Seek
from tutor.protocol.frame import EPOCH_END

from .conftest import Learner
from .fake_engine import FakeEngine


def seeks(engine: FakeEngine) -> list[tuple[int, int]]:
    return [(c.epoch, c.step) for c in engine.sent if isinstance(c, Seek)]


async def test_t_opens_a_line_of_time_and_the_arrows_go_along_it(learner: Learner) -> None:
    await learner.press("s", "s", "s", "t", "left", "left")
    assert seeks(learner.engine) == [(2, EPOCH_END), (1, EPOCH_END)]
    assert learner.sees("epoch 1 of 3", "timeline")
    await learner.press("end", "home", "right")
    assert seeks(learner.engine)[2:] == [(3, EPOCH_END), (0, EPOCH_END), (1, EPOCH_END)]
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
        assert seeks(learner.engine) == [(0, EPOCH_END)], key


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
    assert seeks(learner.engine) == [(4, EPOCH_END)]
    learner.engine.release()
    await learner.settle()
    assert seeks(learner.engine) == [(4, EPOCH_END), (1, EPOCH_END)]
