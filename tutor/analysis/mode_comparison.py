"""The gradients of all modes of a lesson at the same parameters, batch by batch beside a run.

Each mode runs its own phases in a namespace of its own, gets the run's parameters at the beginning
of each batch, and keeps all else that is its own: one that forgets to clear its gradient shows the
gradients added up. Finite differences in float64 decide which gradient is right. Leaves the run
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from tutor.analysis.finite_differences import (
    FiniteDifferences,
    ModeGradient,
    Slopes,
    TrueGradient,
    gradients_by_program,
)
from tutor.analysis.gradient_diagnosis import diagnose, samples_in
from tutor.errors import RunError
from tutor.lesson.model import AUTOGRAD
from tutor.protocol.frame import MAX_ELEMENTS, NONE, Remark, Value
from tutor.protocol.inspections import FINITE_DIFFERENCE, ModeComparison, ParameterComparison
from tutor.training.changes import state_that_fits
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.playback import never
from tutor.training.probe import InspectionStopped, Probe, Standpoint, standpoint_of
from tutor.training.program import Program, Quiet, Until
from tutor.training.values import Array, has_gradient_variable, is_near, real_pairs, to_numbers


def _gradient_value(gradient: Array | None, most: int) -> Value:
    """A gradient as plain data that can cross a process border, cut to `most` elements."""
    if gradient is None:
        return NONE
    numbers = gradient.ravel()[:most].tolist()
    return Value(tuple(map(float, numbers)), gradient.shape, str(gradient.dtype))


class ComparedMode:
    """One mode beside a run: its own code at the run's parameters.

    It has two probes: one computes as the mode does, on its device, the other the same in float64.
    An error of its code is kept in `raised`, and ends its part for this batch;
    only the learner's wish to stop is let through, as LessonRaised.
    """

    def __init__(
        self,
        program: Program,
        device: str,
        learning_rate: float,
        seed: int,
        quiet: Quiet = nullcontext,
    ) -> None:
        """Runs Setup, twice."""
        self.program = program
        self.raised: Remark | None = None
        self.gradients: dict[str, Array | None] = {}
        """This batch's gradients by its own code; empty if that has raised."""
        self.precise_gradients: dict[str, Array | None] = {}
        """The gradients by the same code in float64; empty if that can't be had."""
        self.began: Standpoint | None = None
        """The batch's start; None before the first, and after an error."""
        self._probe: Probe | None = None
        self._precise: Probe | None = None
        self._differences: FiniteDifferences | None = None
        self._has_differences = False
        """Whether they have been made for this batch, or can't be had."""
        with self._noting_errors():
            self._probe = Probe(program, device, learning_rate, seed, quiet=quiet)
            self._fresh = standpoint_of(self._probe.loop, learning_rate)
        with _ignoring_errors():
            self._precise = Probe(program, device, learning_rate, seed, precise=True, quiet=quiet)

    @property
    def namespace(self) -> Mapping[str, Any]:
        """The names that its code has bound so far."""
        return {} if self._probe is None else self._probe.loop.namespace

    def parameters_now(self) -> dict[str, Array]:
        """The parameters as its own update has left them."""
        return {} if self._probe is None else self._probe.loop.parameter_values()

    def has_gradient_variable(self, parameter: str) -> bool:
        """Whether the gradient is a variable (`dw`), and not PyTorch's `.grad`."""
        thing = self.namespace.get(parameter)
        return has_gradient_variable(thing, stores_grad=self.program.stores_grad)

    # ── Position ────────────────────────────────────────────────────────────────────

    def follow(self, at: Standpoint) -> None:
        """Stand where the run stands, with its whole state: the run is in this mode."""
        if self._probe is not None:
            self._stand(at)

    def begin(self, at: Standpoint) -> None:
        """Stand at the beginning of the run's batch, as if nothing had gone before it."""
        if self._probe is not None:
            self._stand(self._at(self._fresh, at))

    def continue_to(self, at: Standpoint) -> None:
        """Go to the beginning of the run's batch, after the last finished batch."""
        if self._probe is None or self.began is None:
            self.begin(at)
            return
        loop = self._probe.loop
        loop.epoch, loop.step = 1, 0  # the next batch begins with the present state
        self._stand(self._at(standpoint_of(loop, at.learning_rate), at))

    def stand_again(self) -> None:
        """Go back to where this batch began."""
        if self.began is not None:
            self._stand(self.began)

    def _at(self, mine: Standpoint, run: Standpoint) -> Standpoint:
        """The mode's own state with the run's parameters.

        A parameter that only this mode has is as its Setup made it, and so are its data: that is
        what a switch to this mode would give.
        """
        things = map(self.namespace.get, self.program.parameters)
        is_numpy = not any(isinstance(thing, torch.Tensor) for thing in things)
        own, theirs = mine.start.carried, run.start.carried
        start = replace(
            mine.start,
            values=self._own_values(run.start.values),
            randomness=run.start.randomness,
            carried={**own, **state_that_fits(theirs, own, self.program, is_numpy=is_numpy)},
        )
        return replace(mine, learning_rate=run.learning_rate, batch=run.batch, start=start)

    def _own_values(self, run: Mapping[str, Array]) -> dict[str, Array]:
        first = self._fresh.start.values
        return {**first, **{name: value for name, value in run.items() if name in first}}

    def _stand(self, at: Standpoint) -> None:
        assert self._probe is not None
        self.raised, self.gradients, self.precise_gradients = None, {}, {}
        self._differences, self._has_differences = None, False
        self._probe.stand(at)
        self.began = at

    # ── Running ─────────────────────────────────────────────────────────────────────

    def find_gradients(self) -> None:
        """Run its phases up to the gradient."""
        if self._probe is None or self.began is None:
            return
        with self._noting_errors():
            self.gradients = gradients_by_program(self._probe)

    def find_precise_gradients(self) -> None:
        """Run the phases up to the gradient in float64."""
        if self._precise is None or self.began is None:
            return
        with _ignoring_errors():
            self._precise.stand(self.began)
            self.precise_gradients = gradients_by_program(self._precise)

    def pass_through(self, batch: int, values: Mapping[str, Array]) -> None:
        """Run a batch that is not compared, up to the gradient, with the run's parameters."""
        if self._probe is None or self.began is None:
            return
        loop = self._probe.loop
        with self._noting_errors():
            loop.epoch, loop.step = 1, batch * len(self.program.loop)
            loop.set_parameters(self._own_values(values))
            self._probe.run_phases(self.program.gradient_at + 1)

    def finish_batch(self) -> None:
        """Run the rest of the batch, and the epoch's end if it is the last one."""
        if self._probe is None or self.began is None:
            return
        loop, program = self._probe.loop, self.program
        with self._noting_errors():
            self._probe.run_phases(len(program.loop) - loop.phases_done)
            if loop.epoch and loop.step == program.batches * len(program.loop):
                self._probe.run_phases(loop.steps - loop.step)  # the Report

    def differences(self, until: Until) -> FiniteDifferences | None:
        """Finite differences of this mode's own loss; None if float64 can't be had.

        They are made once for a batch. Raises InspectionStopped once `until()` is true.
        """
        if self._precise is not None and self.began is not None and not self._has_differences:
            self._has_differences = True
            with _ignoring_errors():
                self._precise.stand(self.began)
                values = self.began.start.values
                self._differences = FiniteDifferences(self._precise, values, until)
        return self._differences

    def slopes(self, name: str, claimed: Array | None, until: Until) -> Slopes | None:
        """The slopes of its loss in this parameter; `claimed` is the gradient to be checked."""
        differences = self.differences(until)
        return None if differences is None else differences.slopes(name, claimed)

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """Keep an error of its code as `raised`; the mode stops there."""
        try:
            yield
        except RunError as error:
            raise_if_stopped(error)
            self.raised, self.began, self.gradients = _raised(error), None, {}


