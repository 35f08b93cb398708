"""The nodes of an autograd graph below a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.graph import Node

MOST_NODES = 50_000
"""Nodes that are looked at; the graph of a long recurrent run has more."""


def grad_fn_of(thing: Any) -> Any:
    """The node of the graph that made a tensor; None of a leaf, or of what is no tensor."""
    try:
        return getattr(thing, "grad_fn", None)
    except RuntimeError:  # a view whose base has been changed since has none
        return None


def nodes_below(*tensors: torch.Tensor) -> Iterator[Node]:
    """Each node that a backward of these tensors comes to, at most MOST_NODES of them."""
    found = map(grad_fn_of, tensors)
    waiting: list[Node] = [node for node in found if node is not None]
    known = set(waiting)
    while waiting and len(known) <= MOST_NODES:
        node = waiting.pop(0) if len(waiting) < 64 else waiting.pop()
        yield node
        for child, _ in node.next_functions:
            if child is not None and child not in known:
                known.add(child)
                waiting.append(child)


def leaves_of(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """The leaves that a backward of these tensors gives a gradient to, each once."""
    found = [t for t in tensors if t.is_leaf and t.requires_grad]
    for node in nodes_below(*tensors):
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, torch.Tensor):
            found.append(leaf)
    return list({id(leaf): leaf for leaf in found}.values())
