"""Changes of a run at the same place: another mode, another device, another value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tutor.errors import Refused
from tutor.lesson.model import LOSS, gradient_variable
from tutor.protocol.frame import Element, Remark
from tutor.training.loop import Loop
from tutor.training.program import Program
from tutor.training.state_copy import (
    NOT_COPIED,
    SCALARS,
    SEQUENCES,
    STEPPED,
    BatchStart,
    GeneratorState,
    ModuleState,
    ReplayedIterator,
    SteppedState,
    ValueCopy,
    filled,
    make_replayable,
    moved,
    restored,
    value_copy,
)
from tutor.training.values import Array, is_near, is_spoiled, set_gradient, to_numpy


def carry_over(old: Loop, new: Loop) -> tuple[Remark, ...]:
    """Bring `new` to where `old` stands; returns remarks on state that could not come along.

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
    anew: tuple[str, ...] = ()
    if old.batch_start is None:
        new.set_parameters(values)
    else:
        anew = _go_to_batch(old, old.batch_start, new)
    for _ in range(_phases_to_repeat(old, new)):
        new.run_step()
    # Names that only the new mode has get the values that its Setup gave them.
    left = new.set_parameters(first | values)
    if old.at_end:
        while not new.at_end:
            new.run_step()
    remarks: tuple[Remark, ...] = ()
    if lost := [name for name in left if name in new.program.parameters]:
        remarks += (Remark("not_carried", {"names": lost}),)
    if anew and (old.epoch > 1 or old.batch):
        remarks += (Remark("state_begins_anew", {"names": list(anew), "mode": new.program.mode}),)
    return remarks


def _go_to_batch(old: Loop, start: BatchStart, new: Loop) -> tuple[str, ...]:
    """Bring `new` to the start of the batch in which `old` stands; returns what begins anew there.

    An open file, a queue or an iterator in a list can't be copied, as a name's own iterator can
    (ReplayedIterator), but made again: the epoch's batches are run until here.
    """
    if not old.batch or start.is_whole(old.program) or old.epoch_start is None:
        return _bring(old, start, new)
    anew = _bring(old, old.epoch_start, new)
    new.step = 0
    for _ in range(old.batch * len(new.program.loop)):
        new.run_step(for_frame=False, may_stop=False)
    new.set_parameters(start.values)
    return anew


def _bring(old: Loop, start: BatchStart, new: Loop) -> tuple[str, ...]:
    """Carry over the state at the start of a batch, in another mode as far as it fits.

    Returns the names of optimizers and schedulers whose state does not.

    On another device all of it fits: the state of optimizers and what was left in gradients, too.
    """
    device = new.device if new.program.mode == old.program.mode else None
    names = new.namespace
    make_replayable(names)
    mine = {name: value_copy(names[name]) for name in start.carried if name in names}
    by_hand = not any(isinstance(names.get(n), torch.Tensor) for n in new.program.parameters)
    found = state_that_fits(start.carried, mine, new.program, is_numpy=by_hand, device=device)
    stepped, anew = ({}, ()) if device else _stepped_that_fit(old, start, new)
    there = start.things if new is old else names
    for name, kept in (found | stepped).items():
        names[name] = restored(kept, there.get(name))
    start.randomness.restore(new.device)
    new.set_parameters(start.values)
    if device is not None:
        set_gradients(new, start.gradients)
    if start.learning_rate is not None and (device or stepped):
        # An optimizer's rate is now the rate of then.
        new.set_learning_rate(start.learning_rate, names["learning_rate"])
    return anew


def set_gradients(loop: Loop, gradients: Mapping[str, Array | None]) -> None:
    """Give the parameters these gradients; where one does not fit, there is none."""
    bound = frozenset[str]().union(*(phase.binds for phase in loop.program.loop))
    for name, gradient in gradients.items():
        has_variable = gradient_variable(name) in bound and not loop.program.stores_grad
        set_gradient(name, gradient, loop.namespace, has_variable=has_variable)


def other_loss(old: Loop, new: Loop) -> tuple[Remark, ...]:
    """A note if two modes compute different losses from one batch and equal parameters.

    None where one of the modes has not computed its loss yet.
    """
    if not all(LOSS in _phases_done(loop) for loop in (old, new)):
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
    """The number of phases that `new` runs to come as far in its batch as `old`."""
    length = len(old.program.loop)
    done = old.step - old.batch * length
    if done >= length:  # the batch is complete, and perhaps the Report has run too
        return len(new.program.loop)
    names = {phase.name for phase in old.program.loop[:done]}
    shared = [i for i, phase in enumerate(new.program.loop) if phase.name in names]
    return shared[-1] + 1 if shared else 0


