"""The journal of the learner's progress, as the session uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tutor.lesson.exercise import Exercise
from tutor.progress import ExerciseResult
from tutor.session.bookmark import Bookmark
from tutor.session.run_view import Notice


class Draft(msgspec.Struct, frozen=True):
    """A learner's code for a Repair."""

    code: str
    is_own: bool = True
    """Whether it was typed, or agreed to, on this machine; otherwise the learner is asked first."""


class Journal:
    """The store of the learner's progress.

    This one saves nothing, which does for a session by itself; `ProgressWriter` is the store in
    the progress file. No method ever raises; only `flush` blocks.
    """

    def record_result(self, lesson: str, exercise: str, kind: str, result: ExerciseResult) -> None:
        """Record a result of an exercise of the lesson with this slug."""

    def save_bookmark(self, bookmark: Bookmark) -> None:
        """Save the bookmark of a lesson."""

    def save_draft(self, lesson: str, exercise: str, draft: Draft) -> None:
        """Save the learner's code for a Repair."""

    def draft_of(self, lesson: str, exercise: str) -> Draft | None:
        """The learner's code for a Repair; None if there is none."""
        return None

    def results_of(self, lesson: str) -> dict[str, ExerciseResult]:
        """The best result so far, by exercise (done before skipped before tried)."""
        return {}

    def bookmark_of(self, key: str) -> Bookmark | None:
        """The bookmark with this key (`key_of`); None if there is none that can be read."""
        return None

    def last_bookmark(self) -> Bookmark | None:
        """The latest bookmark of all lessons, scripts aside."""
        return None

    def last_bookmark_of_script(self, script: str) -> Bookmark | None:
        """The latest bookmark of all loops of the script with this key (`script_key`)."""
        return None

    def refresh(self) -> None:
        """Include records of other processes in the next query."""

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait up to `timeout` seconds until all is written; returns whether it is."""
        return True

    @property
    def trouble(self) -> Notice:
        """The reason why nothing is saved; mostly empty."""
        return Notice()


def next_to_do(
    exercises: Iterable[Exercise], results: Mapping[str, ExerciseResult]
) -> Exercise | None:
    """The first exercise that is neither done nor skipped; else the first that was skipped.

    None if all are done.
    """
    not_done = [e for e in exercises if results.get(e.id) != "done"]
    new = [e for e in not_done if results.get(e.id) != "skipped"]
    return next(iter(new or not_done), None)
