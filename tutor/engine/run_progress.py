"""The progress of a long replay or run: its speed so far, and the seconds to its end."""

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


class RunProgress:
    """The progress of a run to the end of an epoch; `target` is None while nothing runs."""

    def __init__(self) -> None:
        self.target: int | None = None
        self.rate = 0.0
        """Epochs a second."""
        self.seconds_left: float | None = None
        """None while it is not known."""

    def begin(self, target: int, done: float) -> None:
        """Start for this epoch, when so many epochs have been done."""
        self.target = target
        self._started, self._first, self._time_left = time.perf_counter(), done, TimeLeft(target)
        self._time_left.at(done)

    def advance(self, done: float) -> None:
        """Measure, now that so many epochs have been done."""
        self.rate = (done - self._first) / (time.perf_counter() - self._started)
        self.seconds_left = self._time_left.at(done)
