"""The interface of the box makers: the style of a position, and the setter of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tutor.formula.box import Box
from tutor.formula.nodes import Node
from tutor.formula.spacing import Spaced


@dataclass(frozen=True, slots=True)
class Style:
    """Where in the formula a node stands."""

    display: bool = True
    """Whether limits go above and below."""
    script: bool = False
    """Whether it is a sub- or superscript or a limit: set tightly."""


TEXT_STYLE = Style(display=False)
SCRIPT_STYLE = Style(display=False, script=True)


class Setter(Protocol):
    """Sets a node, or a row of nodes with their blanks, as a box."""

    @property
    def ascii(self) -> bool:
        """Whether only ASCII may be used."""

    def box(self, node: Node, style: Style) -> Box:
        """The box of a node."""

    def row(self, items: Sequence[Spaced], style: Style) -> Box:
        """The box of a row."""
