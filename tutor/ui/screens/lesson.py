"""The lesson screen: composes the panes, and carries keys to the session.

Knows which panes there are and where they stand; what they show is theirs, and what is
said to the engine the session's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Container
from textual.reactive import var
from textual.widget import Widget

from tutor.ui.bars import ErrorBar, Footer, Header, StatusBar
from tutor.ui.commands import LESSON_COMMANDS, PANE_COMMANDS, PANE_NAMES, bindings
from tutor.ui.moment import Moment, Notice
from tutor.ui.panes.code import CodePane
from tutor.ui.panes.formula import FormulaPane
from tutor.ui.panes.ladder import LadderPane
from tutor.ui.panes.lines import LinesPane
from tutor.ui.panes.numbers import NumbersPane
from tutor.ui.panes.output import OutputPane
from tutor.ui.panes.plot import PlotPane
from tutor.ui.printed import PrintedText
from tutor.ui.screens.asking import ask
from tutor.ui.screens.runs import RunsScreen
from tutor.ui.screens.sized import SizedScreen
from tutor.ui.session import Session

TITLES = {
    "formula": "1 Formula",
    "code": "2 Code",
    "numbers": "3 Numbers",
    "plot": "4 Loss by epoch",
    "output": "5 Output",
    "ladder": "6 Who does what",
}
UPPER, LOWER = PANE_NAMES[:2], PANE_NAMES[2:6]
"""The panes that share a place where there is no room for all."""

WIDE, TALL = 110, 34
"""From this size on all panes are shown at once; only wide, two of them side by side."""

PULSE = 0.5
"""Seconds between two looks at whether something takes long."""


class LessonScreen(SizedScreen):
    """Formula, code, numbers, plot, output and ladder of one run."""

    ALL_COMMANDS = (*LESSON_COMMANDS, *PANE_COMMANDS)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(ALL_COMMANDS)]
    AUTO_FOCUS = "#formula"

    moment: var[Moment | None] = var(None)
    notice: var[Notice] = var(Notice)
    waiting: var[str] = var("")
    printed: var[PrintedText] = var(PrintedText)

    def __init__(self, session: Session, ascii_only: bool, heading: str = "") -> None:
        """`heading` is the title to show until a lesson is open."""
        super().__init__()
        self.session = session
        self._heading = heading
        self._ascii = ascii_only
        self._shown = {"upper": "formula", "lower": "numbers"}
        self._layout = ""

    def parts(self) -> Iterable[Widget]:
        """Header, panes, status and footer; all take what they show from here."""
        moment = LessonScreen.moment
        header = Header(id="header").data_bind(moment)
        header.set_reactive(Header.heading, self._heading)
        yield header
        yield ErrorBar(id="error").data_bind(moment)
        with Container(id="panes"):
            yield FormulaPane(id="formula", ascii_only=self._ascii).data_bind(moment)
            yield CodePane(id="code").data_bind(moment)
            yield NumbersPane(id="numbers").data_bind(moment)
            yield PlotPane(id="plot", ascii_only=self._ascii).data_bind(moment)
            yield OutputPane(id="output").data_bind(LessonScreen.printed)
            yield LadderPane(id="ladder").data_bind(moment)
        status = StatusBar(id="status")
        yield status.data_bind(moment, LessonScreen.notice, LessonScreen.waiting)
        yield Footer(LESSON_COMMANDS, id="footer")

    def on_mount(self) -> None:
        """Take over what there is, and look every now and then for what takes long."""
        self.update_from_session()
        self.set_interval(PULSE, self._feel_the_pulse)

    def update_from_session(self) -> None:
        """Take over what the session holds."""
        self.printed = self.session.printed
        self.moment = self.session.moment
        self.notice = self.session.notice
        self.waiting = self.session.waiting_line()

    def _feel_the_pulse(self) -> None:
        self.waiting = self.session.waiting_line()

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_session(self, name: str) -> None:
        """Let the session do what the learner wishes."""
        getattr(self.session, name)()
        self.update_from_session()

    def action_ask(self, what: str) -> None:
        """Ask for a number, and act on it."""
        ask(self.app, self.session, what, self.update_from_session)

    def action_runs(self) -> None:
        """The list of runs."""
        if self.session.moment is not None:
            self.session.pause()
            self.app.push_screen(RunsScreen(self.session))

    def action_stop(self) -> None:
        """Break off what runs."""
        self.action_session("stop")

    def action_show(self, pane: str) -> None:
        """Show a pane and give it the focus."""
        self._shown["upper" if pane in UPPER else "lower"] = pane
        self._place_panes()
        self.query_one(f"#{pane}").focus()

    # ── Layout ──────────────────────────────────────────────────────────────────────

    def resized(self, width: int, height: int) -> None:
        """All panes where there is room, else two at a time."""
        layout = "tabs" if width < WIDE else "beside" if height < TALL else "all"
        if layout != self._layout:
            self._layout = layout
            for name in ("tabs", "beside", "all"):
                self.set_class(name == layout, f"-{name}")
            self._place_panes()

    def _place_panes(self) -> None:
        for names in (UPPER, LOWER):
            shown = self._shown["upper" if names is UPPER else "lower"]
            for name in names:
                pane = self.query_one(f"#{name}", LinesPane)
                alone = self._layout == "all"
                pane.display = alone or name == shown
                pane.tabs = tuple((TITLES[n], n == name) for n in ((name,) if alone else names))

    def on_plot_pane_wanted(self, message: PlotPane.Wanted) -> None:
        """The engine thins the curve to what can be seen."""
        self.session.look(message.columns)
