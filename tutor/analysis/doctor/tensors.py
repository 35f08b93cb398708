"""The numbers of tensors that a rule names as evidence, and the graph that a tensor was made by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import Node

MOST_NODES = 50_000
"""Nodes that are looked at; the graph of a long recurrent run has more."""


def place_of_extreme(tensor: torch.Tensor) -> tuple[int, ...]:
    """The index of the element that is farthest from 0; () of a single number without axes."""
    if not tensor.numel():
        return ()
    at = int(torch.nan_to_num(tensor.detach().to_dense()).abs().reshape(-1).argmax())
    return tuple(int(i) for i in np.unravel_index(at, tuple(tensor.shape))) if tensor.ndim else ()


def number_at(tensor: torch.Tensor, index: tuple[int, ...]) -> float:
    """One element as a number; of a complex one the real part."""
    found = tensor.detach().to_dense()[index].cpu()
    return float(found.real if found.is_complex() else found)


def extreme_of(tensor: torch.Tensor) -> float:
    """The number that is farthest from 0; of a complex one the real part."""
    return number_at(tensor, place_of_extreme(tensor))


def norm_of(tensor: torch.Tensor) -> float:
    """The root of the sum of the squares."""
    return float(tensor.detach().to_dense().norm())


def gradient_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """The gradient of a tensor; None if it has none, or one that is all 0."""
    return tensor.grad if tensor.grad is not None and bool(tensor.grad.any()) else None


def held_by(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The tensors that an optimizer changes."""
    return [tensor for group in optimizer.param_groups for tensor in group["params"]]


# ── The graph ───────────────────────────────────────────────────────────────────────


def grad_fn_of(thing: Any) -> Any:
    """The graph's node that made a tensor; None for a leaf, and for a thing that is no tensor."""
    try:
        return getattr(thing, "grad_fn", None)
    except RuntimeError:  # a view whose base has been changed since has none
        return None


def nodes_below(*tensors: Any) -> Iterator[Node]:
    """Each node that a backward of these tensors comes to, the nearest first, up to MOST_NODES."""
    found = map(grad_fn_of, tensors)
    waiting: deque[Node] = deque(node for node in found if node is not None)
    known = set(waiting)
    while waiting and len(known) <= MOST_NODES:
        node = waiting.popleft()
        yield node
        for child, _ in node.next_functions:
            if child is not None and child not in known:
                known.add(child)
                waiting.append(child)


def leaves_of(*things: Any) -> list[torch.Tensor]:
    """The leaves that a backward of these tensors gives a gradient to, each once."""
    tensors = [thing for thing in things if isinstance(thing, torch.Tensor)]
    found = [t for t in tensors if t.is_leaf and t.requires_grad]
    for node in nodes_below(*tensors):
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, torch.Tensor):
            found.append(leaf)
    return list({id(leaf): leaf for leaf in found}.values())
