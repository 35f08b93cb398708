"""The norm of the gradient by epoch, from a second run of the same recipe.

A run keeps no gradients: a Reset deletes them, and a norm costs 7 µs, a third of a small epoch. So
the epochs of the plot run again, and only while someone looks at it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from tutor.protocol.frame import Position, Remark, RunRecipe
from tutor.protocol.inspections import GradientNormPicture, NoPicture
from tutor.training.program import Quiet, Until
from tutor.training.run import Run
from tutor.training.values import norm_of, to_numbers, value_of

MOST_EPOCHS = 200
"""Epochs of a plot: of a longer run, one in so many is shown."""

MOST_SECONDS = 5.0
"""Seconds that a Setup may take: it runs again, and no key is answered meanwhile."""

_BETWEEN_PICTURES = 0.25
"""Seconds from one picture to the next, more complete one."""


class GradientNorms:
    """The gradient norms of the run that was looked at last.

    With several batches, an epoch's gradient is that of the last batch, as its loss is.
    """

    def __init__(self, quiet: Quiet) -> None:
        """`quiet` is entered while epochs run again."""
        self._quiet = quiet
        self._recipe: RunRecipe | None = None
        """The recipe that `_norms` belong to."""
        self._norms: dict[int, float] = {}
        self._again: Run | None = None
        """The second run, where it came to."""

    def pictures(self, run: Run, until: Until) -> Iterator[GradientNormPicture | NoPicture]:
        """The picture of a run, again and again until it is complete, or `until` stops it.

        Leaves the run as it is. Raises LessonRaised if the code raises in the second run.
        """
        epochs = shown_epochs(run.furthest)
        if (why := _why_not(run)) is not None:
            yield NoPicture(why=why, never=run.program.writes_here)
            return
        self._keep_norms_of(run.recipe, epochs)
        missing = [epoch for epoch in epochs if epoch not in self._norms]
        while True:
            due = time.perf_counter() + _BETWEEN_PICTURES
            while missing and not until() and time.perf_counter() < due:
                norm = self._norm_at(run, missing[0], until)
                if norm is not None:
                    self._norms[missing.pop(0)] = norm
            known = [epoch for epoch in epochs if epoch in self._norms]
            yield GradientNormPicture(
                epochs=tuple(known),
                norms=tuple(self._norms[epoch] for epoch in known),
                last_epoch=run.furthest,
                here=run.at.epoch,
                is_whole=not missing,
            )
            if not missing or until():
                return

    def _keep_norms_of(self, recipe: RunRecipe, epochs: Sequence[int]) -> None:
        """Forget the norms that another recipe does not share, and those that are not shown."""
        same = _same_epochs(self._recipe, recipe)
        self._norms = {e: norm for e, norm in self._norms.items() if e <= same and e in epochs}
        if recipe != self._recipe:
            self.close()
        self._recipe = recipe

    def close(self) -> None:
        """Give up the second run."""
        if self._again is not None:
            self._again.close()
        self._again = None

    def _norm_at(self, run: Run, epoch: int, until: Until) -> float | None:
        """The norm at an epoch, which runs again; None if `until` stopped that."""
        try:
            with self._quiet():
                again = self._second_run(run, epoch)
                is_within = again.at.epoch == epoch and not again.at_end
                is_before = again.at.epoch == epoch - 1 and again.at_end
                if not (is_within or is_before):
                    again.seek(epoch - 1, until=until)
                before = again.loop
                again.advance(epoch, until)
        except BaseException:  # in mid-phase, an interrupt too: that run can't go on
            self.close()
            raise
        if again.at.epoch != epoch or not again.at_end:
            return math.nan if again.loop.is_over else None
        # A change at the epoch's very end may have made another loop, in which it runs in part.
        loop = before if before.epoch == epoch and before.at_end else again.loop
        return _norm((loop.gradients or {}).values())

    def _second_run(self, run: Run, epoch: int) -> Run:
        """The second run; a new one where the first one's keyframes give out far before `epoch`.

        It gets a copy of the run's keyframes, so that it need not run all epochs again. It takes
        turns with the run: each finds the random number generators as it left them.
        """
        mine = self._again
        is_far = mine is not None and epoch > 2 * max(mine.furthest, 1) and not run.is_script
        if mine is None or is_far or mine.turn is not run.turn:
            self.close()
            start, history = Position(0, 0), None if run.is_script else run.history.copy()
            mine = self._again = Run.from_recipe(
                run.programs, run.recipe, start, run.quiet, history=history, turn=run.turn
            )
        return mine


def _why_not(run: Run) -> Remark | None:
    """The reason why a run's epochs are not run again; None if they may be."""
    if run.program.writes_here:
        return Remark("writes_files")
    if run.set_up_seconds > MOST_SECONDS:
        return Remark("slow_set_up", {"seconds": run.set_up_seconds})
    return None if run.furthest else Remark("no_epoch_yet")


def shown_epochs(last: int) -> tuple[int, ...]:
    """The epochs in a plot of a run of so many: all of them; of more than MOST_EPOCHS, some.

    The same ones as the run grows, until it is twice as long: then every second of them.
    """
    stride = 1
    while last > MOST_EPOCHS * stride:
        stride *= 2
    return tuple(sorted({1, *range(stride, last + 1, stride), last})) if last else ()


def _same_epochs(one: RunRecipe | None, other: RunRecipe) -> float:
    """The number of first epochs that are the same in two runs."""
    if one is None or (one.mode, one.device, one.learning_rate, one.seed) != (
        other.mode, other.device, other.learning_rate, other.seed,
    ):  # fmt: skip
        return 0
    pairs = zip_longest(one.changes, other.changes)
    apart = next((pair for pair in pairs if pair[0] != pair[1]), ())
    return min((change.at.epoch - 1 for change in apart if change), default=math.inf)


def _norm(gradients: Iterable[Any]) -> float:
    """The norm of all gradients together; NaN where there are none."""
    norms = [norm for gradient in gradients if (norm := _norm_of_one(gradient)) is not None]
    return math.hypot(*norms) if norms else math.nan


def _norm_of_one(gradient: Any) -> float | None:
    if (norm := value_of(gradient).norm) is not None:  # a large one: summed on its device
        return norm
    numbers = to_numbers(gradient)
    return None if numbers is None else norm_of(np.abs(numbers))
