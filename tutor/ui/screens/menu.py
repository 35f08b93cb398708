"""The menu: the last bookmark, and all lessons in the curriculum's order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Label

from tutor.ui import text_styles
from tutor.ui.bars import Footer
from tutor.ui.commands import FIND_COMMANDS, MENU_COMMANDS, bindings
from tutor.ui.fields import Field
from tutor.ui.lesson_lines import WELCOME, go_on_row, matching, menu_row, title_column
from tutor.ui.lesson_progress import CurriculumProgress, LessonProgress
from tutor.ui.panes.lessons import LessonRow, LessonsPane
from tutor.ui.screens.lesson_list import LessonListScreen
from tutor.ui.text_styles import line


class MenuScreen(LessonListScreen):
    """The screen with all lessons in order; enter opens one, or resumes the last."""

    ALL_COMMANDS = MENU_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(MENU_COMMANDS)]
    HEADING = "Gradient descent, backpropagation and autograd, step by step"

    def __init__(self, curriculum: CurriculumProgress) -> None:
        super().__init__(curriculum)
        self._words = ""
        """The words of the search."""

    def entries(self, curriculum: Sequence[LessonProgress]) -> Iterable[LessonRow]:
        """The row to resume (or a welcome), then the lessons that match the search."""
        found = matching(curriculum, self._words)
        if not self._words:
            yield self._first_entry(curriculum)
        elif not found:
            yield LessonRow(lambda width: line("No lesson has these words"))
        for number, standing in found:
            slug = standing.headline.slug
            yield LessonRow(partial(self._row, number, standing), standing.headline, slug)

    def _row(self, number: int, standing: LessonProgress, width: int) -> Content:
        is_open = standing.headline.slug == self.open_slug
        column = title_column(tuple(self._known.values()), width)
        return menu_row(number, standing, is_open, column, width)

    def _first_entry(self, curriculum: Sequence[LessonProgress]) -> LessonRow:
        """The row to resume. It takes a line from the start, so that nothing moves later."""
        left = self._curriculum.last_left() if self.is_known else None
        if left is not None:
            known = self._known.get(left.slug)
            headline = known.headline if known else None
            return LessonRow(partial(go_on_row, left, headline), left, left.slug)
        is_new = self.is_known and not any(s.has_begun for s in curriculum)
        words = line((WELCOME if is_new else "", text_styles.STRONG))
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
