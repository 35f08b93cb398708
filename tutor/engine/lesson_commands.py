"""CheckLesson and TrainLesson in the child process: a lesson run for the command line.

Both report each part before they run it, so that a lesson that hangs or ends the process costs a
line with its place.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, TextIO, TypeAlias

import numpy as np
from msgspec.structs import replace

from tutor.analysis.doctor.examination import EXAMINED_EPOCHS, examine
from tutor.analysis.mode_comparison import ModeLockstep
from tutor.digits import LOSS_LINE_DIGITS, significant
from tutor.engine.child import Capture
from tutor.engine.open_runs import programs_for
from tutor.engine.process import limit_memory
from tutor.errors import TutorError
from tutor.lesson.model import AUTOGRAD, SETUP, Lesson
from tutor.lesson.seeds import sets_a_seed
from tutor.plain import array_summary, json_number, shortened
from tutor.protocol.commands import CheckLesson, InspectScript, LessonCommand, TrainLesson
from tutor.protocol.events import (
    AnswersComputed,
    CheckFinding,
    CommandDone,
    DeviceDescribed,
    DoctorReportReady,
    Event,
    FiguresPrinted,
    LessonPart,
    LessonStopped,
    ModesCompared,
    PartBegun,
    RunFailed,
    RunRemark,
    ScriptInspected,
)
from tutor.protocol.frame import Remark, RunRecipe
from tutor.protocol.inspections import DoctorReport
from tutor.training import devices
from tutor.training.figures import Reading
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Program, UnheardOutput
from tutor.training.run import Run
from tutor.training.series import SeriesTable, readings
from tutor.training.values import norm_of
from tutor.validation import exercise_check, lesson_check

Send: TypeAlias = Callable[[Event], object]
"""Sends an event, after all that the lesson has printed until then."""
Report: TypeAlias = Callable[[Reading], None]
"""Writes the figures of one epoch, or the comparison of all modes at it."""

MUCH_PRINTED = 10**6
"""Characters that a lesson prints while it is checked: a remark says if there are more."""

LONGEST_TRACE = 20_000
"""Characters of a traceback that are sent."""


def run_lesson(command: LessonCommand, send: Send, capture: Capture) -> None:
    """Do the command; its answer says how it ended."""
    work = _LessonWork(send, capture)
    answer: Event = CommandDone()
    try:
        if isinstance(command, CheckLesson):
            work.check(command)
        elif isinstance(command, InspectScript):
            work.inspect(command)
        else:
            work.train(command)
    except LessonRaised as error:
        if not error.stopped:
            work.examine_raised(command)
        answer = work.stopped(error) if error.stopped else _failure(error, command)
    except TutorError as error:
        answer = _failure(error, command)
    except KeyboardInterrupt:  # it met the tutor's own code
        answer = work.stopped()
    send(replace(answer, answers=command.number))


def _failure(error: TutorError, command: LessonCommand) -> RunFailed:
    has_trace = isinstance(command, TrainLesson) and command.with_debug
    return RunFailed(
        remark=Remark.of(error),
        trace=shortened(traceback.format_exc(), LONGEST_TRACE) if has_trace else "",
    )


class _LessonWork:
    """One command that is being done, and the part of the lesson that runs now."""

    def __init__(self, send: Send, capture: Capture) -> None:
        self._send, self._capture = send, capture
        self._part = LessonPart()

    def _begin(self, part: LessonPart) -> None:
        self._part = part
        self._send(PartBegun(part=part))

    def _remark(self, code: str, **values: object) -> None:
        self._send(RunRemark(remark=Remark(code, values)))

    def _examined(
        self, lesson: Lesson, programs: Mapping[str, Program], recipe: RunRecipe | None
    ) -> DoctorReport:
        """The doctor's findings; the code's output is lost."""
        quiet = self._capture.muted
        with quiet():
            return examine(
                lesson, recipe, quiet=quiet, programs=programs, compiled=programs_for,
                with_taught=True,
            )  # fmt: skip

    def stopped(self, error: LessonRaised | None = None) -> LessonStopped:
        """The place where an interrupt met the lesson's code, within the part if it is known."""
        part = self._part
        if error is not None and error.phase:
            # In an exercise, lines may be those of a repair's editor.
            line = part.line if part.exercise else error.line or part.line
            part = replace(part, line=line, phase=error.phase)
        return LessonStopped(part=part)

    def examine_raised(self, command: LessonCommand) -> None:
        """Send what the doctor finds in code that has raised an error, if it is asked for."""
        if isinstance(command, CheckLesson) or not command.with_doctor:
            return
        try:
            programs, recipe = programs_for(command.lesson), None
            if isinstance(command, TrainLesson):
                mode = command.mode or command.lesson.modes[0]
                rate = command.learning_rate or programs[mode].learning_rate
                recipe = RunRecipe(mode, command.device, rate, command.seed)
            found = self._examined(command.lesson, programs, recipe)
        except (TutorError, KeyboardInterrupt):  # it is Setup that raises, or it is stopped
            return
        if found.findings:
            self._send(DoctorReportReady(report=found))

    def check(self, command: CheckLesson) -> None:
        """Send all findings, and the answers if they are asked for; the code's output is lost."""
        device = devices.check(command.device or "cpu")
        limit_memory(device)
        if command.device:
            self._send(DeviceDescribed(device=device, text=devices.describe(device)))
        lesson, unheard = command.lesson, UnheardOutput()
        with self._capture.muted(), redirect_stdout(unheard), redirect_stderr(unheard):
            for finding in lesson_check.findings(lesson, self._begin, device):
                self._send(finding)
            if unheard.characters > MUCH_PRINTED:
                remark = Remark("printed_much", {"characters": unheard.characters})
                self._send(CheckFinding(path=str(lesson.path), line=1, remark=remark, is_note=True))
            if command.with_answers:
                for id_, texts in exercise_check.answers(lesson):
                    self._send(AnswersComputed(exercise=id_, texts=texts))

    def inspect(self, command: InspectScript) -> None:
        """Send the loops, phases and parameters of a script. Raises RunError or LessonRaised."""
        from tutor.script.program import script_report  # noqa: PLC0415 - no lesson needs it

        programs = programs_for(command.lesson)
        limit_memory("cpu")
        self._begin(LessonPart(1, mode=next(iter(programs)), phase=SETUP))
        with self._capture.muted():
            self._remark("runs_first_batch")
            run = Run(programs, quiet=self._capture.muted, is_kept=False)
            run.step_phase_without_frame()
            while not (run.loop.at_end or run.loop.batch):
                run.step_phase_without_frame()
            if command.counts_batches and script_report(run.loop).batches is None:
                run.step_epoch()
            loop, found = script_report(run.loop), None
            if command.with_doctor:
                self._remark("runs_doctor", epochs=EXAMINED_EPOCHS)
                found = self._examined(command.lesson, programs, run.recipe)
            run.close()
        self._send(ScriptInspected(loop=loop, report=found))

    def train(self, command: TrainLesson) -> None:
        """Train to the last epoch, and send the figures and remarks.

        Raises RunError or LessonRaised.
        """
        run = self._new_run(command)
        told = run.remarks
        for remark in told:
            self._send(RunRemark(remark=remark))
        codes = (fence.code for s in command.lesson.sections for fence in s.fences(run.mode))
        if command.seed and sets_a_seed(codes):
            self._remark("sets_a_seed")
        self._begin_phase(command.lesson, run.program.loop[0].name, run.mode)
        self._send_figures(command, run)
        for remark in run.loop.remarks:
            if remark not in told:
                self._send(RunRemark(remark=remark))
        for expression in run.program.expressions():
            if why := run.program.stopped.get(expression.source):
                place, reason = run.program.place(expression.line), why.why or why.text
                self._remark("no_value", place=place, label=expression.label, reason=reason)
        if run.diverged_at is not None:
            self._remark("diverged", epoch=run.diverged_at)
        if command.with_doctor:
            found = self._examined(command.lesson, run.programs, run.recipe)
            self._send(DoctorReportReady(report=found))
        with self._capture.muted():
            run.close()

    def _new_run(self, command: TrainLesson) -> Run:
        lesson, device = command.lesson, command.device
        programs = programs_for(lesson)
        first = AUTOGRAD if command.compare and AUTOGRAD in lesson.modes else lesson.modes[0]
        mode = command.mode or first
        Run.check_start(programs, mode, device)
        limit_memory(device)
        self._begin_phase(lesson, SETUP, mode)
        start = (mode, device, command.learning_rate, command.seed)
        return Run(programs, *start, quiet=self._capture.muted, is_kept=False)

    def _begin_phase(self, lesson: Lesson, phase: str, mode: str) -> None:
        section = lesson.phase(phase)
        fences = section.fences(mode) if section else ()
        self._begin(LessonPart(fences[0].line if fences else 1, mode=mode, phase=phase))

    def _send_figures(self, command: TrainLesson, run: Run) -> None:
        """Train, and send the figures of epochs, or the comparisons of all modes at them."""
        out = io.StringIO()
        report = self._comparison(command, run) or figures_writer(command.format, out)
        usual = None if command.lesson.script else run.program.epochs
        every = sys.maxsize if command.format == NO_FIGURES else command.every
        for reading in readings(run, command.epochs or usual, every):
            report(reading)
            if text := out.getvalue():
                self._send(FiguresPrinted(text=text))
            out.seek(0)
            out.truncate()

    def _comparison(self, command: TrainLesson, run: Run) -> Report | None:
        """The function that sends all modes' gradients at the run's epoch, if asked for."""
        if not command.compare:
            return None
        most = MOST_COMPARED if command.format == "text" else sys.maxsize
        device, rate = run.settings.device_wanted, run.learning_rate
        lockstep = ModeLockstep(run.programs, device, rate, command.seed,
                                quiet=self._capture.muted, patience=command.every)  # fmt: skip

        def compare(_: Reading) -> None:
            found = lockstep.compare(run.standpoint(), run.at.epoch, most=most)
            assert found is not None  # nothing stops it but Ctrl+C, which raises
            self._send(ModesCompared(comparison=found))

        return compare


