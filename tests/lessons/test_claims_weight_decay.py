"""What the lesson on weight decay claims, computed with its own code."""

from __future__ import annotations

import pytest
import torch

from tests import shipped
from tests.lessons.runs import a_run
from tutor.lesson.document import parse
from tutor.protocol.frame import Element, Frame
from tutor.training.program import programs_of
from tutor.training.run import Run

WEIGHTS = ("w_sgd", "w_adam", "w_adamw")


def run_with_decay(decay: float) -> Run:
    lesson = shipped.lesson("weight-decay")
    source = lesson.source.replace("decay = 0.1\n", f"decay = {decay}\n")
    assert source.count(f"decay = {decay}\n") == 2
    return Run(programs_of(parse(source, lesson.path)), "manual")


def second_weights(frame: Frame) -> list[float]:
    return [frame.values[name].data[1] for name in WEIGHTS]


@pytest.mark.parametrize("mode", ["autograd", "optimizer"])
def test_the_modes_make_the_same_updates(mode: str) -> None:
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
