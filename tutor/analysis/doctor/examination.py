"""The examination of a run: a second run of the same code, stepped under the eyes of the rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

from tutor.analysis.doctor.bounds import is_at_loop_end, run_in_loop, time_bound
from tutor.analysis.doctor.forks import Compiled, Forks
from tutor.analysis.doctor.rule import TO_THE_END, DoctorRule, Moment, Patient
from tutor.analysis.doctor.rules import RULES, is_taught
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.torch_calls import CallRecorder, TorchCall
from tutor.lesson.model import SETUP, Lesson
from tutor.protocol.frame import RunRecipe, settings_of
from tutor.protocol.inspections import DoctorFinding, DoctorReport
from tutor.training.devices import untouched_randomness
from tutor.training.lesson_error import LessonRaised
from tutor.training.playback import never
from tutor.training.program import Program, Quiet, programs_of
from tutor.training.run import Run
from tutor.training.time_limit import TookTooLong
from tutor.training.values import named

EPOCHS = 3
"""Epochs that are examined phase by phase: most mistakes show in the second."""

MOST_STEPS = 300
"""Steps that are examined, where an epoch has many batches."""

SECONDS = 20.0
"""The time after which no more of a slow script is examined, and the same for whole epochs."""

SECONDS_TO_THE_END = 3.0
"""The time for the rest of a script, for a rule that wants to see it."""


def examine(
    lesson: Lesson,
    recipe: RunRecipe | None = None,
    *,
    quiet: Quiet = nullcontext,
    until: Callable[[], bool] = never,
    epochs: int = EPOCHS,
    programs: Mapping[str, Program] | None = None,
    compiled: Compiled = programs_of,
    rules: Sequence[type[DoctorRule]] = RULES,
    with_taught: bool = False,
) -> DoctorReport:
    """The mistakes in a lesson's code, or a script's, in the mode that a recipe ends in.

    The recipe's own run is left alone. `until`, asked between steps, stops it: what was found until
    then is reported. Raises RunError if Setup does, LessonRaised if the learner stops its code.
    `compiled` makes programs of a lesson or script; `programs` are this one's, if they are there.
    """
    programs = programs or compiled(lesson)
    recipe = _from_the_start(programs, recipe)
    with untouched_randomness(recipe.device), quiet():
        recorder = CallRecorder(next(iter(programs.values())).filename)
        patient = _patient(lesson, programs, recipe, quiet, until, recorder)
        try:
            examination = _Examination(patient, recorder, [rule(patient) for rule in rules])
            is_complete = examination.go(epochs)
        finally:
            patient.close()
        found = [f for f in examination.found if with_taught or not is_taught(lesson, recipe, f)]
        return _report(examination, found, Forks(patient, compiled), is_complete)


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


def _from_the_start(programs: Mapping[str, Program], recipe: RunRecipe | None) -> RunRecipe:
    """The recipe of the examined run: the settings that the learner's has come to."""
    if recipe is None:
        program = next(iter(programs.values()))
        return RunRecipe(program.mode, "cpu", program.learning_rate, 0)
    return RunRecipe(*settings_of(recipe.changes, recipe))


def _patient(
    lesson: Lesson,
    programs: Mapping[str, Program],
    recipe: RunRecipe,
    quiet: Quiet,
    until: Callable[[], bool],
    recorder: CallRecorder,
) -> Patient:
    @contextmanager
    def unseen() -> Iterator[None]:
        """Entered while the run is put back after an error: that is no step of it."""
        with quiet(), recorder.paused():
            yield

    run = Run(programs, recipe.mode, recipe.device, recipe.learning_rate, recipe.seed, unseen)
    source = SourceCode.of(lesson, recipe.mode)
    return Patient(lesson, programs, recipe, run, source, quiet, until)


