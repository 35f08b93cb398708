"""The engine as the session uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tutor.protocol.messages import Command, Event


class Engine(Protocol):
    """The engine as the session uses it; `tutor.engine.client` is the real one.

    It takes commands without ever blocking, and reports events from a thread of its own.
    """

    host: str
    """The machine that it runs on; empty for this one."""

    def start(self, on_event: Callable[[Event], object]) -> None:
        """Start. `on_event` is called from another thread: it may only post a message."""

    def send(self, command: Command) -> int:
        """Pass a command on and return its number, which the answer carries."""

    def busy_for(self) -> float:
        """Seconds that the oldest unanswered command has been waiting; 0.0 if none has."""

    def stop(self) -> None:
        """Stop what runs: politely first, by force a second later. ProcessEnded reports it."""

    def suspend(self) -> None:
        """Halt the process that runs lessons, until `resume`."""

    def resume(self) -> None:
        """Continue the process."""

    def reconnect(self) -> None:
        """Connect again to the lost host, and go to where the run stood. Raises EngineError.

        Blocks: ssh may ask at the terminal, and Ctrl+C raises KeyboardInterrupt.
        """

    def close(self) -> None:
        """End the engine for good."""
