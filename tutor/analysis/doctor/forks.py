"""Forks in which the doctor's fix is made: the loss with and without it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from tutor.analysis.doctor.rule import Patient
from tutor.analysis.doctor.source_code import with_fix
from tutor.errors import RunError
from tutor.lesson.model import Block, Fence, Lesson, Section
from tutor.protocol.findings import CodeFix, DoctorFinding, ForkLosses
from tutor.training.loop import LessonRaised
from tutor.training.program import Program
from tutor.training.run import Run
from tutor.training.values import to_numpy

EPOCHS = 10
"""The epoch whose losses are compared."""

SECONDS = 10.0
"""The time that one fork may take; the losses of a slower one are not known."""

Compiled = Callable[[Lesson], Mapping[str, Program]]
"""Makes the programs of a lesson, or of a script. Raises RunError."""


class Forks:
    """Runs of fixed code beside a patient's."""

    def __init__(self, patient: Patient, compiled: Compiled) -> None:
        self._patient, self._compiled = patient, compiled
        self._without: tuple[float | None, bool] | None = None

    def tried(self, finding: DoctorFinding) -> DoctorFinding:
        """The finding with both losses of its fix; without the fix if that does not run."""
        fix, patient = finding.fix, self._patient
        if fix is None or patient.until():
            return finding
        fixed = fixed_lesson(patient.lesson, patient.recipe.mode, fix)
        if fixed is None:
            return msgspec.structs.replace(finding, fix=None)
        try:
            loss, is_there = self._loss_of(self._compiled(fixed))
        except (RunError, SyntaxError) as error:
            _raise_if_stopped(error)
            return msgspec.structs.replace(finding, fix=None)
        if not is_there:
            return finding
        without, is_there = self._loss_without()
        if not is_there:
            return finding
        tried = msgspec.structs.replace(
            fix, epochs=self._epochs, loss_with=loss, loss_without=without
        )
        return msgspec.structs.replace(finding, fix=tried)

    def together(self, findings: Iterable[DoctorFinding]) -> ForkLosses | None:
        """The losses with all fixes of these findings; None unless there are several that run."""
        patient = self._patient
        fixes = {f.fix for f in findings if f.fix is not None and f.fix.loss_with is not None}
        lesson, below, count = patient.lesson, sys.maxsize, 0
        for fix in sorted(fixes, key=lambda fix: fix.line, reverse=True):
            # From below: the lines above stay where they are.
            fixed = fixed_lesson(lesson, patient.recipe.mode, fix) if fix.end_line < below else None
            if fixed is not None:
                lesson, below, count = fixed, fix.line, count + 1
        if count < 2 or patient.until():
            return None
        try:
            loss, is_there = self._loss_of(self._compiled(lesson))
        except (RunError, SyntaxError) as error:
            _raise_if_stopped(error)
            return None
        without, _ = self._loss_without()
        if loss is None or not is_there:
            return None
        return ForkLosses(fixes=count, epochs=self._epochs, loss_with=loss, loss_without=without)

    @property
    def _epochs(self) -> int:
        program = self._patient.programs[self._patient.recipe.mode]
        return min(EPOCHS, program.epochs)

    def _loss_without(self) -> tuple[float | None, bool]:
        if self._without is None:
            try:
                self._without = self._loss_of(self._patient.programs)
            except LessonRaised as error:
                _raise_if_stopped(error)
                self._without = (None, True)
        return self._without

    def _loss_of(self, programs: Mapping[str, Program]) -> tuple[float | None, bool]:
        """The loss after so many epochs, and whether it came so far. Raises RunError."""
        patient, recipe = self._patient, self._patient.recipe
        mode = recipe.mode if recipe.mode in programs else next(iter(programs))
        start = (mode, recipe.device, recipe.learning_rate, recipe.seed)
        deadline = time.monotonic() + SECONDS
        run = Run(programs, *start, quiet=patient.quiet)
        try:
            run.run_to(self._epochs, lambda: patient.until() or time.monotonic() > deadline)
            found = to_numpy(run.loop.loss())
        finally:
            run.close()
        loss = float(found.reshape(())) if found is not None and found.size == 1 else None
        return loss, run.at.epoch >= self._epochs


def _raise_if_stopped(error: Exception) -> None:
    """Raise it again if it is the learner's wish to stop."""
    if isinstance(error, LessonRaised) and error.stopped:
        raise error


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
