"""A second copy of a lesson's loop: what would the loss be elsewhere? It leaves the run alone.

Its Setup has run in a namespace of its own; it is brought to a place of the run by value.
So whatever is tried in it (other parameters, other inputs, a backward pass that is looked
into) leaves the run as it was, the random number generators included. Knows nothing of
pictures, graphs or comparisons: those ask it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, TypeAlias

import numpy as np
import torch

from tutor.training.loop import Loop, set_up, untouched_randomness
from tutor.training.program import Program
from tutor.training.quiet import Quiet
from tutor.training.snapshot import Randomness
from tutor.training.values import to_numpy

Array: TypeAlias = np.ndarray[Any, Any]

_EVALUATED = ("Predict", "Loss")


@dataclass(frozen=True, slots=True)
class Standpoint:
    """One batch of a run, from which a probe can look about."""

    program: Program
    device: str
    learning_rate: float
    batch: int
    values: Mapping[str, Array]
    """The parameters with which the batch began (or will begin)."""
    now: Mapping[str, Array]
    """The parameters at this moment: others, once the update has been made."""
    old_gradients: Mapping[str, Array | None]
    """What stood in `.grad` (or `dw`) when this batch began; None where there was none."""
    gradients: Mapping[str, Array | None] | None
    """As this batch's Gradient phase left them; None if it has not run yet."""
    is_updated: bool
    """Whether this batch's update has been made."""
    carried: Mapping[str, Any] = field(default_factory=dict)
    """Copies of what else an epoch carries to the next: numbers, tensors, modules' states."""


def standpoint_of(loop: Loop, learning_rate: float) -> Standpoint:
    """Where `loop` stands, copied: nothing that is done to it later shows in it."""
    now = loop.parameter_values()
    names = [phase.name for phase in loop.program.loop]
    update = names.index("Update") if "Update" in names else len(names) - 1
    done = loop.phases_done
    known = done > loop.program.gradient_at and loop.gradients is not None
    return Standpoint(
        program=loop.program,
        device=loop.device,
        learning_rate=learning_rate,
        batch=loop.batch,
        values=loop.batch_start if done and loop.batch_start is not None else now,
        now=now,
        old_gradients=_numbers(loop.gradients_before if done else loop.gradients_now()),
        gradients=_numbers(loop.gradients or {}) if known else None,
        is_updated=done > update,
        carried=_carried(loop),
    )


class Probe:
    """A loop of the same program, for trying things out in."""

    def __init__(
        self,
        program: Program,
        device: str,
        learning_rate: float,
        seed: int,
        *,
        precise: bool = False,
        quiet: Quiet = nullcontext,
    ) -> None:
        """Runs Setup. Raises LessonRaised if it does.

        `precise`: on the CPU, with every float in the namespace made a float64.
        `quiet` is entered whenever the lesson's code runs here.
        """
        self.program, self.quiet = program, quiet
        self._device = "cpu" if precise else device
        with quiet(), untouched_randomness(device):
            self.loop = set_up(program, self._device, learning_rate, seed)
            if precise:
                _make_precise(self.loop)
            self._randomness = Randomness.now(self._device)
        self.loop.begin_epoch()

    def stand(self, at: Standpoint) -> None:
        """Go to the beginning of the standpoint's batch."""
        self._randomness = Randomness.now(self._device)
        for name, thing in at.carried.items():
            _take_over(self.loop.namespace, name, thing)
        self.loop.set_learning_rate(self.loop.namespace["learning_rate"], at.learning_rate)
        self.loop.namespace["batch"] = at.batch
        self.loop.step = at.batch * len(self.program.loop)
        self.set_parameters(at.values)
        self._set_gradients(at.old_gradients)

    def set_parameters(self, values: Mapping[str, Array]) -> None:
        """Give the parameters these values; what does not fit stays as it is."""
        self.loop.set_parameters(values)

    def loss(self, values: Mapping[str, Array] | None = None) -> float:
        """The loss by the lesson's own Predict and Loss, with these parameters if any are given.

        Every call draws the same random numbers. NaN if `loss` is no single number.
        """
        if values is not None:
            self.set_parameters(values)
        self._evaluate(_EVALUATED)
        found = to_numpy(self.loop.loss())
        return float(found.reshape(())) if found is not None and found.size == 1 else float("nan")

    def predict(self, inputs: Mapping[str, Array], prediction: str) -> Array | None:
        """What Predict makes of other inputs: the value of the name `prediction` then.

        `inputs` replace the names they stand for, in the dtype and on the device of what was
        there. `batch` is a slice over all of them meanwhile, so that `x[batch]` is all rows.
        """
        names = self.loop.namespace
        before = {name: names[name] for name in (*inputs, "batch")}
        try:
            names.update({n: _like(names[n], array) for n, array in inputs.items()})
            names["batch"] = slice(None)
            self._evaluate(("Predict",))
            return to_numpy(names.get(prediction))
        finally:
            names.update(before)

    def run_phases(self, count: int) -> None:
        """Run the first `count` phases of the batch, for real (with gradients), from `stand` on."""
        with self.quiet(), untouched_randomness(self._device):
            self._randomness.restore(self._device)
            for _ in range(count):
                self.loop.run_step()

    def _evaluate(self, phases: tuple[str, ...]) -> None:
        with self.quiet(), untouched_randomness(self._device), torch.no_grad():
            self._randomness.restore(self._device)
            for code in _codes(self.program, phases):
                self.loop.execute(code)

    def _set_gradients(self, gradients: Mapping[str, Array | None]) -> None:
        for name, gradient in gradients.items():
            thing = self.loop.namespace.get(name)
            if not isinstance(thing, torch.Tensor):
                if gradient is not None:
                    self.loop.namespace[f"d{name}"] = gradient
            elif gradient is None or not thing.is_leaf:
                thing.grad = None
            else:
                thing.grad = torch.from_numpy(np.array(gradient)).to(thing).reshape(thing.shape)


