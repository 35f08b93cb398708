"""A graph is drawn as a tree: each node once, what is folded counted, what is deep numbered."""

from __future__ import annotations

import msgspec

from tutor.protocol.frame import NO_VALUE, Remark
from tutor.protocol.inspections import AutogradGraph, GraphNode
from tutor.ui.panes.graph_rows import DEEPEST, tree


def graph(*inputs: tuple[int, ...]) -> AutogradGraph:
    """A graph in which node i was computed from the i-th of these."""
    return AutogradGraph(nodes=tuple(_node(i, ids) for i, ids in enumerate(inputs)))


def _node(id_: int, inputs: tuple[int, ...]) -> GraphNode:
    return GraphNode(
        id=id_,
        op="",
        says="",
        name="",
        inputs=inputs,
        value=NO_VALUE,
        gradient=NO_VALUE,
        order=id_,
    )


def drawn(graph: AutogradGraph, fold: frozenset[int] = frozenset()) -> list[str]:
    return [
        f"{row.prefix}{row.node}"
        + (" seen" if row.seen_before else "")
        + (f" +{row.hidden}" if row.hidden else "")
        for row in tree(graph, fold)
    ]


def test_inputs_hang_below_what_was_computed_from_them() -> None:
    assert drawn(graph((1,), (2, 4), (3,), (), ())) == [
        "0",
        "└─ 1",
        "   ├─ 2",
        "   │  └─ 3",
        "   └─ 4",
    ]


def test_a_node_that_is_used_twice_stands_once_with_all_that_is_below_it() -> None:
    assert drawn(graph((1, 2), (3,), (3,), (4,), ())) == [
        "0",
        "├─ 1",
        "│  └─ 3",
        "│     └─ 4",
        "└─ 2",
        "   └─ 3 seen",
    ]


def test_an_operation_with_itself_has_one_branch() -> None:
    assert drawn(graph((1, 1), ())) == ["0", "└─ 1"]


def test_what_is_folded_is_counted_and_a_node_below_it_counts_once() -> None:
    diamond = graph((1,), (2, 3), (4,), (4,), ())
    assert drawn(diamond, frozenset({1})) == ["0", "└─ 1 +3"]
    assert drawn(diamond, frozenset({4})) == drawn(diamond), "nothing is below a leaf"


def test_a_node_folded_away_at_its_first_place_is_drawn_whole_at_its_next() -> None:
    assert drawn(graph((1, 2), (3,), (3,), (4,), ()), frozenset({1})) == [
        "0",
        "├─ 1 +2",
        "└─ 2",
        "   └─ 3",
        "      └─ 4",
    ]


def test_two_roots_are_two_trees() -> None:
    assert drawn(graph((2,), (2,), ())) == ["0", "└─ 2", "1", "└─ 2 seen"]


def test_a_graph_of_thousands_of_levels_keeps_to_the_left_and_numbers_them() -> None:
    deep = graph(*[(i + 1,) for i in range(3000)], ())
    rows = tree(deep)
    assert len(rows) == 3001
    assert max(len(row.prefix) for row in rows) <= 3 * (DEEPEST + 1)
    assert rows[-1].prefix.startswith("3000 ")


def test_what_was_left_out_of_the_message_is_no_branch() -> None:
    assert drawn(graph((1, 99), ())) == ["0", "└─ 1"]


def test_a_composed_call_is_one_node_without_its_parts() -> None:
    linear = graph((1, 2), (), (3,), ())
    whole = tuple(
        msgspec.structs.replace(node, within=0 if node.id == 2 else None) for node in linear.nodes
    )
    composed = AutogradGraph(nodes=whole)
    assert drawn(composed) == ["0", "├─ 1", "└─ 3"]
    assert drawn(composed, frozenset({0})) == ["0 +2"]


def test_no_graph_is_no_rows() -> None:
    assert tree(AutogradGraph(remarks=(Remark("by_hand"),))) == ()
