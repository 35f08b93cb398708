"""The graph pane: the autograd graph of this step as the rows of a tree, the loss at the top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.strip import Strip

from tutor.lesson.model import Lesson, gradient_index
from tutor.protocol.frame import Frame
from tutor.protocol.inspections import AutogradGraph, GraphNode, LocalGradientQuestion
from tutor.session.attempt import Attempt
from tutor.ui import exercise_lines as lines_of
from tutor.ui import text_styles
from tutor.ui.commands import GRAPH_COMMANDS, bindings
from tutor.ui.panes.lines import LinesPane, Shown
from tutor.ui.text_styles import Piece, line
from tutor.wording.inspections import remarks_text

if TYPE_CHECKING:
    from tutor.ui.panes.graph_rows import GraphTable


DEEPEST = 8
"""Levels that are drawn by indentation; of a deeper one the number is written."""

_BRANCH, _LAST, _RAIL, _BLANK = "├─ ", "└─ ", "│  ", "   "


@dataclass(frozen=True, slots=True)
class GraphRow:
    """One line of the tree."""

    node: int
    """The node's id."""
    prefix: str
    """The tree lines before it: `│  └─ `; empty for a root."""
    seen_before: bool
    """Whether an earlier row shows this node and its inputs."""
    hidden: int
    """The number of nodes that are folded away below it."""
    depth: int = 0


def tree(
    graph: AutogradGraph, fold: frozenset[int] = frozenset(), *, parts: bool = False
) -> tuple[GraphRow, ...]:
    """The rows of the graph, with everything below the nodes of `fold` left out.

    Several roots (backward was called on more than one thing) are several trees, that of
    the loss first. With `parts`, the parts of composed calls have rows of their own.
    """
    inputs_of = _inputs(graph, parts)
    shown: set[int] = set()
    rows: list[GraphRow] = []
    # By hand, not by recursion: a graph may be deeper than Python's stack.
    waiting = [(root, "", "", 0) for root in reversed(_roots(inputs_of))]
    while waiting:
        node, rails, branch, depth = waiting.pop()
        seen_before, folded = node in shown, node in fold
        shown.add(node)
        hidden = _below(node, inputs_of) if folded and not seen_before else 0
        rows.append(GraphRow(node, _prefix(rails, branch, depth), seen_before, hidden, depth))
        if seen_before or folded:
            continue
        inputs = inputs_of[node]
        inner = rails + {_BRANCH: _RAIL, _LAST: _BLANK}.get(branch, "")
        for i, child in reversed(list(enumerate(inputs))):
            waiting.append((child, inner, _LAST if i == len(inputs) - 1 else _BRANCH, depth + 1))
    return tuple(rows)


def _inputs(graph: AutogradGraph, parts: bool) -> dict[int, list[int]]:
    """The nodes that each node with a row was computed from, each once."""
    nodes = {node.id: node for node in graph.nodes}

    def is_part(id_: int) -> bool:
        return not parts and nodes[id_].within in nodes

    def shown(node: GraphNode) -> Iterator[int]:
        found: set[int] = set()
        waiting = list(node.inputs)[::-1]
        while waiting:
            child = waiting.pop()
            if child in found or child not in nodes:  # or it was left out of the message
                continue
            found.add(child)
            if is_part(child):
                waiting += reversed(nodes[child].inputs)
            else:
                yield child

    return {id_: list(shown(node)) for id_, node in nodes.items() if not is_part(id_)}


def _roots(inputs_of: Mapping[int, list[int]]) -> list[int]:
    """The nodes that nothing was computed from."""
    used = {child for children in inputs_of.values() for child in children}
    return [node for node in inputs_of if node not in used]


def _below(root: int, inputs_of: Mapping[int, list[int]]) -> int:
    """The number of nodes that can be reached from this one."""
    found: set[int] = set()
    waiting = [root]
    while waiting:
        new = [child for child in inputs_of[waiting.pop()] if child not in found]
        found.update(new)
        waiting += new
    return len(found)


def _prefix(rails: str, branch: str, depth: int) -> str:
    """The rails and the branch; of what is too deep to indent, the level's number instead."""
    if depth <= DEEPEST:
        return rails + branch
    return f"{depth:<2} " + rails[-(DEEPEST - 2) * len(_RAIL) :] + branch


@dataclass(frozen=True, slots=True)
class Backward:
    """The part of backward that is shown."""

    done: int
    total: int
    phase: str
    """The phase that runs backward."""
    is_next: bool
    """Whether that phase is about to run: only then can it be gone into."""
    asked: int | None = None
    """The operation that an exercise asks about; None where none does."""

    def mark(self, node: GraphNode) -> Piece:
        """The mark before an operation while the phase is gone into."""
        if not self.is_next or node.order < 0:
            return text_styles.NO_MARK
        if self.asked is not None:
            return text_styles.NEXT_MARK if node.order == self.asked else text_styles.NO_MARK
        return {self.done: text_styles.NEXT_MARK, self.done - 1: text_styles.DONE_MARK}.get(
            node.order, text_styles.NO_MARK
        )

    def has_reached(self, node: GraphNode) -> bool:
        """Whether the gradient of its output is known."""
        return 0 <= node.order < self.done

    @property
    def order(self) -> int:
        """The order of the operation to keep in view; -1 without one."""
        if self.asked is not None:
            return self.asked
        return min(self.done, self.total - 1) if self.is_next else -1

    @property
    def words(self) -> str:
        """The state of the gradients in a few words."""
        if not self.is_next:
            return "backward has run" if self.done == self.total else f"filled in by {self.phase}"
        if self.asked is not None:
            return "found so far, ▶ is asked"
        if self.done == self.total:
            return f"backward is finished ({self.total} of {self.total})"
        return f"i: next operation ({self.done} of {self.total})"


