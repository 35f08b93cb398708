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

from tutor.teaching.printed import PrintedText
from tutor.teaching.session import Session
from tutor.ui.bars import ErrorBar, Footer, Header, StatusBar
from tutor.ui.commands import (
    CODE_COMMANDS,
    GRAPH_COMMANDS,
    LESSON_COMMANDS,
    PANE_COMMANDS,
    TIMELINE_COMMANDS,
    bindings,
)
from tutor.ui.panes.code import CodePane
from tutor.ui.panes.formula import FormulaPane
from tutor.ui.panes.graph import GraphPane
from tutor.ui.panes.ladder import LadderPane
from tutor.ui.panes.lines import LinesPane
from tutor.ui.panes.numbers import NumbersPane
from tutor.ui.panes.output import OutputPane
from tutor.ui.panes.plot import PlotPane
from tutor.ui.panes.timeline import Timeline
from tutor.ui.screens.following import FollowingScreen

TITLES = {
    "formula": "1 Formula",
    "code": "2 Code",
    "numbers": "3 Numbers",
    "plot": "4 Plot",
    "output": "5 Output",
    "ladder": "6 Who does what",
    "graph": "7 Graph",
}

WIDE, TALL = 110, 34
"""From this size on all panes are shown at once; only wide, two of them side by side."""

_TWO = (("formula", "code", "graph"), ("numbers", "plot", "output", "ladder"))
_SIX = (("formula",), ("code", "graph"), ("numbers",), ("plot",), ("output",), ("ladder",))
GROUPS = {"tabs": _TWO, "beside": _TWO, "all": _SIX}
"""By layout: the panes that share a place."""


