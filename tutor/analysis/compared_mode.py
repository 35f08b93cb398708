"""One mode in lockstep with a run: its own code, at the run's parameters.

It has two probes: one computes as the mode does, on its device, the other the same in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from tutor.analysis.finite_differences import Array, FiniteDifferences, Slopes
from tutor.errors import RunError
from tutor.training.batch_start import state_that_fits
from tutor.training.loop import LessonRaised
from tutor.training.probe import Probe, Standpoint, standpoint_of
from tutor.training.program import Program, Quiet
from tutor.training.values import real_pairs, to_numbers

Gradients = dict[str, Array | None]


class ComparedMode:
    """A mode's two probes, and the beginning of the batch in which they stand.

    An error of its code is kept in `raised`, as one line, and ends its part for this batch;
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
        self.raised = ""
        self.gradients: Gradients = {}
        """This batch's gradients by its own code; empty if that has raised."""
        self.precise_gradients: Gradients = {}
        """The gradients by the same code in float64; empty if that can't be had."""
        self._began: Standpoint | None = None
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
    def is_standing(self) -> bool:
        """Whether it stands at some batch, from which it can continue to the next."""
        return self._began is not None

    @property
    def namespace(self) -> Mapping[str, Any]:
        """The names that its code has bound so far."""
        return {} if self._probe is None else self._probe.loop.namespace

    @property
    def old_gradients(self) -> Mapping[str, Array | None]:
        """The gradients at the start of the batch."""
        return {} if self._began is None else self._began.start.gradients

    def values(self) -> Mapping[str, Array]:
        """The parameters at which it computes."""
        return {} if self._began is None else self._began.start.values

    def parameters_now(self) -> dict[str, Array]:
        """The parameters as its own update has left them."""
        return {} if self._probe is None else self._probe.loop.parameter_values()

    def is_by_hand(self, parameter: str) -> bool:
        """Whether the gradient is a variable (`dw`), and not PyTorch's `.grad`."""
        return not hasattr(self.namespace.get(parameter), "grad_fn")

    # ── Going along ─────────────────────────────────────────────────────────────────

    def follow(self, at: Standpoint) -> None:
        """Stand where the run stands that this mode leads: at all that it brings along."""
        if self._probe is not None:
            self._stand(at)

    def begin(self, at: Standpoint) -> None:
        """Stand at the beginning of the run's batch, as if nothing had gone before it."""
        if self._probe is not None:
            self._stand(self._at(self._fresh, at))

    def continue_to(self, at: Standpoint) -> None:
        """Stand at the beginning of the run's batch, after the one that was finished."""
        if self._probe is None:
            return
        loop = self._probe.loop
        loop.epoch, loop.step = 1, 0  # what it has now is what the next batch begins with
        self._stand(self._at(standpoint_of(loop, at.learning_rate), at))

    def stand_again(self) -> None:
        """Go back to where this batch began."""
        if self._began is not None:
            self._stand(self._began)

    def _at(self, mine: Standpoint, run: Standpoint) -> Standpoint:
        """Its own things and the run's parameters; a parameter that only it has is as at first.

        Its data are as its own Setup made them: so they are, too, after a switch to this mode.
        """
        by_hand = all(map(self.is_by_hand, self.program.parameters))
        own, theirs = mine.start.carried, run.start.carried
        start = replace(
            mine.start,
            values=self._own_values(run.start.values),
            generator_states=run.start.generator_states,
            carried={**own, **state_that_fits(theirs, own, self.program, is_numpy=by_hand)},
        )
        return replace(mine, learning_rate=run.learning_rate, batch=run.batch, start=start)

    def _own_values(self, run: Mapping[str, Array]) -> dict[str, Array]:
        first = self._fresh.start.values
        return {**first, **{name: value for name, value in run.items() if name in first}}

    def _stand(self, at: Standpoint) -> None:
        assert self._probe is not None
        self.raised, self.gradients, self.precise_gradients = "", {}, {}
        self._differences, self._has_differences = None, False
        self._probe.stand(at)
        self._began = at

    # ── Running ─────────────────────────────────────────────────────────────────────

    def find_gradients(self) -> None:
        """Run its phases up to the gradient."""
        if self._probe is None or self._began is None:
            return
        with self._noting_errors():
            self._probe.run_phases(self.program.gradient_at + 1)
            found = self._probe.loop.gradients or {}
            self.gradients = {name: real_pairs(to_numbers(g)) for name, g in found.items()}

    def pass_through(self, batch: int, values: Mapping[str, Array]) -> None:
        """Run a batch that is not compared, up to the gradient, with the run's parameters."""
        if self._probe is None or self._began is None:
            return
        loop = self._probe.loop
        with self._noting_errors():
            loop.epoch, loop.step = 1, batch * len(self.program.loop)
            loop.set_parameters(self._own_values(values))
            self._probe.run_phases(self.program.gradient_at + 1)

    def find_precise_gradients(self) -> None:
        """The same in float64."""
        if self._precise is None or self._began is None:
            return
        with _ignoring_errors():
            self._precise.stand(self._began)
            self._precise.run_phases(self.program.gradient_at + 1)
            found = self._precise.loop.gradients or {}
            self.precise_gradients = {name: real_pairs(to_numbers(g)) for name, g in found.items()}

    def finish_batch(self) -> None:
        """Run the rest of the batch, and the epoch's end if it is the last one."""
        if self._probe is None or self._began is None:
            return
        loop, program = self._probe.loop, self.program
        with self._noting_errors():
            self._probe.run_phases(len(program.loop) - loop.phases_done)
            if loop.epoch and loop.step == program.batches * len(program.loop):
                self._probe.run_phases(loop.steps - loop.step)  # the Report

    def differences(self, until: Callable[[], bool]) -> FiniteDifferences | None:
        """Finite differences of this mode's own loss; None if float64 can't be had.

        They are made once for a batch. Raises DifferencesStopped once `until()` is true.
        """
        if self._precise is not None and self._began is not None and not self._has_differences:
            self._has_differences = True
            with _ignoring_errors():
                self._precise.stand(self._began)
                values = self._began.start.values
                self._differences = FiniteDifferences(self._precise, values, until)
        return self._differences

    def slopes(self, name: str, claimed: Array | None, until: Callable[[], bool]) -> Slopes | None:
        """The slopes of its loss in this parameter; `claimed` is the gradient to be checked."""
        differences = self.differences(until)
        return None if differences is None else differences.slopes(name, claimed)

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """Keep an error of its code as `raised`; the mode stops there."""
        try:
            yield
        except RunError as error:
            _let_through(error)
            self.raised, self._began, self.gradients = _one_line(error), None, {}


@contextmanager
def _ignoring_errors() -> Iterator[None]:
    """Ignore an error of float64 code, but for the learner's wish to stop."""
    try:
        yield
    except RunError as error:
        _let_through(error)


def _let_through(error: RunError) -> None:
    """Raise the error again if it is the learner's wish to stop."""
    if isinstance(error, LessonRaised) and error.stopped:
        raise error


def _one_line(error: RunError) -> str:
    if not isinstance(error, LessonRaised):
        return str(error)
    line = f", line {error.line}" if error.line else ""
    return f"{error.message.splitlines()[-1]} ({error.phase}{line})"
