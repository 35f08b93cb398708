"""Exercises that were begun and not done: from attempts to what is written down, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tutor.lesson.exercise import Exercise
from tutor.session.attempt import Attempt
from tutor.session.journal import Bookmark, UnfinishedAttempt


def noted(attempts: Iterable[Attempt]) -> tuple[UnfinishedAttempt, ...]:
    """How far the learner had come with each of them."""
    return tuple(
        UnfinishedAttempt(
            exercise=attempt.exercise.id,
            round=attempt.round,
            step=attempt.step,
            tries=attempt.tries,
            hints=len(attempt.hints),
            typed=attempt.typed,
        )
        for attempt in attempts
    )


def recalled(left: Bookmark, exercises: Iterable[Exercise]) -> dict[str, Attempt]:
    """By exercise: how far the learner had come, for when it is begun again."""
    by_id = {exercise.id: exercise for exercise in exercises}
    every: tuple[Bookmark | UnfinishedAttempt, ...] = (*left.halfway, left)
    found = {
        half.exercise: _as_left(by_id[half.exercise], half)
        for half in every
        if half.exercise in by_id
    }
    if left.exercise in found:
        found[left.exercise] = replace(found[left.exercise], is_editing=left.is_editing)
    return found


def _as_left(exercise: Exercise, left: Bookmark | UnfinishedAttempt) -> Attempt:
    return Attempt(
        exercise,
        number=0,
        count=0,
        state="asking",
        wants="number",
        ask="",
        round=left.round,
        step=left.step,
        tries=left.tries,
        hints=exercise.hints[: left.hints],
        typed=left.typed,
    )
