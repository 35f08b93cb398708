"""A program's namespace and the running of its phases in it: one training loop."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import no_grad

from tutor.errors import Refused
from tutor.lesson.model import GRADIENT_CHANGES, SETUP
from tutor.protocol.frame import RankFigures, Remark, Value
from tutor.training.devices import Randomness
from tutor.training.expressions import ReadableNames, end_a_copy, shown_values
from tutor.training.lesson_error import lesson_raised
from tutor.training.program import Expression, Phase, Program
from tutor.training.snapshot import (
    LESSON_MODULE,
    Namespace,
    SavedState,
    SetupNamespace,
    Snapshot,
    take_snapshot,
)
from tutor.training.state_copy import BatchStart, carried_values, make_replayable
from tutor.training.values import Array, gradient_of, to_numbers

Result = TypeVar("Result")
L = TypeVar("L", bound="Loop")


@dataclass(slots=True)
class Loop:
    """One program on one device, and how far into its epoch it is."""

    program: Program
    device: str
    """The device of its tensors; cpu for a program whose parameters are NumPy's."""
    namespace: Namespace
    setup_namespace: SetupNamespace
    """The namespace, with a note of what its Setup left in it."""
    step: int = 0
    """Steps done of this epoch: a step is one phase of one batch, or the Report."""
    epoch: int = 0
    gradients: dict[str, Any] | None = None
    """Copies of the gradients as they last stood before an update, by parameter."""
    gradients_before_sync: dict[str, Any] | None = None
    """The gradients before the first of GRADIENT_CHANGES, from then until the next Gradient."""
    batch_start: BatchStart | None = None
    """The start of the batch that the last step belongs to; None where the run did not rest."""
    epoch_start: BatchStart | None = None
    """The start of this epoch's first batch."""
    boxed: dict[str, dict[str, Value]] = field(default_factory=dict)
    """The values in the formulas of Setup and of each phase that has run in this batch."""

    @property
    def steps(self) -> int:
        """Steps in this epoch. Epoch 0 has only the warm-up's steps."""
        return self.program.steps if self.epoch else self.program.warm_up * len(self.program.loop)

    @property
    def at_end(self) -> bool:
        """Whether all steps of this epoch are done."""
        return self.step >= self.steps

    @property
    def batch(self) -> int:
        """The batch that the last step belonged to (the last batch, after a Report)."""
        if self.epoch == 0 and not self.step:
            return 0
        return min(max(self.step - 1, 0) // len(self.program.loop), self._batches - 1)

    @property
    def phases_done(self) -> int:
        """The number of phases of its batch that have run (all of them, after a Report)."""
        done = self.step - self.batch * len(self.program.loop) if self.step else 0
        return min(done, len(self.program.loop))

    @property
    def in_last_batch(self) -> bool:
        """Whether the next step belongs to this epoch's last batch (or is its Report)."""
        return self.step >= (self._batches - 1) * len(self.program.loop)

    @property
    def batches(self) -> int:
        """The batches of this epoch; before the first, where there is no warm-up, of the next."""
        return self._batches or self.program.batches

    @property
    def _batches(self) -> int:
        return self.program.warm_up if self.epoch == 0 else self.program.batches

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Notes to show the learner."""
        return ()

    @property
    def part_done(self) -> float:
        """The part of this epoch that has run, about."""
        return self.step / self.steps if self.steps else 1.0

    @property
    def own_rate(self) -> float:
        """The learning rate of the code itself, where nobody has set another one."""
        return self.program.learning_rate

    def _phase_of(self, step: int) -> Phase:
        """The phase that is the step `step` (from 0) of this epoch."""
        if step < self._batches * len(self.program.loop):
            return self.program.loop[step % len(self.program.loop)]
        assert self.program.report is not None
        return self.program.report

    def next_phase_name(self) -> str:
        """The name of the phase that the next step runs."""
        return (self.program.loop[0] if self.at_end else self._phase_of(self.step)).name

    def last_phase_name(self) -> str:
        """The name of the phase that has just run."""
        return self._phase_of(self.step - 1).name if self.step else SETUP

    # ── Running ─────────────────────────────────────────────────────────────────────

    def begin_epoch(self) -> None:
        """Enter the next epoch, before its first step."""
        self.epoch, self.step = self.epoch + 1, 0

    def run_step(self, *, for_frame: bool = True, may_stop: bool = True) -> None:
        """Run the next step of this epoch. Raises LessonRaised.

        `for_frame`: a frame may show this batch, so the values in the phase's formulas are kept.
        `may_stop`: the run may stop within this batch, so the batch's start is kept. The starts of
        the epoch's first and last batch are kept in any case.
        """
        phase = self._phase_of(self.step)
        if phase is self.program.report:
            self.execute(phase.code)
        else:
            self._run_phase(phase, may_stop)
        if for_frame:
            self.keep_boxed(phase.name)
        self.step += 1

    def _run_phase(self, phase: Phase, may_stop: bool) -> None:
        index = self.step % len(self.program.loop)
        if index == 0:
            make_replayable(self.namespace)
            if not self.program.is_script:  # where `batch` is a name like any other
                self.namespace["batch"] = self.step // len(self.program.loop)
            may_be_wanted = may_stop or self.step == 0 or self.in_last_batch
            self.batch_start = self.start_of_batch() if may_be_wanted else None
            if self.step == 0:
                self.epoch_start = self.batch_start
            self.boxed = {SETUP: self.boxed[SETUP]} if SETUP in self.boxed else {}
        self.execute(phase.code)
        if index == self.program.gradient_at:
            self.gradients, self.gradients_before_sync = self.copied_gradients(), None
        elif phase.name in GRADIENT_CHANGES:
            self.keep_changed_gradients()

    def keep_changed_gradients(self) -> None:
        """Copy the gradients as one of GRADIENT_CHANGES has left them; keep those before it."""
        if self.gradients_before_sync is None:
            self.gradients_before_sync = self.gradients
        self.gradients = self.copied_gradients()

    def run_epochs(self, count: int, after: Callable[[], object]) -> None:
        """Run `count` whole epochs as one piece each, nothing watched.

        Calls `after` at the end of each. Raises LessonRaised, in the middle of an epoch.
        """
        code, namespace, steps = self.program.epoch_code, self.namespace, self.program.steps
        process = os.getpid()
        try:
            for _ in range(count):
                self.epoch, self.step = self.epoch + 1, 0
                exec(code, namespace)
                end_a_copy(process)
                self.step = steps
                after()
        except BaseException as error:  # as in `execute`, which costs too much here
            end_a_copy(process)
            raise lesson_raised(self.program, error) from error

    def execute(self, code: CodeType) -> None:
        """Run compiled code in the namespace. Raises LessonRaised, whatever the code raises."""
        process = os.getpid()
        try:
            exec(code, self.namespace)
        except BaseException as error:  # a lesson may raise anything, SystemExit among it
            raise lesson_raised(self.program, error) from error
        finally:
            end_a_copy(process)

    # ── Members for scripts alone ──────────────────────────────────────────────────

    @property
    def lines(self) -> tuple[int, int]:
        """The first lines of the phase that has just run, and of the next step; 0 in a lesson."""
        return 0, 0

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to run: a lesson never ends."""
        return False

    def has_next_epoch(self) -> bool:
        """Whether an epoch can follow; a lesson's always can."""
        return True

    @property
    def epochs_left(self) -> int | None:
        """The number of epochs to the end of the loop; None if that is not known."""
        return None

    @property
    def is_at_loop_end(self) -> bool:
        """Whether the loop is at its end, so that the rest of the script comes next."""
        return False

    @property
    def executions(self) -> int:
        """The number of times that a script has come to its loop; 1 for a lesson."""
        return 1

    @property
    def rest_has_run(self) -> bool:
        """Whether the rest of the script has run before, and can't run again in this loop."""
        return False

    def end_again(self) -> bool:
        """Come to the script's end as before, without running the rest; False if that can't be."""
        return False

    @property
    def must_begin_anew(self) -> bool:
        """Whether a change made here needs a run from the start."""
        return False

    def run_past_hooks(self, end: int, until: Callable[[], bool], *, for_frame: bool) -> bool:
        """Run phases whose numbers nobody will ask for; returns whether `until` stopped that."""
        return False

    def learning_rate_of_script(self) -> float:
        """The learning rate that a script uses now; 0.0 if that is not known, and for a lesson."""
        return 0.0

    def check_learning_rate(self) -> None:
        """Raise Refused if the learning rate can't be changed."""

    def go_back(self, snapshot: object, epoch: int) -> bool:
        """Restore a snapshot of the end of an epoch; False if that can't be."""
        return False

    def adopt(self, names: Namespace) -> None:
        """Go on in a copy of these names: for a script's probe."""
        raise NotImplementedError

    def begin_batch_again(self) -> None:
        """Put the sums that a script adds up over batches back to where its batch began."""

    def entered(self) -> AbstractContextManager[None]:
        """A span in the script's environment, which is entered once for many steps."""
        return nullcontext()

    def close(self) -> None:
        """Give the script up wherever it waits."""

    # ── On several ranks ────────────────────────────────────────────────────────────

    @property
    def is_lost(self) -> bool:
        """Whether other ranks that it needs have ended."""
        return False

    @property
    def group_number(self) -> int:
        """The number of the process group of its ranks: each group has another; 0 for none."""
        return 0

    def everywhere(self, request: str, run: Callable[[], Result], *arguments: object) -> Result:
        """Do what `run` does on all ranks; most loops have but this one."""
        return run()

    def other_figures(self) -> tuple[RankFigures, ...]:
        """The figures of the other ranks."""
        return ()

    def other_readings(self) -> tuple[Any, ...]:
        """The readings of the other ranks."""
        return ()

    # ── Looking ─────────────────────────────────────────────────────────────────────

    def gradients_now(self) -> dict[str, Any]:
        """Each parameter's gradient as it is now."""
        names, stores_grad = self.namespace, self.program.stores_grad
        found = self.parameters().items()
        return {n: gradient_of(n, t, names, stores_grad=stores_grad) for n, t in found}

    def parameters(self) -> dict[str, Any]:
        """The parameters, as they are in the code: tensors, arrays or numbers; None if missing."""
        return {name: self.namespace.get(name) for name in self.program.parameters}

    def copied_gradients(self) -> dict[str, Any]:
        """A copy of the gradient of each parameter at this moment."""
        return {name: _gradient_copy(g) for name, g in self.gradients_now().items()}

    def parameter_values(self) -> dict[str, Array]:
        """Each parameter's numbers, copied; without those that are not numbers."""
        found = {name: to_numbers(thing) for name, thing in self.parameters().items()}
        return {name: array for name, array in found.items() if array is not None}

    def start_of_batch(self) -> BatchStart:
        """The present state, as a batch begins."""
        return BatchStart(
            self.parameter_values(),
            {name: to_numbers(gradient) for name, gradient in self.gradients_now().items()},
            Randomness.now(self.device, self.program),
            carried := carried_values(self.program, self.namespace),
            learning_rate=self.namespace.get("learning_rate"),
            things={name: self.namespace[name] for name in carried},
        )

    def loss(self) -> Any:
        """The value of the name `loss`; None before the first."""
        return self.namespace.get("loss")

    def keep_boxed(self, phase: str) -> None:
        """Keep the values in the formulas of a phase that has just run."""
        if phase in self.program.boxed:
            self.boxed[phase] = self.evaluate(self.program.boxed[phase])

    def boxed_values(self) -> dict[str, dict[str, Value]]:
        """The values in all formulas.

        Where a phase has run in this batch, its values are as they were then: its equation stays
        true when the numbers move on. Where a phase is still to come, its values are the present
        ones, without any that it or a phase before it has yet to compute.
        """
        pending = () if self.at_end and self.step else self.program.pending(self.phases_done)
        return {
            phase: self.boxed.get(phase) or self.evaluate(expressions, pending if phase else ())
            for phase, expressions in self.program.boxed.items()
        }

    def evaluate(
        self, expressions: tuple[Expression, ...], pending: Collection[str] = ()
    ) -> dict[str, Value]:
        """Each expression's value by its label; if it reads a `pending` name, it has none yet."""
        names = ReadableNames(self.namespace, self.gradients, self.gradients_now())
        return shown_values(self.program, self.device, names, expressions, pending)

    # ── Setting and keeping ─────────────────────────────────────────────────────────

    def set_parameters(self, values: Mapping[str, Array]) -> tuple[str, ...]:
        """Give the parameters these values; returns the names that did not fit."""
        return tuple(n for n, v in values.items() if not _set_parameter(self, n, v))

    def bind(self, name: str, value: Any) -> None:
        """Give a name another value."""
        self.namespace[name] = value

    def set_learning_rate(self, old: float, new: float) -> None:
        """Change `learning_rate`, and with it the optimizers that were made with it."""
        self.namespace["learning_rate"] = new
        for thing in [t for t in self.namespace.values() if isinstance(t, torch.optim.Optimizer)]:
            _set_rate(thing, old, new)

    def snapshot(self, before: SavedState | None, limit: float = math.inf) -> SavedState | None:
        """A snapshot of the state at the end of a batch.

        None if it can't be copied, or takes more than `limit` bytes.
        """
        assert before is None or isinstance(before, Snapshot)
        liveness = self.program.liveness
        return take_snapshot(self.setup_namespace, liveness, self.device, before, limit)

    def restore(self, snapshot: Snapshot) -> None:
        """Put the namespace, and the random number generators, into a snapshot's state."""
        snapshot.restore(self.setup_namespace)


def in_namespace(
    program: Program, device: str, learning_rate: float, *, rank: int = 0, kind: type[L]
) -> L:
    """A loop of this kind whose Setup has run in a namespace of its own. Raises LessonRaised."""
    seeded = Randomness.now(device, program)
    # NaN and infinity are values to show; numpy would print a warning of its own for each.
    np.seterr(over="ignore", invalid="ignore", divide="ignore")
    namespace: Namespace = {
        "__name__": LESSON_MODULE,
        "np": np,
        "torch": torch,
        "device": device,
        "learning_rate": learning_rate,
        "batch": 0,
        "__file__": program.filename,
    }
    if program.workers > 1:
        namespace |= {"rank": rank, "world_size": program.workers, "dist": torch.distributed}
    # A dataclass with an annotation in quotes looks for its module there.
    sys.modules.setdefault(LESSON_MODULE, ModuleType(LESSON_MODULE))
    setup_namespace = SetupNamespace(namespace)
    loop = kind(program, device, namespace, setup_namespace)
    if program.setup is not None:
        loop.execute(_fresh(program.setup.code))
    loop.keep_boxed(SETUP)
    missing = [name for name in program.parameters if name not in namespace]
    if missing:
        raise Refused("setup_unbound", path=program.filename, names=list(missing))
    if not any(isinstance(namespace[n], torch.Tensor) for n in program.parameters):
        loop.device = "cpu"
    has_drawn = Randomness.now(device, program) != seeded
    setup_namespace.remember(program.liveness, setup_has_drawn=has_drawn)
    return loop


def _fresh(code: CodeType) -> CodeType:
    """A copy of compiled code, of the functions in it too.

    torch.compile remembers a function's code, and with it the namespace of its first run.
    """
    inner = (_fresh(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=tuple(inner))


def _set_rate(optimizer: torch.optim.Optimizer, old: float, new: float) -> None:
    """Change the rate of all groups; one with a rate of its own keeps its ratio to the others."""
    for group in optimizer.param_groups:
        same = group["lr"] == old or not old
        group["lr"] = new if same else group["lr"] * new / old


def _set_parameter(loop: Loop, name: str, value: Array) -> bool:
    thing = loop.parameters().get(name)
    now = to_numbers(thing)
    if now is None or now.size != value.size:
        return False
    is_array = isinstance(thing, np.ndarray | torch.Tensor)
    # `b = 0` is a whole number only until its first update.
    dtype = now.dtype if is_array or now.dtype.kind not in "iu" else value.dtype
    new = value.reshape(now.shape).astype(dtype, copy=False)
    if _is_equal(new, now):
        # Writing it all the same would spoil a graph that waits for its backward.
        return True
    if isinstance(thing, torch.Tensor):
        with no_grad():
            thing.copy_(torch.from_numpy(new))
    elif isinstance(thing, np.ndarray):
        thing[...] = new
    else:
        scalar = new[()]
        loop.bind(name, scalar if isinstance(thing, np.generic) else scalar.item())
    return True


def _is_equal(one: Array, other: Array) -> bool:
    """Whether two arrays of one shape hold the same numbers, NaN among them.

    In pieces: NumPy makes several arrays as large as these to compare them.
    """
    flat, others, size = one.reshape(-1), other.reshape(-1), 2**16
    return all(
        np.array_equal(flat[at : at + size], others[at : at + size], equal_nan=True)
        for at in range(0, one.size, size)
    )


def _gradient_copy(thing: Any) -> Any:
    """A copy of a gradient as it is now: code may change it in place later."""
    if isinstance(thing, torch.Tensor):
        return thing.detach().clone()
    return thing.copy() if isinstance(thing, np.ndarray) else thing
