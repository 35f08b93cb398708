"""Lessons as lines on the screen, with the learner's progress in each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.cells import cell_len
from textual.content import Content

from tutor.lesson.languages import LANGUAGES
from tutor.lesson.model import GRADIENT
from tutor.plain import one_line
from tutor.progress import ExerciseResult
from tutor.session.bookmark import Bookmark
from tutor.session.journal import Journal
from tutor.ui.lines import DIM, ERROR, HEADING, STRONG, Piece, line
from tutor.wording.lesson_faults import lesson_fault_text
from tutor.wording.notices import kind_words
from tutor.wording.number_format import counted, trimmed

if TYPE_CHECKING:
    from tutor.lesson.library import Headline
    from tutor.lesson.map import MapRow


PASSED: tuple[ExerciseResult, ...] = ("done", "skipped")
"""The results after which an exercise need not be done any more."""


class LessonProgress(msgspec.Struct, frozen=True):
    """One lesson and the learner's progress in it."""

    headline: Headline
    results: Mapping[str, ExerciseResult] = msgspec.field(default_factory=dict)
    """The best result of each exercise."""
    left: Bookmark | None = None
    """The lesson's bookmark; None without one."""

    @property
    def count(self) -> int:
        """The number of the lesson's exercises."""
        return len(self.headline.exercises)

    @property
    def passed(self) -> int:
        """The number of them that are done or skipped."""
        return sum(self.results.get(id_) in PASSED for id_, _ in self.headline.exercises)

    @property
    def done(self) -> int:
        """The number of them that are done."""
        return self.passed - self.skipped

    @property
    def skipped(self) -> int:
        """The number of them that are skipped."""
        return sum(self.results.get(id_) == "skipped" for id_, _ in self.headline.exercises)

    @property
    def is_done(self) -> bool:
        """Whether none of its exercises is left to be done. Without exercises it never is."""
        return 0 < self.count == self.passed

    @property
    def has_begun(self) -> bool:
        """Whether the learner has begun the lesson."""
        return bool(self.results) or self.left is not None

    def kinds(self) -> Mapping[str, int]:
        """The number of exercises of each kind, in the lesson's order."""
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

    def path_of(self, left: Bookmark) -> Path:
        """Return the lesson's file; if it has moved, the file of the lesson with the same slug."""
        path = left.file
        found = (h.path for h in self.headlines if h.slug == left.slug)
        return path if os.path.exists(path) else next(found, path)

    def named(self, name: str) -> Headline | None:
        """The lesson whose file has this name; None if there is none, or it can't be read."""
        return next((h for h in self._readable() if h.path.stem == name), None)

    def beside(self, path: Path | None, by: int) -> Headline | None:
        """The lesson `by` places after one, or from an end of the list; None beyond its ends."""
        lessons = self._readable()
        end = -1 if by > 0 else len(lessons)
        at = by + next((i for i, h in enumerate(lessons) if h.path == path), end)
        return lessons[at] if 0 <= at < len(lessons) else None

    def _readable(self) -> list[Headline]:
        return [headline for headline in self.headlines if not headline.fault]

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
            LessonProgress(h, journal.results_of(h.slug), journal.bookmark_of(h.slug))
            for h in self.headlines
        )

    def last_bookmark(self) -> Bookmark | None:
        """The learner's last bookmark; None if its lesson no longer exists here."""
        left = self._journal.last_bookmark()
        slugs = {h.slug for h in self.headlines}  # a lesson need not be in the list
        return left if left and (left.slug in slugs or os.path.isfile(left.file)) else None


DETAILS = 6
"""Lines that the details of a lesson take."""

WELCOME = "Welcome. enter opens a lesson · space steps · ? shows all keys"
"""The message for a learner who has not begun anything yet."""

_NUMBER_CELLS = 3
_MARK_CELLS = 8
"""The width of the mark and the count of exercises: `✓ 12/12 `."""
_NAME_CELLS = 11
"""The width of the label of a line of details: `Builds on  `."""
_SUMMARY_CELLS = 50
"""The least width of a summary in a row; the details show it anyway."""


def mark(standing: LessonProgress) -> str:
    """`✓ 5/5`, `· 3/5`, `·`; nothing where nothing is done yet.

    The figures are exercises done, of how many; ✓ where none is left, `✓ 4/5` if one was skipped.
    """
    if standing.headline.fault:
        return "✗"
    if not standing.has_begun:
        return ""
    share = f" {standing.done}/{standing.count}" if standing.count else ""
    return ("✓" if standing.is_done else "·") + share


