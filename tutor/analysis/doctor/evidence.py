"""Numbers that prove a finding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def element_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The index of the element that is farthest from 0; () of a single number without axes."""
    if not tensor.numel():
        return ()
    tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor
    at = int(torch.nan_to_num(tensor.detach()).abs().reshape(-1).argmax())
    return tuple(int(i) for i in np.unravel_index(at, tuple(tensor.shape))) if tensor.ndim else ()


def number_at(tensor: torch.Tensor, index: tuple[int, ...]) -> float:
    """One element as a number; of a complex one the real part."""
    dense = tensor.to_dense() if tensor.layout != torch.strided else tensor
    found = dense.detach()[index].cpu()
    return float(found.real if found.is_complex() else found)


def shape_of(thing: Any) -> tuple[int, ...] | None:
    """The shape of a tensor or an array; None of anything else."""
    return tuple(thing.shape) if isinstance(thing, torch.Tensor | np.ndarray) else None
