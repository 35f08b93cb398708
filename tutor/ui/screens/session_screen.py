"""The base of screens on a session: they show its state and pass it commands."""

from __future__ import annotations

from typing import ClassVar

from textual.reactive import var

from tutor.session.attempt import Attempt
from tutor.session.run_view import Notice, RunView
from tutor.session.session import Session
from tutor.ui.screens.sized_screen import SizedScreen

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
        self.set_interval(PULSE, self._feel_the_pulse)

    def update_from_session(self) -> None:
        """Take over the session's state."""
        self.view = self.session.view
        self.attempt = self.session.attempt
        self.notice = self.session.notice
        self._feel_the_pulse()

    def _feel_the_pulse(self) -> None:
        self.waiting = self.session.waiting_line(self.STOP_KEY)

    def action_session(self, name: str) -> None:
        """Have the session run a command."""
        getattr(self.session, name)()
        self.update_from_session()

    def action_ask(self, what: str) -> None:
        """Ask for a number, a place or a file, and act on it."""
        from tutor.ui.screens.key_questions import ask  # noqa: PLC0415  after the first paint

        ask(self.app, self.session, what, self.update_from_session)
