"""The timeline: the run so far as one line, along which the learner moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from tutor.digits import BRIEF_DIGITS
from tutor.session.run_view import RunView
from tutor.ui.commands import TIMELINE_COMMANDS, bindings
from tutor.ui.lines import DIM, NEXT, LinesPane, Piece, line
from tutor.wording.number_format import number

HELP = "←→ epoch · ↑↓ phase · PgUp PgDn a tenth · Home End · enter stays · esc leaves"

PARTS = 10
"""A page moves by one part of the run in this many."""


class Timeline(LinesPane):
    """The run so far as one line: it posts where the learner goes, and shows that place at once."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TIMELINE_COMMANDS)]

    @dataclass
    class Moved(Message):
        """The learner wants to go to the end of another epoch."""

        epoch: int

    @dataclass
    class PhaseMoved(Message):
        """The learner wants to go one phase forward or back."""

        forward: bool

    @dataclass
    class Left(Message):
        """The learner closes the timeline, to stay here or to return to the position before it."""

        stay: bool

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._requested: int | None = None

    @property
    def epoch(self) -> int:
        """The epoch that it points to: the requested one, if the run is not there yet."""
        if self._requested is not None:
            return self._requested
        return self.view.epoch if self.view else 0

    def on_blur(self) -> None:
        """Forget the requested epoch when another pane gets the focus."""
        self._requested = None

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_by(self, epochs: int) -> None:
        """Move by this number of epochs."""
        self._request(self.epoch + epochs)

    def action_page(self, pages: int) -> None:
        """Move by tenths of the run."""
        furthest = self.view.furthest if self.view else 0
        self._request(self.epoch + pages * max(1, furthest // PARTS))

    def action_to(self, epoch: int) -> None:
        """Move to the start, or (-1) to the end."""
        furthest = self.view.furthest if self.view else 0
        self._request(furthest if epoch < 0 else epoch)

    def action_phase(self, by: int) -> None:
        """Move one phase forward, within the run so far, or back."""
        view = self.view
        if view is None or view.frame is None:
            return
        at_end = (view.epoch, view.frame.at.step) >= (view.furthest, view.frame.steps)
        if by < 0 or not at_end:
            self._requested = None
            self.post_message(self.PhaseMoved(by > 0))

    def action_leave(self, stay: bool) -> None:
        """Close the timeline."""
        self._requested = None
        self.post_message(self.Left(stay))

    def _request(self, epoch: int) -> None:
        furthest = self.view.furthest if self.view else 0
        wanted = self._requested = min(max(epoch, 0), furthest)
        self.rebuild()  # forgets the request if the run is there already
        self.post_message(self.Moved(wanted))

    # ── Drawing ─────────────────────────────────────────────────────────────────────

    def build(self, width: int) -> Sequence[Content]:
        """The line with the current position, and the keys."""
        view = self.view
        if view is None:
            return []
        if view.epoch == self._requested:
            self._requested = None
        return [line(*_time(view, self.epoch, width)), line((HELP, DIM)).truncate(width)]


def _time(view: RunView, epoch: int, width: int) -> Iterator[Piece]:
    furthest = max(view.furthest, epoch, 1)
    loss = view.frame.loss.data if view.frame else ()
    word = f" epoch {epoch} of {furthest}"
    if loss and epoch == view.epoch:
        word += f" · loss {number(loss[0], BRIEF_DIGITS)}"
    word = word.ljust(max(len(word), width // 3))
    cells = max(10, width - len(word) - 2)
    track = ["─"] * cells
    for change in view.changes:
        track[_cell(change.at.epoch, furthest, cells)] = "│"
    here = _cell(epoch, furthest, cells)
    yield "├" + "".join(track[:here])
    yield ("●", NEXT)
    yield "".join(track[here + 1 :]) + "┤"
    yield word


def _cell(epoch: int, furthest: int, cells: int) -> int:
    return min(cells - 1, max(0, round((cells - 1) * epoch / furthest)))
