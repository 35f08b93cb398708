"""Back is the frame before, bit for bit, wherever one stands and however one got there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.shipped import MODES_OF_SAMPLE
from tests.training.conftest import keep_every_epoch, shipped
from tutor.protocol.frame import Frame, Position
from tutor.training.run import Run


def step_through(run: Run, epochs: int) -> list[Frame]:
    """All frames of the next `epochs` epochs, the present one first."""
    frames = [run.frame()]
    last = run.at.epoch + epochs
    while run.at.epoch < last or not run.at_end:
        frames.append(run.step_phase())
    return frames


@pytest.mark.parametrize(("slug", "mode"), MODES_OF_SAMPLE)
def test_every_phase_of_every_mode_can_be_gone_back(slug: str, mode: str) -> None:
    run = shipped(slug, mode)
    frames = step_through(run, 2 if run.program.batches == 1 else 1)
    assert [run.back() for _ in frames[1:]] == frames[-2::-1]
    assert run.back() == frames[0], "at the start, back stays"
    assert [run.step_phase() for _ in frames[1:]] == frames[1:]


@pytest.mark.parametrize(("slug", "mode"), MODES_OF_SAMPLE)
def test_a_far_epoch_is_the_same_when_come_upon_again(slug: str, mode: str) -> None:
    run = shipped(slug, mode)
    keep_every_epoch(run)
    seen = {}
    for epoch in range(1, 31):
        seen[epoch] = run.run_to(epoch)
    assert run.history.epochs, "there are keyframes to come back to"
    for epoch in (29, 3, 17, 18, 1, 30):
        assert run.seek(epoch) == seen[epoch]


def test_back_an_epoch_is_its_beginning_and_then_the_one_before() -> None:
    run = shipped("line-through-origin", "optimizer")
    two = run.run_to(2)
    run.run_to(3)
    run.step_phase()
    assert run.back_epoch().at == Position(3, 5)
    assert run.back_epoch() == two
    run.back_epoch()
    assert run.back_epoch().at == Position(0, 0)
    assert run.back_epoch().at == Position(0, 0)


def test_stepping_on_from_the_past_meets_the_changes_that_were_made_there() -> None:
    run = shipped("line-through-origin", "autograd")
    run.run_to(3)
    run.set(learning_rate=0.02)
    run.run_to(5)
    run.switch(mode="optimizer")
    frames = step_through(run, 2)
    run.seek(1)
    assert run.frame().learning_rate == 0.01
    assert run.run_to(5) == frames[0]
    assert step_through(run, 2) == frames


def test_a_change_in_the_past_cuts_off_what_came_after() -> None:
    run = shipped("line-through-origin", "autograd")
    run.run_to(20)
    run.switch(mode="manual")
    run.run_to(40)
    run.seek(10)
    run.set(learning_rate=0.02)
    assert run.furthest == 10
    assert run.run_to(40).mode == "autograd"
    assert len(run.recipe.changes) == 1


def test_a_change_at_the_end_of_an_epoch_that_has_a_keyframe_is_met_again() -> None:
    run = shipped("line-through-origin", "autograd")
    keep_every_epoch(run)
    run.run_to(20)
    run.seek(10)
    run.set(learning_rate=0.02)
    frames = [run.run_to(epoch) for epoch in range(11, 21)]
    assert [run.seek(epoch) for epoch in range(20, 10, -1)] == frames[::-1]
    assert run.seek(10).learning_rate == 0.02
    assert run.seek(9).learning_rate == 0.01


def test_a_run_can_be_built_again_from_its_record() -> None:
    run = shipped("xor", "manual")
    run.run_to(3)
    run.step_phase()
    run.step_phase()
    run.switch(mode="model")
    run.set(learning_rate=0.5)
    frame = run.step_phase()
    assert Run.from_recipe(run.programs, run.recipe, run.at).frame() == frame


def test_optimizer_state_and_random_numbers_come_back_too(start: Callable[..., Run]) -> None:
    run = start(
        Setup="x = torch.tensor([1.0, 2.0, 3.0])\n"
        "w = torch.nn.Parameter(torch.tensor(0.5))\n"
        "optimizer = torch.optim.Adam([w], lr=learning_rate)\n"
        "rng = np.random.default_rng(0)",
        Predict="y_pred = torch.nn.functional.dropout(w * x) + rng.normal() + np.random.rand()",
        Update="optimizer.step()",
        Reset="",
    )
    keep_every_epoch(run)
    seen = [run.run_to(e) for e in range(1, 21)]
    assert [run.seek(e) for e in (20, 7, 13, 2)] == [seen[e - 1] for e in (20, 7, 13, 2)]


def test_what_cannot_be_copied_is_run_again_from_the_start(start: Callable[..., Run]) -> None:
    run = start(
        Setup=PLAIN_SETUP + "\nnumbers = (0.1 * n for n in range(100))",
        Predict="y_pred = w * x + next(numbers)",
    )
    keep_every_epoch(run)
    seen = [run.run_to(e) for e in range(1, 11)]
    assert not run.history.epochs, "a generator allows no keyframe"
    assert run.seek(4) == seen[3]


def test_a_leaf_that_was_lost_is_lost_again(start: Callable[..., Run]) -> None:
    run = start(
        Update="w = w - learning_rate * w.grad",
        Gradient="w.retain_grad(); loss.backward()",
        Reset="",
    )
    keep_every_epoch(run)
    frames = step_through(run, 1)
    assert [run.back() for _ in frames[1:]] == frames[-2::-1]


def test_a_long_run_thins_its_keyframes_out_and_still_finds_every_epoch() -> None:
    run = shipped("thermometer", "manual")
    keep_every_epoch(run)
    run.history.budget = 60_000
    frames = {e: run.run_to(e) for e in (100, 250, 900)}
    assert run.history.size <= 60_000
    assert {e: run.seek(e) for e in frames} == frames


PLAIN_SETUP = "x = torch.tensor([1.0, 2.0, 3.0])\nw = torch.tensor(0.5, requires_grad=True)"
