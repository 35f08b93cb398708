"""The referee: gradients by central finite differences in float64.

Evaluates the program's own Predict and Loss, so it trusts nobody's derivative. Knows
nothing of runs; it works on a loop of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tutor.training.loop import Loop, set_up
from tutor.training.program import Program
from tutor.training.values import to_numpy

Numbers = dict[str, np.ndarray[Any, np.dtype[np.float64]]]

STEP = float(np.cbrt(np.finfo(np.float64).eps))
"""The h that balances truncation (h²) against rounding (eps/h) in a central difference.

Source: Press et al., Numerical Recipes, section 5.7: about eps^(1/3), times the scale of w.
"""


def precise_loop(program: Program, seed: int = 0) -> Loop:
    """The program set up on the CPU, with every float in its namespace made a float64."""
    loop = set_up(program, "cpu", program.learning_rate, seed)
    names = loop.namespace
    in_modules: set[int] = set()
    for thing in names.values():
        if isinstance(thing, torch.nn.Module):
            thing.double()  # changes its parameters in place: names bound to them follow
            in_modules |= {id(p) for p in thing.parameters()}
    for name, thing in list(names.items()):
        if id(thing) not in in_modules:
            names[name] = _as_float64(thing)
    loop.begin_epoch()
    return loop


def gradients_by_differences(loop: Loop, batch: int = 0) -> Numbers:
    """dL/dp for each element of each parameter, by (L(p + h) - L(p - h)) / 2h.

    `loop` stands before its batch; afterwards its parameters are what they were.
    """
    loop.namespace["batch"] = batch
    return {name: _differences(loop, name) for name in loop.program.parameters}


def gradients_by_program(loop: Loop, batch: int = 0) -> Numbers:
    """The gradients that the program itself finds for this batch."""
    loop.step = batch * len(loop.program.loop)
    for _ in range(loop.program.gradient_at + 1):
        loop.run_step()
    found = {name: to_numpy(g) for name, g in (loop.gradients or {}).items()}
    return {name: array.astype(np.float64) for name, array in found.items() if array is not None}


def _differences(loop: Loop, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    start = to_numpy(loop.namespace[name])
    assert start is not None
    result = np.zeros(start.shape)
    for index in np.ndindex(start.shape):
        h = STEP * max(1.0, abs(float(start[index])))
        losses = []
        for moved in (start[index] + h, start[index] - h):
            changed = start.copy()
            changed[index] = moved
            loop.set_parameters({name: changed})
            losses.append(_loss(loop))
        result[index] = (losses[0] - losses[1]) / (2 * h)
    loop.set_parameters({name: start})
    return result


def _loss(loop: Loop) -> float:
    """The loss at the parameters as they are: Predict and Loss alone are run."""
    with torch.no_grad():
        for phase in loop.program.loop:
            if phase.name in ("Predict", "Loss"):
                loop.execute(phase.code)
    found = to_numpy(loop.loss())
    return float("nan") if found is None else float(found.reshape(()))


def _as_float64(thing: Any) -> Any:
    if isinstance(thing, torch.Tensor) and thing.is_floating_point():
        return thing.detach().double().requires_grad_(thing.requires_grad and thing.is_leaf)
    if isinstance(thing, np.ndarray | np.floating) and thing.dtype.kind == "f":
        return thing.astype(np.float64)
    return thing
