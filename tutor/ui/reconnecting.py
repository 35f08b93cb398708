"""The way back to a lost host: outside the screen, as ssh may ask for a password."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from typing import Any

from textual.app import App

from tutor.plain import one_line
from tutor.session.session import Session


def reconnect(app: App[Any], session: Session) -> None:
    """Connect again; Ctrl+C gives up."""
    has_terminal = session.lost is not None and not app.is_headless
    # Ctrl+C would end the app: asyncio has a handler of its own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with app.suspend() if has_terminal else nullcontext():
            if has_terminal:
                print(f"Connecting to {one_line(session.host)} … (Ctrl+C gives up)")
            session.reconnect()
    finally:
        signal.signal(signal.SIGINT, before)
