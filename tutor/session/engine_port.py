"""The interface of the engine, as the session uses it.

The real one is `tutor.engine.client`; the tests bring their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tutor.protocol.messages import AnyCommand, AnyEvent


class Engine(Protocol):
    """Takes commands without ever blocking, and tells events from a thread of its own."""

    def start(self, on_event: Callable[[AnyEvent], None]) -> None:
        """Begin. `on_event` is called from another thread: it may only post a message."""

    def send(self, command: AnyCommand) -> int:
        """Pass a command on and return its number, which the answer carries."""

    def busy_for(self) -> float:
        """Seconds that the oldest unanswered command has been waiting; 0.0 if none has."""

    def stop(self) -> None:
        """Stop what runs: politely first, by force a second later. ProcessEnded reports it."""

    def suspend(self) -> None:
        """Let the process that runs lessons stand still, until `resume`."""

    def resume(self) -> None:
        """Let it go on."""

    def close(self) -> None:
        """End the engine for good."""
