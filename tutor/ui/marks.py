"""The marks that lead the eye from pane to pane: what is about to run, and what has just run.

They stand in a gutter of two cells, and can be told apart without colour and in ASCII.
"""

from __future__ import annotations

from tutor.teaching.moment import Moment
from tutor.ui import looks
from tutor.ui.looks import Piece

NEXT: Piece = ("▶ ", looks.NEXT)
"""Before the phase that is about to run."""

DONE: Piece = ("┃ ", looks.DONE)
"""Along all that belongs to the last step: the formula, the code, the changed numbers."""

NONE: Piece = "  "

GUTTER = 2
"""Cells that a mark takes."""


def is_next(phase: str | None, moment: Moment) -> bool:
    """Whether this phase is about to run."""
    return phase is not None and phase == moment.next_phase


def has_just_run(phase: str | None, moment: Moment) -> bool:
    """Whether this phase is what the last step ran."""
    return phase is not None and moment.frame is not None and phase == moment.frame.phase


def of_heading(phase: str | None, moment: Moment) -> Piece:
    """The mark before a phase's name."""
    if is_next(phase, moment):
        return NEXT
    return DONE if has_just_run(phase, moment) else NONE


def of_line(phase: str | None, moment: Moment) -> Piece:
    """The mark before a line of a phase's code or formula."""
    return DONE if has_just_run(phase, moment) else NONE
