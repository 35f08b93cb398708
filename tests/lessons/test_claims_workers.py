"""What the lessons on several workers say, on real ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests import shipped
from tests.lessons.runs import a_run, repair_run
from tutor.lesson.document import parse
from tutor.protocol.frame import Frame
from tutor.training.program import programs_of
from tutor.training.run import Run

X, Y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 5.0, 7.0, 7.0])
"""The four samples of `two-workers`."""

divided = pytest.mark.parametrize("mode", ["manual", "autograd", "optimizer"])


def gradient(w: float, x: np.ndarray[Any, Any] = X, y: np.ndarray[Any, Any] = Y) -> float:
    """Of the mean squared error of these samples, in float64."""
    return float((2 * x * (w * x - y)).mean())


def by_rank(frame: Frame, name: str, figures: str = "values") -> list[float]:
    """A single number of each rank: its value, or its gradient."""
    return [getattr(each, figures)[name].data[0] for each in (frame, *frame.ranks)]


def weights(run: Run, epochs: int) -> list[list[float]]:
    """`w` of each rank after each epoch."""
    return [by_rank(run.step_epoch(), "w") for _ in range(epochs)]


def to_phase(run: Run, phase: str) -> Frame:
    """Step until this phase has run."""
    frame = run.step_phase()
    while frame.phase != phase:
        frame = run.step_phase()
    return frame


# ── Two workers ─────────────────────────────────────────────────────────────────────


@divided
def test_the_mean_of_the_shards_gradients_makes_the_steps_of_one_process(mode: str) -> None:
    run, alone = a_run("two-workers", mode), 0.0
    for epoch in range(10):
        w = by_rank(run.frame(), "w")[0]
        if epoch < 4:  # later the gradient is no larger than its rounding
            own = by_rank(to_phase(run, "Gradient"), "w", "gradients_now")
            shards = [gradient(w, X[rank::2], Y[rank::2]) for rank in (0, 1)]
            assert own == pytest.approx(shards, rel=1e-5)
            assert own[0] != own[1]
            frame = to_phase(run, "Synchronize")
            assert by_rank(frame, "w", "gradients") == pytest.approx([gradient(w)] * 2, rel=1e-5)
        alone -= 0.05 * gradient(alone)
        assert by_rank(run.step_epoch(), "w") == pytest.approx([alone, alone], rel=1e-5)


@pytest.mark.parametrize("w", [-1.0, 0.0, 2.0, 3.5])
def test_the_loss_of_all_samples_and_the_minima_are_those_of_the_text(w: float) -> None:
    assert ((w * X - Y) ** 2).mean() == pytest.approx(7.5 * (w - 2) ** 2 + 1)
    assert gradient(2.2, X[::2], Y[::2]) == pytest.approx(0, abs=1e-9)
    assert gradient(1.9, X[1::2], Y[1::2]) == pytest.approx(0, abs=1e-9)


def test_an_undivided_sum_is_a_learning_rate_times_two() -> None:
    undivided = weights(a_run("two-workers", "undivided", rate=0.05), 8)
    divided = weights(a_run("two-workers", "autograd", rate=0.1), 8)
    assert np.ravel(undivided) == pytest.approx(np.ravel(divided), rel=1e-5)


def test_at_the_rate_0_1_the_undivided_sum_diverges_and_the_mean_does_not() -> None:
    undivided = weights(a_run("two-workers", "undivided", rate=0.1), 8)
    distances = [abs(w - 2) for w, _ in undivided]
    assert distances == pytest.approx([2.0 ** (n + 2) for n in range(8)], rel=1e-4)
    assert abs(weights(a_run("two-workers", "autograd", rate=0.1), 8)[-1][0] - 2) < 0.01


def test_weights_that_start_apart_stay_apart_while_all_see_one_gradient() -> None:
    run = a_run("two-workers", "seeds")
    assert by_rank(run.frame(), "w") == [4.0, 0.0]
    for _ in range(40):
        frame = run.step_epoch()
        first, second = by_rank(frame, "w")
        assert first - second == pytest.approx(4, abs=1e-4)
        one, other = by_rank(frame, "w", "gradients")
        assert one == other
    assert [first, second] == pytest.approx([14 / 3, 2 / 3], abs=1e-3)
    assert one == pytest.approx(0, abs=1e-4)
    assert abs(gradient(first, X[::2], Y[::2])) > 20


# ── DistributedDataParallel ─────────────────────────────────────────────────────────


def both_modes(run_of: Callable[[str], Run], epochs: int) -> list[list[list[float]]]:
    """By mode: `w1` and `w2` of each rank after each epoch."""
    found = []
    for mode in ("allreduce", "model"):
        run, seen = run_of(mode), []
        for _ in range(epochs):
            frame = run.step_epoch()
            seen.append(by_rank(frame, "w1") + by_rank(frame, "w2"))
        found.append(seen)
    return found


def test_with_two_workers_ddp_and_the_loop_by_hand_are_equal_to_the_bit() -> None:
    by_hand, ddp = both_modes(lambda mode: a_run("ddp", mode), 20)
    assert by_hand == ddp
    assert all(row[0] == row[1] and row[2] == row[3] for row in ddp)


def test_ddp_starts_with_the_parameters_of_rank_0() -> None:
    assert by_rank(a_run("ddp", "model").frame(), "w1") == [2.0, 2.0]


def log_of(run: Run, batches: int) -> list[list[str]]:
    """What the hooks have noted in each batch."""
    found = []
    for _ in range(batches):
        to_phase(run, "Gradient")
        found.append(run.loop.namespace["log"].copy())
    return found


def test_the_second_layers_gradient_is_sent_before_the_first_layers_is_computed() -> None:
    first, *others = log_of(a_run("ddp", "model"), 5)
    assert first == ["layer 1", first[1]], "one bucket for both"
    assert others == [["send w2", "layer 1", "send w1"]] * 4


def test_a_bucket_of_the_usual_size_is_sent_after_the_last_gradient() -> None:
    lesson = shipped.lesson("ddp")
    source = lesson.source.replace(", bucket_cap_mb=1e-6", "")
    assert source != lesson.source
    run = Run(programs_of(parse(source, lesson.path)), "model")
    assert log_of(run, 4)[1:] == [["layer 1", "send w2 and w1"]] * 3


def test_a_third_is_rounded_and_a_half_is_not() -> None:
    gradients = [np.float32(g) for g in (-11, -6, 5, 7)]
    for count, is_equal in ((2, True), (3, False), (4, True)):
        parts, n = gradients[:count], np.float32(count)
        assert (sum(parts) / n == sum(part / n for part in parts)) == is_equal
    assert sum(gradients[:3]) / np.float32(3) == -4
    assert sum(g / np.float32(3) for g in gradients[:3]) == np.float32(-4.0000005)


def test_without_set_epoch_each_worker_keeps_its_samples_in_their_order() -> None:
    run = repair_run("ddp/same-order")
    orders = []
    for _ in range(6):
        frame = run.step_epoch()
        orders.append(
            [each.watched["samples of this epoch"].data for each in (frame, *frame.ranks)]
        )
    assert orders == orders[:1] * 6
    assert sorted(n for order in orders[0] for n in order) == list(range(8))


def test_past_the_wrapper_the_weights_of_the_workers_part() -> None:
    run = repair_run("ddp/past-the-wrapper")
    for _ in range(10):
        frame = run.step_epoch()
        assert len(set(by_rank(frame, "w1"))) == 2
