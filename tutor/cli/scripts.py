"""A learner's own script on the command line: read, its loop chosen, and trusted to run.

`tutor inspect`: what the tutor has understood of the loops, and the doctor's findings.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tutor.cli.lessons import agreed
from tutor.cli.parsers import FAILED
from tutor.cli.terminal import answer_to, connect_as_asked, is_attended, names_script, warn
from tutor.digits import whole_number
from tutor.engine.command_client import CommandClient, LessonAborted
from tutor.errors import CodeRaised, Refused, RunError, ScriptError, UsageError
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.plain import json_text, one_line, plain
from tutor.protocol.commands import InspectScript
from tutor.protocol.events import DoctorReportReady, Event, RunRemark, ScriptInspected
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import DoctorFinding, DoctorReport, LoopReport
from tutor.script.lesson import lesson_of_script
from tutor.script.line_places import place_in
from tutor.script.loops import outline_of
from tutor.script.outline import Outline, TrainingLoop, loop_report
from tutor.script.source import ScriptSource, modules_beside, read_script
from tutor.session.bookmark import script_key
from tutor.session.journal import Journal
from tutor.wording.doctor_findings import finding_text, finding_values, report_text
from tutor.wording.engine_remarks import abort_text, place_text
from tutor.wording.layout import columns
from tutor.wording.notices import error_text
from tutor.wording.number_format import counted
from tutor.wording.remarks import remark_text
from tutor.wording.script_faults import source_note_text, torch_error_of


def script_lesson(options: argparse.Namespace, journal: Journal | None = None) -> Lesson:
    """The lesson of the script's loop that the options name, trusted to run.

    Asks at the terminal which loop, where there are several. Raises ScriptError for a script that
    can't be read or stepped, UsageError for a loop that is not there, and LessonError where the
    content is not trusted.
    """
    return agreed(chosen_lesson(options, journal), trust_now=options.trust)


def chosen_lesson(options: argparse.Namespace, journal: Journal | None = None) -> Lesson:
    """The lesson of the loop that the options name, which may not be trusted yet.

    The `journal` knows in which loop the script was left. Raises ScriptError and UsageError.
    """
    source, outline = read_outline(Path(options.lesson))
    for note in source.notes:
        warn(source_note_text(note, source))
    number = options.loop or _asked_loop(source, outline.loops, journal)
    check_loop(number, source, outline)
    chosen = ScriptOptions(
        loop=number,
        arguments=tuple(options.arguments),
        name=options.lesson,
        is_here=options.here,
        modules=modules_beside(source.path, source.text) if getattr(options, "on", "") else None,
        workers=options.nproc,
    )
    return lesson_of_script(source, outline, chosen)


def read_lesson(path: Path, options: ScriptOptions) -> Lesson:
    """The lesson of a script that is opened once more: its file may have changed meanwhile.

    Raises ScriptError.
    """
    source, outline = read_outline(path)
    number = min(options.loop, len(outline.loops))
    modules = None if options.modules is None else modules_beside(path, source.text)
    return lesson_of_script(source, outline, replace(options, loop=number, modules=modules))


def read_outline(path: Path) -> tuple[ScriptSource, Outline]:
    """A script and its loops. Raises ScriptError if there is none that can be stepped."""
    source = replace(read_script(path), path=path.absolute())  # errors name it as it was typed
    outline = outline_of(source.text, _modules_beside(path))
    if (why := outline.why_no_loop) is not None:
        name = source.path.name
        place = name if why.line is None else source.full_place(why.line)
        raise ScriptError(why.code, place=place, **why.values)
    return source, outline


def check_loop(number: int, source: ScriptSource, outline: Outline) -> None:
    """Raise UsageError if the script has no loop of this number."""
    if not 0 < number <= len(outline.loops):
        places = ", ".join(source.place(loop.line) for loop in outline.loops)
        name = one_line(source.path.name)
        raise UsageError(f"{name} has no loop {number}; its training loops begin at {places}")


@contextmanager
def suggesting_tutor_why() -> Iterator[None]:
    """A span in which an error of PyTorch that a script raises gets a hint to use `tutor why`."""
    try:
        yield
    except CodeRaised as error:
        text = error_text(error)
        if error.code != "script_raised" or torch_error_of(text) is None:
            raise
        raise RunError(f"{text}\n`tutor why` explains this error: paste it there") from error


def _modules_beside(path: Path) -> list[str]:
    try:
        beside = list(path.absolute().parent.iterdir())
    except OSError:  # a folder that may be entered, not listed
        return []
    folders = [p.name for p in beside if (p / "__init__.py").is_file()]
    return [p.stem for p in beside if p.suffix == ".py" and p.name != path.name] + folders


def _asked_loop(
    source: ScriptSource, loops: Sequence[TrainingLoop], journal: Journal | None
) -> int:
    """The number of the loop that is to be stepped: asked for, or the first.

    An empty answer is the loop that the script was left in.
    """
    if len(loops) == 1:
        return 1
    if not is_attended():
        warn(f"{source.path.name} has {len(loops)} training loops: --loop N chooses another one")
        return 1
    left = journal.last_bookmark_of_script(script_key(source.path)) if journal else None
    number = left.script.loop if left and left.script else 0
    rows = [
        (
            f"{n}",
            *_loop_cells(source, loop),
            f"left in epoch {left.at.epoch}" if left and n == number else "",
        )
        for n, loop in enumerate(loops, 1)
    ]
    listed = "\n".join(f"  {line}" for line in columns(rows))
    usual = number if 0 < number <= len(loops) else 1
    print(f"{one_line(source.path.name)} has {len(loops)} training loops:", file=sys.stderr)
    print(plain(listed), file=sys.stderr)
    answer = answer_to(f"Which one? [{usual}] (q leaves)") or str(usual)
    if answer.lower() in ("q", "quit"):
        raise SystemExit(0)
    chosen = whole_number(answer, len(loops))
    if not chosen:
        raise UsageError(f"{one_line(answer)!r} is not the number of a loop; give --loop 1")
    return chosen


def _loop_cells(source: ScriptSource, loop: TrainingLoop) -> tuple[str, ...]:
    return source.place(loop.line), where_in(loop.function), loop.mode


def where_in(function: str) -> str:
    """The place of a loop in words, by the function that it stands in."""
    return f"in {function}" if function else "at the top level"


# ── tutor inspect ───────────────────────────────────────────────────────────────────

FIRST_BATCH_SECONDS = 10.0
"""The time from the script's start to a loop's first batch, for all loops but the examined one."""

SECONDS_IN_ALL = 30.0
"""The time for all these loops together."""


@dataclass(slots=True)
class _KnownLoop:
    """A training loop as far as it is known."""

    report: LoopReport
    """Before it has run, by its code alone."""
    not_run: str = ""
    """The reason why it has not run."""


def inspect_command(options: argparse.Namespace) -> int:
    """Say what the tutor has understood of a script. Raises ScriptError, or RunError."""
    if not names_script(options.lesson):
        raise UsageError(
            f"{options.lesson!r} is not a .py or .ipynb file: tutor check is for lessons"
        )
    try:
        source, outline = read_outline(Path(options.lesson))
    except ScriptError as error:
        if not options.json:
            raise
        print(json_text({"loops": [], "refused": error_text(error)}))
        return FAILED
    inspection = _Inspection(source, outline, options)
    try:
        inspection.run()
    except Refused as refused:
        if not options.json:
            raise
        inspection.refused = remark_text(Remark.of(refused))
    if options.json:
        print(json_text(inspection.as_json()))
    else:
        print(plain("\n".join(inspection.lines())))
    return FAILED if inspection.refused else 0


class _Inspection:
    """One script: a loop of it is run and examined, the others are run to their first batch.

    Each has a run of its own: in a run the statements run once, in the file's order.
    """

    def __init__(self, source: ScriptSource, outline: Outline, options: argparse.Namespace) -> None:
        self._source, self._outline, self._connect = source, outline, connect_as_asked(options)
        self._is_chosen = options.loop is not None
        self._examined = options.loop = options.loop or 1
        self._lesson = script_lesson(options)
        self._loops = [_KnownLoop(loop_report(loop)) for loop in outline.loops]
        self._report: DoctorReport | None = None
        self._deadline = 0.0
        self.refused: str | None = None
        """The reason why the script can't be stepped."""

    def run(self) -> None:
        """Run all loops. Raises RunError if the one that was chosen, or the first, can't run.

        Without a choice, the first that the script comes to is examined.
        """
        numbers = range(1, len(self._loops) + 1)
        not_reached: RunError | None = None
        with CommandClient(connect=self._connect) as client, suggesting_tutor_why():
            client.start()
            for number in sorted(numbers, key=lambda number: number != self._examined):
                loop = self._loops[number - 1]
                is_examined = self._report is None
                try:
                    loop.report = self._inspected(client, number, is_examined)
                except RunError as error:
                    loop.not_run = _reason(error)
                    if not is_examined:
                        continue
                    if self._is_chosen or getattr(error, "code", "") != "loop_not_reached":
                        raise
                    not_reached = not_reached or error
        if not_reached and self._report is None:
            raise not_reached

    def _inspected(self, client: CommandClient, number: int, is_examined: bool) -> LoopReport:
        """A loop as it is in its first batch. Raises RunError."""
        command = InspectScript(
            lesson=self._lesson_of(number, is_examined), with_doctor=is_examined
        )
        found = inspected(client, command, None if is_examined else self._seconds())
        if is_examined:
            self._examined, self._report = number, found.report
            self._deadline = time.monotonic() + SECONDS_IN_ALL
        return found.loop

    def _seconds(self) -> float:
        """The time for the next loop. A second is enough for a script that is quick."""
        return max(min(FIRST_BATCH_SECONDS, self._deadline - time.monotonic()), 1.0)

    def _lesson_of(self, number: int, is_examined: bool) -> Lesson:
        """The lesson of a loop. One that is not examined writes no file of the learner's."""
        options = self._lesson.script
        assert options is not None
        is_here = options.is_here and is_examined
        options = replace(options, loop=number, is_here=is_here)
        return lesson_of_script(self._source, self._outline, options)

    # ── As JSON and as lines ────────────────────────────────────────────────────────

    def as_json(self) -> dict[str, Any]:
        """The whole report, for other programs."""
        findings = self._report.findings if self._report else ()
        return {
            "loops": [_loop_json(self._source, loop) for loop in self._loops],
            "refused": self.refused,
            "examined": self._examined if self._report else None,
            "findings": [finding_values(f, place_in(self._lesson)) for f in findings],
        }

    def lines(self) -> Iterator[str]:
        """The loops, and the doctor's findings."""
        source, loops = self._source, self._loops
        yield f"{source.path.name}: {counted(len(loops), 'training loop')}"
        for number, loop in enumerate(loops, 1):
            report, batches = loop.report, loop.report.batches or 1
            place = source.place(report.line)
            yield f"{number}. {place}, {where_in(report.function)}, mode {report.mode}"
            unknown = "not known before it runs" if loop.not_run else "none that is known"
            facts = [
                ("parameters", ", ".join(report.parameters) or unknown),
                ("loss", report.loss or "not named in the code"),
                ("prediction", report.prediction or "not named in the code"),
                *([("batches", f"{batches} in an epoch")] if batches > 1 else ()),
                *(("repeated", words) for words in _repeated(source, report)),
                *((name, source.lines(first, last)) for name, first, last in report.phases),
                *([("not run", loop.not_run)] if loop.not_run else ()),
            ]
            yield from (f"   {line}" for line in columns(facts))
        if len(loops) > 1:
            yield f"The doctor has examined loop {self._examined}; --loop N chooses another one."
        if self._report is not None:
            yield from map(self._finding_text, self._report.findings)
            yield report_text(self._report)

    def _finding_text(self, finding: DoctorFinding) -> str:
        return finding_text(finding, place_in(self._lesson))


