"""The memory that computation graphs hold: what they keep for a backward pass still to come.

An image of a script that keeps a loss with its graph keeps the graph, too, and all that it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

import torch

_MOST_NODES = 20_000


def held_by(tensor: torch.Tensor, known: Collection[int]) -> dict[int, int]:
    """The bytes of each memory that a non-leaf tensor and its graph hold, by address.

    Without those whose address is `known`. Raises MemoryError for a graph too large to look at.
    """
    found = dict(_memory(tensor))
    waiting, seen = [tensor.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if len(seen) > _MOST_NODES:
            raise MemoryError("a graph of this size is not kept")
        waiting += [following for following, _ in node.next_functions]
        for name in _names(type(node)):
            found.update(_memories(_attribute(node, name)))
    return {address: size for address, size in found.items() if address not in known}


@lru_cache(maxsize=1024)
def _names(kind: type) -> tuple[str, ...]:
    return tuple(n for n in dir(kind) if n.startswith("_saved_") or n == "saved_tensors")


def _attribute(node: Any, name: str) -> Any:
    try:
        return getattr(node, name)
    except RuntimeError:  # the backward pass has let go of it
        return None


def _memories(saved: Any) -> Iterator[tuple[int, int]]:
    for thing in saved if isinstance(saved, list | tuple) else (saved,):
        if isinstance(thing, torch.Tensor):
            yield from _memory(thing)


def _memory(tensor: torch.Tensor) -> Iterator[tuple[int, int]]:
    if tensor.layout is torch.strided:
        storage = tensor.untyped_storage()
        yield storage.data_ptr(), storage.nbytes()
