"""Findings of a check, and its progress."""

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


NO_MEMORY = (
    "the memory that a lesson may take is too little to check it; make its tensors smaller, "
    "or set TUTOR_MEMORY_MB to more megabytes"
)


def is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether Python, NumPy or PyTorch, which has no error of its own for it, got no memory."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