def set_element(loop: Loop, element: Element) -> tuple[Remark, ...]:
    """Give one number of a parameter another value; returns remarks on that.

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
        _run_batch_again(loop, {element.parameter: new})
        return ()
    loop.set_parameters({element.parameter: new})
    if 0 < done <= loop.program.update_at:
        return (Remark("old_gradient"),)
    return ()


def _run_batch_again(loop: Loop, values: Mapping[str, Array]) -> None:
    """Run the phases of this batch up to here once more, with these parameters.

    All else is as the batch began, the random numbers too. Raises LessonRaised; Refused (and
    changes nothing) if the batch's start is not known.
    """
    if loop.program.is_script:
        raise Refused("set_between_epochs")
    start, done = loop.batch_start, loop.phases_done
    if start is None or not start.is_whole(loop.program):
        raise Refused("batch_not_repeatable")
    for name in loop.program.volatile.difference(start.carried, _SETTINGS):
        loop.namespace.pop(name, None)  # the batch has made it
    _bring(loop, start, loop)
    loop.set_parameters(values)
    loop.step -= done
    for _ in range(done):
        loop.run_step()


def _checked_index(element: Element, array: Array) -> tuple[int, ...]:
    name, index, shape = element.parameter, element.index, array.shape
    inside = len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))
    if inside:
        return index
    if not shape:
        raise Refused("no_index", name=name)
    raise Refused("no_element", name=name, index=list(index), last=[n - 1 for n in shape])


def _checked_value(element: Element, array: Array) -> Any:
    with np.errstate(all="ignore"):
        value = array.dtype.type(element.value) if math.isfinite(element.value) else np.nan
    if not np.isfinite(value):
        raise Refused(
            "bad_value", name=element.parameter, value=element.value, dtype=str(array.dtype)
        )
    return value


# ── From one mode to another ────────────────────────────────────────────────────────


def state_that_fits(
    theirs: Mapping[str, ValueCopy],
    mine: Mapping[str, ValueCopy],
    program: Program,
    *,
    is_numpy: bool,
    device: str | None = None,
) -> dict[str, ValueCopy]:
    """The part of another mode's kept state that a loop of `program` can take over.

    `mine` is what was kept of its own. Taken over is what is of the same kind and size there
    (a tensor in place of an array where the mode has a tensor), and what its code only makes on
    its way, in an earlier batch. Its parameters, their gradients, its settings and the data that
    it only reads stay its own. `is_numpy`: its parameters are. `device`: theirs is the same mode,
    whose state goes to this device.
    """
    own = {*program.parameters, *map(gradient_variable, program.parameters), *_SETTINGS}
    found = {}
    for name, kept in theirs.items():
        if name in own or (name in program.liveness.only_read and isinstance(kept, _DATA)):
            continue
        if device is not None and (name in mine or name in program.volatile):
            kept = moved(kept, mine.get(name), device)
        elif name in mine:
            kept = _as_mine(kept, mine[name])
        elif name not in program.volatile:
            continue
        elif is_numpy and isinstance(kept, torch.Tensor):
            kept = kept.detach().cpu().numpy()
        if kept is not NOT_COPIED:
            found[name] = kept
    return found


def _stepped_that_fit(
    old: Loop, start: BatchStart, new: Loop
) -> tuple[dict[str, ValueCopy], tuple[str, ...]]:
    """The states of optimizers and schedulers that `new` takes over, by name; the other names.

    The others begin anew. An optimizer without a state of its own (plain SGD) is in neither: it has
    nothing to lose.
    """
    found, anew = dict[str, ValueCopy](), list[str]()
    same_rate = start.learning_rate == new.namespace["learning_rate"]
    for name, mine in new.namespace.items():
        kept, was = start.carried.get(name), old.namespace.get(name)
        if not isinstance(mine, STEPPED):
            continue
        fits = isinstance(kept, SteppedState) and type(was) is type(mine)
        if isinstance(mine, torch.optim.Optimizer):
            fits = fits and _groups(old, was) == _groups(new, mine)
        else:  # a scheduler has the rates that it began with in its state
            fits = fits and same_rate and any(new.namespace[n] is mine.optimizer for n in found)
        if fits:
            found[name] = kept
        elif _keeps_state(mine):
            anew.append(name)
    return found, tuple(anew)


def _groups(loop: Loop, optimizer: Any) -> list[Any]:
    """The names, shapes and settings of an optimizer's parameters, but for learning rates."""
    names = {id(thing): name for name, thing in loop.namespace.items()}
    for name, thing in loop.namespace.items():
        if isinstance(thing, torch.nn.Module):
            names |= {id(p): f"{name}.{inner}" for inner, p in thing.named_parameters()}
    names |= {id(thing): name for name, thing in loop.parameters().items()}
    rates = ("params", "lr", "initial_lr")
    return [
        (
            [(names.get(id(p)), tuple(p.shape)) for p in group["params"]],
            {key: value for key, value in group.items() if key not in rates},
        )
        for group in optimizer.param_groups
    ]


