"""The examination of a run: a second run of the same code, stepped under the eyes of the rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext

from msgspec.structs import replace

from tutor.analysis.doctor.evaluation import EvaluationRule
from tutor.analysis.doctor.forks import (
    Compiled,
    Forks,
    SeedRule,
    is_at_loop_end,
    run_in_loop,
    time_bound,
)
from tutor.analysis.doctor.hand_gradient import HandGradientRule, ReshapedParameterRule
from tutor.analysis.doctor.held_parameters import HeldParametersRule, LostLeafRule
from tutor.analysis.doctor.kept_graph import DataGradientRule, KeptGraphRule
from tutor.analysis.doctor.layer_gradients import GradientRule, LayerGradientRule
from tutor.analysis.doctor.learning_rate import DivergenceRule, SchedulerOrderRule
from tutor.analysis.doctor.loss_arguments import BroadcastRule, LossArgumentsRule
from tutor.analysis.doctor.not_finite import NotFiniteRule
from tutor.analysis.doctor.reset import AccumulationRule, MissingResetRule, ResetOrderRule
from tutor.analysis.doctor.rule import (
    TO_THE_END,
    BackwardPass,
    DoctorRule,
    ExaminedStep,
    Patient,
)
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.torch_calls import CallRecorder, TorchCall
from tutor.lesson.model import Lesson
from tutor.protocol.frame import RunRecipe, settings_after
from tutor.protocol.inspections import DoctorFinding, DoctorReport
from tutor.training.devices import untouched_randomness
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.playback import never
from tutor.training.program import Program, Quiet, Until, programs_of
from tutor.training.run import Run
from tutor.training.time_limit import TookTooLong
from tutor.training.values import named

RULES: tuple[type[DoctorRule], ...] = (
    MissingResetRule, ResetOrderRule, LostLeafRule, BroadcastRule, GradientRule,
    HeldParametersRule, LossArgumentsRule, HandGradientRule, KeptGraphRule, DivergenceRule,
    EvaluationRule, NotFiniteRule, SchedulerOrderRule, DataGradientRule,
    LayerGradientRule, AccumulationRule, ReshapedParameterRule, SeedRule,
)  # fmt: skip
"""The rules in the order in which they are asked, and findings on one line are shown.

NotFiniteRule goes back in the run: rules that look at the same whole epochs come before it.
"""

TAUGHT: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("broadcasting", "manual"): {
        "broadcast_in_loss": "the lesson is about a column minus a flat array",
    },
    ("broadcasting", "autograd"): {
        "broadcast_in_loss": "the lesson is about a column minus a flat array",
    },
    ("forgotten-zero", "autograd"): {
        "gradients_not_reset": "the lesson is about what happens without the reset",
    },
    ("registered", "forgotten"): {
        "tensor_not_registered": "the mode is the one in which the model forgets its bias",
    },
}
"""The codes of the findings that a lesson makes on purpose, with the reason, by lesson and mode.

