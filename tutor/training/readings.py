"""Readings of a loop at one moment: a frame for a screen, whole figures for a file.

Changes nothing in the loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutor.protocol.frame import Frame, Position
from tutor.training.loop import Loop
from tutor.training.values import to_numbers, to_numpy, value_of


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of an epoch, whole: arrays of any size, in the lesson's own precision."""

    epoch: int
    loss: float
    """NaN if there is none."""
    values: dict[str, np.ndarray[Any, Any]]
    """Each parameter's value after the update."""
    gradients: dict[str, np.ndarray[Any, Any] | None]
    """The gradient that the update used; None if there was none."""


def frame_of(loop: Loop, at: Position, learning_rate: float, seed: int) -> Frame:
    """The moment at hand, as plain data. `at` counts the learner's steps, not the loop's."""
    now = loop.gradients_now()
    used = loop.gradients if loop.gradients is not None else now
    return Frame(
        at=at,
        steps=at.step + loop.steps - loop.step,
        batch=loop.batch,
        batches=loop.program.batches,
        phase=loop.last_phase_name(),
        next_phase=loop.next_phase_name(),
        mode=loop.program.mode,
        device=loop.device,
        learning_rate=learning_rate,
        seed=seed,
        loss=value_of(loop.loss()),
        values={n: value_of(loop.namespace.get(n)) for n in loop.program.parameters},
        gradients={n: value_of(g) for n, g in used.items()},
        gradients_now={n: value_of(g) for n, g in now.items()},
        watched=loop.watched_values(),
        boxed=loop.boxed_values(),
        diverged=not loop.is_finite(),
    )


def reading_of(loop: Loop) -> Reading:
    """The figures of the loop's epoch."""
    loss = to_numpy(loop.loss())
    used = loop.gradients if loop.gradients is not None else loop.gradients_now()
    return Reading(
        epoch=loop.epoch,
        loss=float(loss.reshape(())) if loss is not None and loss.size == 1 else math.nan,
        values=loop.parameter_values(),
        gradients={name: to_numbers(g) for name, g in used.items()},
    )
