"""`tutor run`: a run without a screen, and its figures; with --compare, all modes' gradients."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from tutor.cli.lessons import trusted_lesson
from tutor.cli.scripts import script_lesson, suggesting_tutor_why
from tutor.cli.terminal import (
    connect_as_asked,
    discard,
    names_script,
    warn,
    write_aside,
    write_whole,
)
from tutor.digits import significant
from tutor.engine.command_client import CommandClient, LessonAborted
from tutor.errors import RunError, UsageError
from tutor.lesson.model import Lesson, check_mode
from tutor.plain import json_number, plain
from tutor.protocol.commands import FEWER_AND_FEWER, TrainLesson
from tutor.protocol.events import (
    DoctorReportReady,
    Event,
    FiguresPrinted,
    ModesCompared,
    OutputPrinted,
    RunRemark,
)
from tutor.protocol.frame import NONE, Value
from tutor.protocol.inspections import (
    FINITE_DIFFERENCE,
    DoctorReport,
    ModeComparison,
    ParameterComparison,
)
from tutor.script.line_places import place_in_code
from tutor.wording.doctor_findings import finding_text, finding_values, report_text
from tutor.wording.engine_remarks import abort_text, place_text, stopped_at
from tutor.wording.number_format import index_of
from tutor.wording.remarks import diagnosis, remark_text, remarks_text

FOR_PEOPLE = ("files_aside", "no_loss_in_loop")
"""Notes on a script for a terminal alone: a pipe gets only the script's own output."""


def run_command(options: argparse.Namespace) -> None:
    """Train and report. Raises RunError after the figures until then."""
    with CommandClient(connect=connect_as_asked(options)) as client:
        client.start()  # it loads torch while the lesson is read
        lesson = lesson_to_run(options)
        if options.compare and not lesson.comparable:
            why = f"each mode of {lesson.slug} is a run of its own"
            if lesson.script is not None:
                why = "a script has only one gradient mode"
            raise UsageError(f"{why}: leave out --compare")
        with suggesting_tutor_why():
            train(client, train_command(options, lesson), _write_figures)


def lesson_to_run(options: argparse.Namespace) -> Lesson:
    """The lesson or script that the command line names, trusted to run."""
    if names_script(options.lesson):
        return script_lesson(options)
    return trusted_lesson(options.lesson, trust_now=options.trust, language=options.lang)


def train_command(options: argparse.Namespace, lesson: Lesson) -> TrainLesson:
    """The training that the command line asks for; a table if it names no format.

    Raises Refused for a mode that the lesson has not, before torch is loaded to say so.
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
            case DoctorReportReady():
                _write_findings(event.report, command, write)
            case RunRemark() if event.remark.code in FOR_PEOPLE and not sys.stderr.isatty():
                pass  # for a person at a terminal: the rest is what the script prints
            case RunRemark() if not quiet:
                warn(remark_text(event.remark))
            case OutputPrinted() if not quiet:
                if event.left_out:
                    write_aside(f"… {event.left_out} characters left out\n")
                is_alone = command.format == "none"
                if command.lesson.script is not None or is_alone:
                    is_output = is_alone and not event.is_error
                    _write_exactly(event.text, sys.stdout if is_output else sys.stderr)
                else:  # the figures, and the next message, begin a line of their own
                    write_aside(event.text + ("" if event.text.endswith("\n") else "\n"))

    try:
        client.do(command, on_event)
    except LessonAborted as error:
        where = place_text(command.lesson, error.part)
        raise RunError(f"{where} {abort_text(error.how)}") from error
    except KeyboardInterrupt as stopped:
        if where := stopped_at(command.lesson, stopped):
            warn(f"stopped at {where}")
        raise


def _write_findings(
    report: DoctorReport, command: TrainLesson, write: Callable[[str], object]
) -> None:
    """Write what the doctor found: as objects of JSON, as text, or beside a table."""
    place_of, form = place_in_code(command.lesson), command.format
    if form == "jsonl":
        for finding in report.findings:
            write(
                json.dumps({"finding": finding_values(finding, place_of)}, ensure_ascii=False)
                + "\n"
            )
        return
    texts = [*(finding_text(finding, place_of) for finding in report.findings), report_text(report)]
    (write if form == "text" else write_aside)(plain("\n".join(texts)) + "\n")


def _write_figures(text: str) -> None:
    write_whole(sys.stdout, text.encode(sys.stdout.encoding, "backslashreplace"))


def _write_exactly(text: str, stream: TextIO) -> None:
    """Write what code prints to the character; to a terminal, without escape sequences."""
    if stream.isatty():  # a line of progress is drawn over the one before
        text = "\r".join(plain(part) for part in text.replace("\r\n", "\n").split("\r"))
    try:
        write_whole(stream, text.encode("utf-8", "backslashreplace"))
    except OSError:
        if stream is sys.stdout:
            raise
        discard(stream)  # nobody reads it: the figures count


MOST_SHOWN = 16
"""Elements of a gradient that are printed in text: more can't be compared by eye."""

