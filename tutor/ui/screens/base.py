"""The base classes of the screens.

Every screen says what size it needs in a terminal that is too small. A session screen also shows
the session's state and passes commands to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from textual import events
from textual.app import ComposeResult
from textual.reactive import var
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from tutor.session.run_view import Notice, RunView
from tutor.ui.commands import KEYS, AppCommand
from tutor.wording.notices import notice_text

if TYPE_CHECKING:
    from tutor.session.attempt import Attempt
    from tutor.session.session import Session

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
