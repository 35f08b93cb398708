"""The screens to choose a lesson, the menu and the map of prerequisites, and their list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

from textual import events
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Input, Label

from tutor.lesson.library import OTHERS, by_chapter
from tutor.session.bookmark import Bookmark
from tutor.session.run_view import Notice
from tutor.ui.bars import Field, Footer, Header, StatusBar
from tutor.ui.commands import FIND_COMMANDS, MAP_COMMANDS, MENU_COMMANDS, bindings
from tutor.ui.lesson_lines import (
    DETAILS,
    WELCOME,
    CurriculumProgress,
    LessonProgress,
    by_slug,
    chapter_row,
    details,
    go_on_row,
    map_row,
    matching,
    menu_row,
    title_column,
    widest_title,
)
from tutor.ui.lines import CURSOR, STRONG, LinesPane, after_paint, line, list_row
from tutor.ui.screens.base import SizedScreen

if TYPE_CHECKING:
    from tutor.lesson.library import Headline


Target: TypeAlias = "Headline | Bookmark | None"
"""The target of a row: a lesson to open, a bookmark to resume at, or nothing."""


class LessonRow(NamedTuple):
    """One row of a list."""

    draw: Callable[[int], Content]
    """A function that draws the row, given its width."""
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
        """Move by `by` rows, up to the first or the last."""
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
        """Choose the row of this lesson, not the row that resumes it; return whether it exists."""
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
        chosen = self.chosen if self.entry is not None else None
        return [
            list_row(entry.draw(width - len(CURSOR)), index == chosen, width)
            for index, entry in enumerate(self.entries)
        ]

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


class LessonListScreen(SizedScreen):
    """A screen that lists lessons and opens one. Subclasses define the rows."""

    @dataclass
    class LessonChosen(Message):
        """The learner has chosen a lesson."""

        headline: Headline
        exercises_only: bool = False
        """Whether to begin the lesson with its exercises."""

    HEADING: ClassVar[str] = ""
    AUTO_FOCUS = ""

    notice: var[Notice] = var(Notice)
    """The text of the status line."""

    def __init__(self, curriculum: CurriculumProgress, host: str = "") -> None:
        """`host`: the machine that runs will be on, if it is another one."""
        super().__init__()
        self._curriculum, self._host = curriculum, host
        self._known: Mapping[str, LessonProgress] = {}
        self._has_chosen = False
        """Whether the learner has moved in the list: then the choice stays."""
        self._awaits: bool | None = None
        """A request to open before the list was loaded: with exercises only, or not."""
        self.is_known = False
        """Whether the journal has been read since the screen was shown."""
        self.open_slug = ""
        """The open lesson, if there is one."""

    # ── For subclasses ──────────────────────────────────────────────────────────────

    def entries(self, curriculum: Sequence[LessonProgress]) -> Iterable[LessonRow]:
        """The rows."""
        raise NotImplementedError

    def choose_first(self, pane: LessonsPane) -> None:
        """Choose the row to begin with."""
        pane.choose_about(self.open_slug)

    # ── The parts ───────────────────────────────────────────────────────────────────

    def parts(self) -> Iterable[Widget]:
        """Header, list, details, status and footer."""
        yield Header(id="header", host=self._host, heading=self.HEADING)
        yield LessonsPane(id="lessons")
        yield DetailsPane(id="details")
        yield StatusBar(id="status").data_bind(LessonListScreen.notice)
        yield Footer(self.ALL_COMMANDS, id="footer")

    def on_mount(self) -> None:
        """Show the lessons at once, and their progress after the first paint."""
        self.show(self._curriculum.unknown())

    def on_screen_resume(self) -> None:
        """Refresh the progress whenever the screen is shown."""
        self.is_known = self._has_chosen = False
        if self.query_one(LessonsPane).lines:
            after_paint(self, self._read_progress)

    def on_lessons_pane_drawn(self) -> None:
        """Read the progress once the list is there for the first time, and painted."""
        after_paint(self, self._read_progress)

    def _read_progress(self) -> None:
        self.is_known = True
        self._curriculum.refresh()
        self.show(self._curriculum.now())
        awaits, self._awaits = self._awaits, None
        if awaits is not None:
            self.action_open_chosen(awaits)

    def show(self, curriculum: Sequence[LessonProgress]) -> None:
        """Show these lessons."""
        self._known = by_slug(curriculum)
        pane = self.query_one(LessonsPane)
        pane.entries = tuple(self.entries(curriculum))
        if not self._has_chosen:
            self.choose_first(pane)
        self._show_details()

    def clear_notice(self) -> None:
        """Clear a notice that only says why the last key had no effect.

        A refusal stays: it may be about the file that keeps the progress.
        """
        if self.notice.kind == "no_effect":
            self.notice = Notice()

    def _show_details(self) -> None:
        pane = self.query_one(LessonsPane)
        slug = pane.entry.about if pane.entry else ""
        self.query_one(DetailsPane).show(slug, self._known, pane.place)

    def on_lessons_pane_chosen_moved(self) -> None:
        """Show the details of the newly chosen row."""
        self._show_details()

    def on_lessons_pane_picked(self) -> None:
        """Act as enter does."""
        self.action_open_chosen()

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_choose(self, by: int) -> None:
        """Move one row on, or back."""
        self._has_chosen = True
        self.query_one(LessonsPane).choose(by)

    def action_page(self, by: int) -> None:
        """Move one page on, or back."""
        self._has_chosen = True
        self.query_one(LessonsPane).turn_page(by)

    def action_end(self, last: bool) -> None:
        """Move to the first or the last row."""
        self._has_chosen = True
        self.query_one(LessonsPane).choose_end(last)

    def action_open_chosen(self, exercises_only: bool = False) -> None:
        """Open the chosen lesson, or resume; if the list is not loaded yet, wait for it."""
        entry = self.query_one(LessonsPane).entry
        if not self.is_known and not self._has_chosen:
            self._awaits = exercises_only
        elif entry is None or entry.target is None:
            self.notice = Notice("no_lesson_here", kind="no_effect")
        elif isinstance(entry.target, Bookmark) and not exercises_only:
            self.call_later(self.run_action, "app.resume")
        elif isinstance(entry.target, Bookmark):
            known = self._known.get(entry.about)
            if known is not None:
                self.post_message(self.LessonChosen(known.headline, exercises_only))
        else:
            self.post_message(self.LessonChosen(entry.target, exercises_only))


def _headings(curriculum: Sequence[LessonProgress]) -> dict[str, list[LessonRow]]:
    """The row above the first lesson of each chapter, by heading; none where there are none."""
    standings = {s.headline.path: s for s in curriculum}
    chapters = by_chapter([s.headline for s in curriculum])
    return {
        title: [LessonRow(partial(chapter_row, title, [standings[h.path] for h in found]))]
        for title, found in chapters.items()
        if title
    }


class MapScreen(LessonListScreen):
    """The screen with all lessons, each below a prerequisite; enter opens one."""

    ALL_COMMANDS = MAP_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(MAP_COMMANDS)]
    HEADING = "What builds on what"

    def entries(self, curriculum: Sequence[LessonProgress]) -> Iterable[LessonRow]:
        """The rows of the tree."""
        from tutor.lesson.map import rows  # noqa: PLC0415 - loads the YAML parser

        found = {s.headline.path: s for s in curriculum}
        titles = {s.headline.slug: s.headline.title for s in curriculum}
        headings = _headings(curriculum)
        for row in rows([s.headline for s in curriculum]):
            yield from headings.pop(row.chapter, ())
            slug = row.headline.slug
            is_open = slug == self.open_slug
            draw = partial(map_row, row, found[row.headline.path], is_open, titles)
            yield LessonRow(draw, row.headline, slug)

    def choose_first(self, pane: LessonsPane) -> None:
        """Choose the open lesson; without one, the first that is not done."""
        undone = (slug for slug, s in self._known.items() if not s.is_done)
        if not pane.choose_about(self.open_slug):
            pane.choose_about(next(undone, ""))


class MenuScreen(LessonListScreen):
    """The screen with all lessons in order; enter opens one, or resumes the last."""

    ALL_COMMANDS = MENU_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(MENU_COMMANDS)]
    HEADING = "Gradient descent, backpropagation and autograd, step by step"

    def __init__(self, curriculum: CurriculumProgress, host: str = "") -> None:
        super().__init__(curriculum, host)
        self._words = ""
        """The words of the search."""
        self._widest = 0
        """The cells of the widest title of all lessons."""

    def entries(self, curriculum: Sequence[LessonProgress]) -> Iterable[LessonRow]:
        """The row to resume (or a welcome), then the lessons that match the search."""
        found, self._widest = matching(curriculum, self._words), widest_title(curriculum)
        if not self._words:
            yield self._first_entry(curriculum)
        elif not found:
            yield LessonRow(lambda width: line("No lesson contains these words"))
        headings = {} if self._words else _headings(curriculum)
        for number, standing in found:
            yield from headings.pop(standing.headline.chapter or OTHERS, ())
            slug = standing.headline.slug
            yield LessonRow(partial(self._row, number, standing), standing.headline, slug)

    def _row(self, number: int, standing: LessonProgress, width: int) -> Content:
        is_open = standing.headline.slug == self.open_slug
        column = title_column(self._widest, width)
        return menu_row(number, standing, is_open, column, width)

    def _first_entry(self, curriculum: Sequence[LessonProgress]) -> LessonRow:
        """The row to resume. It takes a line from the start, so that nothing moves later."""
        left = self._curriculum.last_bookmark() if self.is_known else None
        if left is not None:
            known = self._known.get(left.slug)
            headline = known.headline if known else None
            return LessonRow(partial(go_on_row, left, headline), left, left.slug)
        is_new = self.is_known and not any(s.has_begun for s in curriculum)
        words = line((WELCOME if is_new else "", STRONG))
        return LessonRow(lambda width: words.truncate(width, ellipsis=True))

    def choose_first(self, pane: LessonsPane) -> None:
        """Choose the open lesson; without one, the row to resume; else the first lesson."""
        if self._words or not pane.choose_about(self.open_slug):
            pane.choose_end(False)

    # ── Finding ─────────────────────────────────────────────────────────────────────

    async def action_find(self) -> None:
        """Open the search field, which filters the lessons by its words."""
        if not self.query("#find"):
            field = Field(id="find-text", compact=True, select_on_focus=False)
            await self.mount(Horizontal(Label("Find: "), field, id="find"), before="#status")
            self.query_one(Footer).only = FIND_COMMANDS
            field.focus()

    async def action_back(self) -> None:
        """Leave the field; then go back to the open lesson."""
        if self.query("#find"):
            self._leave_field()
        else:
            await self.run_action("app.lesson")

    def on_screen_suspend(self) -> None:
        """Clear the search when a lesson was opened, so that the menu lists all next time."""
        self._leave_field()

    def _leave_field(self) -> None:
        if self.query("#find"):
            self.query("#find").remove()
            self.query_one(Footer).only = ()
            self._find("")

    def _find(self, words: str) -> None:
        self._words = words
        self._has_chosen = False
        self.show(self._curriculum.now())

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter the lessons by the new words."""
        event.stop()
        if self.query("#find"):
            self._find(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Open the chosen search result."""
        event.stop()
        self.action_open_chosen()
