"""`tutor run`: a training run without a screen, its figures on standard output.

What the code itself prints goes to standard error, so that the figures stay clean (without
figures, to standard output): that of a script to the character, unless a terminal shows it. The
code runs in a child process: whatever it does there, it costs a line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import TextIO

from tutor.cli.comparison_report import comparison_writer
from tutor.cli.lessons import trusted_lesson
from tutor.cli.parsers import check_mode, is_script
from tutor.cli.scripts import script_lesson, why_named
from tutor.engine.command_client import CommandClient, LessonAborted
from tutor.errors import RunError, UsageError
from tutor.lesson.model import Lesson
from tutor.plain import plain
from tutor.protocol.findings import DoctorReport
from tutor.protocol.messages import (
    FEWER_AND_FEWER,
    Event,
    FiguresPrinted,
    FindingsReady,
    ModesCompared,
    OutputPrinted,
    RunRemark,
    TrainLesson,
)
from tutor.script.line_places import place_in
from tutor.wording.engine_notes import abort_text, note_text, place_text, stopped_at
from tutor.wording.findings import finding_text, finding_values, report_text

FOR_PEOPLE = ("files_aside", "no_loss_in_loop")
"""Notes on a script that only a terminal is told: a pipe gets what the script prints."""


def run_command(options: argparse.Namespace) -> int:
    """Train and report. Raises RunError after the figures until then."""
    with CommandClient() as client:
        client.start()  # it loads torch while the lesson is read
        lesson = lesson_to_run(options)
        if options.compare and not lesson.comparable:
            raise UsageError(f"each mode of {lesson.slug} is a run of its own: leave out --compare")
        with why_named(lesson):
            train(client, train_command(options, lesson), _write_figures)
    return 0


def lesson_to_run(options: argparse.Namespace) -> Lesson:
    """The lesson or script that the command line names, trusted to run."""
    if is_script(options.lesson):
        return script_lesson(options)
    return trusted_lesson(options.lesson, trust_now=options.trust, language=options.lang)


def train_command(options: argparse.Namespace, lesson: Lesson) -> TrainLesson:
    """The training that the command line asks for; a table if it names no format.

    Raises UsageError for a mode that the lesson has not, before torch is loaded to say so.
    """
    check_mode(options.mode, lesson.modes)
    form, compare = getattr(options, "format", "csv"), getattr(options, "compare", False)
    usual = FEWER_AND_FEWER if form == "text" and not compare else 1
    return TrainLesson(
        lesson=lesson,
        mode=options.mode,
        device=options.device,
        learning_rate=options.learning_rate,
        seed=options.seed,
        epochs=options.epochs,
        every=options.every or usual,
        format=form,
        compare=compare,
        with_doctor=getattr(options, "doctor", False),
        with_debug=options.debug,
    )


def train(
    client: CommandClient,
    command: TrainLesson,
    write: Callable[[str], object],
    *,
    quiet: bool = False,
) -> None:
    """Train: figures go to `write`, all else to standard error, unless it is to be `quiet`.

    Raises what `CommandClient.do` raises, but RunError for LessonAborted. At Ctrl+C, the lesson's
    line is printed first.
    """
    write_comparison = comparison_writer(command.format, write) if command.compare else None

    def on_event(event: Event) -> None:
        match event:
            case FiguresPrinted():
                write(event.text)
            case ModesCompared() if write_comparison is not None:
                write_comparison(event.comparison)
            case FindingsReady():
                _write_findings(event.report, command, write)
            case RunRemark() if event.note.code in FOR_PEOPLE and not sys.stderr.isatty():
                pass  # for a person at a terminal: the rest is what the script prints
            case RunRemark() if not quiet:
                _write_aside(f"tutor: {note_text(event.note)}\n")
            case OutputPrinted() if not quiet:
                if event.left_out:
                    _write_aside(f"… {event.left_out} characters left out\n")
                is_alone = command.format == "none"
                if command.lesson.script is not None or is_alone:
                    _write_exactly(event.text, sys.stdout if is_alone else sys.stderr)
                else:  # the figures, and the next message, begin a line of their own
                    _write_aside(event.text + ("" if event.text.endswith("\n") else "\n"))

    try:
        client.do(command, on_event)
    except LessonAborted as error:
        where = place_text(command.lesson, error.part)
        raise RunError(f"{where} {abort_text(error.how)}") from error
    except KeyboardInterrupt as stopped:
        if where := stopped_at(command.lesson, stopped):
            _write_aside(f"tutor: stopped at {where}\n")
        raise


def _write_findings(
    report: DoctorReport, command: TrainLesson, write: Callable[[str], object]
) -> None:
    """Write what the doctor found: as objects of JSON, as text, or beside a table."""
    place_of, form = place_in(command.lesson), command.format
    if form == "jsonl":
        for finding in report.findings:
            write(
                json.dumps({"finding": finding_values(finding, place_of)}, ensure_ascii=False)
                + "\n"
            )
        return
    texts = [*(finding_text(finding, place_of) for finding in report.findings), report_text(report)]
    (write if form == "text" else _write_aside)(plain("\n".join(texts)) + "\n")


def _write_figures(text: str) -> None:
    """Whole lines at once, past Python's buffer: Ctrl+C leaves no half of one behind."""
    sys.stdout.flush()
    data = text.encode(sys.stdout.encoding, "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


def _write_exactly(text: str, stream: TextIO) -> None:
    """Write what code prints to the character; to a terminal, without escape sequences."""
    stream.flush()
    if stream.isatty():  # a line of progress is drawn over the one before
        text = "\r".join(plain(part) for part in text.replace("\r\n", "\n").split("\r"))
    data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(stream.fileno(), data) :]
    except OSError:
        if stream is sys.stdout:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # as in `_write_aside`


def _write_aside(text: str) -> None:
    """Write text that is no figure to standard error, without escape sequences."""
    try:
        sys.stderr.write(plain(text))
        sys.stderr.flush()
    except OSError:  # nobody reads it: the figures count
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
