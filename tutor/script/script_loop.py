"""A script's training loop as a Loop: stepped phase by phase, and read between two phases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any

import torch

from tutor.errors import Refused
from tutor.lesson.model import GRADIENT, GRADIENT_CHANGES
from tutor.protocol.frame import NO_VALUE, Remark, Value
from tutor.script.driver import Driver
from tutor.script.environment import ScriptEnvironment
from tutor.script.loop_progress import PASS_END, EpochProgress
from tutor.script.outline import TrainingLoop
from tutor.script.parameters import GradientsOfUpdates, ParameterTable, unwrapped
from tutor.script.probe_loop import names_for_probe
from tutor.script.script_memory import ScriptMemory, ScriptSnapshot
from tutor.training import devices
from tutor.training.devices import Randomness
from tutor.training.lesson_error import LessonRaised, lesson_raised
from tutor.training.loop import Loop
from tutor.training.program import Program
from tutor.training.snapshot import SetupNamespace
from tutor.training.state_copy import BatchStart
from tutor.training.values import to_numbers

_CHECK_SECONDS = 0.01
"""Seconds between two calls of `until` within an epoch."""


def _now_and_then(ask: Callable[[], bool]) -> Callable[[], bool]:
    """A function that calls `ask` only now and then, however often it is called itself."""
    asked = time.perf_counter()

    def is_time() -> bool:
        nonlocal asked
        if time.perf_counter() - asked <= _CHECK_SECONDS:
            return False
        asked = time.perf_counter()
        return ask()

    return is_time


class ScriptLoop(Loop):
    """The loop of one run of a script.

    A step is a phase that the code comes to: how many an epoch has is only known at its end.
    """

    own_rate = 0.0
    """The learning rate that the script itself began with."""

    def __init__(
        self,
        program: Program,
        outline: TrainingLoop,
        driver: Driver,
        device: str,
        table: ParameterTable,
        environment: ScriptEnvironment,
        batch_reads: Collection[str] | None,
    ) -> None:
        """`batch_reads`: the names that a batch reads; None if no probe can run its statements."""
        super().__init__(program, device, driver.names, SetupNamespace(driver.names))
        self.driver, self.outline, self.table = driver, outline, table
        self._environment, self._batch_reads = environment, batch_reads
        self.progress = EpochProgress(outline, lambda: driver.batches)
        self._updates = GradientsOfUpdates(outline, lambda: table.versions(driver.lookup()))
        self._is_first_rank = environment.group is None or environment.group.rank == 0
        """Whether this is rank 0, which has formulas and probes, and puts files back."""
        files = environment.files if self._is_first_rank else None
        self._memory = ScriptMemory(
            program.filename, driver, self.progress, table, environment, files
        )

    @property
    def steps(self) -> int:
        """Steps in this epoch; before its end as many as in the last one, or one more than now."""
        if self.epoch == 0:
            return 0
        return self.step if self.at_end else max(self.progress.steps_known, self.step + 1)

    @property
    def part_done(self) -> float:
        """The part of this epoch that has run; 0 in the first epoch as long as that is unknown."""
        return super().part_done if self.at_end or self.epoch > 1 else self.progress.part_done

    @property
    def at_end(self) -> bool:
        """Whether the pass is at its end."""
        return self.progress.is_ended

    @property
    def batch(self) -> int:
        """Index of the batch that the last step belonged to."""
        return max(self.progress.batches_done - 1, 0)

    @property
    def batches(self) -> int:
        """The batches of this epoch so far, or of the last one if those were more."""
        return max(self.progress.batches_expected, self.progress.batches_done, 1)

    @property
    def phases_done(self) -> int:
        """The number of phases of its batch that have run."""
        return self.progress.done_in_batch

    @property
    def in_last_batch(self) -> bool:
        """Whether the next step belongs to the epoch's last batch, as far as that is known."""
        return self.progress.batch_of_next >= self.progress.batches_expected

    @property
    def lines(self) -> tuple[int, int]:
        """The first lines of the phase that has just run, and of the next step.

        They are 0 at the start, and the loop's line at the end of an epoch.
        """
        following = self.outline if self.at_end else self.outline.phases[self.progress.next]
        return self.progress.last.line, following.line

    def next_phase_name(self) -> str:
        """The name of the phase that the next step runs."""
        return self.outline.phases[0 if self.at_end else self.progress.next].name

    def last_phase_name(self) -> str:
        """The name of the phase that has just run."""
        return self.progress.last.name

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Notes on the script's environment and files, and on a loop that computes no loss."""
        has_gradient = any(phase.name == GRADIENT for phase in self.outline.phases)
        no_loss = () if self.outline.loss or has_gradient else (Remark("no_loss_in_loop"),)
        return (*no_loss, *self._environment.remarks)

    # ── The end of the loop, and of the script ──────────────────────────────────────

    @property
    def is_over(self) -> bool:
        """Whether the script has come to its end."""
        return self.driver.has_ended

    def has_next_epoch(self) -> bool:
        """Whether there is a next epoch; at the loop's end, the rest of the script runs.

        The rest may come to the loop once more. Raises LessonRaised.
        """
        if self.driver.has_ended:
            return False
        if not _guarded(self, self.driver.has_next_pass):
            with self._memory.keeping_end():
                _guarded(self, self.driver.run_rest)
            if not self.driver.has_ended:  # the loop runs again, perhaps with another model
                self.table.forget()
                self.driver.loss.value = self.gradients = self.gradients_before_sync = None
            self._see()
        return not self.driver.has_ended

    @property
    def executions(self) -> int:
        """The number of times that the script has come to its loop."""
        return self.driver.executions

    @property
    def is_at_loop_end(self) -> bool:
        """Whether the loop is at its end, so that the rest of the script comes next."""
        return not self.driver.has_ended and not _guarded(self, self.driver.has_next_pass)

    @property
    def rest_has_run(self) -> bool:
        """Whether the rest of the script has run already, before the loop was gone back into."""
        return self.driver.is_gone and not self.driver.has_ended

    def end_again(self) -> bool:
        """End as the script has ended before; False if that is not known. Raises LessonRaised."""
        is_there = self._memory.end_again()
        self.namespace = self.driver.all_names()
        return is_there

    @property
    def epochs_left(self) -> int | None:
        """The number of epochs to the loop's end, if that is known."""
        return self.driver.passes_left()

    @property
    def must_begin_anew(self) -> bool:
        """Whether a change here must be made in a run from the start: the code ahead has run."""
        return self.driver.has_asked_ahead

    # ── Running ─────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Run the script to its loop, or its end if it does not come there. Raises LessonRaised."""
        _guarded(self, self.driver.run_rest)
        self._see()
        tensors = (t for t in self.parameters().values() if isinstance(t, torch.Tensor))
        self.device = self.driver.device = next((devices.name_of(t) for t in tensors), "cpu")

    def begin_epoch(self) -> None:
        """Enter the next epoch: its code runs to the first phase."""
        self.progress.begin_epoch()
        self.boxed = {}
        super().begin_epoch()
        self.progress.next = _guarded(self, self.driver.begin_pass)
        if self.at_end:
            self.progress.last = self.outline.phases[-1]
            self._end_epoch()

    def run_step(self, *, for_frame: bool = True, may_stop: bool = True) -> None:
        """Run the next phase, to the place where another begins. Raises LessonRaised."""
        if self.at_end:  # an epoch without any phase
            return
        self._begin_phase(is_wanted=for_frame or may_stop)
        if self.progress.is_update_by_hand:
            self.table.compute(self.driver.lookup())
        self._updates.begin_phase(self.next_phase_name())
        with self.driver.gradients.noted(lambda: self.table.objects(self.driver.lookup())) as found:
            number = _guarded(self, self.driver.resume)
        phase = self._pass_to(number)
        self.table.take(found, is_gradient=phase == GRADIENT)
        if self.gradients is not None:
            self.gradients |= {n: g for n, g in found.items() if self.gradients.get(n) is None}
        self.gradients = self._updates.after_phase(self.gradients)
        if for_frame or not self.table.expressions:
            self._see()
        is_last = self.progress.batches_done >= self.progress.last_gradient
        if phase == GRADIENT and (for_frame or may_stop or is_last):
            self.table.compute(self.driver.lookup())
            self.gradients = self.copied_gradients()
        elif phase in GRADIENT_CHANGES and self.gradients is not None:
            self.keep_changed_gradients()
        if for_frame and self._is_first_rank:
            self.keep_boxed(phase)
        if self.at_end:
            self._end_epoch()

    def run_past_hooks(self, end: int, until: Callable[[], bool], *, for_frame: bool) -> bool:
        """Run phases whose numbers nobody will ask for, to step `end` at most.

        It stops before the last gradient; and, if it is `for_frame` of the epoch's end, before the
        last batch. Returns whether `until`, called now and then, has stopped it.
        """
        if not self._may_run_past(end, for_frame):
            return False
        ask, is_stopped = _now_and_then(until), False

        def goes_past(number: int) -> bool:
            nonlocal is_stopped
            self._pass_to(number)
            is_stopped = self._may_run_past(end, for_frame) and ask()
            if is_stopped or not self._may_run_past(end, for_frame):
                return False
            self._begin_phase(is_wanted=False)
            return True

        self._begin_phase(is_wanted=False)
        if _guarded(self, lambda: self.driver.resume(goes_past)) == PASS_END:
            self._pass_to(PASS_END)
            self._end_epoch()
        return is_stopped

    def _may_run_past(self, end: int, for_frame: bool) -> bool:
        """Whether no frame or figure needs what the next step computes, which is before `end`."""
        is_known = bool(self.table.expressions) and not self.at_end and self.step < end
        return is_known and self.progress.may_run_past(for_frame=for_frame)

    def _begin_phase(self, *, is_wanted: bool) -> None:
        """Begin the next phase; if a batch begins with it, keep its start if that `is_wanted`."""
        if not self.progress.begin_phase():
            return
        self.batch_start = self.start_of_batch() if is_wanted and self._is_first_rank else None
        if self.progress.batches_done == 1:
            self.epoch_start = self.batch_start
        self.boxed = {}
        self._updates.begin_batch()

    def _pass_to(self, number: int) -> str:
        """Count the phase that has run, whose name it returns; the one with this number is next."""
        phase = self.progress.pass_to(number)
        self.step += 1
        if phase.name == GRADIENT:
            self.gradients = self.gradients_before_sync = None
        return phase.name

    def _end_epoch(self) -> None:
        if not self.progress.end_epoch(self.step):
            self.gradients = self.gradients_before_sync = None
        self._see()

    def run_epochs(self, count: int, after: Callable[[], object]) -> None:
        """Run `count` whole epochs, or to the loop's end; calls `after` at the end of each.

        The names are not looked at: an epoch that is stepped has to follow.
        """

        def note() -> None:
            self.epoch, self.step = self.epoch + 1, self.progress.steps_known
            after()

        try:
            if _guarded(self, lambda: self.driver.run_passes(count, note)):
                self.progress.last = self.outline.phases[-1]
        except LessonRaised:
            self.epoch, self.step, self.progress.next = self.epoch + 1, 0, 0
            raise
        self.gradients = self.gradients_before_sync = None
        self.table.taken = {}

    def entered(self) -> AbstractContextManager[None]:
        """The script's environment, which is entered once for many steps."""
        return self._environment.entered()

    # ── Names ───────────────────────────────────────────────────────────────────────

    def _see(self) -> None:
        """Take in the script's names as they are now."""
        self.namespace = self.driver.all_names()
        self.table.look(self.namespace)

    def parameters(self) -> dict[str, Any]:
        """The parameters by the expressions that name them."""
        return self.table.read(self.driver.lookup())

    def gradients_now(self) -> dict[str, Any]:
        """Each parameter's gradient as it is now, by the same expressions."""
        return self.table.read_gradients(self.driver.lookup())

    def keep_boxed(self, phase: str) -> None:
        """Keep the values in the formulas of the statements that have just run."""
        formulas, ran = self.program.boxed.get(phase, ()), self.progress.last
        new = tuple(e for e in formulas if ran.line <= e.line <= ran.end_line)
        if formulas:
            self.boxed[phase] = {**self.boxed_values()[phase], **self.evaluate(new)}

    def boxed_values(self) -> dict[str, dict[str, Value]]:
        """The values in all formulas; none for a statement that has not run in this batch."""
        formulas = self.program.boxed.items()
        empty = {p: {e.label: NO_VALUE for e in expressions} for p, expressions in formulas}
        return {p: values | self.boxed.get(p, {}) for p, values in empty.items()}

    def loss(self) -> Any:
        """The loss whose gradient was taken last; None before the first."""
        return unwrapped(self.driver.loss.value)

    def learning_rate_of_script(self) -> float:
        """The script's present learning rate; 0.0 if that is not known."""
        return self.table.learning_rate(self.namespace)

    def start_of_batch(self) -> BatchStart:
        """The parameters and gradients as a batch begins."""
        gradients = {name: to_numbers(g) for name, g in self.gradients_now().items()}
        states = Randomness.now(self.device, self.program)
        names = names_for_probe(self._batch_reads, self.driver.all_names(), self.program.filename)
        return BatchStart(self.parameter_values(), gradients, states, {}, names)

    # ── Setting and keeping ─────────────────────────────────────────────────────────

    def bind(self, name: str, value: Any) -> None:
        """Give an expression of the script (`w`, `params["w"]`) another value."""
        self.driver.bind(name, value)
        self._see()

    def check_learning_rate(self) -> None:
        """Raise Refused if neither an optimizer nor a name of the code holds the rate."""
        if not self.table.holds_rate(self.driver):
            raise Refused("rate_is_fixed", line=self.outline.line)

    def set_learning_rate(self, old: float, new: float) -> None:
        """Change the rate of all optimizers, and the names that stand for it. Raises Refused."""
        self.check_learning_rate()
        self.table.set_rate(self.driver, new)
        self._see()

    def snapshot(self, before: Any, limit: float = math.inf) -> ScriptSnapshot | None:
        """The state at the end of an epoch; None if it can't be copied, or is too large."""
        return self._memory.snapshot(before, limit) if self.at_end else None

    def go_back(self, snapshot: object, epoch: int) -> bool:
        """Restore a snapshot of the end of an epoch; False if that can't be done."""
        if not self._memory.restore(snapshot, is_start=not epoch):
            return False
        self.epoch, self.step = epoch, self.progress.steps_known
        self.gradients = self.gradients_before_sync = self.batch_start = self.epoch_start = None
        self.boxed, self.namespace = {}, self.driver.all_names()
        return True

    def close(self) -> None:
        """Give up the script wherever it waits."""
        with self._environment.entered():  # `finally` blocks run
            self.driver.close()
        if self._environment.files is not None:
            self._environment.files.delete()


def _guarded(loop: ScriptLoop, run: Callable[[], Any]) -> Any:
    """Run code of the script. Raises LessonRaised, whatever it raises, or Refused."""
    try:
        with loop.entered():
            return run()
    except BaseException as error:  # a script may raise anything, SystemExit among it
        raise lesson_raised(loop.program, error) from error
