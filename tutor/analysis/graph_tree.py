"""A graph as the rows of a tree in text: the loss above, what it was computed from below it.

A node that several operations use stands where it is met first; where it is met again, a
row only says so. A call that PyTorch composes of several operations is one node, as the lesson
wrote it, unless its parts are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tutor.protocol.inspections import AutogradGraph, GraphNode

DEEPEST = 8
"""Levels that are drawn by indentation; of a deeper one the number is written."""

_BRANCH, _LAST, _RAIL, _BLANK = "├─ ", "└─ ", "│  ", "   "


@dataclass(frozen=True, slots=True)
class GraphRow:
    """One line of the tree."""

    node: int
    """The node's id."""
    prefix: str
    """What stands before it: `│  └─ `; empty for a root."""
    seen_before: bool
    """Whether it stands further up already, with all that is below it."""
    hidden: int
    """How many nodes are folded away below it; 0 if none."""
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
    """By node that has a row: what it was computed from, each once."""
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
    """How many nodes can be reached from this one."""
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
