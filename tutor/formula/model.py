"""The public data of a formula: plain frozen classes.

Kept apart from the code that makes it, so that naming these types costs no import time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from tutor.formula.nodes import Node

MarkKind: TypeAlias = Literal["value", "unsupported"]


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that has been read."""

    latex: str
    boxed: tuple[str, ...]
    r"""The Python expressions of its \boxed{…}, in order."""
    unsupported: tuple[str, ...]
    """The pieces of LaTeX that are shown as their source."""
    root: Node


@dataclass(frozen=True, slots=True)
class PictureMark:
    """Cells of a picture that show a live value or LaTeX that can't be drawn."""

    row: int
    start: int
    """First terminal cell, counted from the picture's left edge."""
    end: int
    """The cell after the last."""
    kind: MarkKind
    text: str
    """The value's expression, or the LaTeX source."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A formula as rows of text, each exactly `width` terminal cells."""

    rows: tuple[str, ...]
    width: int
    baseline: int
    """The row that stands on the line of the text around it."""
    marks: tuple[PictureMark, ...]
