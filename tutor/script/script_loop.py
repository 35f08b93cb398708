"""A script's training loop as a Loop: stepped phase by phase, and read between two phases."""

from __future__ import annotations

import ast
import sys
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from types import CellType
from typing import Any, cast

import torch

from tutor.errors import Refused
from tutor.lesson.model import SETUP, SYNCHRONIZE
from tutor.protocol.frame import NO_VALUE, Remark, Value
from tutor.script.driver import END, Driver
from tutor.script.environment import ScriptEnvironment
from tutor.script.instrument import PREFIX
from tutor.script.memory_image import MemoryImage, take_image
from tutor.script.outline import ScriptPhase, TrainingLoop
from tutor.script.parameters import (
    ParameterTable,
    in_proportion,
    is_bound_number,
    unwrapped,
)
from tutor.script.probe_loop import copied_names, names_needed
from tutor.script.run_refusals import refusal_of
from tutor.script.script_snapshot import ScriptSnapshot
from tutor.script.surroundings import SavedSurroundings
from tutor.training import devices
from tutor.training.devices import GeneratorStates
from tutor.training.lesson_error import LessonRaised, lesson_raised
from tutor.training.loop import Loop
from tutor.training.program import Program
from tutor.training.snapshot import SetupNamespace
from tutor.training.state_copy import BatchStart
from tutor.training.values import to_numbers

_UNASKED = 0.01
"""Seconds between two calls of `until` within an epoch."""

_LARGEST_END = 2**26
"""Bytes that may be copied at the script's end, so that it can be gone back to."""


