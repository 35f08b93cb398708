"""The plot pane: one of several plots of a run, with its title."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import assert_never

import msgspec
from textual import events
from textual.content import Content

from tutor.lesson.code_checks import parsed
from tutor.lesson.model import REPORT
from tutor.protocol.frame import Curve, Remark
from tutor.protocol.inspections import (
    PLOT_DATA_KINDS,
    ContourPlot,
    DataPlot,
    GradientNormPlot,
    NoPlot,
    PlanePlot,
    PlotData,
    PlotKind,
    SlopePlot,
)
from tutor.session.attempt import Attempt, may_show_plots
from tutor.session.run_view import RunView
from tutor.ui.commands import KEYS
from tutor.ui.lines import DIM, HEADING, LinesPane, Shown, after_paint, line
from tutor.ui.panes.canvas import GUTTER, Drawing, Sheet, placeholder
from tutor.wording.remarks import remark_text

LOSS_CURVE, OTHER_SCALE = "loss", "loss, the other scale"
PLOT_KINDS: tuple[str, ...] = (LOSS_CURVE, OTHER_SCALE, *PLOT_DATA_KINDS)
"""All kinds of plots, in the order of the key that changes them."""
_DATA_KINDS: tuple[PlotKind | None, ...] = (None, None, *PLOT_DATA_KINDS)
"""The kind of data that each of these is drawn from; None for the loss."""

_TITLES: Mapping[PlotKind, str] = {
    "data": "data and model",
    "landscape": "landscape of the loss",
    "plane": "plane",
    "gradient-norm": "gradient norm by epoch",
}
"""The title of each kind while there is no plot of it."""

COMING = "computing …"


class PlotPane(LinesPane):
    """The plots, drawn after the text is painted: on a slow line the numbers come first."""

    attempt: Shown[Attempt | None] = Shown(None)
    """The exercise that may ask for what a plot shows."""

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._ascii = ascii_only
        self._turned = 0
        self._turned_by = 1
        self._never: frozenset[str] = frozenset()
        """The kinds of which the lesson has nothing to draw in this mode, as far as is known."""
        self._never_in: tuple[str, str] | None = None
        """The lesson and the mode that `_never` belongs to."""
        self._is_due = False
        self._is_seen = False
        self._other_is_log: bool | None = None
        """The scale that "the other" is; settled when it is first seen, so that it stays."""
        self._outdated: PlotData | None = None
        """The plot at the last turn, of the kind before: a NoPlot does not say its kind."""

    @property
    def kind(self) -> str:
        """The kind of plot on show, of PLOT_KINDS."""
        return PLOT_KINDS[self._turned]

    @property
    def _kinds(self) -> tuple[str, ...]:
        """The kinds that this lesson can draw, and the one that is shown."""
        return tuple(kind for kind in PLOT_KINDS if kind not in self._never or kind == self.kind)

    def turn(self, by: int) -> None:
        """Show the plot `by` places after this one; before it, if `by` is negative."""
        kinds = self._kinds
        kind = kinds[(kinds.index(self.kind) + by) % len(kinds)]
        self._turned, self._turned_by = PLOT_KINDS.index(kind), by
        self._other_is_log = None
        self._outdated = self.view.inspections.plot if self.view else None
        self._tell(self._is_seen)
        self.rebuild()

    def view_changed(self, old: RunView | None, new: RunView | None) -> None:
        """Redraw if the visible plot needs other data."""
        self._pass_over(new)
        if not self._is_due and self._needs(old) != self._needs(new):
            self._is_due = True
            after_paint(self, self._draw_now)

    def _pass_over(self, view: RunView | None) -> None:
        """Leave a plot that this lesson can't draw in this mode."""
        if view is None:
            return
        if self._never_in != (view.lesson.slug, view.mode):
            self._never_in, self._never = (view.lesson.slug, view.mode), frozenset()
        plot = view.inspections.plot
        if not isinstance(plot, NoPlot) or plot is self._outdated:
            return
        if plot.never and self._data_kind:
            self._never |= {self.kind}
            self.turn(self._turned_by)

    def _needs(self, view: RunView | None) -> object:
        """The parts of a view that the plot is drawn from."""
        if view is None:
            return None
        if self._data_kind:
            return view.inspections.plot, view.changes, view.lesson.slug
        others = tuple(run for run in view.runs if not run.is_current)
        curve = view.curve
        if curve is not None and not view.changes:  # else their words depend on the epoch at hand
            curve = msgspec.structs.replace(curve, here=min(curve.here, curve.last_epoch))
        return curve, view.changes, others, view.last_epoch > 0, view.lesson.slug

    def _draw_now(self) -> None:
        self._is_due = False
        self.rebuild()

    # ── Lines ───────────────────────────────────────────────────────────────────────

    def build(self, width: int) -> Sequence[Content]:
        """The words about the plot, then the plot."""
        return self.drawn(width, self.scrollable_content_region.height)

    def drawn(self, width: int, height: int) -> Sequence[Content]:
        """All lines of the pane, for this number of columns and rows."""
        drawing = self._drawing(Sheet(width, height - 1, self._ascii))
        turn = f" · {KEYS['plot']} next"  # not how many: some are known only when they are due
        room = max(0, width - len(turn))
        title = line((drawing.title, HEADING)).truncate(room, ellipsis=True)
        lines = (part for content in drawing.lines for part in _wrapped(content, width))
        return [title + line((turn, DIM)), *lines]

    def _drawing(self, sheet: Sheet) -> Drawing:
        view, kind = self.view, self._data_kind
        if kind is None:
            return self._loss(view, sheet)
        if view is not None and not may_show_plots(self.attempt, view):
            return placeholder(_TITLES[kind], remark_text(Remark("plot_after_answer")))
        plot = view.inspections.plot if view else None
        if isinstance(plot, NoPlot):
            is_of_kind = plot is not self._outdated
        else:
            is_of_kind = plot is not None and plot.kind == kind
        if view is None or plot is None or not is_of_kind:
            return placeholder(_TITLES[kind], COMING)
        return self._drawn(plot, _TITLES[kind], view, sheet)

    def _drawn(self, plot: PlotData, title: str, view: RunView, sheet: Sheet) -> Drawing:
        # Lazy, as below: there is nothing to draw before the first epoch.
        from tutor.ui.panes import batch_plots, epoch_curves  # noqa: PLC0415

        match plot:
            case DataPlot():
                return batch_plots.draw_data(plot, sheet)
            case PlanePlot():
                return batch_plots.draw_plane(plot, sheet)
            case SlopePlot():
                return batch_plots.draw_slope(plot, sheet)
            case ContourPlot():
                return batch_plots.draw_contours(plot, sheet)
            case GradientNormPlot(epochs=epochs, norms=norms):
                curve = Curve(epochs, norms, norms, plot.last_epoch, plot.here)
                batches = view.frame.batches if view.frame else 1
                title = "last batch's gradient norm" if batches > 1 else title
                steps = view.frame.steps if view.frame else 0
                curves = epoch_curves.EpochCurves(curve, view.changes, (), steps, title, "norm")
                return epoch_curves.draw(curves, epoch_curves.is_log(curves), sheet)
            case NoPlot():
                return placeholder(title, f"Nothing to draw here: {remark_text(plot.why)}")
            case _:
                assert_never(plot)

    @property
    def _data_kind(self) -> PlotKind | None:
        """The kind of the data on show; None for the loss."""
        return _DATA_KINDS[self._turned]

    def _loss(self, view: RunView | None, sheet: Sheet) -> Drawing:
        if view is None or view.curve is None or not view.curve.epochs:
            starting = view is None or not view.last_epoch
            why = "The loss is plotted from the end of the first epoch." if starting else COMING
            return placeholder("loss by epoch", why)
        # Lazy: there is nothing to plot before the first epoch, and the first paint comes before.
        from tutor.ui.panes.epoch_curves import EpochCurves, draw, is_log  # noqa: PLC0415

        frame = view.frame
        steps = frame.steps if frame else 0
        if frame and not frame.has_loss and not any(map(math.isfinite, view.curve.low)):
            return placeholder("loss by epoch", "The code computes no loss.")
        title = "last batch's loss" if _is_of_a_batch(view) else "loss by epoch"
        losses = EpochCurves(view.curve, view.changes, view.runs, steps, title)
        if self.kind == LOSS_CURVE:
            return draw(losses, is_log(losses), sheet)
        if self._other_is_log is None:
            self._other_is_log = not is_log(losses)
        return draw(losses, self._other_is_log, sheet)

    # ── The data it asks for ────────────────────────────────────────────────────────

    def on_resize(self, event: events.Resize) -> None:
        """Ask for data with as many points as columns, and redraw."""
        super().on_resize(event)
        self._tell(True)

    def on_hide(self) -> None:
        """Report that no data is needed."""
        self._tell(False)

    def on_show(self) -> None:
        """Ask for data again."""
        self._pass_over(self.view)
        self._tell(True)

    def _tell(self, is_seen: bool) -> None:
        self._is_seen = is_seen
        kind = self._data_kind if is_seen else None
        columns = max(0, self.scrollable_content_region.width - GUTTER)
        self.inspect(columns=columns if is_seen and kind is None else 0, plot=kind)


def _is_of_a_batch(view: RunView) -> bool:
    """Whether an epoch's loss is its last batch's: no code computes the whole epoch's."""
    if view.frame is None or view.frame.batches == 1:
        return False
    if view.lesson.script is not None and view.lesson.script.is_sum_of_batches:
        return False
    report = view.lesson.phase(REPORT)
    codes = [fence.code for fence in report.fences(view.mode)] if report else []
    return not any(map(_binds_loss, codes))


@lru_cache(8)
def _binds_loss(code: str) -> bool:
    """Whether Python code gives `loss` a value."""
    names = [node for node in ast.walk(parsed(code)) if isinstance(node, ast.Name)]
    return any(name.id == "loss" and isinstance(name.ctx, ast.Store) for name in names)


def _wrapped(content: Content, width: int) -> Sequence[Content]:
    """A sentence may need more than one line; a row of a plot never does."""
    return content.wrap(width) if content.cell_length > width else [content]
