"""The base classes of the screens, and the order in which keys come to them.

Every screen says what size it needs in a terminal that is too small. A session screen also shows
the session's state and passes commands to it. A slow line bundles keys: those that arrive together
are handled one after the other, also by an input field that one of them opens.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from textual import events
from textual.app import App, ComposeResult
from textual.binding import NoBinding
from textual.dom import DOMNode
from textual.reactive import var
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

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

    def tell(self, code: str) -> None:
        """Show a notice."""
        self.session.tell(code)
        self.update_from_session()

    def action_session(self, name: str) -> None:
        """Have the session run a command."""
        getattr(self.session, name)()
        self.update_from_session()

    def action_controller(self, name: str) -> None:
        """Have the session's exercise controller run a command."""
        getattr(self.session.controller, name)()
        self.update_from_session()

    def action_ask(self, what: str) -> None:
        """Ask for a number, a place or a file, and act on it."""
        from tutor.ui.screens.dialogs import ask  # noqa: PLC0415

        ask(self.app, self.session, what, self.update_from_session)


async def act_in_order(widget: Widget, event: events.Key) -> None:
    """Run at once the action that a widget itself binds to a key; leave other keys alone.

    To be called by its `_on_key`; Textual calls that of its base after it, unless this has acted.
    """
    try:
        bindings = widget._bindings.get_bindings_for_key(event.key)
    except NoBinding:
        return
    for binding in bindings:
        if not binding.priority and await widget.app.run_action(binding.action, widget):
            event.prevent_default()
            event.stop()
            return


class Field(Input):
    """A one-line input field. It doesn't blink: each blink costs bytes on a slow line."""

    def on_mount(self) -> None:
        """Turn the blinking off."""
        self.cursor_blink = False

    async def _on_key(self, event: events.Key) -> None:
        await act_in_order(self, event)


Typed: TypeAlias = events.Key | events.Paste

LEAST_ROUNDS = 2
"""The fewest rounds through the queues: one for the key, one for the messages it causes."""
MOST_ROUNDS = 8
"""The limit of rounds for widgets that keep moving the focus."""
PATIENCE = 2.0
"""The most seconds that a key waits for the one before: `q` must work whatever hangs."""


class KeysInOrder:
    """The keys on their way into an app."""

    def __init__(self, app: App[Any], hand_on: Callable[[Typed], Awaitable[None]]) -> None:
        """`hand_on` gives a key to what has the focus; it is called in the app's own task."""
        self._app = app
        self._hand_on = hand_on
        self._waiting: deque[Typed] = deque()
        self._is_under_way = False
        self._since = 0.0

    @property
    def are_done(self) -> bool:
        """Whether no key waits for another."""
        return not self._is_under_way

    async def take(self, typed: Typed) -> None:
        """Pass a key on: now, or when the keys before it are done."""
        self._waiting.append(typed)
        if not self._is_under_way or time.monotonic() > self._since + PATIENCE:
            await self._next()

    async def _next(self) -> None:
        self._is_under_way = bool(self._waiting)
        if self._waiting:
            self._since = time.monotonic()
            node = self._focus()
            await self._hand_on(self._waiting.popleft())
            self._go_round(node, 1)

    def _focus(self) -> DOMNode:
        """The widget that would be given a key now."""
        stack = self._app.screen_stack
        return (stack[-1].focused or stack[-1]) if stack else self._app

    def _go_round(self, node: DOMNode, count: int) -> None:
        """Wait for the message queues of a widget, then of its ancestors, then of the app."""

        async def came_back() -> None:
            focus = self._focus()
            if count >= MOST_ROUNDS or (count >= LEAST_ROUNDS and focus is node):
                await self._next()
            else:
                self._go_round(focus, count + 1)

        def climb(at: DOMNode | None) -> None:
            while at is not None and at is not self._app:
                around = at.parent
                if at.call_later(climb, around):
                    return
                at = around  # it is being closed
            self._app.call_later(came_back)

        climb(node)