class _Examination:
    """The steps of one examination, and what its rules have found."""

    def __init__(
        self, patient: Patient, recorder: CallRecorder, rules: Sequence[DoctorRule]
    ) -> None:
        self._patient, self._recorder, self._rules = patient, recorder, list(rules)
        self.failed: list[str] = []
        self.found: list[DoctorFinding] = []
        self.epochs = 0
        self._known: set[tuple[str, int, str]] = set()
        recorder.before = self._before_call
        recorder.after = lambda call: self._each(lambda rule: rule.after_call(call))

    def go(self, epochs: int) -> bool:
        """Step through so many epochs; whether nothing stopped that."""
        with ExitStack() as stack:
            for rule in self._rules:
                stack.enter_context(rule.watching(self._recorder))
            is_whole = self._step_through(epochs)
            with self._recorder.paused():  # a rule may run the code again
                self._each(lambda rule: self._add(rule.at_end()))
            return is_whole and not self._patient.until() and self._go_on()

    def _step_through(self, epochs: int) -> bool:
        """Step through so many epochs, or MOST_STEPS; whether the code raised nothing."""
        patient, until = self._patient, self._within_time()
        self._each(lambda rule: rule.before(self._moment(SETUP, [])))
        for _ in range(MOST_STEPS):
            loop = patient.run.loop
            if until() or loop.is_over or (loop.at_end and loop.epoch >= epochs):
                break
            if not self._step():
                return False
            self.epochs = max(self.epochs, patient.epoch)
        return True

    def _within_time(self, seconds: float = SECONDS) -> Callable[[], bool]:
        """The patient's `until`, which also says so after so many seconds."""
        deadline, until = time.monotonic() + seconds, self._patient.until
        return lambda: until() or time.monotonic() > deadline

    def _step(self) -> bool:
        """Run the next step; whether it raised nothing. Raises LessonRaised if it is stopped."""
        patient, error, loop = self._patient, None, self._patient.run.loop
        phase, is_rest = loop.next_phase_name(), is_at_loop_end(patient.run)
        self._each(lambda rule: rule.before(self._moment(phase, [])))
        with self._recorder.recording() as calls:
            try:
                with time_bound(SECONDS_TO_THE_END) if is_rest else nullcontext():
                    patient.run.advance_phase()
            except LessonRaised as raised:
                if raised.stopped:
                    raise
                error = raised
            except TookTooLong:
                return False
        loop = patient.run.loop
        if error is None:
            phase = "" if loop.is_over and loop.at_end else loop.last_phase_name()
        moment = self._moment(phase, calls, error, self._recorder.failed)
        with self._recorder.paused():
            self._each(lambda rule: self._add(rule.after(moment)))
        return error is None

    def _moment(
        self,
        phase: str,
        calls: list[TorchCall],
        error: LessonRaised | None = None,
        failed: TorchCall | None = None,
    ) -> Moment:
        loop = self._patient.run.loop
        same = [p for p in loop.program.loop if p.name == phase]
        code = next((p for p in same if loop.line in p.lines), next(iter(same), None))
        return Moment(self._patient, phase, code, calls, loop.epoch, loop.batch, error, failed)

    def _go_on(self) -> bool:
        """Run whole epochs for the rules that want more of them."""
        patient, until = self._patient, self._within_time()
        for epochs in sorted({rule.epochs for rule in self._rules if rule.epochs}):
            is_last = epochs == TO_THE_END
            try:
                if is_last:
                    with time_bound(SECONDS_TO_THE_END):
                        patient.run.run_to(epochs, self._within_time(SECONDS_TO_THE_END))
                else:
                    run_in_loop(patient.run, epochs, until)
            except LessonRaised as error:
                if error.stopped:
                    raise
                return False
            except TookTooLong:
                return False
            self._each(
                lambda rule, epochs=epochs: (  # type: ignore[misc]
                    self._add(rule.after_whole_epochs()) if rule.epochs == epochs else None
                )
            )
        return not until()

    def _before_call(self, call: TorchCall) -> None:
        if call.name == "optimizer.step":
            self._patient.stepped[id(call.arguments[0])] = call.arguments[0]
        self._each(lambda rule: rule.before_call(call))

    def _each(self, ask: Callable[[DoctorRule], object]) -> None:
        """Ask each rule. One that raises is asked no more: the others still count."""
        for rule in tuple(self._rules):
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
