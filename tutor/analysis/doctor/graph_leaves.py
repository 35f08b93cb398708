"""The leaves of a loss's autograd graph: the tensors that its backward reaches."""

from __future__ import annotations

from typing import Any

import torch

MOST_NODES = 50_000


def grad_fn_of(thing: Any) -> Any:
    """The node of the graph that made a tensor; None of a leaf, or of what is no tensor."""
    try:
        return getattr(thing, "grad_fn", None)
    except RuntimeError:  # a view whose base has been changed since has none
        return None


def graph_leaves(loss: Any) -> dict[int, torch.Tensor]:
    """The tensors at the end of the graph, by identity."""
    found: dict[int, torch.Tensor] = {}
    waiting, known = [grad_fn_of(loss)], set[int]()
    while waiting and len(known) < MOST_NODES:
        node = waiting.pop()
        if node is None or id(node) in known:
            continue
        known.add(id(node))
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor):
            found[id(variable)] = variable
        waiting += [function for function, _ in node.next_functions]
    return found