def _keeps_state(stepped: Any) -> bool:
    """Whether an optimizer or a scheduler remembers earlier steps, as far as that is known."""
    if type(stepped) is torch.optim.SGD:
        return any(group["momentum"] for group in stepped.param_groups)
    return type(stepped).__module__.startswith("torch.optim")


_SETTINGS = ("batch", "device", "learning_rate", "loss", "__builtins__")
_DATA = (*SCALARS, np.ndarray, torch.Tensor, list, tuple, dict)
"""The types of data; a module is not among them: its buffers change without a line of code."""


def _as_mine(kept: ValueCopy, mine: ValueCopy) -> ValueCopy:
    """A kept value of another mode in the form of `mine`; NOT_COPIED if that can't be."""
    arrays = (np.ndarray, torch.Tensor)
    if isinstance(kept, arrays) and isinstance(mine, arrays):
        return _as_array(kept, mine)
    if type(kept) is not type(mine):
        return NOT_COPIED
    if isinstance(kept, ModuleState):  # the module may hold more than the parameters
        theirs, shapes = ({n: t.shape for n, t in m.tensors.items()} for m in (kept, mine))
        return kept if theirs == shapes else NOT_COPIED
    if isinstance(kept, GeneratorState):
        return kept if kept.kind == mine.kind else NOT_COPIED
    if isinstance(kept, SEQUENCES):
        if all(isinstance(item, SCALARS) for item in kept):
            return kept
        same = len(kept) == len(mine)
        items = [_as_mine(*pair) for pair in zip(kept, mine, strict=True)] if same else [NOT_COPIED]
        return NOT_COPIED if any(item is NOT_COPIED for item in items) else filled(kept, items)
    if isinstance(kept, dict):
        if kept.keys() != mine.keys():  # this mode's code may read a key that is not in `kept`
            return NOT_COPIED
        found = {key: _as_mine(item, mine[key]) for key, item in kept.items()}
        return NOT_COPIED if any(item is NOT_COPIED for item in found.values()) else found
    if isinstance(kept, ReplayedIterator):
        return kept if type(kept.source) is type(mine.source) else NOT_COPIED
    return kept if isinstance(kept, SCALARS) else NOT_COPIED


def _as_array(kept: ValueCopy, mine: ValueCopy) -> ValueCopy:
    """The numbers in an array, or in a tensor, as `mine` is; NOT_COPIED if that can't be."""
    if any(isinstance(a, torch.Tensor) and is_spoiled(a) for a in (kept, mine)):
        return NOT_COPIED
    if tuple(kept.shape) != tuple(mine.shape):
        return NOT_COPIED
    if isinstance(kept, torch.Tensor) and isinstance(mine, torch.Tensor):
        if _layout_and_dtype(kept) != _layout_and_dtype(mine):
            return NOT_COPIED
        new = kept.detach().to(device=mine.device, dtype=mine.dtype, copy=True)
        return new.requires_grad_(mine.requires_grad)
    theirs, numbers = to_numpy(kept), to_numpy(mine)
    if theirs is None or numbers is None or theirs.dtype.kind != numbers.dtype.kind:
        return NOT_COPIED
    array = theirs.astype(numbers.dtype)
    if isinstance(mine, np.ndarray):
        return array
    return torch.from_numpy(array).to(mine.device, mine.dtype).requires_grad_(mine.requires_grad)


def _layout_and_dtype(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.layout, tensor.is_floating_point(), tensor.is_complex(), tensor.dtype.is_signed
