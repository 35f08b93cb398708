"""What a proof says: what it found wrong, and what it is at. Knows nothing of proofs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Begun: TypeAlias = Callable[[int, str], object]
"""Told the line and the name of what is proven next: it may never come to its end."""


def nobody(line: int, what: str) -> None:
    """A Begun who does not want to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a proof found wrong."""

    path: str
    line: int
    message: str
    is_note: bool = False
    """Whether nothing is wrong: it only tells what has been proven."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"