# ── The figures of `tutor run` ───────────────────────────────────────────────────────

Array = np.ndarray[Any, Any]

MOST_SHOWN = 8
"""Elements of an array that are printed in text; of a larger one, its mean and norm."""

MOST_CHARACTERS = 320
"""Characters of a line of text, about: four lines of a terminal. The rest is only counted."""

NO_FIGURES = "none"
"""The format of `tutor run` that has only what the code prints."""

MOST_COMPARED = 16
"""Elements of a gradient that are sent where a comparison is shown as text."""


def figures_writer(form: str, out: TextIO) -> Report:
    """Return a function that writes the figures of one epoch as text, csv or jsonl, at once."""
    if form == "csv":
        table = SeriesTable(out)

        def write_row(reading: Reading) -> None:
            table.write(reading)
            out.flush()

        return write_row
    if form == NO_FIGURES:
        return lambda _: None
    line_of = _figures_text if form == "text" else _figures_json
    return lambda reading: print(line_of(reading), file=out, flush=True)


# ── The figures of an epoch ─────────────────────────────────────────────────────────


def _figures_text(reading: Reading) -> str:
    """One aligned line for each rank: `epoch`, `loss`, each value and each gradient."""
    ranks = (reading, *reading.others)
    return "\n".join(_line_of_rank(of_rank, is_one=len(ranks) == 1) for of_rank in ranks)


