"""What the lessons on training in practice claim, computed with their own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import shipped
from tests.lessons.runs import a_run, losses, repair_run
from tutor.lesson.document import parse
from tutor.protocol.frame import Element, Frame
from tutor.training.program import programs_of
from tutor.training.run import Run

# ── Accumulated and clipped gradients ─────────────────────────────────────────────


def both_weights(run: Run) -> np.ndarray:
    return np.array(run.frame().values["w"].data)


@pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer"])
def test_four_micro_batches_make_the_gradient_and_the_step_of_all_ten(mode: str) -> None:
    run = a_run("accumulate-and-clip", mode)
    for _ in range(25):
        (all_ten,) = run.evaluate(["2 * x.T @ (x @ w - y) / 10"])
        full, before = np.array(all_ten.data), both_weights(run)
        frame = run.step_epoch()
        assert frame.gradients["w"].data == pytest.approx(tuple(full), abs=1e-5)
        step = -0.25 * full / max(1, np.linalg.norm(full))
        assert both_weights(run) - before == pytest.approx(step, abs=1e-5)


def test_the_smallest_loss_is_a_fifth_at_three_and_four() -> None:
    run = a_run("accumulate-and-clip", "autograd")
    run.run_to(40)
    assert both_weights(run) == pytest.approx((3, 4), abs=1e-4)
    assert run.frame().loss.data[0] == pytest.approx(0.2, abs=1e-6)


def test_steps_are_as_long_as_the_rate_until_the_gradient_is_shorter_than_one() -> None:
    run, place, lengths = a_run("accumulate-and-clip", "optimizer"), np.zeros(2), []
    for _ in range(20):
        run.step_epoch()
        lengths.append(np.linalg.norm(both_weights(run) - place))
        place = both_weights(run)
    assert lengths[:18] == pytest.approx([0.25] * 18, abs=1e-4)
    assert lengths[19] == pytest.approx(0.125, abs=1e-4)


@pytest.mark.parametrize("rate", [1.5, 3])
def test_a_rate_above_one_neither_diverges_nor_comes_to_rest(rate: float) -> None:
    found = losses(a_run("accumulate-and-clip", "optimizer", rate=rate), 120)
    assert found[-50:].min() > 0.4
    assert found[10:].max() < 0.2 + rate**2


def test_a_reset_in_each_micro_batch_keeps_the_weights_equal_and_the_loss_above_0_7() -> None:
    run = repair_run("accumulate-and-clip/each-for-itself", 40)
    assert run.history.losses.numbers().min() == pytest.approx(0.7, abs=0.01)
    assert np.ptp(both_weights(run)) < 1e-5


def test_a_sum_that_is_clipped_four_times_points_elsewhere() -> None:
    step = both_weights(repair_run("accumulate-and-clip/clipped-too-often", 1))
    assert step / 0.25 == pytest.approx((0.53, 0.85), abs=0.005)


# ── Schedules ─────────────────────────────────────────────────────────────────────


def weights_by_epoch(run: Run, epochs: int) -> np.ndarray:
    """`w_flat`, `w_early` and `w_late` after each epoch."""
    return np.array([_weights(run.step_epoch()) for _ in range(epochs)])


def _weights(frame: Frame) -> list[float]:
    return [frame.values[name].data[0] for name in ("w_flat", "w_early", "w_late")]


def test_the_late_schedule_ends_nearest_and_the_flat_one_still_jumps() -> None:
    seen = weights_by_epoch(a_run("schedules", "manual"), 12)
    assert seen[0] == pytest.approx([60, 60, 43], abs=0.6)
    assert np.abs(seen[-1] - 100) == pytest.approx([6, 18, 0.5], abs=0.5)
    assert np.abs(np.diff(seen[-4:, 0], axis=0)).max() > 3
    assert np.abs(np.diff(seen[-4:, 1:], axis=0)).max() < 0.1


@pytest.mark.parametrize("mode", ["autograd", "optimizer"])
def test_the_modes_follow_the_same_schedule(mode: str) -> None:
    by_hand, other = a_run("schedules", "manual"), a_run("schedules", mode)
    assert weights_by_epoch(other, 12) == pytest.approx(weights_by_epoch(by_hand, 12), abs=1e-3)


def test_the_early_schedule_stops_at_82_however_long_it_runs() -> None:
    assert weights_by_epoch(a_run("schedules", "manual"), 60)[11:, 1] == pytest.approx(82, abs=0.05)


@pytest.mark.parametrize(
    ("rate", "is_reached"), [(0.2, False), (0.25, True), (0.3, True), (0.4, True)]
)
def test_which_rates_bring_the_early_schedule_near_enough(rate: float, is_reached: bool) -> None:
    run = a_run("schedules", "manual", rate=rate)
    run.run_to(12)
    assert (run.frame().watched["full losses"].data[1] < 2005) is is_reached


def test_without_warm_up_adams_first_step_takes_a_good_weight_as_far_as_the_rate() -> None:
    run = a_run("schedules", "adam", rate=2, w_flat=100, w_early=100, w_late=100)
    while run.step_phase().phase != "Update":
        pass
    assert _weights(run.frame()) == pytest.approx([98, 98, 99.5], abs=1e-4)


def test_pytorch_warns_of_the_wrong_order_and_the_first_rate_is_never_used() -> None:
    words = r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"
    run = repair_run("schedules/two-steps")
    for _ in range(3):
        run.step_phase()
    with pytest.warns(UserWarning, match=words):
        frame = run.step_phase()
    assert frame.phase == "Update"
    assert frame.values["w_late"].data == pytest.approx((0.05 * 80,))


# ── Validation ────────────────────────────────────────────────────────────────────


def measured(run: Run, epochs: int) -> np.ndarray:
    """Both weights, the training loss and the validation loss after each epoch."""
    found = []
    for _ in range(epochs):
        frame = run.step_epoch()
        losses = (frame.watched[f"{name} loss"].data[0] for name in ("training", "validation"))
        found.append([*frame.values["w"].data, *losses])
    return np.array(found)


@pytest.mark.parametrize("mode", shipped.lesson("validation").modes)
def test_the_training_loss_falls_in_each_epoch_and_the_validation_loss_turns(mode: str) -> None:
    run = a_run("validation", mode)
    _, _, training, validation = measured(run, 60).T
    assert (np.diff(training) < 0).all()
    assert training[-1] < 0.01
    assert 1 + validation.argmin() == run.frame().watched["best epoch"].data[0] == 7
    assert (np.diff(validation)[:6] < 0).all()
    assert (np.diff(validation)[6:] > 0).all()
    assert validation[6] == pytest.approx(1.54, abs=0.005)
    assert validation[-1] == pytest.approx(4.6, abs=0.05)
    assert run.evaluate(["float((y_val**2).mean())"])[0].data == (5.0,)


def test_the_first_weight_keeps_80_percent_and_the_second_95() -> None:
    first, second, *_ = measured(a_run("validation", "manual"), 20).T
    epochs = np.arange(1, 21)
    assert first == pytest.approx(2 - 2 * 0.8**epochs, rel=1e-4)
    assert second == pytest.approx(2 - 2 * 0.95**epochs, rel=1e-4)
    assert [first[i] for i in (1, 2, 18, 19)] == pytest.approx(
        [0.72, 0.976, 1.971, 1.977], abs=1e-3
    )
    assert [second[i] for i in (1, 2, 18, 19)] == pytest.approx(
        [0.195, 0.285, 1.245, 1.283], abs=1e-3
    )


def test_for_new_houses_the_best_weights_are_2_and_0_and_for_the_training_set_2_and_2() -> None:
    run = a_run("validation", "manual")
    x, y, x_val, y_val = (np.array(v.data) for v in run.evaluate(["x", "y", "x_val", "y_val"]))
    for inputs, prices, best in ((x, y, [2, 2]), (x_val, y_val, [2, 0])):
        assert np.linalg.lstsq(inputs.reshape(4, 2), prices, rcond=None)[0] == pytest.approx(best)


@pytest.mark.parametrize(("rate", "is_early"), [(0.005, False), (0.02, True), (0.05, True)])
def test_a_larger_rate_has_its_best_epoch_earlier(rate: float, is_early: bool) -> None:
    run = a_run("validation", "manual", rate=rate)
    run.run_to(60)
    assert (run.frame().watched["best epoch"].data[0] <= 20) is is_early


# ── Weight decay ──────────────────────────────────────────────────────────────────


WEIGHTS = ("w_sgd", "w_adam", "w_adamw")


def run_with_decay(decay: float) -> Run:
    lesson = shipped.lesson("weight-decay")
    source = lesson.source.replace("decay = 0.1\n", f"decay = {decay}\n")
    assert source.count(f"decay = {decay}\n") == 2
    return Run(programs_of(parse(source, lesson.path)), "manual")


def second_weights(frame: Frame) -> list[float]:
    return [frame.values[name].data[1] for name in WEIGHTS]


@pytest.mark.parametrize("mode", ["autograd", "optimizer"])
def test_the_modes_decay_alike(mode: str) -> None:
    by_hand, other = a_run("weight-decay", "manual"), a_run("weight-decay", mode)
    for _ in range(40):
        one, there = by_hand.step_epoch(), other.step_epoch()
        for name in WEIGHTS:
            assert there.values[name].data == pytest.approx(one.values[name].data, abs=1e-5)


def test_sgd_and_adamw_shrink_the_unused_weight_alike_and_adam_overshoots_0() -> None:
    run = a_run("weight-decay", "manual")
    for epoch in range(1, 41):
        sgd, _, adamw = second_weights(run.step_epoch())
        assert sgd == pytest.approx(2 * 0.99**epoch, rel=1e-5)
        assert adamw == pytest.approx(sgd, rel=1e-5)
    assert second_weights(run.frame())[1] == pytest.approx(-0.23, abs=0.005)


def test_adam_shrinks_the_unused_weight_alike_for_a_small_decay_and_a_large_one() -> None:
    small, large = run_with_decay(0.001), run_with_decay(10.0)
    for _ in range(40):
        one, other = second_weights(small.step_epoch()), second_weights(large.step_epoch())
        assert one[1] == pytest.approx(other[1], abs=1e-3)
        assert one[0] > 100 * abs(other[0])
        assert one[2] > 100 * abs(other[2])


@pytest.mark.parametrize(("start", "falls"), [(2.93, False), (2.95, True), (2.99, True)])
def test_the_penalty_of_adams_first_step_counts_only_by_its_sign(start: float, falls: bool) -> None:
    run = a_run("weight-decay", "manual")
    run.set(element=Element("w_adam", (0,), start))
    after = run.step_epoch().values["w_adam"].data[0]
    assert after == pytest.approx(start - 0.1 if falls else start + 0.1, abs=1e-5)


def test_sgds_weight_decay_is_half_the_factor_of_a_squared_penalty() -> None:
    weights = []
    for decay, penalty in ((0.2, 0.0), (0.0, 0.1)):
        w = torch.tensor([1.0, -2.0], requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=decay)
        ((w - 3) ** 2).sum().add(penalty * (w**2).sum()).backward()
        optimizer.step()
        weights.append(w.tolist())
    assert weights[0] == pytest.approx(weights[1])


def test_adamw_does_not_decay_a_parameter_without_a_gradient() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.1)
    optimizer.step()
    assert w.item() == 2
    w.grad = torch.tensor(0.0)
    optimizer.step()
    assert w.item() == pytest.approx(1.98)


# ── Bigrams ───────────────────────────────────────────────────────────────────────


each_mode = pytest.mark.parametrize("mode", shipped.lesson("bigram").modes)


@each_mode
def test_training_ends_at_the_loss_and_the_shares_by_counting_and_never_below(mode: str) -> None:
    run = a_run("bigram", mode)
    run.run_to(100)
    text = "lalalaalaoolooalalall"
    pairs = [text[i : i + 2] for i in range(len(text) - 1)]
    counted = -np.mean([np.log(pairs.count(p) / text[:-1].count(p[0])) for p in pairs])
    assert run.frame().watched["loss by counting"].data[0] == pytest.approx(counted)
    losses = run.history.losses.numbers()
    assert losses[59] == pytest.approx(counted, abs=1e-5)
    assert losses.min() > counted - 1e-6
    w = torch.tensor(run.frame().values["w"].data).reshape(3, 3)
    shares = torch.tensor([[1, 6, 1], [6, 1, 1], [1, 1, 2]]) / torch.tensor([[8], [8], [4]])
    assert torch.allclose(torch.softmax(w, 1), shares, atol=1e-3)


def test_the_resumed_run_has_the_very_numbers_of_the_one_without_a_break() -> None:
    whole, resumed = a_run("bigram", "optimizer"), a_run("bigram", "model")
    for epoch in range(1, 21):
        one, other = whole.step_epoch(), resumed.step_epoch()
        assert one.values["w"].data == other.values["w"].data
        assert other.watched["resumed"].data == (float(epoch >= 5),)
    assert resumed.seek(3).watched["resumed"].data == (0.0,)


def test_without_the_velocity_the_losses_differ_from_epoch_7_on() -> None:
    whole, broken = a_run("bigram", "optimizer"), repair_run("bigram/resume")
    same = [
        whole.step_epoch().loss.data[0] == pytest.approx(broken.step_epoch().loss.data[0])
        for _ in range(12)
    ]
    assert same == [True] * 6 + [False] * 6


def test_the_logit_of_a_pair_that_never_occurs_falls_without_end() -> None:
    w, shares, seen = np.zeros(3), np.array([0.5, 0.5, 0]), []
    for epoch in range(1, 10_001):
        p = np.exp(w) / np.exp(w).sum()
        w -= p - shares  # the gradient of cross-entropy by the logits
        if epoch in (10, 100, 1000, 10_000):
            seen.append(w[2])
    assert all(np.diff(seen) < -1)
    assert p[2] > 0


def test_a_one_hot_row_times_the_matrix_is_a_row_of_it() -> None:
    model, x = torch.nn.Embedding(3, 3), torch.tensor([2, 0, 1])
    assert torch.equal(torch.nn.functional.one_hot(x, 3).float() @ model.weight, model(x))
