"""With what an exported file is to train: plain data."""

from __future__ import annotations

from dataclasses import dataclass

from tutor.errors import UsageError
from tutor.lesson.model import Lesson


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """The learner's choices for an exported file; None stands for the lesson's own setting."""

    device: str = "cpu"
    learning_rate: float | None = None
    epochs: int | None = None
    seed: int = 0
    every: int = 1
    """The epochs that this divides are printed, and the last."""
    changed: bool = False
    """Whether the run that is exported was changed on its way, which a script can't repeat."""


def rate_of(lesson: Lesson, mode: str, settings: ExportSettings) -> float:
    """The learning rate asked for, or the lesson's own for this mode."""
    asked = settings.learning_rate
    return lesson.learning_rate[mode] if asked is None else asked


def epochs_of(lesson: Lesson, mode: str, settings: ExportSettings) -> int:
    """The number of epochs asked for, or the lesson's own for this mode."""
    return settings.epochs or lesson.epochs[mode]


def check_mode(lesson: Lesson, mode: str) -> None:
    """Raise UsageError, saying what there is, if the lesson has no such mode."""
    if mode not in lesson.modes:
        there = ", ".join(lesson.modes)
        raise UsageError(f"no mode {mode!r} in this lesson; available: {there}")