@contextmanager
def _ignoring_errors() -> Iterator[None]:
    """Ignore an error of float64 code, but for the learner's wish to stop."""
    try:
        yield
    except RunError as error:
        raise_if_stopped(error)


def _raised(error: RunError) -> Remark:
    """The error of a mode's code, of its text the last line, and where; or why it can't be run."""
    raised, where = Remark.of(error), {}
    if isinstance(error, LessonRaised):
        raised, where = error.error, {"phase": error.phase, "line": error.line}
    values = raised.values
    if "text" in values:
        values = {**values, "text": values["text"].splitlines()[-1]}
    return Remark("raised", {"error": (raised.code, values), **where})


class ModeLockstep:
    """The modes of a lesson, following one run. One of them, the leader, is the run's own."""

    def __init__(
        self,
        programs: Mapping[str, Program],
        device: str,
        learning_rate: float,
        seed: int,
        quiet: Quiet = nullcontext,
        patience: int = 1,
    ) -> None:
        """Runs each mode's Setup. Raises LessonRaised only if it is stopped.

        `patience`: so many epochs after the last comparison the modes still follow, batch
        by batch; after a longer jump, or one back, they begin anew.
        """
        self.programs, self._patience = programs, patience
        self._compared_modes = {
            mode: ComparedMode(program, device, learning_rate, seed, quiet)
            for mode, program in programs.items()
        }
        self._last: tuple[int, Standpoint] | None = None

    def compare(
        self, at: Standpoint, epoch: int, until: Until = never, most: int = MAX_ELEMENTS
    ) -> ModeComparison | None:
        """All modes' gradients for the batch that the run stands in (or is about to begin).

        `epoch` is the run's. `until` is asked between evaluations; None if it says so. `most`:
        the elements of each gradient that the result carries.
        Raises LessonRaised only if the lesson's code is stopped.
        """
        try:
            self._bring_along(at, epoch, until)
            return self._compared(at, epoch, until, most)
        except InspectionStopped:
            return None
        except LessonRaised:
            self._last = None
            raise

    # ── Following the run ───────────────────────────────────────────────────────────

    def _bring_along(self, at: Standpoint, epoch: int, until: Until) -> None:
        """Bring all modes to the beginning of the run's batch, and on to their gradients."""
        index = self._index(at, epoch)
        if self._last is not None and self._last[0] == index and _is_same_batch(self._last[1], at):
            self._each(at, ComparedMode.stand_again)
        elif self._can_follow(at, index) and self._follow(at, index, until):
            self._each(at, lambda c: c.continue_to(at))
        else:
            self._each(at, lambda c: c.begin(at))
        self._last = (index, at)
        for compared in self._compared_modes.values():
            compared.find_gradients()

    def _each(self, at: Standpoint, move: Callable[[ComparedMode], object]) -> None:
        """Move each mode to the place; the leader stands just where the run does."""
        for mode, compared in self._compared_modes.items():
            if mode == at.program.mode:
                compared.follow(at)
            else:
                move(compared)

    def _index(self, at: Standpoint, epoch: int) -> int:
        """The number of batches that the run has begun before this one."""
        if not epoch:  # the warm-up; without one, the first epoch is about to begin
            return at.batch
        return at.program.warm_up + (epoch - 1) * at.program.batches + at.batch

    def _can_follow(self, at: Standpoint, index: int) -> bool:
        if self._last is None:
            return False
        ahead, leader = index - self._last[0], self._last[1].program.mode
        if ahead > 1 and leader != at.program.mode:
            return False
        return 1 <= ahead <= max(1, self._patience * at.program.batches)

    def _follow(self, at: Standpoint, index: int, until: Until) -> bool:
        """Run on, in all modes, to the end of the batch before; whether that led to the run."""
        assert self._last is not None
        first, last = self._last[0], self._last
        self._last = None
        leader, everyone = self._compared_modes[at.program.mode], self._compared_modes.values()
        for passed in range(first + 1, index + 1):
            if passed > first + 1 and until():
                raise InspectionStopped
            for compared in everyone:
                compared.finish_batch()
            if passed < index:
                batch = (passed - at.program.warm_up) % at.program.batches
                values = leader.parameters_now()
                for compared in everyone:
                    compared.pass_through(max(batch, 0), values)
        self._last = last
        arrived = leader.parameters_now()
        if index == first + 1:
            return True  # whatever the learner has changed meanwhile, it is the next batch
        return all(
            n in arrived and is_near(arrived[n], value) for n, value in at.start.values.items()
        )

    # ── Comparing ───────────────────────────────────────────────────────────────────

    def _compared(self, at: Standpoint, epoch: int, until: Until, most: int) -> ModeComparison:
        for compared in self._compared_modes.values():
            if until():
                raise InspectionStopped
            compared.find_precise_gradients()
        leader = at.program.mode
        names = [n for mode in self._in_order(leader) for n in self.programs[mode].parameters]
        return ModeComparison(
            epoch=1 if not epoch and not at.program.warm_up else epoch,
            batch=at.batch,
            leader=leader,
            parameters=tuple(self._of(name, at, until, most) for name in dict.fromkeys(names)),
            remarks=tuple(self._remarks(at)),
        )

    def _in_order(self, leader: str) -> list[str]:
        """The modes; first the mode that the others are measured by."""
        return sorted(self.programs, key=lambda mode: (mode != AUTOGRAD, mode != leader))

    def _of(self, name: str, at: Standpoint, until: Until, most: int) -> ParameterComparison:
        """The comparison of one parameter's gradients.

        Finite differences are NaN in the elements that were not checked. Complex numbers are pairs
        along one more axis.
        """
        modes = [m for m in self._in_order(at.program.mode) if name in self.programs[m].parameters]
        base = modes[0]
        by_mode = {m: self._mode_gradient(m, name, at, base) for m in modes}
        slopes = self._slopes(name, [c for c in by_mode.values() if not c.another], until)
        for mode, one in by_mode.items():
            by_mode[mode] = self._of_its_own(one, name, base, slopes, until)
        found = [by_mode[m] for m in self.programs if m in by_mode]
        samples = samples_in(self._compared_modes[base].namespace, self.programs[base])
        values = [to_numbers(self._compared_modes[m].namespace.get(name)) for m in modes]
        is_complex = any(value is not None and np.iscomplexobj(value) for value in values)
        diagnosis = diagnose(name, found, slopes, base, samples, is_complex=is_complex)
        if len(found) < len(self.programs):
            only = Remark("only", {"parameter": name}, tuple(e.mode for e in found))
            diagnosis = replace(diagnosis, remarks=(only, *diagnosis.remarks))
        gradients = {e.mode: e.gradient for e in found}
        differences = None if slopes is None else slopes.sure_digits()
        shape = next((g.shape for g in gradients.values() if g is not None), ())
        shape = shape if differences is None else differences.shape
        gradients = {m: _in_shape(g, shape) for m, g in gradients.items()}
        gradients[FINITE_DIFFERENCE] = differences
        shown = {m: _gradient_value(g, most) for m, g in gradients.items()}
        return replace(diagnosis, gradients=shown)

    def _mode_gradient(self, mode: str, name: str, at: Standpoint, base: str) -> ModeGradient:
        compared = self._compared_modes[mode]
        gradient = compared.gradients.get(name)
        precise = compared.precise_gradients.get(name)
        if mode == at.program.mode and at.gradients is not None:
            shown = real_pairs(at.gradients.get(name))
            if shown is None or gradient is None or not is_near(shown, gradient):
                precise = None  # of something else than what the run has found
            gradient = shown
        return ModeGradient(
            mode=mode,
            gradient=gradient,
            precise=None if gradient is None else precise,
            old=real_pairs(compared.began.start.gradients.get(name)) if compared.began else None,
            has_variable=compared.has_gradient_variable(name),
            raised=compared.raised,
            another=self._difference(mode, base),
        )

    def _difference(self, mode: str, base: str) -> Remark | None:
        """The reason why this mode computes another function than `base`; None if it does not."""
        mine, theirs = self.programs[mode].parameters, self.programs[base].parameters
        more = [n for n in mine if n not in theirs]
        less = [n for n in theirs if n not in mine]
        return Remark("another_function", {"more": more, "less": less}) if more or less else None

    def _slopes(self, name: str, found: Sequence[ModeGradient], until: Until) -> Slopes | None:
        """The slopes by the first of these modes whose loss can be had in float64."""
        claimed = next((c.numbers for c in found if c.gradient is not None), None)
        slopes = (self._compared_modes[c.mode].slopes(name, claimed, until) for c in found)
        return next((s for s in slopes if s is not None), None)

    def _of_its_own(
        self, one: ModeGradient, name: str, base: str, slopes: Slopes | None, until: Until
    ) -> ModeGradient:
        """A mode's gradient with the slopes of its own function, if that is not the others'."""
        compared = self._compared_modes[one.mode]
        if one.gradient is None:
            return one
        if one.another:
            return replace(one, own=compared.slopes(name, one.numbers, until))
        if slopes is None or one.mode == base or TrueGradient.of(one, slopes).is_met_by(one):
            return one
        mine = compared.differences(until)
        theirs = self._compared_modes[base].differences(until)
        if mine is None or theirs is None or is_near(np.array(mine.loss), np.array(theirs.loss)):
            return one
        why = Remark("another_loss", {"loss": mine.loss, "right_loss": theirs.loss})
        own = mine.slopes(name, one.numbers)
        return replace(one, another=why, is_meant=False, own=own)

    def _remarks(self, at: Standpoint) -> Iterator[Remark]:
        """The parameters that only other modes have: this run does not change them."""
        for mode, program in self.programs.items():
            held = [n for n in program.parameters if n not in at.program.parameters]
            if held:
                yield Remark("held", {"parameters": held, "leader": at.program.mode}, (mode,))


def _is_same_batch(before: Standpoint, now: Standpoint) -> bool:
    """Whether it is the same batch with the same parameters as before."""
    old, new = before.start.values, now.start.values
    is_same_kind = before.program.mode == now.program.mode and old.keys() == new.keys()
    return is_same_kind and all(np.array_equal(old[n], new[n], equal_nan=True) for n in old)


def _in_shape(gradient: Array | None, shape: tuple[int, ...]) -> Array | None:
    """A gradient in the shape of the others, if it has as many elements."""
    if gradient is None or gradient.size != np.prod(shape, dtype=int):
        return gradient
    mine, theirs = ([n for n in s if n != 1] for s in (gradient.shape, shape))
    return gradient.reshape(shape) if mine == theirs else gradient
