"""A long run reads nothing from its device in an epoch: a GPU would stand still meanwhile."""

from __future__ import annotations

import math

import pytest

from tests import shipped
from tests.training.host_reads import HostReads
from tutor.training import devices
from tutor.training.run import Run


@pytest.fixture(autouse=True)
def _second_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU under another name, which the tutor takes for a GPU."""
    monkeypatch.setattr(devices, "available", lambda: ("cpu", "cpu:0"))


def reads(run: Run, epochs: int) -> list[str]:
    """What training so many epochs more reads, with the frame at their end."""
    with HostReads() as found:
        run.run(epochs)
    return found


SLUGS = ("thermometer", "line-through-origin", "mini-batches", "adam", "xor")
"""Lessons of one, two and many parameters; with batches, an optimizer, a model."""


@pytest.mark.parametrize(
    ("slug", "mode"),
    [(s, m) for s in SLUGS for m in shipped.lesson(s).modes if m not in ("manual", "numpy")],
)
def test_ten_times_the_epochs_read_no_more(slug: str, mode: str) -> None:
    run = Run(shipped.programs(slug), mode, "cpu:0")
    run._clock.due = math.inf  # keyframes come by the clock: each is compared with the one before
    run.run(1)
    few, many = reads(run, 10), reads(run, 100)
    assert run.device == "cpu:0"
    assert len(few) > 0, "a frame is read"
    assert len(many) - len(few) <= 2, "losses come in bundles"