def _line_of_rank(reading: Reading, *, is_one: bool) -> str:
    rank = [] if is_one else [f"rank {reading.rank}"]
    number = reading.loss
    loss = "no loss" if number is None else f"loss {significant(number, LOSS_LINE_DIGITS)}"
    parts = [f"epoch {reading.epoch:>5}", *rank, f"{loss:<17}"]
    line = "  ".join(parts)
    for count, (name, value) in enumerate(reading.values.items()):
        more = f"  {name} {_short(value)}  gradient {_short(reading.gradients[name])}"
        if count and len(line + more) > MOST_CHARACTERS:
            return f"{line}  … {len(reading.values) - count} more"
        line += more
    return line.rstrip()


def _figures_json(reading: Reading) -> str:
    """An object; NaN and infinities are strings, arrays nested lists, no loss is null.

    On several ranks, `ranks` has the others', each an object with its `rank`.
    """
    ranks = [{"rank": other.rank, **_figures_of_rank(other)} for other in reading.others]
    return _json_line(_figures_of_rank(reading) | ({"ranks": ranks} if ranks else {}))


def _figures_of_rank(reading: Reading) -> dict[str, Any]:
    return {
        "epoch": reading.epoch,
        "loss": None if reading.loss is None else json_number(reading.loss),
        "values": {name: _nested(value) for name, value in reading.values.items()},
        "gradients": {name: _nested(value) for name, value in reading.gradients.items()},
    }


def _short(array: Array | None) -> str:
    if array is None or array.size <= MOST_SHOWN:
        return _digits(array)
    figures = {"mean": array.mean(dtype=np.float64), "norm": norm_of(array)}
    return array_summary(array.shape, {name: significant(x) for name, x in figures.items()})


# ── Numbers ─────────────────────────────────────────────────────────────────────────


def _digits(array: Array | None) -> str:
    if array is None:
        return "None"
    if array.shape:
        return "[" + ", ".join(map(_digits, array)) + "]"
    return significant(array.item())


def _nested(array: Array | None) -> Any:
    """Nested lists of numbers, as JSON has them."""
    if array is None:
        return None
    return [_nested(part) for part in array] if array.shape else json_number(array.item())


def _json_line(shown: dict[str, Any]) -> str:
    return json.dumps(shown, allow_nan=False, ensure_ascii=False)
