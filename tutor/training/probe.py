"""A second copy of a lesson's loop, to compute the loss elsewhere without changing the run.

Its Setup has run in a namespace of its own, and values bring it to a place of the run. Trials in it
(other parameters, other inputs, a traced backward pass) leave the run as it was, the random number
generators included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import CodeType
from typing import Any

import msgspec
import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only
from torch.utils.data import DataLoader, Dataset

from tutor.lesson.model import LOSS, PREDICT, RESET
from tutor.training.changes import set_gradients
from tutor.training.devices import Randomness, untouched_randomness
from tutor.training.lesson_error import LessonRaised
from tutor.training.loop import Loop
from tutor.training.program import Program, Quiet
from tutor.training.set_up import set_up
from tutor.training.snapshot import Namespace
from tutor.training.state_copy import (
    BatchStart,
    ValueCopy,
    as_float64,
    in_float64,
    is_data,
    make_replayable,
    restored,
    volatile_values,
)
from tutor.training.values import Array, is_spoiled, like, to_numbers, to_numpy


class Standpoint(msgspec.Struct, frozen=True):
    """One batch of a run, from which a probe can start."""

    program: Program
    device: str
    learning_rate: float
    batch: int
    start: BatchStart
    now: Mapping[str, Array]
    """The parameters at this moment: the update changes them."""
    gradients: Mapping[str, Array | None] | None
    """This batch's gradients; None if its Gradient phase has not run yet."""
    is_updated: bool
    """Whether this batch's update has been made."""


def standpoint_of(loop: Loop, learning_rate: float) -> Standpoint:
    """The standpoint of `loop`, a copy: later changes to the loop do not show in it."""
    make_replayable(loop.namespace)
    program, done = loop.program, loop.phases_done
    # With several ranks, each compares the gradient of its own loss. Without a Synchronize that
    # gradient is not known: DistributedDataParallel leaves the mean of all.
    own = loop.gradients if loop.gradients_before_sync is None else loop.gradients_before_sync
    is_own = program.workers == 1 or program.synchronizes
    known = done > program.gradient_at and own is not None and is_own
    return Standpoint(
        program=program,
        device=loop.device,
        learning_rate=learning_rate,
        batch=loop.batch,
        start=(loop.batch_start if done else None) or loop.start_of_batch(),
        now=loop.parameter_values(),
        gradients={n: to_numbers(g) for n, g in (own or {}).items()} if known else None,
        is_updated=done > program.update_at,
    )


class InspectionStopped(BaseException):
    """A stop of what is computed in a probe, as nobody wants it any more.

    No lesson's `except Exception` may catch it.
    """


