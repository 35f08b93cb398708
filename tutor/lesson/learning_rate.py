"""The numbers that can be a learning rate: one rule for lessons, runs, dialogs and commands."""

from __future__ import annotations

LARGEST = 1e6
"""Far above every rate at which a lesson converges; the update of a float32 stays finite longer."""

WANTED = "a positive number, at most a million"


def is_learning_rate(value: float) -> bool:
    """Whether a number can be a learning rate. NaN can't."""
    return 0 < value <= LARGEST