_COLUMNS = ("epoch", "parameter", "element", "mode", "gradient", "ratio", "verdict")


def comparison_writer(
    form: str, write: Callable[[str], object]
) -> Callable[[ModeComparison], object]:
    """Return a function that writes the comparison of one epoch as text, csv or jsonl."""
    if form == "jsonl":
        return lambda found: write(
            "".join(_json(found.epoch, row) + "\n" for row in found.parameters)
        )
    if form == "csv":
        write(_csv([_COLUMNS]))
        return lambda found: write(_csv(_rows(found)))
    remark = ""

    def write_text(found: ModeComparison) -> None:
        nonlocal remark
        before, remark = remark, remarks_text(found.remarks)
        lines = [f"({remark})"] if remark not in ("", before) else []
        write("".join(line + "\n" for line in [*lines, *_text(found)]))

    return write_text


def _text(found: ModeComparison) -> Iterator[str]:
    """The diagnosis of each parameter, then a line for each mode's gradient."""
    for row in found.parameters:
        yield f"epoch {found.epoch}, {row.parameter}: {diagnosis(row)}"
        names = {mode: mode.replace("_", " ") for mode in row.gradients}
        width = max(map(len, names.values()))
        for mode, gradient in row.gradients.items():
            yield f"    {names[mode]:<{width}}  {_first(gradient)}"


def _first(gradient: Value) -> str:
    """The first elements of a large gradient, all of a small one."""
    if gradient == NONE:
        return "None"
    if gradient.size <= MOST_SHOWN:
        return _digits(_nested(gradient.data, gradient.shape))
    first = ", ".join(map(_digits, gradient.data[: MOST_SHOWN // 2]))
    return f"[{first}, ... {gradient.size} elements]"


def _digits(numbers: Any) -> str:
    if isinstance(numbers, list):
        return f"[{', '.join(map(_digits, numbers))}]"
    return significant(numbers)


def _rows(found: ModeComparison) -> Iterator[tuple[object, ...]]:
    """The rows in long form: one for each parameter, mode and element.

    Nothing stands where there is no gradient, or finite differences did not check it.
    """
    for row in found.parameters:
        for mode, gradient in row.gradients.items():
            ratio = row.ratio.get(mode, "")
            for flat, number in enumerate((math.nan,) if gradient == NONE else gradient.data):
                element = ",".join(map(str, index_of(flat, gradient.shape)))
                is_empty = gradient == NONE or _is_gap(number, row, mode)
                shown = "" if is_empty else str(json_number(number))
                yield found.epoch, row.parameter, element, mode, shown, ratio, diagnosis(row)


def _json(epoch: int, row: ParameterComparison) -> str:
    """An object; null stands where there is no gradient, or it was not checked."""
    gradients = {
        mode: None
        if gradient == NONE
        else _nested(
            [None if _is_gap(x, row, mode) else json_number(x) for x in gradient.data],
            gradient.shape,
        )
        for mode, gradient in row.gradients.items()
    }
    shown = {
        "epoch": epoch,
        "parameter": row.parameter,
        "gradients": gradients,
        "ratio": row.ratio,
        "verdict": diagnosis(row),
    }
    return json.dumps(shown, allow_nan=False, ensure_ascii=False)


def _is_gap(number: float, row: ParameterComparison, mode: str) -> bool:
    """Whether it is a NaN where finite differences did not check an element."""
    is_sampled = any(remark.code == "sampled" for remark in row.remarks)
    return mode == FINITE_DIFFERENCE and is_sampled and math.isnan(number)


def _nested(numbers: Any, shape: tuple[int, ...]) -> Any:
    """The numbers, row by row, as nested lists; the number itself where there is no axis."""
    if not shape:
        return numbers[0]
    size = math.prod(shape[1:])
    return [
        _nested(numbers[start : start + size], shape[1:])
        for start in range(0, size * shape[0], size or 1)
    ]


def _csv(rows: Any) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
