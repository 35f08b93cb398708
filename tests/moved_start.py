"""Shipped lessons whose start is moved by float32's own uncertainty.

Two CPUs may round the last bit of a float32 sum differently. A run whose start is moved by at
most one float32 step shows how far such a bit carries: as far as its figures move, no published
digit of them is determined by arithmetic alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import torch

from tests import shipped
from tutor.lesson.model import SETUP, Fence, Section
from tutor.training.program import Program, programs_of


def programs(slug: str, mode: str, draw: int) -> Mapping[str, Program]:
    """The program of a shipped lesson in `mode`, its start moved as the seed `draw` says."""
    lesson = shipped.lesson(slug)
    code = f"from tests.moved_start import move\nmove(globals(), {draw})\n"
    moving = Fence(code=code, line=lesson.sections[-1].line, modes=(mode,))

    def with_moved_setup(section: Section) -> Section:
        if section.phase != SETUP:
            return section
        return msgspec.structs.replace(section, blocks=(*section.blocks, moving))

    sections = tuple(map(with_moved_setup, lesson.sections))
    return programs_of(msgspec.structs.replace(lesson, sections=sections), [mode])


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
    """Views of all floating-point numbers, each once."""
    found: dict[int, np.ndarray[Any, Any]] = {}
    for value in namespace.values():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            found[id(value)] = value
        tensors = value.parameters() if isinstance(value, torch.nn.Module) else [value]
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                found[id(tensor)] = tensor.detach().numpy()
    return list(found.values())
