"""`tutor inspect`: what the tutor has understood of a script's loops, and the doctor's findings."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tutor.cli.parsers import FAILED
from tutor.cli.scripts import read_outline, script_lesson, suggesting_tutor_why, where_in
from tutor.cli.terminal import connect_as_asked, names_script, warn
from tutor.engine.command_client import CommandClient, LessonAborted
from tutor.errors import Refused, RunError, ScriptError, UsageError
from tutor.lesson.model import Lesson
from tutor.plain import json_text, plain
from tutor.protocol.commands import InspectScript
from tutor.protocol.events import DoctorReportReady, Event, RunRemark, ScriptInspected
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import DoctorFinding, DoctorReport, LoopReport
from tutor.script.lesson import lesson_of_script
from tutor.script.line_places import place_in
from tutor.script.outline import Outline, loop_report
from tutor.script.source import ScriptSource
from tutor.wording.doctor_findings import finding_text, finding_values, report_text
from tutor.wording.engine_notes import abort_text, place_text
from tutor.wording.inspections import remark_text
from tutor.wording.layout import columns
from tutor.wording.notices import error_text
from tutor.wording.number_format import counted

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
        with CommandClient(connect=self._connect) as client, suggesting_tutor_why(self._lesson):
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
        options = msgspec.structs.replace(options, loop=number, is_here=is_here)
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
            warn(remark_text(event.note))

    try:
        client.do(command, on_event, seconds)
    except LessonAborted as error:
        if seconds is not None:
            raise
        where = place_text(lesson, error.part)
        raise RunError(f"{where} {abort_text(error.how)}") from error
    return found[0]


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
        "phases": [{"name": n, "lines": [a, b]} for n, a, b in report.phases],
        "ran": not loop.not_run,
        "not_run": loop.not_run or None,
    }
