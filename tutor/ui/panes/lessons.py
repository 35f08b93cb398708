"""A list of lessons of which one is chosen, and the details of that one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import var

from tutor.session.journal import Bookmark
from tutor.ui import text_styles
from tutor.ui.lesson_lines import DETAILS, LessonProgress, details
from tutor.ui.panes.lines import LinesPane
from tutor.ui.text_styles import line

if TYPE_CHECKING:
    from tutor.lesson.library import Headline

Target: TypeAlias = "Headline | Bookmark | None"
"""The target of a row: a lesson to open, a bookmark to resume at, or nothing."""

GUTTER = 2
"""Cells of the mark before the chosen row."""


@dataclass(frozen=True, slots=True)
class LessonRow:
    """One row of a list."""

    draw: Callable[[int], Content]
    """A function that draws the row in so many columns."""
    target: Target = None
    about: str = ""
    """The slug of the lesson that it is about."""


class LessonsPane(LinesPane, can_focus=False):
    """Rows of lessons; the chosen one is marked by a ▶ and stands reversed.

    It takes no focus: all keys are the screen's, which has nothing else to give them to.
    """

    class ChosenMoved(Message):
        """Another row is the chosen one."""

    class Drawn(Message):
        """The list has its lines for the first time."""

    class Picked(Message):
        """The chosen row was clicked on."""

    entries: var[tuple[LessonRow, ...]] = var(())
    chosen: var[int] = var(0)

    @property
    def entry(self) -> LessonRow | None:
        """The chosen row; None if no row can be chosen."""
        fits = 0 <= self.chosen < len(self.entries) and self.entries[self.chosen].target
        return self.entries[self.chosen] if fits else None

    def watch_entries(self) -> None:
        """Redraw; keep the chosen row if it can still be chosen."""
        if self.entry is None:
            self.chosen = next(iter(self._choosable()), 0)
        self.rebuild()
        self.post_message(self.ChosenMoved())

    def watch_chosen(self) -> None:
        """Redraw when another row is chosen."""
        self.rebuild()
        self.post_message(self.ChosenMoved())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Report that other rows are in view."""
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.ChosenMoved())

    @property
    def place(self) -> str:
        """The position among the rows, and whether more rows are out of view."""
        lessons = [i for i in self._choosable() if not isinstance(self.entries[i].target, Bookmark)]
        place = f"{lessons.index(self.chosen) + 1} of " if self.chosen in lessons else ""
        return f" {place}{len(lessons)} lessons{self._more()}"

    def choose(self, by: int) -> None:
        """Move by so many rows, up to the first or the last."""
        rows = self._choosable()
        if rows:
            at = rows.index(self.chosen) if self.chosen in rows else 0
            self.chosen = rows[min(max(0, at + by), len(rows) - 1)]

    def choose_end(self, last: bool) -> None:
        """Choose the first or the last row."""
        self.choose(len(self.entries) if last else -len(self.entries))

    def turn_page(self, by: int) -> None:
        """Move by as many rows as are in view, headings included, and by one lesson at least."""
        page = max(1, self.scrollable_content_region.height - 1)
        passed = sum(0 < (i - self.chosen) * by <= page for i in self._choosable())
        self.choose(by * max(1, passed))

    def choose_about(self, slug: str) -> bool:
        """Choose the row of this lesson, not the one that resumes it; return whether it exists."""
        rows = (i for i in self._choosable() if self.entries[i].about == slug)
        found = next((i for i in rows if not isinstance(self.entries[i].target, Bookmark)), None)
        if found is not None:
            self.chosen = found
        return found is not None

    def show_lines(self, lines: Sequence[Content]) -> None:
        """Report the first lines."""
        if lines and not self.lines:
            self.post_message(self.Drawn())
        super().show_lines(lines)

    def build(self, width: int) -> Sequence[Content]:
        """A line for each row."""
        return [self._row(index, width - GUTTER) for index in range(len(self.entries))]

    def _row(self, index: int, width: int) -> Content:
        row = self.entries[index].draw(width)
        if index != self.chosen or self.entry is None:
            return line(" " * GUTTER) + row
        row = row.truncate(width).pad_right(max(0, width - row.cell_length))
        return line("▶ ", (row.plain, text_styles.ACTIVE))  # of one style: dim is grey on grey

    def settle(self) -> None:
        """Scroll to the chosen row and a heading above it; to the top if no other is above."""
        rows = self._choosable()
        top, height = self.scroll_offset.y, self.scrollable_content_region.height
        if self.chosen in rows[:1]:
            self.bring_into_view(0, 0)
        elif self.chosen >= top + height:
            self.bring_into_view(self.chosen - height + 1, self.chosen)
        else:
            has_heading = self.chosen - 1 not in rows
            self.bring_into_view(self.chosen - has_heading, self.chosen)

    def on_click(self, event: events.Click) -> None:
        """A click chooses a row; one on the chosen row picks it."""
        row = event.y + self.scroll_offset.y - self.gutter.top
        if row in self._choosable():
            is_again = row == self.chosen
            self.chosen = row
            if is_again:
                self.post_message(self.Picked())

    def _choosable(self) -> list[int]:
        return [i for i, entry in enumerate(self.entries) if entry.target is not None]


class DetailsPane(LinesPane, can_focus=False):
    """The details of one lesson, always in the same number of lines."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._known: Mapping[str, LessonProgress] = {}
        self._slug = ""

    def show(self, slug: str, known: Mapping[str, LessonProgress], place: str) -> None:
        """Show this lesson, and its place in the line above; an unknown one has no details."""
        self.tabs = ((place.strip(), False),)
        if slug != self._slug or known is not self._known:
            self._slug, self._known = slug, known
            self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """The details, then empty lines."""
        standing = self._known.get(self._slug)
        found = details(standing, self._known, width) if standing else []
        return [*found, *[line()] * (DETAILS - len(found))]