The doctor keeps silent about them there.
"""

EXAMINED_EPOCHS = 3
"""Epochs that are examined phase by phase: most mistakes show in the second."""

MOST_STEPS = 300
"""Steps that are examined, where an epoch has many batches."""

EXAMINATION_SECONDS = 20.0
"""The time after which no more of a slow script is examined, and the same for whole epochs."""

SECONDS_TO_THE_END = 3.0
"""The time for the rest of a script, for a rule that wants to see it."""


def examine(
    lesson: Lesson,
    recipe: RunRecipe | None = None,
    *,
    quiet: Quiet = nullcontext,
    until: Until = never,
    epochs: int = EXAMINED_EPOCHS,
    programs: Mapping[str, Program] | None = None,
    compiled: Compiled = programs_of,
    with_taught: bool = False,
) -> DoctorReport:
    """The mistakes in a lesson's code, or a script's, in the mode that a recipe ends in.

    The recipe's own run is left alone. `until`, asked between steps, stops it: what was found until
    then is reported. Raises RunError if Setup does, LessonRaised if the learner stops its code.
    `compiled` makes programs of a lesson or script; `programs` are this one's, if they are there.
    """
    programs = {
        mode: replace(program, boxed={}, watch=())  # nobody looks at the values in its formulas
        for mode, program in (programs or compiled(lesson)).items()
    }
    recipe = _examined_recipe(programs, recipe)
    with untouched_randomness(recipe.device), quiet():
        patient = _patient(lesson, programs, recipe, quiet, until)
        try:
            examination = _Examination(patient)
            is_complete = examination.go(epochs)
        finally:
            patient.run.close()
        found = [f for f in examination.found if with_taught or not _is_taught(lesson, recipe, f)]
        return _report(examination, found, Forks(patient, compiled), is_complete)


def _is_taught(lesson: Lesson, recipe: RunRecipe, finding: DoctorFinding) -> bool:
    """Whether the lesson makes this mistake on purpose in the recipe's mode."""
    return finding.code in TAUGHT.get((lesson.slug, recipe.mode), {})


def _report(
    examination: _Examination, found: list[DoctorFinding], forks: Forks, is_complete: bool
) -> DoctorReport:
    """The report, once the fixes have been tried."""
    tried = tuple(sorted(map(forks.tried, found), key=lambda finding: finding.line))
    return DoctorReport(
        findings=tried,
        together=forks.together(tried),
        taught=len(examination.found) - len(found),
        epochs=examination.epochs,
        is_complete=is_complete,
        failed=tuple(examination.failed),
    )


def _examined_recipe(programs: Mapping[str, Program], recipe: RunRecipe | None) -> RunRecipe:
    """The recipe of the examined run: the settings that the learner's has come to."""
    if recipe is None:
        program = next(iter(programs.values()))
        return RunRecipe(program.mode, "cpu", program.learning_rate, 0)
    return RunRecipe(*settings_after(recipe.changes, recipe))


def _patient(
    lesson: Lesson,
    programs: Mapping[str, Program],
    recipe: RunRecipe,
    quiet: Quiet,
    until: Until,
) -> Patient:
    recorder = CallRecorder(next(iter(programs.values())).filename)

    @contextmanager
    def unrecorded() -> Iterator[None]:
        """A span in which the run is put back after an error: no rule sees that as a step."""
        with quiet(), recorder.paused():
            yield

    run = Run(programs, recipe.mode, recipe.device, recipe.learning_rate, recipe.seed, unrecorded)
    source = SourceCode.of(lesson, recipe.mode)
    return Patient(lesson, programs, recipe, run, recorder, source, quiet, until)


