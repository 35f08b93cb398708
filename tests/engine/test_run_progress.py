"""The seconds to the end of a way, told from its speed so far."""

from __future__ import annotations

import pytest

from tutor.engine.open_runs import GAP_SECONDS, SURE_AFTER, RunProgress

SURE = SURE_AFTER * 2


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([(0.0, 2.0, None), (SURE / 4, 4.0, None), (SURE, 4.0, SURE * 3),
                      (SURE, 10.0, 0.0)], id="as long as the way so far"),
        pytest.param([(0.0, 9.0, None), (5.0, 0.0, None), (7.0, 5.0, 2.0)], id="back first"),
        pytest.param([(0.0, 1.0, None), (9.0, 1.0, None)], id="still standing"),
    ],
)  # fmt: skip
def test_the_rest_takes_as_long_as_the_way_so_far(
    told: list[tuple[float, float, float | None]],
) -> None:
    progress = RunProgress(10.0, clock=iter([now for now, *_ in told]).__next__)
    for _, done, left in told:
        progress.advance(done)
        assert progress.seconds_left == left


def test_time_in_which_the_process_stood_still_says_nothing_on_the_speed() -> None:
    seconds = iter([0.0, 2.0, 2.0 + 100 * GAP_SECONDS, 4.0 + 100 * GAP_SECONDS])
    progress = RunProgress(1000.0, clock=seconds.__next__)
    for done in (0.0, 20.0, 21.0, 41.0):
        progress.advance(done)
    assert progress.rate == 10.0


def test_epochs_that_take_longer_than_any_gap_are_measured_one_by_one() -> None:
    seconds = iter([0.0, 2 * GAP_SECONDS, 6 * GAP_SECONDS])
    progress = RunProgress(10.0, clock=seconds.__next__)
    for done in (0.0, 1.0, 2.0):
        progress.advance(done)
    assert progress.rate == 1 / (4 * GAP_SECONDS)
