"""The plot pane: the loss by epoch, with the spots where something was changed.

Knows a curve and a run's changes; how it is drawn is the chart's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import var

from tutor.plain import one_line
from tutor.training.frame import Change, Curve
from tutor.ui import chart, looks
from tutor.ui.digits import setting
from tutor.ui.looks import Piece, line
from tutor.ui.moment import Moment
from tutor.ui.panes.lines import LinesPane

AXIS = 7
"""About how many columns the labels of the vertical axis take."""


AXIS_ROWS = 2
"""Rows of the horizontal axis: its line and its labels."""


class PlotPane(LinesPane):
    """Drawn after the text has been painted: on a slow line the numbers come first."""

    class Measured(Message):
        """The plot has got another width, in columns; 0 if it can't be seen."""

        def __init__(self, columns: int) -> None:
            super().__init__()
            self.columns = columns

    moment: var[Moment | None] = var(None)

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._ascii = ascii_only
        self._is_due = False
        self._told: int | None = None

    def watch_moment(self, old: Moment | None, new: Moment | None) -> None:
        """Another curve."""
        same_curve = old is not None and new is not None and old.curve == new.curve
        if not self._is_due and not (same_curve and old and new and old.changes == new.changes):
            self._is_due = True
            self.call_after_refresh(self._draw_now)

    def _draw_now(self) -> None:
        self._is_due = False
        self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """The words about the plot, then the plot."""
        moment = self.moment
        height = self.scrollable_content_region.height
        if moment is None or moment.curve is None or not moment.curve.epochs:
            return [line(("The loss is plotted from the end of the first epoch.", looks.DIM))]
        drawn = chart.draw(moment.curve, moment.changes, width, height - 1, self._ascii)
        legend = line(*_legend(drawn, moment.curve, moment.changes)).truncate(width, ellipsis=True)
        canvas, axis = drawn.rows[:-AXIS_ROWS], drawn.rows[-AXIS_ROWS:]
        return [legend, *map(_canvas_row, canvas), *(line((text, looks.DIM)) for text in axis)]

    def on_resize(self, event: events.Resize) -> None:
        """Tell how many columns there are, and draw anew."""
        super().on_resize(event)
        self._tell(max(0, self.scrollable_content_region.width - AXIS))

    def on_hide(self) -> None:
        """Nobody looks any more."""
        self._tell(0)

    def on_show(self) -> None:
        """It can be seen again."""
        self._tell(max(0, self.scrollable_content_region.width - AXIS))

    def _tell(self, columns: int) -> None:
        if columns != self._told:
            self._told = columns
            self.post_message(self.Measured(columns))


def _canvas_row(text: str) -> Content:
    axis = min(at for character in "┤│" if (at := text.find(character)) >= 0) + 1
    return line((text[:axis], looks.DIM), (text[axis:], looks.CURVE))


def _legend(drawn: chart.Chart, curve: Curve, changes: Sequence[Change]) -> Iterator[Piece]:
    yield (f"{drawn.scale or 'no loss that could be drawn'} · ● epoch {curve.here}", looks.DIM)
    if drawn.gaps:
        yield (" · NaN or inf left out", looks.DIM)
    for change in changes[-1:]:
        more = f" (and {len(changes) - 1} before)" if len(changes) > 1 else ""
        yield (f" · │ {_words(change)} at {change.at.epoch}{more}", looks.DIM)


def _words(change: Change) -> str:
    words = [one_line(w) for w in (change.mode, change.device) if w]
    if change.learning_rate is not None:
        words.append(f"lr {setting(change.learning_rate)}")
    return ", ".join(words)