class _Examination:
    """The steps of one examination, and what its rules have found."""

    def __init__(self, patient: Patient) -> None:
        self._patient, self._recorder = patient, patient.recorder
        self._rules = [rule(patient) for rule in RULES]
        self.failed: list[str] = []
        self.found: list[DoctorFinding] = []
        self.epochs = 0
        self._known: set[tuple[str, int, str]] = set()
        self._backward: BackwardPass | None = None
        """The backward pass that is under way."""
        patient.recorder.before, patient.recorder.after = self._before_call, self._after_call

    def go(self, epochs: int) -> bool:
        """Step through `epochs` epochs; whether nothing stopped that."""
        with ExitStack() as stack:
            stack.enter_context(self._recorder)
            for rule in self._rules:
                stack.enter_context(rule.watching())
            is_whole = self._step_through(epochs)
            with self._recorder.paused():  # a rule may run the code again
                self._each(lambda rule: self._add(rule.at_end()))
            return is_whole and not self._patient.until() and self._go_on()

    def _step_through(self, epochs: int) -> bool:
        """Step through `epochs` epochs, or MOST_STEPS; whether the code raised nothing."""
        patient, until = self._patient, self._within_time()
        for _ in range(MOST_STEPS):
            loop = patient.run.loop
            if until() or loop.is_over or (loop.at_end and loop.epoch >= epochs):
                break
            if not self._step():
                return False
            self.epochs = max(self.epochs, patient.epoch)
        return True

    def _within_time(self, seconds: float = EXAMINATION_SECONDS) -> Until:
        """The patient's `until`, which is also true after so many `seconds`."""
        deadline, until = time.monotonic() + seconds, self._patient.until
        return lambda: until() or time.monotonic() > deadline

    def _step(self) -> bool:
        """Run the next step; whether it raised nothing. Raises LessonRaised if it is stopped."""
        patient, error, loop = self._patient, None, self._patient.run.loop
        phase, is_rest = loop.next_phase_name(), is_at_loop_end(patient.run)
        with self._recorder.recording() as calls:
            try:
                with time_bound(SECONDS_TO_THE_END) if is_rest else nullcontext():
                    patient.run.step_phase_without_frame()
            except LessonRaised as raised:
                raise_if_stopped(raised)
                error = raised
            except TookTooLong:
                return False
        loop = patient.run.loop
        if error is None:
            phase = "" if loop.is_over and loop.at_end else loop.last_phase_name()
        same = [p for p in loop.program.loop if p.name == phase]
        code = next((p for p in same if loop.lines[0] in p.lines), next(iter(same), None))
        failed = self._recorder.failed
        step = ExaminedStep(phase, code, calls, loop.epoch, loop.batch, error, failed)
        self._end_backward()  # one that has raised
        with self._recorder.paused():
            self._each(lambda rule: self._add(rule.after(step)))
        return error is None

    def _go_on(self) -> bool:
        """Run whole epochs for the rules that want more of them."""
        patient, until = self._patient, self._within_time()
        for epochs in sorted({rule.epochs for rule in self._rules if rule.epochs}):
            try:
                if epochs == TO_THE_END:
                    is_late = self._within_time(SECONDS_TO_THE_END)
                    with time_bound(SECONDS_TO_THE_END):
                        patient.run.run_to(epochs, is_late)
                    if is_late() and not patient.run.loop.is_over:
                        return False
                else:
                    run_in_loop(patient.run, epochs, until)
            except LessonRaised as error:
                raise_if_stopped(error)
                return False
            except TookTooLong:
                return False
            self._each(lambda rule: self._add(rule.after_whole_epochs()), of_epochs=epochs)
        return not until()

    def _before_call(self, call: TorchCall) -> None:
        if call.name == "optimizer.step":
            optimizer = call.arguments[0]
            self._patient.stepped[id(optimizer)] = optimizer
            self._each(lambda rule: rule.before_update(call, optimizer))
        else:
            self._end_backward()
            backward = self._backward = BackwardPass(call)
            self._patient.see_leaves(backward)
            self._each(lambda rule: rule.before_backward(backward))

    def _after_call(self, call: TorchCall) -> None:
        if call.name == "backward" and (backward := self._end_backward()) is not None:
            self._each(lambda rule: rule.after_backward(backward))

    def _end_backward(self) -> BackwardPass | None:
        """The backward that was under way, if any, without its hooks."""
        backward, self._backward = self._backward, None
        if backward is not None:
            backward.unhook()
        return backward

    def _each(self, ask: Callable[[DoctorRule], object], of_epochs: int | None = None) -> None:
        """Ask each rule, or those that need `of_epochs` whole epochs.

        One that raises is asked no more: the others still count.
        """
        for rule in tuple(self._rules):
            if of_epochs not in (None, rule.epochs):
                continue
            try:
                ask(rule)
            except Exception as error:  # noqa: BLE001 - the code's own objects may raise anything
                self._rules.remove(rule)
                self.failed.append(f"{type(rule).__name__}: {named(error)}")

    def _add(self, findings: Iterable[DoctorFinding]) -> None:
        """Keep each finding once."""
        for finding in findings:
            key = (finding.code, finding.line, finding.variable)
            if key not in self._known:
                self._known.add(key)
                self.found.append(finding)
