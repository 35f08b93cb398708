"""The compare screen: all modes of a lesson at the same parameters, while the run is stepped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.widget import Widget

from tutor.ui.bars import ErrorBar, Footer, Header, StatusBar
from tutor.ui.commands import LESSON_COMMANDS, AppCommand, bindings
from tutor.ui.panes.comparison import ComparisonPane
from tutor.ui.screens.base import SessionScreen

SHARED = (
    "step_phase",
    "step_epoch",
    "back_phase",
    "back_epoch",
    "toggle_run",
    "restart",
    "next_mode",
    "previous_mode",
    "next_device",
    "lower_learning_rate",
    "raise_learning_rate",
    "ask_learning_rate",
    "value",
    "jump",
    "palette",
    "help",
    "quit",
)
"""The lesson screen's commands that work here, too, by the same keys."""

COMPARE_COMMANDS = (
    *(command for command in LESSON_COMMANDS if command.name in SHARED),
    AppCommand("stop", ("x", "ctrl+c"), "stop", "Stop what is running",
            "screen.session('stop')", 16, priority=True),
    AppCommand("close", ("c", "escape"), "lesson", "Back to the lesson", "app.back", 4),
)  # fmt: skip


class CompareScreen(SessionScreen):
    """The screen with the gradients of all modes, between the same bars as the lesson's."""

    ALL_COMMANDS = COMPARE_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(COMPARE_COMMANDS)]
    AUTO_FOCUS = "#agreement"

    def parts(self) -> Iterable[Widget]:
        """Header, the one pane, status and footer; all bind to this screen's attributes."""
        view = CompareScreen.view
        yield Header(id="header").data_bind(view)
        yield ErrorBar(id="error").data_bind(view, CompareScreen.attempt)
        with Container(id="panes"):
            pane = ComparisonPane(id="agreement").data_bind(view)
            pane.tabs = (("Every mode's gradient at the same parameters", True),)
            yield pane
        status = StatusBar(id="status")
        yield status.data_bind(view, CompareScreen.notice, CompareScreen.waiting)
        yield Footer(COMPARE_COMMANDS, id="footer")

    def on_mount(self) -> None:
        """Start comparing the modes."""
        self.session.inspect(compare=True)

    def on_unmount(self) -> None:
        """Stop comparing the modes, because it costs time."""
        self.session.inspect(compare=False)
