"""A run goes forward phase by phase, epoch by epoch and in long strides, and gives one frame."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.training.conftest import shipped
from tutor.analysis.variable_info import info_of
from tutor.errors import Refused
from tutor.protocol.frame import NO_VALUE, NONE, Position
from tutor.training.run import Run


def test_a_run_begins_after_setup_with_nothing_computed() -> None:
    frame = shipped("line-through-origin", "autograd").frame()
    assert (frame.at, frame.phase, frame.next_phase) == (Position(0, 0), "Setup", "Predict")
    assert frame.loss == NONE
    assert frame.gradients["w"] == NONE
    assert frame.values["w"].data == (0.0,)


def test_phases_come_in_the_order_of_the_file_and_then_from_the_start() -> None:
    run = shipped("line-through-origin", "autograd")
    names = [run.step_phase().phase for _ in range(6)]
    assert names == ["Predict", "Loss", "Gradient", "Update", "Reset", "Predict"]
    assert run.at == Position(2, 1)


def test_a_loss_comes_from_loss_or_from_a_report_that_computes_one() -> None:
    run = shipped("mini-batches")
    found = [(frame.phase, frame.loss_phase) for frame in (run.step_phase() for _ in range(23))]
    assert found[1:20] == [(phase, "Loss") for phase, _ in found[1:20]]
    assert found[20:] == [("Report", "Report"), ("Predict", "Report"), ("Loss", "Loss")]
    keeps_it = shipped("backward-twice")
    assert {keeps_it.step_phase().loss_phase for _ in range(5)} == {"Loss"}


def test_each_phase_changes_what_it_is_there_for() -> None:
    run = shipped("line-through-origin", "autograd")
    _, loss, gradient, update, reset = [run.step_phase() for _ in range(5)]
    assert loss.loss.data == (30.0,)
    assert loss.gradients["w"] == NONE
    assert gradient.gradients["w"].data == (-30.0,)
    assert update.values["w"].data == pytest.approx((0.3,))
    assert reset.gradients_now["w"].data == (0.0,)
    assert reset.gradients["w"].data == (-30.0,), "what the update used stays to be seen"


def test_an_epoch_is_all_its_phases_and_from_the_middle_the_rest_of_them() -> None:
    whole, half = shipped("xor", "autograd"), shipped("xor", "autograd")
    whole.step_epoch()
    half.step_phase()
    assert half.step_epoch() == whole.frame()


def test_a_long_stride_ends_in_the_same_frame_as_many_small_steps() -> None:
    strides, steps = shipped("thermometer", "autograd"), shipped("thermometer", "autograd")
    strides.run(40)
    while steps.at.epoch < 40 or not steps.at_end:
        steps.step_phase()
    assert strides.frame() == steps.frame()
    assert strides.history.losses.curve(40, 1) == steps.history.losses.curve(40, 1)


def test_the_warm_up_is_epoch_0_and_can_be_stepped() -> None:
    run = shipped("xor", "autograd")
    frame = run.step_phase()
    assert (frame.at, frame.batch, frame.batches) == (Position(0, 1), 0, 1)
    assert run.step_epoch().at.epoch == 0
    frame = run.step_epoch()
    assert (frame.at.epoch, frame.batches) == (1, 4)


def test_a_batch_is_counted_and_the_report_belongs_to_the_last() -> None:
    run = shipped("xor", "manual")
    run.step_epoch()
    batches = []
    while not batches or not run.at_end:
        batches.append(run.step_phase().batch)
    assert sorted(set(batches)) == [0, 1, 2, 3]
    assert run.frame().phase == "Report"


def test_a_run_can_be_broken_off_between_two_epochs() -> None:
    run = shipped("thermometer", "manual")
    run.run_to(10_000, until=lambda: run.last_epoch >= 50)
    assert 50 <= run.at.epoch < 60
    assert run.at_end


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(
    start: Callable[..., Run],
) -> None:
    noisy = {"Setup": "x = torch.rand(3)\nw = torch.randn((), requires_grad=True)"}
    first, again, other = start(**noisy).run(5), start(**noisy).run(5), start(**noisy)
    assert first == again
    other.restart(seed=1)
    assert other.run(5).values != first.values


def test_a_watched_expression_that_draws_random_numbers_changes_nothing(
    start: Callable[..., Run],
) -> None:
    front = "---\ntitle: T\nsummary: T.\nparameters: [w]\nwatch:\n  r: torch.rand(())\n---\n"
    noise = {"Predict": "y_pred = w * x + torch.rand(3)"}
    watched = start(front, **noise).run(5)
    unwatched = start(front.replace("rand(())", "zeros(())"), **noise).run(5)
    assert watched.loss == unwatched.loss


def test_what_diverges_is_shown_as_the_infinite_it_is() -> None:
    run = shipped("line-through-origin", "autograd", learning_rate=10.0)
    frame = run.run(60)
    assert frame.diverged
    assert not frame.values["w"].is_finite


def test_a_loss_of_more_than_one_number_is_shown_but_not_plotted(
    start: Callable[..., Run],
) -> None:
    run = start(Loss="loss = (y_pred - 2 * x) ** 2", Gradient="loss.sum().backward()")
    assert run.step_epoch().loss.shape == (3,)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_learning_rate_that_is_none_is_refused_and_nothing_changes(rate: float) -> None:
    run = shipped("one-weight", "autograd")
    with pytest.raises(Refused, match="bad_rate"):
        run.set(learning_rate=rate)
    assert run.learning_rate == run.program.learning_rate


def test_an_equation_stays_as_it_was_computed_when_its_numbers_move_on() -> None:
    run = shipped("one-weight", "autograd")
    predict = run.step_phase().boxed["Predict"]
    update = [run.step_phase() for _ in range(3)][-1]
    assert update.phase == "Update"
    assert update.values["w"].data != predict["w"].data
    assert update.boxed["Predict"] == predict
    run.step_phase()
    assert run.step_phase().boxed["Predict"]["w"].data == update.values["w"].data


def test_an_equation_still_to_come_shows_what_is_known_and_leaves_the_rest_open() -> None:
    run = shipped("one-weight", "autograd")
    run.step_epoch()
    assert "text" not in {v.dtype for v in run.frame().boxed["Predict"].values()}
    predict = run.step_phase()
    assert predict.boxed["Loss"]["y_pred"].data == predict.boxed["Predict"]["y_pred"].data
    assert predict.boxed["Loss"]["loss"] == NO_VALUE, "that of the epoch before is no answer"
    assert all(v == NO_VALUE for e, v in predict.boxed["Gradient"].items() if "gradient" in e)
    run.step_phase()
    gradient = run.step_phase()
    assert gradient.boxed["Update"]['gradient["w"]'].data == gradient.gradients["w"].data


def test_views_that_an_update_in_place_has_spoiled_stop_nobody(
    start: Callable[..., Run],
) -> None:
    run = start(
        Setup="x = torch.tensor([1.0, 2.0])\nw = torch.tensor([0.5, 0.2], requires_grad=True)",
        Predict="y_pred = 0\nfor w_k in w:\n    y_pred = y_pred + w_k * x",
    )
    for _ in range(11):
        frame = run.step_phase()
        assert info_of(run.loop, "w_k").name == "w_k"
        run.standpoint()
    assert run.seek(1, 4) == run.seek(1, 4)
    run.seek(40)
    assert run.seek(frame.at.epoch, frame.at.step) == frame
