"""The seconds to the end of a way, told from its speed so far."""

from __future__ import annotations

import pytest

from tutor.engine.open_runs import SURE_AFTER, RunProgress

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
