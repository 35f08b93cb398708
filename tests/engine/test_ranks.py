"""A lesson on several ranks in the engine: what befalls them is told, and none outlives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import Conversation
from tests.training.ranked import SHARDED, followers, ranked_lesson
from tests.waiting import wait_until
from tutor.engine import supervisor
from tutor.protocol.commands import BackPhase, OpenLesson, Restart, StepEpoch, StepPhase
from tutor.protocol.events import FrameShown, ProcessEnded
from tutor.protocol.frame import Position
from tutor.training.rank_group import RANKS


@pytest.fixture(autouse=True)
def _no_others() -> None:
    """End the ranks of lessons that tests of other files have run in this process."""
    RANKS.end()


def open_ranked(engine: Conversation, **phases: str) -> FrameShown:
    shown = engine.ask(OpenLesson(lesson=ranked_lesson(**phases)))
    assert isinstance(shown, FrameShown)
    return shown


@pytest.mark.skipif(not supervisor.IS_LINUX, reason="reads /proc")
def test_the_ranks_print_and_serve_a_restart(engine: Conversation) -> None:
    update = SHARDED["Update"] + "\ntorch.set_default_dtype(torch.float64)"
    open_ranked(engine, Predict="print('predicts', rank)\n" + SHARDED["Predict"], Update=update)
    assert len(engine.shown(StepPhase()).frame.ranks) == 1
    assert engine.printed_text().splitlines() == ["predicts 0", "[rank 1] predicts 1"]
    (pid,) = followers()
    engine.shown(StepEpoch())
    again = engine.shown(Restart())
    assert again.frame.at.epoch == 0
    assert [rank.values["w"].dtype for rank in again.frame.ranks] == ["float32"]
    assert followers() == {pid}, "to load PyTorch takes seconds"


@pytest.mark.skipif(not supervisor.IS_LINUX, reason="reads /proc")
def test_ranks_that_wait_for_each_other_can_be_stopped_and_end_with_their_lesson(
    engine: Conversation, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    update = f"if w.item() > 0.6 and rank == 1:\n    open({str(there)!r}, 'w').close()\n"
    update += "    import time; time.sleep(600)\ndist.barrier()\n" + SHARDED["Update"]
    open_ranked(engine, Update=update)
    engine.shown(StepEpoch())
    number = engine.client.send(StepEpoch())
    wait_until(there.exists, "the pause of rank 1")
    engine.client.stop()
    answer = engine.answer_to(number)
    if isinstance(answer, ProcessEnded):  # it took longer than the learner is to wait
        answer = engine.wait_for(FrameShown)
    assert isinstance(answer, FrameShown)
    assert answer.frame.at < Position(2, 5), "before the Update that waits"
    assert len(engine.shown(BackPhase()).frame.ranks) == 1
    assert followers()
    engine.open()
    wait_until(lambda: not followers(), "the end of ranks that the next lesson has not got")
