"""A context in which a lesson's code runs again without printing.

The run that the learner steps may print; a replay or a trial must not print once more.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

Quiet = Callable[[], AbstractContextManager[object]]


class UnheardOutput(io.TextIOWrapper):
    """A stream for what nobody reads: counts the characters, and neither encodes nor keeps them."""

    def __init__(self) -> None:
        super().__init__(open(os.devnull, "wb"), encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self.characters = 0

    def write(self, text: str) -> int:
        """Count it."""
        self.characters += len(text)
        return len(text)
