"""The seconds to the end of a long replay or run, told from how fast it has been so far."""

from __future__ import annotations

import time
from collections.abc import Callable

SURE_AFTER = 1.0
"""Seconds after which the speed is known well enough to tell the rest by it."""


class TimeLeft:
    """The seconds from where a run stands to the place where it goes."""

    def __init__(self, target: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """`target`: in epochs, as `RunTimeline.epochs_done` counts them."""
        self._target, self._clock = target, clock
        self._start: tuple[float, float] | None = None

    def at(self, done: float) -> float | None:
        """Seconds to go after so many epochs; None while that can't be known.

        The way begins at the first call, or where the run has gone back to since.
        """
        now = self._clock()
        if self._start is None or done < self._start[1]:
            self._start = now, done
        passed, way = now - self._start[0], done - self._start[1]
        if passed < SURE_AFTER or way <= 0:
            return None
        return max(self._target - done, 0.0) * passed / way