def _codes(program: Program, phases: tuple[str, ...]) -> list[CodeType]:
    return [phase.code for phase in program.loop if phase.name in phases]


def _numbers(gradients: Mapping[str, Any]) -> dict[str, Array | None]:
    return {name: to_numpy(gradient) for name, gradient in gradients.items()}


def _make_precise(loop: Loop) -> None:
    names = loop.namespace
    in_modules: set[int] = set()
    for thing in names.values():
        if isinstance(thing, torch.nn.Module):
            thing.double()  # changes its parameters in place: names bound to them follow
            in_modules |= {id(p) for p in thing.parameters()}
    for name, thing in list(names.items()):
        if id(thing) not in in_modules:
            names[name] = _as_float64(thing)


def _as_float64(thing: Any) -> Any:
    if isinstance(thing, torch.Tensor) and thing.is_floating_point():
        return thing.detach().double().requires_grad_(thing.requires_grad and thing.is_leaf)
    if isinstance(thing, np.ndarray | np.floating) and thing.dtype.kind == "f":
        return thing.astype(np.float64)
    return thing


# ── What is carried ─────────────────────────────────────────────────────────────────


def _carried(loop: Loop) -> dict[str, Any]:
    """What the loop carries from epoch to epoch besides its parameters, copied."""
    liveness = loop.program.liveness
    skip = {*loop.program.parameters, "learning_rate", "batch", "device", "loss"}
    found: dict[str, Any] = {}
    for name, thing in loop.namespace.items():
        if name in skip or name in liveness.dead or liveness.is_idle(name):
            continue
        kept = _kept(thing)
        if kept is not None:
            found[name] = kept
    return found


def _kept(thing: Any) -> Any:
    """A copy of what can be brought to another namespace; None for all else."""
    if isinstance(thing, torch.nn.Module | torch.optim.Optimizer):
        return copy.deepcopy(thing.state_dict())
    if isinstance(thing, torch.Tensor):
        return thing.detach().clone() if thing.is_leaf else None
    if isinstance(thing, np.ndarray):
        return thing.copy()
    return thing if isinstance(thing, bool | int | float | str | np.generic) else None


def _take_over(names: dict[str, Any], name: str, kept: Any) -> None:
    """Bring a carried thing into another namespace, where its like is there already."""
    mine = names.get(name)
    if isinstance(mine, torch.nn.Module):
        mine.load_state_dict(kept, strict=False)
    elif isinstance(mine, torch.optim.Optimizer):
        mine.load_state_dict(copy.deepcopy(kept))
    elif isinstance(mine, torch.Tensor) and isinstance(kept, torch.Tensor):
        if mine.shape == kept.shape:
            with torch.no_grad():
                mine.copy_(kept)
    elif isinstance(mine, np.ndarray) and isinstance(kept, np.ndarray):
        if mine.shape == kept.shape:
            mine[...] = kept
    elif mine is None or type(mine) is type(kept):
        names[name] = kept


def _like(thing: Any, array: Array) -> Any:
    """The numbers of `array` in the dtype of `thing`, and on its device."""
    if isinstance(thing, torch.Tensor):
        return torch.from_numpy(np.asarray(array)).to(dtype=thing.dtype, device=thing.device)
    dtype = thing.dtype if isinstance(thing, np.ndarray | np.generic) else np.float64
    return np.asarray(array, dtype=dtype)