class LessonScreen(FollowingScreen):
    """Formula, code, numbers, plot, output, ladder and graph of one run."""

    ALL_COMMANDS = (*LESSON_COMMANDS, *PANE_COMMANDS)
    PANE_KEYS = (*CODE_COMMANDS, *GRAPH_COMMANDS, *TIMELINE_COMMANDS)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(ALL_COMMANDS)]
    AUTO_FOCUS = "#formula"

    printed: var[PrintedText] = var(PrintedText)

    def __init__(self, session: Session, ascii_only: bool, heading: str = "") -> None:
        """`heading` is the title to show until a lesson is open."""
        super().__init__(session)
        self._heading = heading
        self._ascii = ascii_only
        self._shown: dict[tuple[str, ...], str] = {}
        """By group: the pane of it that is shown, if it is not the first."""
        self._layout = "tabs"
        self._left_from: tuple[int, int] | None = None
        """Where the run stood when the timeline was entered."""

    def parts(self) -> Iterable[Widget]:
        """Header, panes, timeline, status and footer; all take what they show from here."""
        moment = LessonScreen.moment
        header = Header(id="header").data_bind(moment)
        header.set_reactive(Header.heading, self._heading)
        yield header
        yield ErrorBar(id="error").data_bind(moment)
        with Container(id="panes"):
            yield FormulaPane(id="formula", ascii_only=self._ascii).data_bind(moment)
            yield CodePane(id="code").data_bind(moment)
            yield GraphPane(id="graph").data_bind(moment)
            yield NumbersPane(id="numbers").data_bind(moment)
            yield PlotPane(id="plot", ascii_only=self._ascii).data_bind(moment)
            yield OutputPane(id="output").data_bind(LessonScreen.printed)
            yield LadderPane(id="ladder").data_bind(moment)
        yield Timeline(id="timeline").data_bind(moment)
        status = StatusBar(id="status")
        yield status.data_bind(moment, LessonScreen.notice, LessonScreen.waiting)
        yield Footer(LESSON_COMMANDS, id="footer")

    def update_from_session(self) -> None:
        """Take over what the session holds."""
        self.printed = self.session.printed
        super().update_from_session()

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_show(self, pane: str) -> None:
        """Show a pane and give it the focus."""
        group = next(g for g in GROUPS[self._layout] if pane in g)
        self._shown[group] = pane
        self._place_panes()
        self.query_one(f"#{pane}").focus()

    def action_operation(self) -> None:
        """One operation of backward, seen in the graph."""
        if not self.query_one("#graph").display:
            self.action_show("graph")
        self.session.step_operation()
        self.update_from_session()

    def action_turn_plot(self, by: int) -> None:
        """Another plot."""
        plot = self.query_one(PlotPane)
        if plot.display:
            plot.turn(by)
        self.action_show("plot")

    def action_turn_difference(self) -> None:
        """What another mode writes instead, phase by phase."""
        self.query_one(CodePane).turn_difference()
        self.action_show("code")

    def action_runs(self) -> None:
        """The list of runs."""
        from tutor.ui.screens.runs import RunsScreen  # noqa: PLC0415  after the first paint

        if self.session.moment is not None:
            self.session.pause()
            self.app.push_screen(RunsScreen(self.session))

    def action_compare(self) -> None:
        """All modes side by side."""
        from tutor.ui.screens.compare import CompareScreen  # noqa: PLC0415  as above

        if self.session.moment is not None:
            self.app.push_screen(CompareScreen(self.session))

    def action_stop(self) -> None:
        """Leave the timeline, or break off what runs."""
        if self.query_one(Timeline).display:
            self.query_one(Timeline).action_leave(False)
        else:
            self.action_session("stop")

    # ── The timeline ────────────────────────────────────────────────────────────────

    def action_timeline(self) -> None:
        """Open the timeline; if it is open, stay where it is."""
        timeline, moment = self.query_one(Timeline), self.session.moment
        if timeline.display:
            timeline.action_leave(True)
        elif moment is not None and moment.frame is not None:
            self.session.pause()
            self._left_from = (moment.frame.at.epoch, moment.frame.at.step)
            timeline.display = True
            timeline.focus()

    def on_timeline_moved(self, message: Timeline.Moved) -> None:
        """Go there, as fast as the run can be played."""
        self.session.scrub(message.epoch)
        self.update_from_session()

    def on_timeline_phase_moved(self, message: Timeline.PhaseMoved) -> None:
        """A phase on, or one back."""
        self.action_session("step_phase" if message.forward else "back_phase")

    def on_timeline_left(self, message: Timeline.Left) -> None:
        """Put it away; where the learner does not stay, go back to where it began."""
        self.query_one(Timeline).display = False
        self.query_one("#formula").focus()
        if not message.stay and self._left_from is not None:
            self.session.scrub(*self._left_from)
        self._left_from = None
        self.update_from_session()

    # ── What the panes look at ──────────────────────────────────────────────────────

    def on_plot_pane_wanted(self, message: PlotPane.Wanted) -> None:
        """The engine thins the curve to what can be seen, and computes what is plotted."""
        self.session.look(message.columns, message.kind)

    def on_code_pane_name_chosen(self, message: CodePane.NameChosen) -> None:
        """The engine tells all about this name."""
        self.session.look_at_name(message.name)

    def on_graph_pane_looked(self, message: GraphPane.Looked) -> None:
        """The engine follows the graph while it is in view."""
        self.session.look_at_graph(message.is_seen)

    # ── Layout ──────────────────────────────────────────────────────────────────────

    def resized(self, width: int, height: int) -> None:
        """All panes where there is room, else two at a time."""
        layout = "tabs" if width < WIDE else "beside" if height < TALL else "all"
        if not self.has_class(f"-{layout}"):
            self._layout = layout
            for name in GROUPS:
                self.set_class(name == layout, f"-{name}")
            self._place_panes()

    def _place_panes(self) -> None:
        for group in GROUPS[self._layout]:
            shown = self._shown.get(group, group[0])
            for name in group:
                pane = self.query_one(f"#{name}", LinesPane)
                pane.display = name == shown
                pane.tabs = tuple((TITLES[n], n == name) for n in group)
