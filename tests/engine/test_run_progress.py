"""The seconds to the end of a way, told from its speed so far."""

from __future__ import annotations

from tutor.engine.open_runs import SURE_AFTER, TimeLeft


def test_the_rest_takes_as_long_as_the_way_so_far() -> None:
    seconds = [0.0]
    left = TimeLeft(10.0, clock=lambda: seconds[0])
    assert left.at(2.0) is None
    seconds[0] = SURE_AFTER / 2
    assert left.at(4.0) is None
    seconds[0] = SURE_AFTER * 2
    assert left.at(4.0) == SURE_AFTER * 6
    assert left.at(10.0) == 0.0


def test_a_way_that_goes_back_first_begins_there() -> None:
    seconds = [0.0]
    left = TimeLeft(10.0, clock=lambda: seconds[0])
    left.at(9.0)
    seconds[0] = 5.0
    assert left.at(0.0) is None
    seconds[0] = 7.0
    assert left.at(5.0) == 2.0


def test_a_run_that_stands_still_has_no_time_left() -> None:
    seconds = [0.0]
    left = TimeLeft(10.0, clock=lambda: seconds[0])
    left.at(1.0)
    seconds[0] = 9.0
    assert left.at(1.0) is None
