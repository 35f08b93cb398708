"""The losses of a run of any length: exact where it is short, bounded where it is long."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from tests.training.host_reads import HostReads
from tutor.protocol.frame import Curve
from tutor.training import loss_and_trail
from tutor.training.loss_and_trail import EpochNumbers, Trail


def column(count: int, max_exact: int = loss_and_trail.MAX_EXACT) -> EpochNumbers:
    """Losses that fall and swing."""
    found = EpochNumbers(max_exact)
    for i in range(count):
        found.append(loss_of(i + 1))
    return found


def loss_of(epoch: int) -> float:
    return 1000.0 / epoch + math.sin(epoch)


def envelope(curve: Curve) -> tuple[float, float]:
    return min(curve.low), max(curve.high)


def check_columns(curve: Curve, count: int) -> None:
    """Each column's least and greatest are those of its epochs."""
    ends = [*curve.epochs[1:], count + 1]
    for start, end, low, high in zip(curve.epochs, ends, curve.low, curve.high, strict=True):
        exact = [loss_of(e) for e in range(start, end)]
        assert (low, high) == (min(exact), max(exact))


@pytest.mark.parametrize("count", [1, 7, 100, 5000, 50_000])
def test_a_curve_is_the_least_and_greatest_of_every_column(count: int) -> None:
    curve = column(count).curve(20, 3)
    assert (curve.last_epoch, curve.here, curve.epochs[0]) == (count, 3, 1)
    assert len(curve.epochs) == min(count, 20)
    check_columns(curve, count)


def test_a_column_that_has_let_go_of_single_losses_still_has_its_curve() -> None:
    long = column(20_000, 1024)
    assert len(long) == 20_000
    assert len(long.numbers()) <= 1024
    check_columns(long.curve(20, 1), 20_000)
    assert long.last == loss_of(20_000)


def test_blocks_grow_so_that_no_length_takes_more_than_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loss_and_trail, "MAX_BLOCKS", 16)
    long = column(60_000, 8192)
    kept = long._low, long._high, long._exact
    assert sum(sys.getsizeof(a) for a in kept) < 90_000
    check_columns(long.curve(5, 1), 60_000)


@pytest.mark.parametrize("at", [0, 1, 300, 5000, 19_500, 20_000])
def test_what_is_cut_goes_on_from_there(at: int) -> None:
    long = column(20_000, 1024)
    long.cut(at)
    assert len(long) == at
    for epoch in range(at + 1, 21_001):
        long.append(loss_of(epoch))
    curve = long.curve(20, 1)
    exact = [loss_of(e) for e in range(1, 21_001)]
    assert curve.last_epoch == 21_000
    assert all(
        low in exact and high in exact for low, high in zip(curve.low, curve.high, strict=True)
    )
    if at in (0, 20_000):
        check_columns(curve, 21_000)


def test_cutting_a_copy_leaves_the_other_whole() -> None:
    first = column(3000)
    second = first.copy()
    second.cut(10)
    assert (len(first), len(second)) == (3000, 10)
    assert first.curve(10, 1) == column(3000).curve(10, 1)


def test_the_first_loss_that_is_no_number_is_found_and_forgotten_with_its_epoch() -> None:
    found = column(500, 512)
    assert found.first_not_finite() is None
    found.append(math.inf)
    for _ in range(3000):
        found.append(1.0)
    assert found.first_not_finite() == 501
    found.append(np.float32("nan"))
    found.cut(400)
    assert found.first_not_finite() is None


def test_losses_on_a_gpu_are_read_in_bundles() -> None:
    column, loss = EpochNumbers(), torch.tensor(0.0)
    with HostReads() as reads:
        for n in range(600):
            column.append(loss.fill_(n), on_cpu=False)  # a loss may be changed in place
    assert len(column) == 600
    assert reads.count("cpu") == 2, "two full bundles; the rest waits"
    assert list(column.numbers()) == [float(n) for n in range(600)]


def test_losses_of_several_types_come_in_their_order() -> None:
    column = EpochNumbers()
    for loss in (torch.tensor(1.5), torch.tensor([2.5], dtype=torch.float16), torch.tensor(3j)):
        column.append(loss, on_cpu=False)
    column.append(4.0)
    assert str(column.numbers().tolist()) == "[1.5, 2.5, nan, 4.0]"


def test_the_trail_on_a_gpu_is_read_once_it_is_looked_at() -> None:
    trail, w = Trail(), torch.zeros(2, requires_grad=True)
    with HostReads() as reads:
        for epoch in range(30):
            trail.add(epoch, {"w": w}, on_cpu=False)
            with torch.no_grad():
                w += 1.0
        assert reads == []
        assert trail.up_to(9) == tuple((float(n), float(n)) for n in range(10))
        assert reads.count("cpu") == 1
    trail.add(30, {"w": w})
    trail.cut(30)
    assert trail.up_to(99)[-2:] == ((29.0, 29.0), (30.0, 30.0))