def inspected(
    client: CommandClient, command: InspectScript, seconds: float | None = None
) -> ScriptInspected:
    """The engine's report on a script that it has run. Warnings go to the terminal meanwhile.

    Raises RunError; LessonAborted where the script has only so many `seconds`.
    """
    found: list[ScriptInspected] = []
    lesson = command.lesson

    def on_event(event: Event) -> None:
        if isinstance(event, ScriptInspected):
            found.append(event)
        elif isinstance(event, DoctorReportReady):  # of a script that raises an error
            place_of = place_in(lesson)
            texts = (finding_text(finding, place_of) for finding in event.report.findings)
            sys.stderr.write(plain("\n".join(texts)) + "\n")
        elif isinstance(event, RunRemark) and sys.stderr.isatty():
            warn(remark_text(event.remark))

    try:
        client.do(command, on_event, seconds)
    except LessonAborted as error:
        if seconds is not None:
            raise
        where = place_text(lesson, error.part)
        raise RunError(f"{where} {abort_text(error.how)}") from error
    return found[0]


def _repeated(source: ScriptSource, report: LoopReport) -> Iterator[str]:
    """The loops around a training loop, which begin it again and again."""
    if lines := report.repeated_by:
        places = " and ".join(source.lines(line, line) for line in lines)
        yield f"once in each pass of the loop{'s' * (len(lines) > 1)} in {places}"


def _reason(error: RunError) -> str:
    """The reason why a loop has not run."""
    if isinstance(error, LessonAborted):
        if error.how.code == "too_long":
            seconds = error.how.values["seconds"]
            return f"the script did not reach it within {seconds:.0f} s; --loop waits for it"
        return f"the script {abort_text(error.how)}"
    return remark_text(Remark.of(error))


def _loop_json(source: ScriptSource, loop: _KnownLoop) -> dict[str, Any]:
    report = loop.report
    return {
        "line": report.line,
        "place": source.place(report.line),
        "function": report.function,
        "mode": report.mode,
        "parameters": list(report.parameters),
        "loss": report.loss,
        "prediction": report.prediction,
        "batches": report.batches,
        "repeated_by": list(report.repeated_by),
        "phases": [{"name": n, "lines": [a, b]} for n, a, b in report.phases],
        "ran": not loop.not_run,
        "not_run": loop.not_run or None,
    }
