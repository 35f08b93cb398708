"""Forks in which the doctor's fix is made: the loss with and without it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from tutor.analysis.doctor.rule import Patient, is_at_loop_end, loss_of, run_in_loop, time_bound
from tutor.analysis.doctor.source_code import with_fix
from tutor.errors import RunError
from tutor.lesson.model import Block, Fence, Lesson, Section
from tutor.protocol.inspections import CodeFix, DoctorFinding, ForkLosses
from tutor.training.lesson_error import raise_if_stopped
from tutor.training.program import Program
from tutor.training.run import Run
from tutor.training.time_limit import TookTooLong

FORK_EPOCHS = 10
"""The epoch whose losses are compared."""

FORK_SECONDS = 10.0
"""The time that one fork may take; the losses of a slower one are not known."""

_REDEFINING = frozenset(
    {"accumulated_without_division", "broadcast_in_loss", "loss_arguments_swapped", "one_class"}
    | {"softmax_before_cross_entropy", "softmax_before_nll", "sigmoid_before_logits"}
    | {"not_log_probabilities", "not_probabilities", "targets_not_indices", "targets_not_float"}
)
"""The mistakes whose fix makes the loss another function of the same parameters."""

Compiled = Callable[[Lesson], Mapping[str, Program]]
"""Makes the programs of a lesson, or of a script. Raises RunError."""


@dataclass(frozen=True, slots=True)
class _Course:
    """The loss of each epoch of one run; None where it is no single number."""

    losses: Sequence[float | None]
    error: RunError | None = None
    """The error that the code has raised behind these."""

    def loss(self, epochs: int) -> float | None:
        """The loss after this number of epochs; None also after an error."""
        return self.losses[epochs - 1] if epochs <= len(self.losses) else None


@dataclass(frozen=True, slots=True)
class _Compared:
    """The losses of two runs."""

    epochs: int
    first: float | None
    """The loss with the fix after one epoch."""
    loss: float | None
    without: float | None


class Forks:
    """Runs of fixed code beside a patient's."""

    def __init__(self, patient: Patient, compiled: Compiled) -> None:
        self._patient, self._compiled = patient, compiled

    def tried(self, finding: DoctorFinding) -> DoctorFinding:
        """The finding with both losses of its fix; without the fix if that does not run."""
        fix, patient = finding.fix, self._patient
        if fix is None or patient.until():
            return finding
        fixed = fixed_lesson(patient.lesson, patient.recipe.mode, fix)
        if fixed is None:
            return msgspec.structs.replace(finding, fix=None)
        try:
            losses = self._compared(fixed)
        except (RunError, SyntaxError) as error:
            raise_if_stopped(error)
            return msgspec.structs.replace(finding, fix=None)
        if losses is None or finding.code == "not_seeded":  # two runs of chance prove nothing
            return finding
        return msgspec.structs.replace(
            finding, fix=msgspec.structs.replace(fix, **self._losses(losses, [finding]))
        )

    def together(self, findings: Iterable[DoctorFinding]) -> ForkLosses | None:
        """The losses with all fixes of these findings; None unless there are several that run."""
        patient = self._patient
        tried = [f for f in findings if f.fix is not None and f.fix.loss_with is not None]
        fixes = {f.fix for f in tried if f.fix is not None}
        lesson, below, count = patient.lesson, sys.maxsize, 0
        for fix in sorted(fixes, key=lambda fix: fix.line, reverse=True):
            # From below: the lines above stay where they are.
            fixed = fixed_lesson(lesson, patient.recipe.mode, fix) if fix.end_line < below else None
            if fixed is not None:
                lesson, below, count = fixed, fix.line, count + 1
        if count < 2 or patient.until():
            return None
        try:
            losses = self._compared(lesson)
        except (RunError, SyntaxError) as error:
            raise_if_stopped(error)
            return None
        if losses is None or losses.loss is None:
            return None
        return ForkLosses(fixes=count, **self._losses(losses, tried))

    def _losses(self, found: _Compared, findings: Iterable[DoctorFinding]) -> dict[str, Any]:
        """The fields of a fix, or of several, that say what it does to the loss."""
        redefines = any(finding.code in _REDEFINING for finding in findings)
        return {
            "epochs": found.epochs,
            "loss_with": found.loss,
            "loss_without": found.without,
            "loss_first": found.first if redefines else None,
        }

    @property
    def _epochs(self) -> int:
        program = self._patient.programs[self._patient.recipe.mode]
        return min(FORK_EPOCHS, program.epochs)

    def _compared(self, fixed: Lesson) -> _Compared | None:
        """The last epoch that both runs have, and the losses with and without the fix.

        None if one takes too long. Raises RunError.
        """
        course = self._course(self._compiled(fixed))
        if course is not None and course.error is not None:
            raise course.error
        if course is None or self._without is None:
            return None
        epochs = len(course.losses)
        if self._without.error is None:
            epochs = min(epochs, len(self._without.losses))
        if not epochs:
            return None
        return _Compared(epochs, course.loss(1), course.loss(epochs), self._without.loss(epochs))

    @cached_property
    def _without(self) -> _Course | None:
        return self._course(self._patient.programs)

    def _course(self, programs: Mapping[str, Program]) -> _Course | None:
        """The losses of FORK_EPOCHS, or to the end of a script's loop; None if that takes long."""
        losses, error = list[float | None](), None
        try:
            with time_bound(FORK_SECONDS):
                self._run(programs, losses)
        except TookTooLong:
            return None
        except RunError as raised:
            raise_if_stopped(raised)
            error = raised
        return _Course(losses, error)

    def _run(self, programs: Mapping[str, Program], losses: list[float | None]) -> None:
        """Run the epochs and add their losses. Raises RunError, and TookTooLong if stopped."""
        patient, recipe = self._patient, self._patient.recipe
        mode = recipe.mode if recipe.mode in programs else next(iter(programs))
        is_own = patient.lesson.script and recipe.learning_rate == patient.run.loop.own_rate
        rate = 0.0 if is_own else recipe.learning_rate  # 0.0: the code's own, also a fixed one
        start = (mode, recipe.device, rate, recipe.seed)
        deadline = time.monotonic() + FORK_SECONDS
        run = Run(programs, *start, quiet=patient.quiet)
        try:
            while len(losses) < self._epochs and not is_at_loop_end(run):
                epoch = len(losses) + 1
                run_in_loop(run, epoch, lambda: patient.until() or time.monotonic() > deadline)
                if run.loop.epoch < epoch or not run.at_end:
                    raise TookTooLong
                losses.append(loss_of(run))
        finally:
            run.close()


def fixed_lesson(lesson: Lesson, mode: str, fix: CodeFix) -> Lesson | None:
    """The lesson, or the script, with a fix made in its code; None if it can't be made."""
    if lesson.script is not None:
        text = with_fix(lesson.source, fix)
        return None if text is None else msgspec.structs.replace(lesson, source=text)
    sections = tuple(_fixed(section, mode, fix) for section in lesson.sections)
    if sections == lesson.sections:
        return None
    return msgspec.structs.replace(lesson, sections=sections)


def _fixed(section: Section, mode: str, fix: CodeFix) -> Section:
    blocks: list[Block] = []
    for block in section.blocks:
        text = None
        if isinstance(block, Fence) and section.phase and block.runs_in(mode):
            text = with_fix(block.code, fix, block.line)
        blocks.append(block if text is None else msgspec.structs.replace(block, code=text))
    return msgspec.structs.replace(section, blocks=tuple(blocks))
