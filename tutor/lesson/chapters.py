"""The chapters that lessons stand in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutor.lesson.library import Headline

OTHERS = "Other lessons"
"""The heading above lessons that stand in no chapter, below all that do."""


def by_chapter(headlines: Sequence[Headline]) -> dict[str, list[Headline]]:
    """The lessons below the heading of their chapter, in the order given.

    Where no lesson has a chapter, the only heading is empty.
    """
    others = OTHERS if any(h.chapter for h in headlines) else ""
    found: dict[str, list[Headline]] = {}
    for headline in sorted(headlines, key=lambda h: not h.chapter):
        found.setdefault(headline.chapter or others, []).append(headline)
    return found
