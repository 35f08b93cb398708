"""The panes of a lesson's run on the screen: which of them share a place in which layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from textual.app import ComposeResult

from tutor.lesson.exercise import BeAutograd, Repair
from tutor.session.attempt import Attempt
from tutor.session.session import Session
from tutor.ui.commands import NOT_FOR_SCRIPTS, PANE_TITLES, RECONNECT, AppCommand
from tutor.ui.lines import LinesPane
from tutor.ui.panes.exercise import ExercisePane
from tutor.ui.screens.base import SessionScreen

TITLES = {id: f"{i} {title}" for i, (id, title) in enumerate(PANE_TITLES.items(), 1)}

WIDE, TALL = 110, 34
"""The least size at which all panes are shown; with only the width, two stand side by side."""

_Groups: TypeAlias = Sequence[tuple[str, ...]]

_TWO = (("formula", "code", "graph"), ("numbers", "plot", "output", "ladder", "exercise"))
_SIX = (
    ("formula",), ("code", "graph"), ("numbers",), ("plot",), ("output",), ("ladder", "exercise")
)  # fmt: skip
_FIVE = (("formula",), ("code", "graph"), ("numbers",), ("plot",), ("output", "ladder", "exercise"))
GROUPS = {"tabs": _TWO, "beside": _TWO, "all": _SIX}
"""The panes that share a place, by layout."""

_OF_SCRIPT = {
    layout: tuple(tuple(pane for pane in group if pane != "exercise") for group in groups)
    for layout, groups in GROUPS.items()
}
"""The panes that share a place for a script, which has no exercises."""

_EXERCISING = {**GROUPS, "all": _FIVE}
"""The panes that share a place during an exercise, which needs room."""


class PaneLayoutScreen(SessionScreen):
    """A session screen that shows as many of its panes as there is room for."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._shown: dict[tuple[str, ...], str] = {}
        """The visible pane of each group, if it is not the first."""
        self._before: dict[tuple[str, ...], str] = {}
        """The panes in view before the current exercise."""
        self._layout = "tabs"
        self._is_placed = False
        """Whether the panes have been placed for the first time."""

    def compose(self) -> ComposeResult:
        """The parts, made with the layout's styles: to change them later would take long."""
        self._take_layout(*self.app.size, update=False)
        yield from super().compose()

    @property
    def is_script(self) -> bool:
        """Whether the run plays a learner's own script."""
        return self.view is not None and self.view.lesson.script is not None

    @property
    def commands(self) -> Sequence[AppCommand]:
        """The commands; for a script, without the commands of exercises and gradient modes."""
        return self._of_use(self.ALL_COMMANDS)

    @property
    def pane_keys(self) -> Sequence[AppCommand]:
        """The commands of single panes."""
        return self._of_use(self.PANE_KEYS)

    def _of_use(self, commands: Sequence[AppCommand]) -> Sequence[AppCommand]:
        left_out = self.left_out(may_reconnect=self.session.host != "")
        return [c for c in commands if c.name not in left_out]

    def left_out(self, *, may_reconnect: bool) -> frozenset[str]:
        """The names of the commands that are of no use now."""
        names = NOT_FOR_SCRIPTS if self.is_script else frozenset()
        return names if may_reconnect else names | {RECONNECT.name}

    def action_show(self, pane: str) -> None:
        """Show a pane and give it the focus."""
        if not any(pane in group for group in self._groups):
            self.tell_no_effect("script_exercises")
            return
        self._bring(pane)
        self.query_one(f"#{pane}").focus()

    def _bring(self, pane: str) -> None:
        self._shown[next(group for group in self._groups if pane in group)] = pane
        self._place_panes()

    def _take_layout(self, width: int, height: int, *, update: bool = True) -> None:
        """Choose the layout for this size, and set its class for the styles."""
        self._layout = "tabs" if width < WIDE else "beside" if height < TALL else "all"
        classes = {f"-{name}": name == self._layout for name in GROUPS}
        self.update_classes(classes, update=update)

    def resized(self, width: int, height: int) -> None:
        """Show all panes if there is room, else two at a time."""
        before, focused = self._layout, self._focused_pane
        is_at_exercise = self.attempt is not None and self.query_one(ExercisePane).display
        self._take_layout(width, height)
        if self._layout != before or not self._is_placed:
            looked_at = focused if self._is_placed and not self.attempt else ""
            self._is_placed = True
            if self.attempt is not None:  # panes may share a place for the first time
                upper = pane_beside(self.attempt, self._groups, self._before)
                self._shown.setdefault(next(g for g in self._groups if upper in g), upper)
            if is_at_exercise or looked_at:
                self._bring("exercise" if is_at_exercise else looked_at)
            else:
                self._place_panes()
            self._keep_focus_in_view()

    def focus_text(self) -> None:
        """Focus the text of a lesson, or the code of a script."""
        self.query_one("#code" if self.is_script else "#formula").focus()

    @property
    def _focused_pane(self) -> str:
        """The pane that has the focus, or holds it; empty if none has."""
        within = self.focused.ancestors_with_self if self.focused else []
        ids = [node.id or "" for node in within]
        return next((id for id in ids if any(id in group for group in self._groups)), "")

    @property
    def _groups(self) -> _Groups:
        """The groups of panes that share a place in the current layout."""
        if self.is_script:
            return _OF_SCRIPT[self._layout]
        return (_EXERCISING if self.attempt else GROUPS)[self._layout]

    def _keep_focus_in_view(self) -> None:
        """Keep the focused pane in view when the layout changes."""
        focused = self._focused_pane
        for group in self._groups:
            panes = [self.query_one(f"#{name}") for name in group]
            if any(pane.id == focused for pane in panes if not pane.display):
                shown = next((pane for pane in panes if pane.display), None)
                if isinstance(shown, ExercisePane):
                    shown.leave_field()  # letters were keys, and remain keys
                elif shown:  # no pane has `display` while the app closes
                    shown.focus()

    def _place_panes(self) -> None:
        if self.is_script:
            self.query_one(ExercisePane).display = False
        for group in self._groups:
            wanted = "exercise" if self.attempt else "code" if self.is_script else ""
            first = wanted if wanted in group else group[0]
            shown = self._shown.get(group, first)
            for name in group:
                pane = self.query_one(f"#{name}")
                assert isinstance(pane, LinesPane | ExercisePane)
                pane.display = name == shown
                pane.tabs = tuple((TITLES[n], n == name) for n in group)


def pane_beside(attempt: Attempt, groups: _Groups, before: Mapping[tuple[str, ...], str]) -> str:
    """The pane beside an exercise: Code for a repair, Graph for a backward pass.

    For the other kinds it is the pane in view before, except the graph, which may be absent.
    """
    if isinstance(attempt.exercise, Repair):
        return "code"
    if isinstance(attempt.exercise, BeAutograd):
        return "graph"
    group = next(group for group in groups if "formula" in group)
    pane = before.get(group, group[0])
    return "formula" if pane == "graph" else pane