def menu_row(
    number: int, standing: LessonProgress, is_open: bool, column: int, width: int
) -> Content:
    """A lesson's number, mark and title, and from `column` on its most useful detail."""
    headline = standing.headline
    row = line(
        f"{number:>2} ",
        (mark(standing).ljust(_MARK_CELLS), STRONG),
        (one_line(headline.title), STRONG),
    )
    tail = _tail(standing, is_open, width - column)
    if row.cell_length >= column and tail.plain:
        row = row.truncate(column - 1, ellipsis=True)
    row = row.pad_right(max(0, column - row.cell_length)) + tail
    return row.truncate(width, ellipsis=True)


def chapter_row(title: str, lessons: Sequence[LessonProgress], width: int) -> Content:
    """A chapter's heading, with how many of its exercises are done, or how many lessons it has."""
    done, count = sum(one.done for one in lessons), sum(one.count for one in lessons)
    tick = "✓ " if all(one.is_done for one in lessons) else ""
    words = f"{tick}{done} of {count} exercises done"
    if not any(one.has_begun for one in lessons):
        words = counted(len(lessons), "lesson")
    name = (one_line(title), HEADING)
    row = line(("── ", DIM), name, (f" · {words}", DIM))
    return row.truncate(width, ellipsis=True)


def widest_title(curriculum: Sequence[LessonProgress]) -> int:
    """The cells of the widest title."""
    return max((cell_len(one_line(s.headline.title)) for s in curriculum), default=0)


