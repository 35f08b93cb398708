"""Handling of keys that arrive together, as a slow line bundles them, one after the other.

Textual sends a key to what has the focus when the key is read, though a key before it may be
about to open a screen or a field: mounting, focusing and what widgets tell each other all go
through queues. Here a key waits until all that the key before it has set going stands: behind
what is in those queues, so that nothing is kept where nothing opens.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from textual import events
from textual.app import App
from textual.dom import DOMNode

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
