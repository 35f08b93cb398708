"""The map of lessons: the lessons and their prerequisites as the rows of a tree.

A lesson may build on several others. Its row stands below the prerequisite that comes last in its
chapter and names the others, and it comes after the rows of all prerequisites in that chapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

import msgspec
from msgspec.structs import replace

from tutor.lesson.library import Headline, by_chapter
from tutor.lesson.model import Fault

BRANCH, LAST, TRUNK, GAP = "├─ ", "└─ ", "│  ", "   "
"""The parts of a row's prefix, one for each level."""

_ASCII = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-"})


class MapRow(msgspec.Struct, frozen=True):
    """One lesson on the map."""

    headline: Headline
    depth: int
    """0 for a lesson that has nothing above it."""
    prefix: str
    """The lines of the tree that lead to it, as text to put before its title."""
    also: tuple[str, ...] = ()
    """The slugs of its other prerequisites, without those that are implied."""
    fault: Fault | None = None
    """A prerequisite that does not exist or that leads back to the lesson."""
    chapter: str = ""
    """The heading of the chapter that it is drawn in; empty where there are no chapters."""

    def ascii_prefix(self) -> str:
        """The prefix, for a terminal without line-drawing characters."""
        return self.prefix.translate(_ASCII)


def rows(headlines: Sequence[Headline]) -> tuple[MapRow, ...]:
    """A row for each lesson, from top to bottom, chapter by chapter.

    Lessons that could come next stand in the order given. Two of the same slug are two rows,
    of which only the first can be built on. A cycle is broken at its first lesson.
    """
    builder = _MapBuilder(headlines)
    chapters = by_chapter(headlines).items()
    return tuple(_with_prefixes(row for one in chapters for row in builder.rows_of(*one)))


def fault_of(slug: str, builds_on: Mapping[str, Sequence[str]]) -> Fault | None:
    """The fault of a lesson's `builds_on`, if there is one.

    `builds_on` holds every lesson there is, this one too.
    """
    for other in builds_on[slug]:
        if other not in builds_on:
            near = get_close_matches(other, builds_on, n=1)
            return Fault("unknown_prerequisite", {"slug": other, "lessons": near})
    way = _way_back(slug, builds_on)
    return Fault("builds_on_itself", {"cycle": [*way]}) if way else None


def cycles(builds_on: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Each cycle of lessons that build on one another, once: `("a", "b", "a")`."""
    seen: set[frozenset[str]] = set()
    for slug in builds_on:
        way = _way_back(slug, builds_on)
        if way and frozenset(way) not in seen:
            seen.add(frozenset(way))
            yield way


def _below(slug: str, builds_on: Mapping[str, Sequence[str]]) -> set[str]:
    """The lesson and all that it builds on, near or far."""
    found, waiting = set[str](), [slug]
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            waiting += builds_on.get(at, ())
    return found


def _way_back(slug: str, builds_on: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """A shortest cycle of lessons that build on each other, from this one; () if there is none."""
    ways: list[tuple[str, ...]] = [(slug,)]
    seen = {slug}
    for way in ways:  # `ways` grows meanwhile: a breadth-first search
        for other in builds_on.get(way[-1], ()):
            if other == slug:
                return (*way, slug)
            if other not in seen:
                seen.add(other)
                ways.append((*way, other))
    return ()


class _MapBuilder:
    """Makes the rows: a lesson is placed as soon as all of its prerequisites are."""

    def __init__(self, headlines: Sequence[Headline]) -> None:
        self._waiting: list[Headline] = []
        self._chapter = ""
        self._in_chapter: set[str] = set()
        self._builds_on: dict[str, tuple[str, ...]] = {}
        for headline in headlines:
            self._builds_on.setdefault(headline.slug, headline.builds_on)
        self._placed: set[str] = set()

    def rows_of(self, chapter: str, lessons: Sequence[Headline]) -> Iterator[MapRow]:
        """The rows of the next chapter."""
        self._waiting, self._chapter = list(lessons), chapter
        self._in_chapter = {lesson.slug for lesson in lessons}
        while self._waiting:
            ready = next((h for h in self._waiting if not self._missing(h)), None)
            yield from self._with_followers(ready or self._first_of_a_cycle(), "", 0)

    def _with_followers(self, headline: Headline, above: str, depth: int) -> Iterator[MapRow]:
        """The lesson, and below it the lessons that only waited for it."""
        self._waiting.remove(headline)
        fault = fault_of(headline.slug, self._builds_on)
        others = self._others(headline, above)
        self._placed.add(headline.slug)
        yield MapRow(headline, depth, "", others, fault, self._chapter)
        for following in [h for h in self._waiting if headline.slug in h.builds_on]:
            if following in self._waiting and not self._missing(following):
                yield from self._with_followers(following, headline.slug, depth + 1)

    def _others(self, headline: Headline, above: str) -> tuple[str, ...]:
        """The other lessons that it builds on: the fewest slugs that imply the rest."""
        elsewhere = self._builds_on.keys() - self._in_chapter
        placed = [s for s in headline.builds_on if s in self._placed or s in elsewhere]
        implied = {above}
        for slug in placed:
            implied |= _below(slug, self._builds_on) - {slug}
        return tuple(s for s in placed if s not in implied)

    def _missing(self, headline: Headline) -> bool:
        """Whether something in the chapter that it builds on has no place yet."""
        return any(s in self._in_chapter and s not in self._placed for s in headline.builds_on)

    def _first_of_a_cycle(self) -> Headline:
        return next(h for h in self._waiting if _way_back(h.slug, self._builds_on))


def _with_prefixes(found: Iterator[MapRow]) -> list[MapRow]:
    """Draw the tree from the last row up: whether another row follows is known then."""
    drawn: list[MapRow] = []
    open_levels: set[int] = set()
    for row in reversed(list(found)):
        open_levels = {level for level in open_levels if level <= row.depth}
        stems = (TRUNK if level in open_levels else GAP for level in range(1, row.depth))
        own = (BRANCH if row.depth in open_levels else LAST) if row.depth else ""
        open_levels.add(row.depth)
        drawn.append(replace(row, prefix="".join(stems) + own))
    return drawn[::-1]