class Probe:
    """A loop of the same program, for trying things out in.

    Call `stand` first, then `loss` and `predict` as often as needed. `run_phases` runs phases for
    real and leaves the place: `stand` again after it.
    """

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
        self.program, self.quiet, self._precise = program, quiet, precise
        self._device = "cpu" if precise else device
        self._needs_grad = False
        self._is_widening = False
        """Whether the code makes floats that a float64 can't be computed with."""
        self._brought: dict[str, ValueCopy] = {}
        with quiet(), untouched_randomness(device):
            self.loop: Loop = (
                program.open_probe(self._device)
                if program.open_probe is not None
                else set_up(program, self._device, learning_rate, seed)
            )
            if precise:
                _make_precise(self.loop)
            self._randomness = Randomness.now(self._device, program)
        self.loop.begin_epoch()
        self._volatile = self._what_changes()

    # ── Position ────────────────────────────────────────────────────────────────────

    def stand(self, at: Standpoint) -> None:
        """Go to the beginning of the standpoint's batch.

        From a standpoint of another mode only the parameters, their gradients and what is of
        the same type here are taken.
        """
        if at.start.names is not None:
            self._stand_in_script(at, at.start.names)
            return
        loop, names = self.loop, self.loop.namespace
        self._put_back()
        self._randomness = at.start.randomness
        loop.set_learning_rate(names["learning_rate"], at.learning_rate)
        akin = at.program.mode == self.program.mode
        for name, kept in at.start.carried.items():
            if akin or type(names.get(name)) is type(kept):
                self._bring(name, kept)
        names["batch"] = at.batch
        # Only epoch 0 may have a batch of such a number.
        loop.epoch = 0 if at.batch >= self.program.batches else 1
        loop.step = at.batch * len(self.program.loop)
        self.set_parameters(at.start.values)
        set_gradients(self.loop, at.start.gradients)
        self._volatile = self._what_changes()

    def _stand_in_script(self, at: Standpoint, names: Namespace) -> None:
        """Go to the beginning of a batch of a script, in a copy of its names there."""
        self._randomness = at.start.randomness
        self.loop.adopt(names)
        if self._precise:
            _make_precise(self.loop)
        self.loop.epoch, self.loop.step = 1, 0
        self._volatile = self._what_changes()

    def _what_changes(self) -> dict[str, tuple[Any, ValueCopy]]:
        """The objects that an evaluation reads and changes, each with a copy to start from."""
        names = self.loop.namespace
        make_replayable(names)
        phases = [p for p in self.program.loop if p.name in (PREDICT, LOSS, RESET)]
        changed = {name for phase in phases for name in phase.changes}
        found = volatile_values(changed, self.program, names)
        return {name: (names[name], kept) for name, kept in found.items()}

    def _bring(self, name: str, kept: ValueCopy) -> None:
        if is_data(kept) and name in self.program.liveness.only_read:
            if self._brought.get(name) is kept:
                return
            self._brought[name] = kept
        names = self.loop.namespace
        kept = in_float64(kept) if self._precise else kept
        names[name] = restored(kept, names.get(name))

    def set_parameters(self, values: Mapping[str, Array]) -> None:
        """Give the parameters these values; one that does not fit stays as it is."""
        self.loop.set_parameters(values)

    # ── Trying out ──────────────────────────────────────────────────────────────────

    def loss(self, values: Mapping[str, Array] | None = None) -> float:
        """The loss by the lesson's own Predict and Loss, with these parameters if any are given.

        Every call draws the same random numbers. NaN if `loss` is no single number.
        """
        if values is not None:
            self.set_parameters(values)
        self._evaluate(LOSS)
        found = to_numpy(self.loop.loss())
        return float(found.reshape(())) if found is not None and found.size == 1 else float("nan")

    def predict(
        self, inputs: Mapping[str, Array], prediction: str, batch: int | None = None
    ) -> Array | None:
        """The value of `prediction` after Predict has run on other inputs.

        `inputs` replace the names they stand for, in the dtype and on the device of what was
        there. Where no `batch` is given, `batch` is a slice over all of them meanwhile, so
        that `x[batch]` is all rows.
        """
        names = self.loop.namespace
        before = {name: names[name] for name in (*inputs, "batch")}
        try:
            names.update({n: like(names[n], array) for n, array in inputs.items()})
            names["batch"] = slice(None) if batch is None else batch
            self._evaluate(PREDICT)
            return to_numpy(names.get(prediction))
        finally:
            names.update(before)

    def run_phases(self, count: int) -> None:
        """Run the first `count` phases of the batch, for real (with gradients), from `stand` on."""

        def run() -> None:
            self._begin_anew()
            for _ in range(count):
                self.loop.run_step(for_frame=False, may_stop=False)

        self._run_apart(run)

    def _run_apart(self, run: Callable[[], None]) -> None:
        """Do `run` with output discarded; the random numbers of the run stay untouched.

        Where it fails in float64, once more with every float that the code makes a float64, too:
        that costs time at each call of PyTorch, and few lessons need it.
        """
        step = self.loop.step
        with untouched_randomness(self._device, self.program), self.quiet():
            try:
                with _FloatsWidened() if self._is_widening else nullcontext():
                    run()
            except LessonRaised as error:
                if error.stopped or not self._precise or self._is_widening:
                    raise
            else:
                return
            self.loop.step = step
            with _FloatsWidened():
                run()
            self._is_widening = True

    def _evaluate(self, last: str) -> None:
        """Run Predict and all that it needs, to the phase `last`, from the batch's start."""
        codes = _code_up_to(self.program, last)

        def run() -> None:
            if not self._needs_grad:
                try:
                    with torch.no_grad():
                        self._execute(codes)
                except LessonRaised as error:
                    if error.stopped:
                        raise
                else:
                    return
            # A lesson may differentiate while it predicts: then it must be recorded.
            with torch.enable_grad():
                self._execute(codes)
            self._needs_grad = True

        self._run_apart(run)

    def _execute(self, codes: list[CodeType]) -> None:
        self._begin_anew()
        for code in codes:
            self.loop.execute(code)

    def _begin_anew(self) -> None:
        """Reset the state and the generators to the start of the batch."""
        self._put_back()
        self.loop.begin_batch_again()
        self._randomness.restore(self._device)

    def _put_back(self) -> None:
        """Let names stand for what they stood for as the batch began, with its content of then."""
        for name, (thing, kept) in self._volatile.items():
            self.loop.namespace[name] = restored(kept, thing)