def title_column(widest: int, width: int) -> int:
    """The column where titles end in a list of this width; at most half of the list."""
    return min(_NUMBER_CELLS + _MARK_CELLS + widest + 2, width * 2 // 3)


def _tail(standing: LessonProgress, is_open: bool, room: int) -> Content:
    """The most useful detail: the error, the bookmark, the topic, or the number of exercises."""
    headline = standing.headline
    if headline.fault:
        return line((lesson_fault_text(*headline.fault), ERROR))
    if is_open:
        return line("◂ open now")
    if standing.left is not None:
        return line((_left_at(standing.left), DIM))
    if room >= _SUMMARY_CELLS:
        return line((one_line(headline.summary), DIM))
    count = standing.count
    return line((counted(count, "exercise") if count else "", DIM))


def map_row(
    row: MapRow, standing: LessonProgress, is_open: bool, titles: Mapping[str, str], width: int
) -> Content:
    """A lesson's mark, tree lines and title, and its other prerequisites.

    Without room for their names, they are counted: the details name them all.
    """
    pieces: list[Piece] = [
        (mark(standing).ljust(_MARK_CELLS), STRONG),
        (row.prefix, DIM),
        (one_line(row.headline.title), STRONG),
    ]
    if is_open:
        pieces.append("  ◂ open now")
    if fault := row.headline.fault or row.fault:
        pieces.append((f"  ✗ {lesson_fault_text(*fault)}", ERROR))
    elif row.also:
        also = ", ".join(one_line(titles.get(slug, slug)) for slug in row.also)
        builds_on = "  also builds on" if row.depth else "  builds on"
        named = line(*pieces, (f"{builds_on} {also}", DIM))
        if named.cell_length <= width:
            return named
        others = "other" if row.depth else "lesson"
        pieces.append((f"{builds_on} {counted(len(row.also), others)}", DIM))
    return line(*pieces).truncate(width, ellipsis=True)


def go_on_row(left: Bookmark, headline: Headline | None, width: int) -> Content:
    """`Go on: One weight · autograd · epoch 37 · exercise 2`; no headline: the lesson is gone."""
    title = one_line(headline.title if headline else left.slug)
    exercises = headline.exercises if headline else ()
    words = " · ".join(["", _left_at(left), *_exercise_on(left, exercises)])
    return line((f"Go on: {title}", STRONG), words).truncate(width, ellipsis=True)


def details(
    standing: LessonProgress, known: Mapping[str, LessonProgress], width: int
) -> list[Content]:
    """A lesson's summary, its prerequisites, and the learner's progress in it; DETAILS lines.

    `known` holds every lesson by its slug, this one too.
    """
    headline = standing.headline
    if headline.fault:
        fault = lesson_fault_text(*headline.fault)
        wrong = line((f"✗ {fault}", ERROR)).wrap(width)
        return [*wrong[: DETAILS - 1], line("It can't be opened until that is fixed.")]
    summary = line(one_line(headline.summary)).wrap(width)[:2]
    exercises = _exercises(standing, width)
    if len(summary) + len(exercises) + 3 > DETAILS:
        exercises = [_labelled("Exercises", _exercises_words(standing))]
    rest = [
        _modes(standing),
        _builds_on(standing, known),
        *exercises,
        _was_left(standing.left, headline.exercises),
    ]
    return [*summary, *(part.truncate(width, ellipsis=True) for part in rest)]


def _labelled(name: str, *pieces: Piece) -> Content:
    return line((name.ljust(_NAME_CELLS), DIM), *pieces)


def _modes(standing: LessonProgress) -> Content:
    headline = standing.headline
    words = " · ".join(one_line(mode) for mode in headline.modes)
    if len(headline.languages) > 1:
        words += f"   (in {' and '.join(LANGUAGES.get(x, x) for x in headline.languages)})"
    return _labelled(GRADIENT, words)


def _builds_on(standing: LessonProgress, known: Mapping[str, LessonProgress]) -> Content:
    if not standing.headline.builds_on:
        return _labelled("Builds on", "nothing: you can start here")
    before = (known.get(slug, slug) for slug in standing.headline.builds_on)
    return _labelled("Builds on", ", ".join(_prerequisite(lesson) for lesson in before))


def _prerequisite(lesson: LessonProgress | str) -> str:
    """The title and progress of a prerequisite; its slug, if there is no such lesson."""
    if isinstance(lesson, str):
        return one_line(lesson)
    done = mark(lesson)
    return one_line(lesson.headline.title) + (f" {done}" if done else "")


def _exercises(standing: LessonProgress, width: int) -> list[Content]:
    """The number of exercises that are done, and their kinds, with a hanging indent."""
    name, rows = "Exercises", []
    for part in line(_exercises_words(standing)).wrap(max(10, width - _NAME_CELLS)):
        rows.append(_labelled(name) + part)
        name = ""
    return rows


def _exercises_words(standing: LessonProgress) -> str:
    if not standing.count:
        return "none"
    kinds = ", ".join(counted(n, kind_words(kind).name) for kind, n in standing.kinds().items())
    skipped = f", {standing.skipped} skipped" if standing.skipped else ""
    so_far = f"{standing.done} of {standing.count} done{skipped}: " if standing.has_begun else ""
    return so_far + kinds


def _was_left(left: Bookmark | None, exercises: Sequence[tuple[str, str]]) -> Content:
    if left is None:
        return _labelled("Position", "not begun yet")
    mode, device, rate, seed = left.settings
    words = [f"epoch {left.at.epoch}", mode, device, f"lr {trimmed(rate)}"]
    words += [f"seed {seed}"] if seed else []
    words += [f"run {run.name}" for run in left.runs if run.is_current and len(left.runs) > 1]
    words += _exercise_on(left, exercises)
    return _labelled("Position", one_line(" · ".join(words)))


def _exercise_on(left: Bookmark, exercises: Sequence[tuple[str, str]]) -> list[str]:
    """The number of the exercise in the lesson; learners never see its id."""
    numbers = {id_: number for number, (id_, _) in enumerate(exercises, 1)}
    if left.exercise in numbers:
        return [f"exercise {numbers[left.exercise]}"]
    return ["in an exercise"] if left.exercise else []


def _left_at(left: Bookmark) -> str:
    return one_line(f"{left.settings[0]} · epoch {left.at.epoch}")


def by_slug(curriculum: Sequence[LessonProgress]) -> dict[str, LessonProgress]:
    """The lessons by slug; where two have one slug, the first, which is the one in use."""
    found: dict[str, LessonProgress] = {}
    for standing in curriculum:
        found.setdefault(standing.headline.slug, standing)
    return found


def matching(curriculum: Sequence[LessonProgress], words: str) -> list[tuple[int, LessonProgress]]:
    """The lessons that contain every word, each with its number (from 1).

    Matches in the title come first, then in the slug, in the summary, and in the names
    of their exercises; without words all of them, in their order.
    """
    wanted = words.casefold().split()
    ranked = ((_rank(s.headline, wanted), n, s) for n, s in enumerate(curriculum, 1))
    found = [(rank, number, standing) for rank, number, standing in ranked if rank is not None]
    return [(number, standing) for _, number, standing in sorted(found, key=lambda f: f[:2])]


def _rank(headline: Headline, wanted: Sequence[str]) -> int | None:
    """The rank of the field that completes the match; None if a word is missing."""
    exercises = " ".join(id_ for id_, _ in headline.exercises)
    texts = (headline.title, headline.slug, headline.summary, exercises)
    for rank in range(len(texts)):
        read = " ".join(texts[: rank + 1]).casefold()
        if all(word in read for word in wanted):
            return rank
    return None
