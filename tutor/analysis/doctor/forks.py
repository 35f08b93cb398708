"""Runs of a patient's code beside the examined one: with a fix made in it, with another seed."""

from __future__ import annotations

import ast
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import torch

from tutor.analysis.doctor.rule import DoctorRule, ExaminedStep, Patient
from tutor.analysis.doctor.source_code import with_fix
from tutor.errors import RunError
from tutor.lesson.model import Block, Fence, Lesson, Section
from tutor.lesson.seeds import seedings
from tutor.protocol.inspections import CodeFix, DoctorFinding, ForkLosses
from tutor.python_syntax import FUNCTIONS
from tutor.training.devices import untouched_randomness
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.program import Program, Until
from tutor.training.run import Run
from tutor.training.time_limit import TookTooLong, limited
from tutor.training.values import to_numpy

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
            losses = self._losses(fixed, [finding])
        except (RunError, SyntaxError) as error:
            raise_if_stopped(error)
            return msgspec.structs.replace(finding, fix=None)
        is_chance = finding.code in ("not_seeded", "seeded_late")  # two such runs prove nothing
        if losses is None or is_chance:
            return finding
        return msgspec.structs.replace(finding, fix=msgspec.structs.replace(fix, **losses))

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
            losses = self._losses(lesson, tried)
        except (RunError, SyntaxError) as error:
            raise_if_stopped(error)
            return None
        if losses is None or losses["loss_with"] is None:
            return None
        return ForkLosses(fixes=count, **losses)

    @property
    def _epochs(self) -> int:
        program = self._patient.programs[self._patient.recipe.mode]
        return min(FORK_EPOCHS, program.epochs)

    def _losses(self, fixed: Lesson, findings: Iterable[DoctorFinding]) -> dict[str, Any] | None:
        """The fields of a fix, or of several, that say what it does to the loss.

        They are of the last epoch that both runs have. None if one takes too long. Raises RunError.
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
        redefines = any(finding.code in _REDEFINING for finding in findings)
        return {
            "epochs": epochs,
            "loss_with": course.loss(epochs),
            "loss_without": self._without.loss(epochs),
            "loss_first": course.loss(1) if redefines else None,
        }

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
        patient, deadline = self._patient, time.monotonic() + FORK_SECONDS
        with closing(_fork(patient, programs, patient.recipe.seed)) as run:
            while len(losses) < self._epochs and not is_at_loop_end(run):
                epoch = len(losses) + 1
                run_in_loop(run, epoch, lambda: patient.until() or time.monotonic() > deadline)
                if run.loop.epoch < epoch or not run.at_end:
                    raise TookTooLong
                losses.append(loss_of(run))


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


# ── Seeds ───────────────────────────────────────────────────────────────────────────

_MOST_STEPS = 12
"""Steps of the second run: up to its first loss, and no further."""

_SEEDING = {
    "torch": "torch.manual_seed(0)",
    "numpy": "np.random.seed(0)",
    "random": "random.seed(0)",
}
_TORCH_DRAWS = frozenset(
    {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "rand_like"}
    | {"randn_like", "normal_", "uniform_", "dropout", "random_split", "xavier_uniform_"}
    | {"xavier_normal_", "kaiming_uniform_", "kaiming_normal_"}
)


@dataclass(frozen=True, slots=True)
class _Draw:
    """A call that draws random numbers."""

    line: int
    generator: str
    """torch, numpy or random."""
    code: str
    seeded_at: int = 0
    """The first line that seeds the generator, below the draw; 0 if there is none."""
    is_inside: bool = False
    """Whether it stands in a function, which may be called below."""

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """The most likely cause of two runs that differ comes first."""
        return self.seeded_at > 0, self.is_inside, self.line


class SeedRule(DoctorRule):
    """The rule for random numbers that no seed fixes: another seed gives another first loss.

    A lesson is seeded by the tutor: this is asked of scripts alone.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._first: float | None = None

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """Note the first loss."""
        if self._first is None and step.error is None:
            self._first = loss_of(self.patient.run)
        return ()

    def at_end(self) -> Iterable[DoctorFinding]:
        """The finding, if the first loss of a run with another seed is another one."""
        patient, first = self.patient, self._first
        if patient.lesson.script is None or first is None or patient.until():
            return
        with untouched_randomness(patient.run.device):
            other = self._first_loss(patient.recipe.seed + 1)
            # Once more: this run may have left a file that a new one goes on from.
            again = self._first_loss(patient.recipe.seed) if other != first else other
        if other is None or again is None or other == again:
            return
        if not math.isfinite(other) or not math.isfinite(again):
            return
        draw = min(self._draws(), key=lambda one: one.rank, default=None)
        seeded_at = {"seed_line": draw.seeded_at} if draw and draw.seeded_at else {}
        yield DoctorFinding(
            code="seeded_late" if seeded_at else "not_seeded",
            line=draw.line if draw else 0,
            variable=draw.code if draw else patient.lesson.slug,
            numbers={"loss": again, "other": other, **seeded_at},
            lesson="mini-batches",
            fix=self._fix(draw),
        )

    def _first_loss(self, seed: int) -> float | None:
        """The first loss of a run with this seed; None if it has none."""
        try:
            with closing(_fork(self.patient, self.patient.programs, seed)) as run:
                for _ in range(_MOST_STEPS):
                    if is_at_loop_end(run):
                        return None
                    run.step_phase_without_frame()
                    if (loss := loss_of(run)) is not None or self.patient.until():
                        return loss
        except RunError:
            return None
        return None

    # ── The code ────────────────────────────────────────────────────────────────────

    def _draws(self) -> Iterator[_Draw]:
        """The calls that draw from a generator before the script seeds it, if it ever does."""
        nodes = [*self.source.nodes()]
        lines: dict[str, int] = {}
        for one in seedings(nodes):
            if one.is_library_wide:
                lines[one.library] = min(one.line, lines.get(one.library, one.line))
        inside = {id(n) for f in nodes if isinstance(f, FUNCTIONS) for n in ast.walk(f)}
        for call in (node for node in nodes if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            kind = _generator_of(call, name)
            seeded_at = lines.get(kind, 0)
            if kind and (not seeded_at or call.lineno < seeded_at):
                yield _Draw(call.lineno, kind, name, seeded_at, id(call) in inside)

    def _fix(self, draw: _Draw | None) -> CodeFix | None:
        """The seed behind the last import that stands before the draw."""
        if draw is None:
            return None
        source = self.source
        imports = [s for s in source.statements() if isinstance(s, ast.Import | ast.ImportFrom)]
        before = (s for s in imports if not s.col_offset and s.lineno < draw.line)
        last = max(before, key=lambda s: s.lineno, default=None)
        return None if last is None else source.after(last, _SEEDING[draw.generator])


def _generator_of(call: ast.Call, name: str) -> str:
    """The generator that a call draws from; "" if it draws from none, or has its own."""
    parts = name.split(".")
    if any(k.arg == "generator" for k in call.keywords) or parts[-1].startswith("seed"):
        return ""
    if name.startswith(("np.random.", "numpy.random.")):
        is_own = parts[-1] in ("default_rng", "RandomState", "Generator")
        return "" if is_own and call.args else "numpy"
    if len(parts) == 2 and parts[0] == "random":
        return "" if parts[1] in ("Random", "seed") else "random"
    is_torch = parts[-1] in _TORCH_DRAWS and (len(parts) > 1 or parts[-1] == "random_split")
    is_shuffled = parts[-1] == "DataLoader" and any(
        k.arg == "shuffle" and ast.unparse(k.value) != "False" for k in call.keywords
    )
    layer = getattr(torch.nn, parts[-1], None)
    return "torch" if is_torch or is_shuffled or hasattr(layer, "reset_parameters") else ""


# ── Runs and their bounds ───────────────────────────────────────────────────────────


@contextmanager
def time_bound(seconds: float) -> Iterator[None]:
    """Raise TookTooLong after `seconds`, wherever the code is then."""
    try:
        with limited(seconds, ends_process=False):
            yield
    except LessonRaised as error:
        if isinstance(error.__cause__, TookTooLong):
            raise error.__cause__ from None
        raise


def run_in_loop(run: Run, epoch: int, until: Until) -> None:
    """Run to the end of `epoch`, or of the loop: the code after a script's loop may take hours."""
    if run.program.open_loop is None:
        run.run_to_without_frame(epoch, until)
    while run.loop.epoch < epoch and not until() and not is_at_loop_end(run):
        run.run_to_without_frame(run.loop.epoch + 1, until)


def is_at_loop_end(run: Run) -> bool:
    """Whether the next step would run the code after a script's loop."""
    return run.loop.is_over or (run.at_end and run.loop.is_at_loop_end)


def loss_of(run: Run) -> float | None:
    """The loss of a run as it stands; None where it is no single number."""
    found = to_numpy(run.loop.loss())
    return None if found is None or found.size != 1 else float(found.reshape(()))


def _fork(patient: Patient, programs: Mapping[str, Program], seed: int) -> Run:
    """A run of these programs from the start, as the patient's. Raises RunError if Setup does."""
    recipe = patient.recipe
    mode = recipe.mode if recipe.mode in programs else next(iter(programs))
    is_own = patient.lesson.script and recipe.learning_rate == patient.run.loop.own_rate
    rate = 0.0 if is_own else recipe.learning_rate  # 0.0: the code's own, also a fixed one
    return Run(programs, mode, recipe.device, rate, seed, patient.quiet, is_kept=False)
