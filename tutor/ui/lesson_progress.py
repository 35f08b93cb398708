"""The learner's progress in each lesson: the list of lessons joined with the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tutor.session.journal import Bookmark, Deed, Journal

if TYPE_CHECKING:
    from tutor.lesson.library import Headline

PASSED: tuple[Deed, ...] = ("done", "skipped")
"""The results after which an exercise need not be done any more."""


@dataclass(frozen=True, slots=True)
class LessonProgress:
    """One lesson and the learner's progress in it."""

    headline: Headline
    deeds: Mapping[str, Deed] = field(default_factory=dict)
    """The best result of each exercise."""
    left: Bookmark | None = None
    """The lesson's bookmark; None without one."""

    @property
    def count(self) -> int:
        """How many exercises the lesson has."""
        return len(self.headline.exercises)

    @property
    def passed(self) -> int:
        """How many of them are done or skipped."""
        return sum(self.deeds.get(id_) in PASSED for id_, _ in self.headline.exercises)

    @property
    def done(self) -> int:
        """How many of them are done."""
        return self.passed - self.skipped

    @property
    def skipped(self) -> int:
        """How many of them are skipped."""
        return sum(self.deeds.get(id_) == "skipped" for id_, _ in self.headline.exercises)

    @property
    def is_done(self) -> bool:
        """Whether none of its exercises is left to be done. Without exercises it never is."""
        return 0 < self.count == self.passed

    @property
    def has_begun(self) -> bool:
        """Whether the learner has begun the lesson."""
        return bool(self.deeds) or self.left is not None

    def kinds(self) -> Mapping[str, int]:
        """How many exercises of each kind there are, in the lesson's order."""
        return Counter(kind for _, kind in self.headline.exercises)


class CurriculumProgress:
    """All lessons in the curriculum's order, and where the learner stands in them."""

    def __init__(self, list_lessons: Callable[[], Sequence[Headline]], journal: Journal) -> None:
        """`list_lessons` is called when the list is first needed."""
        self._list_lessons = list_lessons
        self._journal = journal

    @cached_property
    def headlines(self) -> tuple[Headline, ...]:
        """The headlines of all lessons. The first call reads their files."""
        return tuple(self._list_lessons())

    def unknown(self) -> tuple[LessonProgress, ...]:
        """All lessons before the journal is asked."""
        return tuple(LessonProgress(headline) for headline in self.headlines)

    def refresh(self) -> None:
        """Read the records that another tutor has written meanwhile."""
        self._journal.refresh()

    def now(self) -> tuple[LessonProgress, ...]:
        """All lessons as the journal has them; it may take a moment to read its file."""
        journal = self._journal
        return tuple(
            LessonProgress(h, journal.states(h.slug), journal.left_of(h.slug))
            for h in self.headlines
        )

    def last_left(self) -> Bookmark | None:
        """The learner's last bookmark; None if its lesson no longer exists here."""
        left = self._journal.last_left()
        slugs = {h.slug for h in self.headlines}
        return left if left is not None and (left.slug in slugs or _is_there(left)) else None


def _is_there(left: Bookmark) -> bool:
    """Whether the lesson's file still exists; a lesson need not be in the list."""
    return left.file.is_file()
