"""The start of a run moved by float32's own uncertainty.

Two devices may round the last bit of a float32 sum differently. A run whose start is moved by at
most one float32 step shows how far such a bit carries: as far as its figures move, arithmetic
alone does not determine them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def move(namespace: Mapping[str, Any], draw: int) -> None:
    """Move each floating-point number of the arrays, tensors and modules in a namespace.

    Each number stays, or goes one float32 step up or down, in place. Data and parameters are
    both moved: a parameter that starts at 0 has no neighbour that a sum would notice.
    """
    random = np.random.default_rng(draw)
    for array in _arrays(namespace):
        up = random.integers(-1, 2, array.shape)
        ends = np.where(up > 0, np.inf, -np.inf).astype(np.float32)
        array[...] = np.where(up == 0, array, np.nextafter(array.astype(np.float32), ends))


def _arrays(namespace: Mapping[str, Any]) -> list[np.ndarray[Any, Any]]:
    """Views of all floating-point numbers that can be changed, each once."""
    found: dict[int, np.ndarray[Any, Any]] = {}
    for value in namespace.values():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.flags.writeable:
            found[id(value)] = value
        tensors = value.parameters() if isinstance(value, torch.nn.Module) else [value]
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.dtype in (torch.float32, torch.float64):
                found[id(tensor)] = tensor.detach().numpy()
    return list(found.values())