def backward(
    lesson: Lesson,
    frame: Frame,
    operations: int,
    graph: AutogradGraph,
    asked_of: LocalGradientQuestion | None = None,
) -> Backward:
    """The part of backward to show at a frame in which so many operations are gone into.

    While an exercise asks about an operation, it is what has been found before that question.
    """
    phases = [str(section.phase) for section in lesson.loop(frame.mode)]
    at = gradient_index(phases)
    total = graph.operations
    is_next = frame.next_phase == phases[at]
    has_run = lesson.has_gradients(frame.mode, frame.phase, frame.line)
    if asked_of is not None and is_next and not has_run:
        return Backward(asked_of.known, total, phases[at], True, asked_of.order)
    done = total if has_run else min(operations, total) if is_next else 0
    return Backward(done, total, phases[at], is_next and not has_run)


def below(graph: AutogradGraph, node: GraphNode) -> list[GraphNode]:
    """All that it was computed from, each once."""
    by_id = {n.id: n for n in graph.nodes}
    found: dict[int, GraphNode] = {}
    waiting = [i for i in node.inputs if i in by_id]
    while waiting:
        child = waiting.pop(0)
        if child not in found:
            found[child] = by_id[child]
            waiting += [i for i in by_id[child].inputs if i in by_id]
    return list(found.values())


def above(graph: AutogradGraph, order: int) -> frozenset[int]:
    """The ids of all in whose branch the operation with this place in backward stands."""
    users: dict[int, list[int]] = {}
    for node in graph.nodes:
        for child in node.inputs:
            users.setdefault(child, []).append(node.id)
    waiting = [node.id for node in graph.nodes if node.order == order >= 0]
    found: set[int] = set()
    while waiting:
        new = [user for user in users.get(waiting.pop(), ()) if user not in found]
        found.update(new)
        waiting += new
    return frozenset(found)


HEADING_ROWS = 1
"""The rows that stay in place when the tree is scrolled."""


class GraphPane(LinesPane):
    """Operations and leaves with their values, and the gradients where backward has come."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(GRAPH_COMMANDS)]

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
        self._reported: bool | None = None

    @property
    def graph(self) -> AutogradGraph | None:
        """The graph on show; None until there is one."""
        return self.view.inspections.graph if self.view else None

    # ── What is shown ───────────────────────────────────────────────────────────────

    def build(self, width: int) -> Sequence[Content]:
        """The heading and the rows that are not folded away; or why there is no graph."""
        view, graph = self.view, self.graph
        if view is None or view.frame is None:
            return [line(("The graph comes as soon as Setup has run.", text_styles.DIM))]
        if graph is None:
            return [line(("reading the graph …", text_styles.DIM))]
        why = line((remarks_text(graph.notes), text_styles.DIM)).wrap(width) if graph.notes else []
        if not graph.nodes:
            return why
        # Lazy, here as below: the first paint comes before there is any graph.

        is_asked = lines_of.asks_what_comes(self.attempt)
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
            from tutor.ui.panes.graph_rows import laid_out  # noqa: PLC0415

            self._laid_out = made_for, laid_out(self._rows, graph, so_far, width)
        return self._laid_out[1]

    def settle(self) -> None:
        """Scroll to the operation that backward has reached, once for each operation."""
        if self._is_behind:
            self._is_behind = False
            self._bring_row_into_view(self._chosen)

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
        room = self.scrollable_content_region.height - HEADING_ROWS
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
            self._bring_row_into_view(self._chosen)

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

    # ── Whether it is shown ─────────────────────────────────────────────────────────

    def on_show(self) -> None:
        """Ask for the graph, and draw it."""
        self._tell(True)
        self.rebuild()

    def on_hide(self) -> None:
        """Report that the graph is no longer needed."""
        self._tell(False)

    def _tell(self, is_seen: bool) -> None:
        if is_seen != self._reported:
            self._reported = is_seen
            self.post_message(self.Inspects({"graph": is_seen}))  # computed only while it is seen

    # ── A heading that stays ────────────────────────────────────────────────────────

    def _bring_row_into_view(self, row: int) -> None:
        y, top = row + HEADING_ROWS, self.scroll_offset.y
        height = self.scrollable_content_region.height
        if y < top + HEADING_ROWS:
            self.show_from(y - HEADING_ROWS)
        elif y >= top + height:
            self.show_from(y - height + 1)

    def _refresh_cells(self, y: int, start: int, end: int) -> None:
        super()._refresh_cells(self.scroll_offset.y if y < HEADING_ROWS else y, start, end)

    def render_line(self, y: int) -> Strip:
        """The strip of one visible row. The heading is never scrolled away."""
        top = self.scroll_offset.y
        if y >= HEADING_ROWS or not top or not self.lines:
            return super().render_line(y)
        width = self.scrollable_content_region.width
        heading = self.lines[y]
        strip = Strip(heading.render_segments(self.visual_style), heading.cell_length)
        return strip.crop_extend(0, width, self.rich_style)
