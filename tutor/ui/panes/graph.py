"""The graph pane: the autograd graph of this step as a tree that can be folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content

from tutor.protocol.inspections import AutogradGraph
from tutor.session.attempt import Attempt, asks_of_forward_pass, asks_what_comes
from tutor.ui.commands import GRAPH_COMMANDS, bindings
from tutor.ui.lines import DIM, LinesPane, Shown, line
from tutor.ui.panes.graph_rows import (
    Backward,
    GraphRow,
    GraphTable,
    above,
    backward,
    below,
    laid_out,
    tree,
)
from tutor.wording.remarks import remarks_text


class GraphPane(LinesPane):
    """Operations and leaves with their values, and the gradients where backward has come."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(GRAPH_COMMANDS)]
    head = 1

    attempt: Shown[Attempt | None] = Shown(None)
    """The exercise that may ask about one of its operations."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._rows: tuple[GraphRow, ...] = ()
        self._folded: frozenset[int] = frozenset()
        self._folded_for: object = None
        self._chosen = 0
        self._active = -1
        self._is_behind = False
        self._laid_out: tuple[tuple[object, ...], GraphTable] | None = None

    @property
    def graph(self) -> AutogradGraph | None:
        """The graph on show; None until there is one."""
        return self.view.inspections.graph if self.view else None

    # ── Lines ───────────────────────────────────────────────────────────────────────

    def build(self, width: int) -> Sequence[Content]:
        """The heading and the rows that are not folded away; or why there is no graph."""
        view, graph = self.view, self.graph
        if view is None or view.frame is None:
            return [line(("The graph appears when Setup has run.", DIM))]
        if graph is None:
            return [line(("reading the graph …", DIM))]
        if asks_of_forward_pass(self.attempt, view):
            graph = graph.without_results()
        why = line((remarks_text(graph.remarks), DIM)).wrap(width) if graph.remarks else []
        if not graph.nodes:
            return why
        is_asked = asks_what_comes(self.attempt)
        asked_of = self.attempt.asked_of if self.attempt and is_asked else None
        so_far = backward(view.lesson, view.frame, view.operations, graph, asked_of)
        has_moved = self._fold_what_does_not_fit(graph) or so_far.order != self._active
        if has_moved:
            self._folded -= above(graph, so_far.order)
        self._lay_out(graph)
        if has_moved:
            self._follow(graph, so_far.order)
        chosen = self._chosen if self.has_focus else -1
        return [*self._table(graph, so_far, width).lines(chosen), *why]

    def _table(self, graph: AutogradGraph, so_far: Backward, width: int) -> GraphTable:
        """The rows laid out: slow for a large graph, so choosing a line uses the cached table."""
        made_for = (graph, self._rows, so_far, width)
        if self._laid_out is None or made_for != self._laid_out[0]:
            self._laid_out = made_for, laid_out(self._rows, graph, so_far, width)
        return self._laid_out[1]

    def settle(self) -> None:
        """Scroll to the operation that backward has reached, once for each operation."""
        if self._is_behind:
            self._is_behind = False
            self.show_nearby(self.head + self._chosen)

    def _follow(self, graph: AutogradGraph, order: int) -> None:
        """Choose the line of the operation that backward has reached."""
        self._active = order
        ids = {node.id for node in graph.nodes if node.order == order >= 0}
        at = next((i for i, row in enumerate(self._rows) if row.node in ids), None)
        if at is not None:
            self._chosen, self._is_behind = at, True

    def _lay_out(self, graph: AutogradGraph) -> None:
        """Build the rows again; the chosen line stays chosen."""
        rows = tree(graph, self._folded)
        if rows != self._rows:
            was = self._rows[self._chosen] if self._chosen < len(self._rows) else None
            same = (
                i
                for i, row in enumerate(rows)
                if was and (row.node, row.seen_before) == (was.node, was.seen_before)
            )
            self._chosen = next(same, min(self._chosen, len(rows) - 1))
            self._rows = rows

    def _fold_what_does_not_fit(self, graph: AutogradGraph) -> bool:
        """Unfold as many levels below the loss as fit, for another graph or height.

        Returns whether the folds have changed; otherwise the learner's own folds stay.
        """
        room = self.room - self.head
        shape = (room, tuple((node.op, node.inputs) for node in graph.nodes))
        if shape == self._folded_for:
            return False

        self._folded_for = shape
        fold = frozenset(node.id for node in graph.nodes if node.inputs)
        for row in sorted(tree(graph), key=lambda row: row.depth):
            less = fold - {row.node}
            if len(tree(graph, less)) > room:
                break
            fold = less
        self._folded = fold
        return True

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_choose(self, by: int) -> None:
        """Choose another line."""
        if self._rows:
            self._chosen = max(0, min(len(self._rows) - 1, self._chosen + by))
            self.rebuild()
            self.show_nearby(self.head + self._chosen)

    def action_fold(self) -> None:
        """Fold the branch of the chosen line, or unfold it; from "see above" go there."""
        graph = self.graph
        if not self._rows or graph is None:
            return
        row = self._rows[self._chosen]
        if row.seen_before:
            first = next(i for i, r in enumerate(self._rows) if r.node == row.node)
            self.action_choose(first - self._chosen)
            return
        if row.hidden:
            node = next(node for node in graph.nodes if node.id == row.node)
            self._folded -= {row.node, *(n.id for n in below(graph, node))}
        else:
            self._folded |= {row.node}
        self.rebuild()

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show the chosen line only while the pane has the focus."""
        super().watch_has_focus(has_focus)
        self.rebuild()

    # ── Visibility ──────────────────────────────────────────────────────────────────

    def on_show(self) -> None:
        """Ask for the graph, which is computed only while it is seen, and draw it."""
        self.inspect(graph=True)
        self.rebuild()

    def on_hide(self) -> None:
        """Report that the graph is no longer needed."""
        self.inspect(graph=False)
