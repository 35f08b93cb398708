"""The marks in the panes for the phase about to run and the phase that has just run.

They stand in a gutter of two cells, and can be told apart without colour and in ASCII.
"""

from __future__ import annotations

from tutor.session.run_view import RunView
from tutor.ui import text_styles
from tutor.ui.text_styles import Piece

NEXT: Piece = ("▶ ", text_styles.NEXT)
"""Before the phase that is about to run."""

DONE: Piece = ("┃ ", text_styles.DONE)
"""Beside all that belongs to the last step: the formula, the code, the changed numbers."""

NONE: Piece = "  "

GUTTER = 2
"""The width of a mark in cells."""


def is_next(phase: str | None, view: RunView) -> bool:
    """Whether this phase is about to run."""
    return phase is not None and phase == view.next_phase


def has_just_run(phase: str | None, view: RunView) -> bool:
    """Whether the last step ran this phase."""
    return phase is not None and view.frame is not None and phase == view.frame.phase


def of_heading(phase: str | None, view: RunView) -> Piece:
    """The mark before a phase's name."""
    if is_next(phase, view):
        return NEXT
    return DONE if has_just_run(phase, view) else NONE


def of_line(phase: str | None, view: RunView) -> Piece:
    """The mark before a line of a phase's code or formula."""
    return DONE if has_just_run(phase, view) else NONE
