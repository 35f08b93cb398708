"""Waiting for what comes sooner or later, on a slow machine too."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 180.0
"""Seconds after which a test gives up waiting: only a hang takes so long.

A machine with ten times as much to do as it has processors takes a minute to load torch.
"""


def wait_until(is_so: Callable[[], object], awaited: str = "it") -> None:
    """Return as soon as `is_so` returns something true. Raises AssertionError after PATIENCE."""
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, f"waited {PATIENCE:g} s in vain for {awaited}"
        time.sleep(0.01)
