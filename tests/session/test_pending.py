"""Keys that are held down on a slow line."""

import pytest

from tests.session.driven import Driven
from tests.ui.fake_engine import FakeEngine
from tests.ui.lessons import lesson
from tutor.protocol.commands import (
    BackPhase,
    Command,
    Inspect,
    Pause,
    Restart,
    RunTo,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.session.pending import UnansweredCommands

S, E = StepPhase(), StepEpoch()


@pytest.mark.parametrize(
    ("command", "unanswered", "is_one_too_many"),
    [
        (S, [], False),
        (S, [S], False),
        (S, [S, S], True),
        (S, [S, Inspect(graph=True), S, Inspect()], True),
        (E, [S, S], False),
        (S, [S, S, E], False),
        (BackPhase(), [Pause(), BackPhase(), Pause(), BackPhase(), Pause()], True),
        (Switch(mode="model"), [Switch(mode="manual"), Switch(mode="optimizer")], True),
        (Switch(device="cuda"), [Switch(mode="manual"), Switch(mode="optimizer")], False),
        (SetLearningRate(value=3.0), [RunTo(epoch=9)] + [SetLearningRate(value=1.0)] * 2, True),
        (Pause(), [Pause(), Pause()], False),
        (Inspect(), [Inspect(), Inspect()], False),
        (Restart(), [Restart(), Restart()], True),
    ],
)
def test_one_command_of_a_kind_is_under_way_and_one_waits(
    command: Command, unanswered: list[Command], is_one_too_many: bool
) -> None:
    waiting = UnansweredCommands(enumerate(unanswered))
    assert waiting.is_key_repeated_enough(command) is is_one_too_many


@pytest.mark.parametrize("key", ["step_phase", "step_epoch", "raise_learning_rate", "next_mode"])
def test_a_key_that_is_held_down_acts_once_more_after_it_is_let_go(key: str) -> None:
    engine = FakeEngine()
    engine.host = "far-machine"
    session = Driven(engine, lesson())
    engine.holds, before = True, len(engine.sent)
    for _ in range(40):
        getattr(session, key)()
    sent = [c for c in engine.sent[before:] if not isinstance(c, Inspect | Pause)]
    assert len(sent) == 2
    assert session.notice.kind == "info"
    engine.release()
    getattr(session, key)()
    assert len(engine.sent) > before + 2, "it acts again once it is answered"
