"""The map: a tree of lessons and their prerequisites, with the learner's progress.

No lesson is locked: the map only shows prerequisites.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

from textual.binding import BindingType

from tutor.lesson.map import rows
from tutor.ui.commands import MAP_COMMANDS, bindings
from tutor.ui.lesson_lines import map_row
from tutor.ui.lesson_progress import LessonProgress
from tutor.ui.panes.lessons import LessonRow, LessonsPane
from tutor.ui.screens.lesson_list import LessonListScreen


class MapScreen(LessonListScreen):
    """The screen with all lessons, each below a prerequisite; enter opens one."""

    ALL_COMMANDS = MAP_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(MAP_COMMANDS)]
    HEADING = "What builds on what"

    def entries(self, curriculum: Sequence[LessonProgress]) -> Iterable[LessonRow]:
        """The rows of the tree."""
        found = {s.headline.path: s for s in curriculum}
        titles = {s.headline.slug: s.headline.title for s in curriculum}
        for row in rows([s.headline for s in curriculum]):
            slug = row.headline.slug
            is_open = slug == self.open_slug
            draw = partial(map_row, row, found[row.headline.path], is_open, titles)
            yield LessonRow(draw, row.headline, slug)

    def choose_first(self, pane: LessonsPane) -> None:
        """Choose the open lesson; without one, the first that is not done."""
        undone = (slug for slug, s in self._known.items() if not s.is_done)
        if not pane.choose_about(self.open_slug):
            pane.choose_about(next(undone, ""))