class ScriptLoop(Loop):
    """The loop of one run of a script, and how far into its epoch it is.

    A step is a phase that the code comes to: how many an epoch has is only known at its end.
    """

    is_first_rank = True
    """Whether it is that of rank 0, which has probes, and puts the files of all ranks back."""

    def __init__(
        self,
        program: Program,
        outline: TrainingLoop,
        driver: Driver,
        device: str,
        table: ParameterTable,
        environment: ScriptEnvironment,
    ) -> None:
        names = driver.names
        super().__init__(program, device, names, SetupNamespace(names))
        self.driver = driver
        self._environment = environment
        self.outline = outline
        self.table = table
        self._next = END
        """The number of the phase that waits to run."""
        self._last: ScriptPhase | None = None
        self._ended = True
        """Whether this epoch's pass is at its end."""
        self._steps = len(outline.phases)
        """The steps of the last whole epoch; before there is one, those of a single batch."""
        self._batches_done = 0
        self._is_before_batches = False
        """Whether what has run of this epoch came before its loop over batches."""
        self._batches_known = 1
        self._gradient_batch = self._gradient_batch_now = 1
        """The batch of the last epoch, and of this one, that was the last to take gradients."""
        self._done_in_batch = 0
        self._end: tuple[MemoryImage, SavedSurroundings] | LessonRaised | None = None
        """The end of the script, as it came to it; None if it has not, or can't be copied."""
        self.phase_statements: Mapping[int, tuple[ast.stmt, ...]] = {}
        """The statements of the batch's phases, by number, where a probe can run them."""
        self._used: Mapping[str, Any] = {}
        """Gradients as the last update has used them, where it has changed their expressions."""
        self.first_rate = 0.0
        """The learning rate that the script itself began with."""
        self._has_gradient = False
        """Whether this epoch has come to a Gradient phase."""
        self._left_over: dict[str, Any] = {}
        """The names of functions that have returned since, as they were at the last phase."""

    # ── Where it stands ─────────────────────────────────────────────────────────────

    @property
    def steps(self) -> int:
        """Steps in this epoch; before its end as many as in the last one, or one more than now."""
        if self.epoch == 0:
            return 0
        return self.step if self._ended else max(self._steps, self.step + 1)

    @property
    def own_rate(self) -> float:
        """The learning rate of the code itself, where nobody has set another one."""
        return self.first_rate

    @property
    def part_done(self) -> float:
        """The part of this epoch that has run; of the first one, 0 as long as that is unknown."""
        if self._ended or self.epoch > 1:
            return super().part_done
        return max(self._batches_done - 1, 0) / self.driver.batches if self.driver.batches else 0.0

    @property
    def at_end(self) -> bool:
        """Whether the pass is at its end."""
        return self._ended

    @property
    def batch(self) -> int:
        """Index of the batch that the last step belonged to."""
        return max(self._batches_done - 1, 0)

    @property
    def batches(self) -> int:
        """The batches of this epoch so far, or of the last one if those were more."""
        return max(self._batches_expected, self._batches_done, 1)

    @property
    def _batches_expected(self) -> int:
        """The batches of this epoch, if the script has told; else those of the last one."""
        return self.driver.batches or self._batches_known

    @property
    def phases_done(self) -> int:
        """The number of phases of its batch that have run."""
        return self._done_in_batch

    @property
    def in_last_batch(self) -> bool:
        """Whether the next step belongs to the epoch's last batch, as far as that is known."""
        return self._batch_of_next >= self._batches_expected

    @property
    def _batch_of_next(self) -> int:
        """The number, from 1, of the batch that the next step belongs to."""
        is_first = not self._batches_done
        starts = self._next != END and self.outline.phases[self._next].starts_batch
        return self._batches_done + (is_first or (starts and not self._is_before_batches))

    @property
    def line(self) -> int:
        """The line that the phase which has just run begins on; 0 at the start."""
        return self._last.line if self._last else 0

    @property
    def next_line(self) -> int:
        """The line that the next step begins on: at the end of an epoch, that of the loop."""
        return self.outline.line if self._ended else self.outline.phases[self._next].line

    @property
    def next_number(self) -> int:
        """The number of the phase that comes next; END at the end of an epoch."""
        return self._next

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
        if not self._guarded(self.driver.has_next_pass):
            self._end = None
            try:
                self._guarded(self._run_rest)
            except LessonRaised as error:
                self._end = error
                raise
            if self.driver.has_ended:
                self.namespace = self._names()
                image = self._image(None, _LARGEST_END)
                self._end = (image, self.driver.surroundings()) if image else None
            else:
                self.table.forget()
                self._see()
        return not self.driver.has_ended

    @property
    def is_at_loop_end(self) -> bool:
        """Whether the loop is at its end, so that the rest of the script comes next."""
        return not self.driver.has_ended and not self._guarded(self.driver.has_next_pass)

    @property
    def is_spent(self) -> bool:
        """Whether the rest of the script has run already, before the loop was gone back into."""
        return self.driver.is_gone and not self.driver.has_ended

    def end_again(self) -> bool:
        """End as the script has ended before; False if that is not known. Raises LessonRaised."""
        if isinstance(self._end, LessonRaised):
            raise self._end
        if self._end is None or not self._end[0].restore():
            return False
        self.driver.end_again(self._end[1])
        self.namespace = self._names()
        return True

    @property
    def epochs_left(self) -> int | None:
        """The number of epochs to the loop's end, if that is known."""
        return self.driver.passes_left()

    @property
    def must_begin_anew(self) -> bool:
        """Whether a change here must be made in a run from the start: the code ahead has run."""
        return self.driver.has_asked_ahead

    def _run_rest(self) -> None:
        while not self.driver.has_ended and not self.driver.has_next_pass():
            try:
                self.driver.go_on()
            except SystemExit as error:
                if error.code not in (None, 0):
                    raise
                self.driver.has_ended = True

    def next_phase_name(self) -> str:
        """The name of the phase that the next step runs."""
        phases = self.outline.phases
        return phases[0 if self._ended else self._next].name

    def last_phase_name(self) -> str:
        """The name of the phase that has just run."""
        return self._last.name if self._last else SETUP

    # ── Running ─────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Run the script to its loop, or to its end if it does not come there.

        Raises LessonRaised, or Refused where the tutor can say what to do about it.
        """
        try:
            self._guarded(self._run_rest)
        except LessonRaised as error:
            raise refusal_of(error, self.program) or error from error.__cause__
        self._see()
        tensors = (t for t in self.parameters().values() if isinstance(t, torch.Tensor))
        self.device = self.driver.device = next((devices.name_of(t) for t in tensors), "cpu")

    def begin_epoch(self) -> None:
        """Enter the next epoch: its code runs to the first phase."""
        self._ended, self._batches_done, self._done_in_batch = False, 0, 0
        self._is_before_batches = False
        self._has_gradient, self.boxed = False, {}
        super().begin_epoch()
        self._next = self._guarded(self.driver.begin_pass)
        if self._next == END:
            self._last = self.outline.phases[-1]
            self._end_epoch()

    def run_step(self, *, looking: bool = True, resting: bool = True) -> None:
        """Run the next phase, to the place where another begins. Raises LessonRaised."""
        if self._ended:  # an epoch without any phase
            return
        phase = self.outline.phases[self._next]
        self._begin_phase(phase, is_wanted=looking or resting)
        if self._is_update_by_hand(phase):
            self._used = self.table.gradients_to_use(self._scopes())
        self._next = self._guarded(self.driver.resume)
        self._count_phase(phase)
        if looking or not self.table.expressions:
            self._see()
        if phase.name == "Gradient":
            is_last = looking or resting or self._batches_done >= self._last_gradient
            self.gradients = self.gradients_now(copied=True) if is_last else None
            self.own_gradients = None
        elif phase.name == SYNCHRONIZE and self.gradients is not None:
            self.own_gradients, self.gradients = self.gradients, self.gradients_now(copied=True)
        if looking:
            self.keep_boxed(phase.name)
        if self._next == END:
            self._end_epoch()

    def run_unseen(self, end: int, until: Callable[[], bool], *, for_frame: bool) -> bool:
        """Run phases whose numbers nobody will ask for, to step `end` at most.

        It stops before the last gradient; and, if it is `for_frame` of the epoch's end, before the
        last batch. Returns whether `until`, called now and then, has stopped it.
        """
        if self._ended or not self.table.expressions or not self._is_unseen(end, for_frame):
            return False
        phases, asked, is_stopped = self.outline.phases, time.perf_counter(), False

        def goes_past(number: int) -> bool:
            nonlocal asked, is_stopped
            self._count_phase(phases[self._next])
            self._next = number
            if not self._is_unseen(end, for_frame):
                return False
            if time.perf_counter() - asked > _UNASKED:
                asked, is_stopped = time.perf_counter(), until()
                if is_stopped:
                    return False
            self._begin_phase(phases[number], is_wanted=False)
            return True

        self._begin_phase(phases[self._next], is_wanted=False)
        if self._guarded(lambda: self.driver.resume(goes_past)) == END:
            self._count_phase(phases[self._next])
            self._end_epoch()
        return is_stopped

    def _is_unseen(self, end: int, for_frame: bool) -> bool:
        """Whether no frame or figure needs what the next step computes."""
        if self.step >= end:
            return False
        phase, last = self.outline.phases[self._next], self._batches_expected
        if phase.name in ("Gradient", SYNCHRONIZE):
            last = min(last, self._last_gradient)
        elif not (for_frame or self._is_update_by_hand(phase)):
            last = sys.maxsize
        return self._batch_of_next < last

    def _is_update_by_hand(self, phase: ScriptPhase) -> bool:
        return phase.name == "Update" and self.outline.mode == "manual"

    @property
    def _last_gradient(self) -> int:
        """The number of the batch that is expected to be the last to take gradients."""
        return self.driver.batches or self._gradient_batch

    def _begin_phase(self, phase: ScriptPhase, *, is_wanted: bool) -> None:
        if phase.starts_batch or not self._batches_done:
            self._begin_batch(is_wanted, is_before=not phase.starts_batch)

    def _count_phase(self, phase: ScriptPhase) -> None:
        """Note that a phase has run."""
        self._last = phase
        self.step += 1
        self._done_in_batch += 1
        if phase.name == "Gradient":
            self._has_gradient, self.gradients, self.own_gradients = True, None, None
            self._gradient_batch_now = self._batches_done

    def _begin_batch(self, is_wanted: bool, *, is_before: bool) -> None:
        """Begin a batch, of which a frame `is_wanted`.

        `is_before`: with a phase before the loop over batches (a reset).
        """
        if not self._is_before_batches:
            self._batches_done += 1
        self._is_before_batches = is_before
        self._done_in_batch = 0
        self.batch_start = self.start_of_batch() if is_wanted and self.is_first_rank else None
        if self._batches_done == 1:
            self.epoch_start = self.batch_start
        self.boxed = {SETUP: self.boxed[SETUP]} if SETUP in self.boxed else {}

    def _end_epoch(self) -> None:
        self._ended, self._next = True, END
        self._steps, self._batches_known = self.step, max(self._batches_done, 1)
        if self._has_gradient:
            self._gradient_batch = self._gradient_batch_now
        else:
            self.gradients = self.own_gradients = None
        self._see()

    def run_epochs(self, count: int, after: Callable[[Any], object]) -> None:
        """Run so many whole epochs, or to the loop's end; hands the loss of each to `after`.

        The names are not looked at: an epoch that is stepped has to follow.
        """

        def note() -> None:
            self.epoch, self.step = self.epoch + 1, self._steps
            after(unwrapped(self.driver.loss))

        try:
            self._guarded(lambda: self.driver.run_passes(count, note))
        except LessonRaised:
            self.epoch, self.step, self._ended = self.epoch + 1, 0, False
            raise
        self._last = self._last or self.outline.phases[-1]
        self.gradients = self.own_gradients = None

    @property
    def notes(self) -> tuple[Remark, ...]:
        """Notes on the script's environment and files, and on a loop that computes no loss."""
        files = self._environment.files
        aside = (Remark("files_aside"),) if files is not None and files.has_written else ()
        has_gradient = any(phase.name == "Gradient" for phase in self.outline.phases)
        no_loss = () if self.outline.loss or has_gradient else (Remark("no_loss_in_loop"),)
        return (*no_loss, *self._environment.notes, *aside)

    def entered(self) -> AbstractContextManager[None]:
        """The script's environment, which is entered once for many steps."""
        return self._environment.entered()

    def _guarded(self, run: Callable[[], Any]) -> Any:
        """Run code of the script. Raises LessonRaised, whatever it raises, or Refused."""
        try:
            with self.entered():
                return run()
        except BaseException as error:  # a script may raise anything, SystemExit among it
            raise lesson_raised(self.program, error) from error

    # ── Names ───────────────────────────────────────────────────────────────────────

    def _see(self) -> None:
        """Take in the script's names as they are now."""
        self.namespace = self._names()
        self.table.look(self.namespace)

    def _names(self) -> dict[str, Any]:
        """The names of the script's module and of the functions that wait, innermost last."""
        inner = {name: value for scope in self.driver.scopes() for name, value in scope.items()}
        if not self._ended:
            self._left_over = inner
        found = self._left_over | self.driver.names | inner
        return {k: v for k, v in found.items() if not k.startswith(PREFIX)}

    def _scopes(self) -> Mapping[str, Any]:
        """The same names without a copy of them, to be read at once."""
        inner = cast("list[MutableMapping[str, Any]]", self.driver.scopes()[::-1])
        return ChainMap(*inner, self.driver.names, self._left_over) if inner else self.driver.names

    def parameters(self) -> dict[str, Any]:
        """The parameters by the expressions that name them."""
        return self.table.read(self._scopes())

    def gradient_of(self, name: str) -> Any:
        """The gradient of a parameter."""
        if name in self._used:
            return self._used[name]
        return self.table.gradient(name, self._scopes())

    def keep_boxed(self, phase: str) -> None:
        """Keep the values in the formulas of the statements that have just run."""
        formulas, ran = self.program.boxed.get(phase, ()), self._last
        if formulas and ran:
            new = tuple(e for e in formulas if ran.line <= e.line <= ran.end_line)
            self.boxed[phase] = {**self._kept(phase), **self.evaluate(new)}

    def boxed_values(self) -> dict[str, dict[str, Value]]:
        """The values in all formulas; none for a statement that has not run in this batch."""
        return {phase: self._kept(phase) for phase in self.program.boxed}

    def _kept(self, phase: str) -> dict[str, Value]:
        without = {expression.label: NO_VALUE for expression in self.program.boxed[phase]}
        return without | self.boxed.get(phase, {})

    def loss(self) -> Any:
        """The loss whose gradient was taken last; None before the first."""
        return unwrapped(self.driver.loss)

    def learning_rate(self) -> float:
        """The learning rate of now, as the script has it; 0.0 if that is not known."""
        return self.table.learning_rate(self.namespace)

    def start_of_batch(self) -> BatchStart:
        """The parameters and gradients as a batch begins."""
        gradients = {name: to_numbers(g) for name, g in self.gradients_now().items()}
        states = GeneratorStates.now(self.program, self.device)
        return BatchStart(self.parameter_values(), gradients, states, {}, self._copied_names())

    def _copied_names(self) -> dict[str, Any] | None:
        """Copies of the names that the batch's phases read; None if a probe can't run these."""
        statements = [s for group in self.phase_statements.values() for s in group]
        if not statements:
            return None
        names = self._names()
        home: dict[str, Any] = {}
        wanted = names_needed(statements, names)
        home.update(copied_names(names, wanted, self.program.filename, home))
        return home

    # ── Setting and keeping ─────────────────────────────────────────────────────────

    def bind(self, name: str, value: Any) -> None:
        """Give an expression of the script (`w`, `params["w"]`) another value."""
        cells = self._cells()
        if name in cells:
            cells[name].cell_contents = value
        elif name in self.driver.names:
            self.driver.names[name] = value
        elif not name.isidentifier():
            exec(f"{name} = {PREFIX}value", dict(self.namespace, **{f"{PREFIX}value": value}))
        self.namespace = self._names()

    def _can_bind(self, expression: str) -> bool:
        """Whether the code reads an expression's number where it can be set."""
        if not is_bound_number(expression, self.namespace):
            return False
        inner = {name for scope in self.driver.scopes() for name in scope}
        is_own = expression in self._cells() or expression not in inner
        return not expression.isidentifier() or is_own

    def _cells(self) -> dict[str, CellType]:
        return self.driver.loop.cells() if self.driver.loop else {}

    def check_learning_rate(self) -> None:
        """Raise Refused if neither an optimizer nor a name of the code holds the rate."""
        if not self.table.optimizers(self.namespace) and not self._rate_names():
            raise Refused("rate_is_fixed", line=self.outline.line)

    def _rate_names(self) -> list[str]:
        """The names of the learning rate that can be set: `lr`, `args.lr`."""
        return [n for n in self.outline.rates if self._can_bind(n)]

    def set_learning_rate(self, old: float, new: float) -> None:
        """Change the rate of all optimizers, and of the names that stand for it in the code.

        A parameter group with a rate of its own keeps its ratio to the first. Raises Refused.
        """
        self.check_learning_rate()
        old = self.learning_rate()
        if new == old:
            return
        for optimizer in self.table.optimizers(self.namespace):
            for group in optimizer.param_groups:
                group["lr"] = in_proportion(group["lr"], old, new)
        for name in self._rate_names():
            self.bind(name, new)

    def snapshot(self, before: Any, limit: int = 2**62) -> ScriptSnapshot | None:
        """The state at the end of an epoch; None if it can't be copied, or is too large."""
        loop = self.driver.loop
        if loop is None or not self._ended:
            return None
        old = before.image if isinstance(before, ScriptSnapshot) else None
        image = self._image(old, limit)
        if image is None:
            return None
        surroundings = self.driver.surroundings()
        known = (self._steps, self._batches_known, self._used)
        return ScriptSnapshot(self, loop, loop.passes, image, self.driver.loss, surroundings, known)

    def _image(self, before: MemoryImage | None, limit: int) -> MemoryImage | None:
        loop = self.driver.loop
        own = [thing for scope in self.driver.scopes() for thing in scope.values()]
        group = self._environment.group
        files = self._environment.files if self.is_first_rank else None
        roots = [self.driver.names, *([loop.body] if loop else []), *own, group]
        return take_image(roots, self.program.filename, self.device, before, limit, files)

    def go_back(self, snapshot: object, epoch: int) -> bool:
        """Stand at the end of an epoch, as far as a snapshot goes; False if it can't be reached."""
        if not isinstance(snapshot, ScriptSnapshot) or snapshot.owner is not self:
            return False
        place = (snapshot.loop, snapshot.passes, snapshot.surroundings)
        with self._environment.entered():  # a pass is given up: its `finally` blocks run
            is_there = self.driver.go_back(*place)
        if not is_there or not snapshot.image.restore():
            return False
        self.driver.loss = snapshot.loss
        self.epoch, self._ended, self._next = epoch, True, END
        self._steps, self._batches_known, self._used = snapshot.known
        self.step = self._steps
        self.gradients = self.own_gradients = None
        self._left_over, self.boxed = {}, {}
        self._batches_done = self._done_in_batch = 0
        self._is_before_batches = False
        self.batch_start = self.epoch_start = None
        self._last = self._last if epoch else None
        self.namespace = self._names()
        return True

    def close(self) -> None:
        """Give up the script wherever it waits."""
        with self._environment.entered():  # `finally` blocks run
            self.driver.close()
        if self._environment.files is not None:
            self._environment.files.delete()
