"""The screen to choose a lesson: a list, the details of the chosen lesson, the keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.message import Message
from textual.reactive import var
from textual.widget import Widget

from tutor.session.journal import Bookmark
from tutor.session.run_view import Notice
from tutor.ui.bars import Footer, Header, StatusBar
from tutor.ui.lesson_lines import by_slug
from tutor.ui.lesson_progress import CurriculumProgress, LessonProgress
from tutor.ui.panes.lessons import DetailsPane, LessonRow, LessonsPane
from tutor.ui.panes.lines import after_paint
from tutor.ui.screens.sized_screen import SizedScreen

if TYPE_CHECKING:
    from tutor.lesson.library import Headline


class LessonListScreen(SizedScreen):
    """A screen that lists lessons and opens one. Subclasses define the rows."""

    class LessonChosen(Message):
        """The learner has chosen a lesson."""

        def __init__(self, headline: Headline, exercises_only: bool = False) -> None:
            super().__init__()
            self.headline = headline
            self.exercises_only = exercises_only
            """Whether to begin the lesson with its exercises."""

    class GoOnChosen(Message):
        """The learner wants to resume where they were last."""

    HEADING: ClassVar[str] = ""
    AUTO_FOCUS = ""

    notice: var[Notice] = var(Notice)
    """The text of the status line."""

    def __init__(self, curriculum: CurriculumProgress) -> None:
        super().__init__()
        self._curriculum = curriculum
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
        header = Header(id="header")
        header.set_reactive(Header.heading, self.HEADING)
        yield header
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
        after_paint(self, self._look)

    def _look(self) -> None:
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

    def tell(self, notice: Notice) -> None:
        """Show a message in the status line."""
        self.notice = notice

    def _show_details(self) -> None:
        pane = self.query_one(LessonsPane)
        slug = pane.entry.about if pane.entry else ""
        self.query_one(DetailsPane).show(slug, self._known, pane.place)

    def on_lessons_pane_chosen_moved(self) -> None:
        """Show the details of the newly chosen row."""
        self._show_details()

    def on_lessons_pane_picked(self) -> None:
        """Do the same as enter."""
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
            self.tell(Notice("There is no lesson to open here", "told"))
        elif isinstance(entry.target, Bookmark) and not exercises_only:
            self.post_message(self.GoOnChosen())
        elif isinstance(entry.target, Bookmark):
            known = self._known.get(entry.about)
            if known is not None:
                self.post_message(self.LessonChosen(known.headline, exercises_only))
        else:
            self.post_message(self.LessonChosen(entry.target, exercises_only))
