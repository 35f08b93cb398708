"""The base classes of the screens.

Every screen says what size it needs in a terminal that is too small. A session screen also shows
the session's state and passes commands to it; one with panes decides which of them share a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, cast, runtime_checkable

from textual import events
from textual.app import ComposeResult
from textual.reactive import var
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from tutor.lesson.exercise import Backpropagate
from tutor.session.run_view import Notice, RunView
from tutor.ui.commands import KEYS, NOT_FOR_SCRIPTS, PANE_TITLES, RECONNECT, AppCommand
from tutor.wording.notices import notice_text

if TYPE_CHECKING:
    from tutor.session.attempt import Attempt
    from tutor.session.session import Session
    from tutor.ui.lines import LinesPane
    from tutor.ui.panes.exercise import ExercisePane

MIN_WIDTH, MIN_HEIGHT = 80, 22
"""Less than 80×24, which leaves room for a multiplexer's own lines."""


class SizedScreen(Screen[None]):
    """A screen that hides its parts while the terminal is too small for them."""

    ALL_COMMANDS: ClassVar[tuple[AppCommand, ...]] = ()
    """The screen's commands: keys, footer, help and palette are made from them."""
    PANE_KEYS: ClassVar[tuple[AppCommand, ...]] = ()
    """The commands of single panes, which work while they have the focus; for the help."""

    @property
    def commands(self) -> Sequence[AppCommand]:
        """The commands that are of use now."""
        return self.ALL_COMMANDS

    @property
    def pane_keys(self) -> Sequence[AppCommand]:
        """The commands of single panes that are of use now."""
        return self.PANE_KEYS

    def compose(self) -> ComposeResult:
        """The parts, and the message that replaces them in a small terminal."""
        yield Static("", id="too-small", markup=False)
        yield from self.parts()

    def parts(self) -> Iterable[Widget]:
        """The parts of the screen."""
        return ()

    def __init__(self) -> None:
        super().__init__()
        self._had_focus: Widget | None = None
        """The widget that had the focus before the parts were hidden."""

    def on_resize(self, event: events.Resize) -> None:
        """Hide or show the parts by the new size; the focus returns to where it was."""
        width, height = event.size
        is_small, was_small = width < MIN_WIDTH or height < MIN_HEIGHT, self.is_too_small
        if is_small and not was_small:
            self._had_focus = self.focused
        self.set_class(is_small, "-too-small")
        words = (
            f"The tutor needs a window of {MIN_WIDTH}×{MIN_HEIGHT}; this one is {width}×{height}"
            " · q quits"
        )
        self.query_one("#too-small", Static).update(words)
        if was_small and not is_small and self._had_focus is not None:
            self.set_focus(self._had_focus)
        self.resized(width, height)

    @property
    def is_too_small(self) -> bool:
        """Whether only the message about the size is shown."""
        return self.has_class("-too-small")

    def resized(self, width: int, height: int) -> None:
        """Choose a layout."""

    def clear_notice(self) -> None:
        """Clear a notice that was for the last key: another one is pressed."""


@runtime_checkable
class SessionObserver(Protocol):
    """A screen that shows the session's state."""

    def update_from_session(self) -> None:
        """Take over the session's state."""


PULSE = 0.5
"""Seconds between two checks for long waits."""


class SessionScreen(SizedScreen):
    """A screen whose attributes feed its panes: run view, attempt, notice and pending command."""

    STOP_KEY: ClassVar[str] = "x"
    """The key that stops what is running."""

    view: var[RunView | None] = var(None)
    attempt: var[Attempt | None] = var(None)
    notice: var[Notice] = var(Notice)
    waiting: var[str] = var("")

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def on_mount(self) -> None:
        """Take over the session's state, and check regularly for long waits."""
        self.update_from_session()
        self.set_interval(PULSE, self._check_waiting)

    def update_from_session(self) -> None:
        """Take over the session's state."""
        self.view = self.session.view
        self.attempt = self.session.attempt
        self.notice = self.session.notice
        self._check_waiting()

    def _check_waiting(self) -> None:
        waiting = self.session.check_waiting()
        keys = {**KEYS, "stop": self.STOP_KEY}
        self.waiting = notice_text(waiting, keys) if waiting.code else ""

    def clear_notice(self) -> None:
        """Clear a notice that only says why the last key had no effect."""
        if self.session.notice.kind in ("no_effect", "refused"):
            self.session.notice = Notice()
            self.update_from_session()

    def tell_no_effect(self, code: str, **values: object) -> None:
        """Say why a key had no effect."""
        self.session.tell(code, kind="no_effect", **values)
        self.update_from_session()

    def action_session(self, name: str) -> None:
        """Let the session run a command."""
        getattr(self.session, name)()
        self.update_from_session()

    def action_controller(self, name: str) -> None:
        """Let the session's exercise controller run a command."""
        getattr(self.session.controller, name)()
        self.update_from_session()


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
        is_at_exercise = self.attempt is not None and self.query_one("#exercise").display
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
                if shown and shown.id == "exercise":  # letters were keys, and remain keys
                    self.set_focus(self.query_one("#exercise-text"))
                elif shown:  # no pane has `display` while the app closes
                    shown.focus()

    def _place_panes(self) -> None:
        if self.is_script:
            self.query_one("#exercise").display = False
        for group in self._groups:
            wanted = "exercise" if self.attempt else "code" if self.is_script else ""
            first = wanted if wanted in group else group[0]
            shown = self._shown.get(group, first)
            for name in group:
                pane = cast("LinesPane | ExercisePane", self.query_one(f"#{name}"))
                pane.display = name == shown
                pane.tabs = tuple((TITLES[n], n == name) for n in group)


def pane_beside(attempt: Attempt, groups: _Groups, before: Mapping[tuple[str, ...], str]) -> str:
    """The pane beside an exercise: Code for a repair, Graph for a backward pass.

    For the other kinds it is the pane in view before, except the graph, which may be absent.
    """
    if attempt.wants.is_edited:
        return "code"
    if isinstance(attempt.exercise, Backpropagate):
        return "graph"
    group = next(group for group in groups if "formula" in group)
    pane = before.get(group, group[0])
    return "formula" if pane == "graph" else pane
