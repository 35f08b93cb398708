"""The menu: the lessons there are, one of which is opened.

Knows headlines, not lessons; opening one is the app's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tutor.plain import one_line
from tutor.teaching.moment import Notice
from tutor.ui import looks
from tutor.ui.bars import Footer, Header, StatusBar
from tutor.ui.commands import MENU_COMMANDS, bindings
from tutor.ui.looks import line
from tutor.ui.screens.sized import SizedScreen

if TYPE_CHECKING:
    from tutor.lesson.library import Headline


class MenuScreen(SizedScreen):
    """All lessons in order; enter opens one."""

    class LessonChosen(Message):
        """The learner has chosen a lesson."""

        def __init__(self, headline: Headline) -> None:
            super().__init__()
            self.headline = headline

    ALL_COMMANDS = MENU_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(MENU_COMMANDS)]
    AUTO_FOCUS = "#lessons"

    notice: var[Notice] = var(Notice)
    """What the status line says."""

    def __init__(self, list_lessons: Callable[[], Sequence[Headline]]) -> None:
        super().__init__()
        self._list_lessons = list_lessons
        self.open_path: Path | None = None
        """The lesson that is open, if one is."""

    def parts(self) -> Iterable[Widget]:
        """Header, list, status and footer."""
        header = Header(id="header")
        header.heading = "Gradient descent, backpropagation and autograd, step by step"
        yield header
        entries = (Option(_entry(headline)) for headline in self._list_lessons())
        yield OptionList(*entries, id="lessons", markup=False)
        yield StatusBar(id="status").data_bind(MenuScreen.notice)
        yield Footer(MENU_COMMANDS, id="footer")

    def tell(self, notice: Notice) -> None:
        """Say something in the status line."""
        self.notice = notice

    def on_screen_resume(self) -> None:
        """Put the cursor on the lesson that is open."""
        paths = [h.path for h in self._list_lessons()]
        if self.open_path in paths:
            self.query_one(OptionList).highlighted = paths.index(self.open_path)

    def action_open_chosen(self) -> None:
        """Open the lesson under the cursor."""
        self.query_one(OptionList).action_select()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A lesson was chosen."""
        event.stop()
        self.post_message(self.LessonChosen(self._list_lessons()[event.option_index]))


def _entry(headline: Headline) -> Content:
    modes = " · ".join(one_line(m) for m in headline.modes)
    title = line((one_line(headline.title), looks.STRONG), (f"  {modes}", looks.DIM))
    if headline.fault:
        return title + line(("\n  ✗ " + one_line(headline.fault), looks.ERROR))
    return title + line("\n  " + one_line(headline.summary))
