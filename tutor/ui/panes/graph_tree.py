"""The rows of an autograd graph as a tree, and the part of backward that they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tutor.lesson.model import Lesson
from tutor.protocol.frame import Frame
from tutor.protocol.inspections import AutogradGraph, GraphNode, LocalGradientQuestion
from tutor.ui.lines import DONE_MARK, NEXT_MARK, NO_MARK, Piece

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


def tree(graph: AutogradGraph, fold: frozenset[int] = frozenset()) -> tuple[GraphRow, ...]:
    """The rows of the graph, with everything below the nodes of `fold` left out.

    Several roots (backward was called on more than one thing) are several trees, the loss's
    first. The parts of composed calls have no rows of their own.
    """
    inputs_of = graph.inputs_past_parts()
    shown: set[int] = set()
    rows: list[GraphRow] = []
    # By hand, not by recursion: a graph may be deeper than Python's stack.
    waiting = [(root, "", "", 0) for root in reversed(_roots(inputs_of))]
    while waiting:
        node, rails, branch, depth = waiting.pop()
        seen_before, folded = node in shown, node in fold
        shown.add(node)
        hidden = len(_reached([node], inputs_of)) if folded and not seen_before else 0
        rows.append(GraphRow(node, _prefix(rails, branch, depth), seen_before, hidden, depth))
        if seen_before or folded:
            continue
        inputs = inputs_of[node]
        inner = rails + {_BRANCH: _RAIL, _LAST: _BLANK}.get(branch, "")
        for i, child in reversed(list(enumerate(inputs))):
            waiting.append((child, inner, _LAST if i == len(inputs) - 1 else _BRANCH, depth + 1))
    return tuple(rows)


def _roots(inputs_of: Mapping[int, list[int]]) -> list[int]:
    """The nodes that nothing was computed from."""
    used = {child for children in inputs_of.values() for child in children}
    return [node for node in inputs_of if node not in used]


def _reached(starts: Iterable[int], ways: Mapping[int, Sequence[int]]) -> list[int]:
    """The nodes that the ways from these lead to, each once, the nearest first."""
    found: dict[int, None] = {}
    waiting = [*starts]
    for node in waiting:  # it grows meanwhile
        new = [following for following in ways.get(node, ()) if following not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def _prefix(rails: str, branch: str, depth: int) -> str:
    """The rails and the branch; for a row too deep to indent, the level's number instead."""
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
    """Whether that phase is about to run: only then can its operations be shown one by one."""
    asked: int | None = None
    """The operation that an exercise asks about; None where none does."""

    def mark(self, node: GraphNode) -> Piece:
        """The mark before an operation while operations are shown one by one."""
        if not self.is_next or node.order < 0:
            return NO_MARK
        if self.asked is not None:
            return NEXT_MARK if node.order == self.asked else NO_MARK
        return {self.done: NEXT_MARK, self.done - 1: DONE_MARK}.get(node.order, NO_MARK)

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
            return "found so far, ▶ is the question"
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
    """The part of backward to show at a frame, after this number of operations.

    While an exercise asks about an operation, it is what has been found before that question.
    """
    phase, total = lesson.gradient_phase(frame.mode), graph.operations
    is_next = frame.next_phase == phase
    has_run = lesson.has_gradients(frame.mode, frame.phase, frame.line)
    if asked_of is not None and is_next and not has_run:
        return Backward(asked_of.known, total, phase, True, asked_of.order)
    done = total if has_run else min(operations, total) if is_next else 0
    return Backward(done, total, phase, is_next and not has_run)


def below(graph: AutogradGraph, node: GraphNode) -> list[GraphNode]:
    """The nodes that this node was computed from, each once."""
    nodes = {n.id: n for n in graph.nodes}
    inputs = {n.id: [i for i in n.inputs if i in nodes] for n in graph.nodes}
    return [nodes[id_] for id_ in _reached([node.id], inputs)]


def above(graph: AutogradGraph, order: int) -> frozenset[int]:
    """The ids of the nodes in whose branch the operation with this place in backward stands."""
    users: dict[int, list[int]] = {}
    for node in graph.nodes:
        for child in node.inputs:
            users.setdefault(child, []).append(node.id)
    starts = [node.id for node in graph.nodes if node.order == order >= 0]
    return frozenset(_reached(starts, users))
