"""The base class of the screens that show the session's state and pass commands to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from textual.reactive import var

from tutor.session.run_view import Notice, RunView
from tutor.ui.commands import KEYS
from tutor.ui.screens.sized_screen import SizedScreen
from tutor.wording.notices import notice_text

if TYPE_CHECKING:
    from tutor.session.attempt import Attempt
    from tutor.session.session import Session


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

    def action_ask(self, what: str) -> None:
        """Ask for a number, a place or a file, and act on it."""
        from tutor.ui.screens.dialogs import ask  # noqa: PLC0415 - when first asked

        ask(self.app, self.session, what, self.update_from_session)
