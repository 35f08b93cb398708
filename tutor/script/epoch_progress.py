"""The place of a script's loop within its epoch, counted as its phases run."""

from __future__ import annotations

import sys

from tutor.lesson.model import GRADIENT, GRADIENT_CHANGES, MANUAL, SETUP, UPDATE
from tutor.script.driver import PASS_END, Driver
from tutor.script.outline import ScriptPhase, TrainingLoop

_START = ScriptPhase(SETUP, 0, 0, 0)
"""In place of the last phase, while nothing of the loop has run."""


class EpochProgress:
    """The phases and batches of this epoch so far, and how many the last one had.

    How many there are in an epoch is known once one has run, or where the script has told it.
    """

    def __init__(self, loop: TrainingLoop, driver: Driver) -> None:
        self._loop, self._driver = loop, driver
        self.next = PASS_END
        """The number of the phase that waits to run; PASS_END at the end of the epoch."""
        self.last = _START
        """The phase that has just run."""
        self.steps_known = len(loop.phases)
        """The steps of the last whole epoch; in the first epoch, the steps of one batch."""
        self.batches_known = 1
        self.batches_done = 0
        self.done_in_batch = 0
        self._is_before_batches = False
        """Whether this epoch has only run code before its loop over batches (a reset)."""
        self._has_gradient = False
        self._gradient_batch = self._gradient_batch_now = 1
        """The batch of the last epoch, and of this one, that was the last to take gradients."""

    @property
    def is_ended(self) -> bool:
        """Whether this epoch is at its end."""
        return self.next == PASS_END

    @property
    def batches_in_all(self) -> int | None:
        """The batches of this epoch, if the script has told, or has come to its end."""
        return self._driver.batches or (self.batches_done if self.is_ended else None)

    @property
    def batches_expected(self) -> int:
        """The batches of this epoch, if the script has told; else the last epoch's."""
        return self._driver.batches or self.batches_known

    @property
    def last_gradient(self) -> int:
        """The number of the batch that is expected to be the last to take gradients."""
        return self._driver.batches or self._gradient_batch

    @property
    def part_done(self) -> float:
        """The part of the epoch that has run, as far as the script has told its batches; else 0."""
        told = self._driver.batches
        return max(self.batches_done - 1, 0) / told if told else 0.0

    @property
    def batch_of_next(self) -> int:
        """The number, from 1, of the batch that the next step belongs to."""
        is_first = not self.batches_done
        starts = not self.is_ended and self._loop.phases[self.next].starts_batch
        return self.batches_done + (is_first or (starts and not self._is_before_batches))

    def may_run_past(self, *, for_frame: bool) -> bool:
        """Whether no figure, nor a frame of the epoch's end, needs what the next step computes."""
        phase, last = self._loop.phases[self.next], self.batches_expected
        if phase.name in (GRADIENT, *GRADIENT_CHANGES):
            last = min(last, self.last_gradient)
        elif not (for_frame or self.is_update_by_hand):
            last = sys.maxsize
        return self.batch_of_next < last

    @property
    def is_update_by_hand(self) -> bool:
        """Whether the next step changes parameters without an optimizer."""
        return self._loop.phases[self.next].name == UPDATE and self._loop.mode == MANUAL

    # ── Counting ────────────────────────────────────────────────────────────────────

    def begin_epoch(self) -> None:
        """Stand before the first phase of an epoch."""
        self.next = self.batches_done = self.done_in_batch = 0
        self._is_before_batches = self._has_gradient = False

    def begin_phase(self) -> bool:
        """Count the phase that begins to run; returns whether a batch begins with it."""
        starts = self._loop.phases[self.next].starts_batch
        if self.batches_done and not starts:
            return False
        if not self._is_before_batches:
            self.batches_done += 1
        self._is_before_batches = not starts
        self.done_in_batch = 0
        return True

    def pass_to(self, number: int) -> ScriptPhase:
        """Count the phase that has run, which it returns; the one with this number comes next."""
        self.last = phase = self._loop.phases[self.next]
        self.next = number
        self.done_in_batch += 1
        if phase.name == GRADIENT:
            self._has_gradient, self._gradient_batch_now = True, self.batches_done
        return phase

    def end_epoch(self, steps: int) -> bool:
        """Stand at the end of an epoch that had `steps` steps; whether it has taken a gradient."""
        self.next = PASS_END
        self.steps_known, self.batches_known = steps, max(self.batches_done, 1)
        if self._has_gradient:
            self._gradient_batch = self._gradient_batch_now
        return self._has_gradient

    def stand_at_end(self, steps: int, batches: int, *, is_start: bool) -> None:
        """Stand at the end of an earlier epoch, which had these numbers of steps and batches."""
        self.begin_epoch()
        if is_start:
            self.last = _START
        self.next, self.steps_known, self.batches_known = PASS_END, steps, batches
