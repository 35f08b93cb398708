"""The order in which keys come to the widgets, and the field that keeps to it.

A slow line bundles keys: those that arrive together are handled one after the other, also by an
input field that one of them opens.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from textual import events
from textual.app import App
from textual.binding import NoBinding
from textual.dom import DOMNode
from textual.widget import Widget
from textual.widgets import Input


async def act_in_order(widget: Widget, event: events.Key) -> None:
    """Run at once the action that a widget itself binds to a key; leave other keys alone.

    The widget's `_on_key` calls this. If it has acted, Textual does not call the base class's.
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
MOST_SECONDS = 2.0
"""The most seconds that a key waits for the one before: `q` must work whatever hangs."""


class KeysInOrder:
    """A queue that hands keys on to an app in the order in which they came."""

    def __init__(self, app: App[Any], hand_on: Callable[[Typed], Awaitable[None]]) -> None:
        """`hand_on` gives a key to the focused widget; it is called in the app's own task."""
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
        if not self._is_under_way or time.monotonic() > self._since + MOST_SECONDS:
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
