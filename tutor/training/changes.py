"""Changes of a run at the same place: another mode, another device, another value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from tutor.errors import Refused
from tutor.protocol.frame import Element, Remark
from tutor.training.batch_start import BatchStart, state_that_fits
from tutor.training.loop import Loop
from tutor.training.state_copy import keep, make_replayable, set_down
from tutor.training.values import is_near, to_numpy


def carry_over(old: Loop, new: Loop) -> tuple[str, ...]:
    """Bring `new` to where `old` stands; returns the parameters that could not come along.

    The phases that `old` has done of its batch run again in `new`, from what the batch began
    with: the parameters, the state of the random number generators (the lesson's own ones too),
    and what an epoch changes besides, like an order of the data. So the same random numbers are
    drawn again. Then the parameters get the values they have in `old` (those that `old` has not
    got, the values of their Setup).
    Before the first step there is nothing to carry: `new` begins with its own values.
    """
    new.epoch = old.epoch
    if not old.step:
        new.step = 0
        return ()
    first, values = new.parameter_values(), old.parameter_values()
    new.step = old.batch * len(new.program.loop)
    if old.batch_start is None:
        new.set_parameters(values)
    else:
        _go_to_batch(old, old.batch_start, new)
    for _ in range(_phases_to_repeat(old, new)):
        new.run_step()
    # What only the new mode has goes back to what its Setup made of it.
    left = new.set_parameters(first | values)
    if old.at_end:
        while not new.at_end:
            new.run_step()
    mine = set(new.program.parameters)
    return tuple(name for name in left if name in mine)


def _go_to_batch(old: Loop, start: BatchStart, new: Loop) -> None:
    """Bring `new` to the start of the batch in which `old` stands.

    An open file, a queue or an iterator in a list can't be copied, as a name's own iterator can
    (ReplayedIterator), but made again: the epoch's batches are run until here.
    """
    if not old.batch or start.is_whole(old.program) or old.epoch_start is None:
        _bring(start, new)
        return
    _bring(old.epoch_start, new)
    new.step = 0
    for _ in range(old.batch * len(new.program.loop)):
        new.run_step(looking=False, resting=False)
    new.set_parameters(start.values)


def _bring(start: BatchStart, new: Loop) -> None:
    """Carry over the state at the start of a batch in another mode, as far as it fits."""
    names = new.namespace
    make_replayable(names)
    mine = {name: keep(names[name]) for name in start.carried if name in names}
    by_hand = not any(isinstance(names.get(n), torch.Tensor) for n in new.program.parameters)
    for name, kept in state_that_fits(start.carried, mine, new.program, is_numpy=by_hand).items():
        names[name] = set_down(kept, names.get(name))
    start.generator_states.restore(new.device)
    new.set_parameters(start.values)


def other_loss(old: Loop, new: Loop) -> tuple[Remark, ...]:
    """A note if two modes compute different losses from the same batch and parameters.

    None where one of them has not computed it yet.
    """
    if not all("Loss" in _phases_done(loop) for loop in (old, new)):
        return ()
    before, now = to_numpy(old.loss()), to_numpy(new.loss())
    if before is None or now is None or before.size != 1 or now.size != 1 or is_near(before, now):
        return ()
    losses = {"loss": now.item(), "old_loss": before.item()}
    values = {"mode": new.program.mode, "old_mode": old.program.mode, **losses}
    return (Remark("other_loss", values),)


def _phases_done(loop: Loop) -> list[str]:
    return [phase.name for phase in loop.program.loop[: loop.phases_done]] if loop.step else []


def _phases_to_repeat(old: Loop, new: Loop) -> int:
    """The number of phases that `new` runs to have done what `old` has done of its batch."""
    length = len(old.program.loop)
    done = old.step - old.batch * length
    if done >= length:  # the batch is complete, and perhaps the Report has run too
        return len(new.program.loop)
    names = {phase.name for phase in old.program.loop[:done]}
    shared = [i for i, phase in enumerate(new.program.loop) if phase.name in names]
    return shared[-1] + 1 if shared else 0


def set_element(loop: Loop, element: Element) -> tuple[Remark, ...]:
    """Give one number of a parameter another value; returns what there is to say of it.

    Before this batch's gradient has been computed, its phases so far run again with the new
    value: what stands in their formulas is then true. Raises Refused for a
    name, an index or a value that there can't be.
    """
    now = loop.parameter_values()
    array = now.get(element.parameter)
    if array is None:
        raise Refused("no_parameter", name=element.parameter, available=list(now))
    new = array.copy()
    new[_checked_index(element, array)] = _checked_value(element, array)
    done = loop.phases_done
    if 0 < done <= loop.program.gradient_at:
        loop.run_batch_again({element.parameter: new})
        return ()
    loop.set_parameters({element.parameter: new})
    if 0 < done <= loop.program.update_at:
        return (Remark("old_gradient"),)
    return ()


def _checked_index(element: Element, array: np.ndarray[Any, Any]) -> tuple[int, ...]:
    name, index, shape = element.parameter, element.index, array.shape
    inside = len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))
    if inside:
        return index
    if not shape:
        raise Refused("no_index", name=name)
    raise Refused("no_element", name=name, index=list(index), last=[n - 1 for n in shape])


def _checked_value(element: Element, array: np.ndarray[Any, Any]) -> Any:
    with np.errstate(all="ignore"):
        value = array.dtype.type(element.value) if math.isfinite(element.value) else np.nan
    if not np.isfinite(value):
        raise Refused(
            "bad_value", name=element.parameter, value=element.value, dtype=str(array.dtype)
        )
    return value
