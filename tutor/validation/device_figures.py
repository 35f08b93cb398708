"""The figures of a run on a device, compared with those on the CPU.

They may differ by as much as arithmetic leaves open: another device adds in another order. How far
that carries is measured: CPU runs from starts moved by one float32 step show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import torch

from tutor.protocol.frame import Position, Remark, RunRecipe
from tutor.training.devices import Randomness, seed_all
from tutor.training.figures import reading_of
from tutor.training.history import History
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Program
from tutor.training.run import Run
from tutor.training.values import RELATIVE, Array, largest_size, real_pairs

DRAWS = 3
"""Runs from a moved start that measure how far the figures move."""

_SPREADS = 8
"""An epoch rounds at every operation, a moved start once: this multiple of its way is allowed."""


_Figure: TypeAlias = tuple[int, str, bool]
"""The epoch, the name of a loss or a parameter, and whether it is the parameter's gradient."""


class FiguresOnDevice:
    """A mode trained on a device, and on the CPU, and their differences."""

    def __init__(self, programs: Mapping[str, Program], mode: str, device: str) -> None:
        self._programs, self._mode, self._device = programs, mode, device
        self.epochs = programs[mode].epochs
        self.draws_there = False
        """Whether random numbers came from the device's generator: the CPU's are others."""

    def difference(self) -> Remark | None:
        """The first figure that is not the CPU's; None if there is none.

        Raises LessonRaised. Where random numbers were drawn on the device, nothing is compared.
        """
        seed_all(0)
        fresh = Randomness.now(self._device).device
        there = self._run(self._device)
        on_device = dict(self._figures(there))
        self.draws_there = fresh != Randomness.now(self._device).device or any(
            isinstance(thing, torch.Generator) and thing.device.type != "cpu"
            for thing in there.loop.namespace.values()
        )
        if self.draws_there:
            return None
        here = dict(self._figures(self._run("cpu")))
        apart = {at: _distance(found, here.get(at)) for at, found in on_device.items()}
        unlike = [at for at, distance in apart.items() if distance > _allowed(here.get(at), 0.0)]
        moved = [self._moved_figures(draw) for draw in range(DRAWS)] if unlike else []
        for at in unlike:
            spreads = [_distance(run[at], here.get(at)) for run in moved if at in run]
            allowed = _allowed(here.get(at), max(spreads, default=0.0))
            if apart[at] > allowed:
                epoch, *figure = at
                values = {"epoch": epoch, "figure": figure}
                values |= {"device": self._device, "allowed": allowed}
                if worst := _worst(on_device[at], here.get(at)):
                    return Remark("figure_differs", {**values, **worst})
                return Remark("figure_of_other_shape", values)
        return None

    def _run(self, device: str) -> Run:
        recipe = RunRecipe(self._mode, device, self._programs[self._mode].learning_rate, 0)
        start, history = Position(0, 0), History(spacing=math.inf)
        return Run.from_recipe(self._programs, recipe, start, history=history)

    def _moved_figures(self, draw: int) -> Mapping[_Figure, Array]:
        """Those from a moved start, as far as it comes: a number may leave what is permitted."""
        run, found = self._run("cpu"), dict[_Figure, Array]()
        move(run.loop.namespace, draw)
        with suppress(LessonRaised):
            found.update(self._figures(run))
        return found

    def _figures(self, run: Run) -> Iterator[tuple[_Figure, Array]]:
        """The loss, values and gradients, after ever more epochs."""
        for epoch in _milestones(self.epochs):
            run.run_to_without_frame(epoch)
            reading = reading_of(run.loop)
            loss = math.nan if reading.loss is None else reading.loss
            yield (epoch, "loss", False), np.array(loss)
            for name, value in reading.values.items():
                yield (epoch, name, False), real_pairs(value)
            for name, gradient in reading.gradients.items():
                if gradient is not None:
                    yield (epoch, name, True), real_pairs(gradient)


def _milestones(epochs: int) -> Iterator[int]:
    """1, 2, 4, 8 … and the last."""
    epoch = 1
    while epoch < epochs:
        yield epoch
        epoch *= 2
    yield epochs


def _allowed(wanted: Array | None, spread: float) -> float:
    scale = 0.0 if wanted is None else largest_size(wanted)
    return _SPREADS * spread + RELATIVE * max(scale, 1e-3)


def _distance(one: Array, other: Array | None) -> float:
    """The largest difference; infinite where only one of two numbers is finite, or there."""
    if other is None or one.shape != other.shape:
        return math.inf
    return float(differences(one, other).max(initial=0.0))


def differences(one: Array, other: Array) -> Array:
    """How far two arrays of one shape are apart; two NaN are equal, and infinitely far from all."""
    one, other = (each.astype(np.float64) for each in (one, other))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(all="ignore"):
        apart = np.where(same, 0.0, np.abs(one - other))
    return np.nan_to_num(apart, nan=math.inf, posinf=math.inf)


def _worst(found: Array, wanted: Array | None) -> dict[str, Any]:
    """The two numbers that differ most, and where they are; nothing if the shapes differ."""
    if wanted is None or found.shape != wanted.shape:
        return {}
    at = int(differences(found, wanted).argmax())
    place = [int(i) for i in np.unravel_index(at, found.shape)] if found.ndim else []
    return {"found": float(found.flat[at]), "wanted": float(wanted.flat[at]), "place": place}


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


def _arrays(namespace: Mapping[str, Any]) -> list[Array]:
    """Views of all floating-point numbers that can be changed, each once."""
    found: dict[int, Array] = {}
    for value in namespace.values():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.flags.writeable:
            found[id(value)] = value
        tensors = value.parameters() if isinstance(value, torch.nn.Module) else [value]
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.dtype in (torch.float32, torch.float64):
                found[id(tensor)] = tensor.detach().numpy()
    return list(found.values())