def _code_up_to(program: Program, last: str) -> list[CodeType]:
    """The code of Predict, of Loss if that is the `last`, and of a Reset that binds names."""
    names = [phase.name for phase in program.loop]
    until = program.loop[: names.index(last) + 1] if last in names else program.loop
    return [
        phase.code
        for phase in until
        if phase.name in (PREDICT, LOSS) or (phase.name == RESET and phase.binds)
    ]


# ── float64 ─────────────────────────────────────────────────────────────────────────


def _make_precise(loop: Loop) -> None:
    """Make every float in the namespace a float64, every complex number a complex128.

    The things stay themselves where they can.
    """
    names = loop.namespace
    for name, thing in list(names.items()):
        if isinstance(thing, torch.Tensor) and thing.is_leaf:
            continue
        if isinstance(thing, torch.Tensor | np.ndarray | np.floating):
            names[name] = in_float64(thing)
    for thing in names.values():
        if isinstance(thing, DataLoader | Dataset):
            _make_data_precise(thing)
        elif isinstance(thing, torch.nn.Module):
            thing.double()  # changes its parameters in place: names bound to them follow
        elif isinstance(thing, torch.Tensor) and thing.is_leaf:
            wide = as_float64(thing.data)
            if wide.dtype != thing.dtype:
                thing.data = wide  # so that an optimizer made with it keeps it


class _FloatsWidened(TorchFunctionMode):
    """A span in which PyTorch's functions return float64 in place of a narrower float.

    Their arguments become float64, too, where they refuse a mixture: a tensor that is a function's
    default argument, say, stands in no name and is as narrow as it was made.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            found = func(*args, **(kwargs or {}))
        except RuntimeError:
            given = (tuple(args), dict(kwargs or {}))
            args, kwargs = tree_map_only(torch.Tensor, as_float64, given)
            found = func(*args, **kwargs)
        if not isinstance(found, torch.Tensor) or is_spoiled(found):
            return found
        wide = as_float64(found.detach() if found.is_leaf else found)
        if wide.dtype == found.dtype:
            return found
        return wide.requires_grad_(found.requires_grad) if found.is_leaf else wide


def _make_data_precise(holder: Any) -> None:
    """Make the data of a data set or a loader precise: batches of them are drawn later."""
    held = vars(holder)  # past a loader's own refusal to be changed
    for name, thing in list(held.items()):
        if isinstance(thing, Dataset):
            _make_data_precise(thing)
        else:
            held[name] = in_float64(thing)
