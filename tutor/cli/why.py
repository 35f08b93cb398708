"""`tutor why`: an error of PyTorch explained, with the learner's own line and a lesson about it."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tutor.cli.parsers import FAILED, OK
from tutor.cli.terminal import PIPED, screen, terminal_path
from tutor.errors import UsageError
from tutor.lesson import library
from tutor.plain import one_line, plain, shortened
from tutor.script.error_report import (
    CodeLine,
    Culprit,
    ErrorReport,
    culprit_of,
    report_of,
    reports_in,
)
from tutor.wording.layout import wrap
from tutor.wording.script_faults import TorchError, nearest_error, torch_error_of

WIDEST = 88
"""Cells of a line of text: longer ones are hard to read."""

MOST_SHOWN = 300
"""Characters of an error's own message."""

MOST_KEPT = 5000
"""Lines of a program's output that are kept to look for errors in."""

MOST_EXPLAINED = 3
LARGEST_FILE = 2**20
"""Bytes of a file of the learner's that is looked into."""


CAUSES = {
    "changed in place": "`{name}` is changed in place on line {line}",
    "step": "`{name}` changes the parameters in place on line {line}",
    "no graph": "The graph of `{name}` is cut on line {line}",
    "no gradient yet": "`{name}` becomes a new tensor, without a gradient, on line {line}",
    "gradient of a non-leaf": "`{name}` becomes a new tensor, without a gradient, on line {line}",
}
"""Sentences about the statement that is the cause, by the kind of error."""


def why_command(options: argparse.Namespace) -> int:
    """Explain a message, or the errors in the output that comes in on standard input."""
    if options.message:
        if not (message := " ".join(options.message)).strip():
            raise UsageError("the message is empty: give its words, or pipe the output in")
        reports = [report_of(message)]
    else:
        reports = _to_explain(reports_in(_passed_on()))
        if not reports:
            print("tutor: there is no PyTorch error or warning in this output")
            return OK
    known = [torch_error_of(report.text) for report in reports]
    for report, error in zip(reports, known, strict=True):
        _print_report(report, error)
    first = next((error for error in known if error), None)
    if first is None:
        return FAILED
    if options.open and sys.stdout.isatty() and _wants(first.lesson):
        return _open_lesson(first)
    return OK


def _passed_on() -> str:
    """All that a program writes, line by line as it comes, printed on and then returned."""
    if sys.stdin.isatty():
        print("Paste the message or the whole traceback, then press Ctrl+D.", file=sys.stderr)
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    kept: deque[str] = deque(maxlen=MOST_KEPT)
    for line in sys.stdin:
        kept.append(line)
        if not sys.stdin.isatty():
            print(plain(line.rstrip("\n")), flush=True)
    return "".join(kept)


def _to_explain(reports: Sequence[ErrorReport]) -> list[ErrorReport]:
    """The last error, a known one if there is any, and the known warnings, each kind once."""
    errors = [report for report in reports if not report.is_warning]
    errors = [report for report in errors if torch_error_of(report.text)][-1:] or errors[-1:]
    warnings: dict[str, ErrorReport] = {}
    for report in reports:
        if report.is_warning and (known := torch_error_of(report.text)):
            warnings.setdefault(known.key, report)
    return [*errors, *warnings.values()][:MOST_EXPLAINED]


# ── The printed lines ───────────────────────────────────────────────────────────────────


def _print_report(report: ErrorReport, error: TorchError | None) -> None:
    print()
    _print_text(shortened(report.text, MOST_SHOWN))
    for line in _own_place(report, error):
        print(f"  {one_line(line)}")
    print()
    if error is None:
        _print_unknown(report)
        return
    _print_text(error.meaning)
    print()
    if detail := error.detail_of(report.text):
        _print_text(detail)
        print()
    _print_text(error.advice)
    print()
    _print_text(_lesson(error))


def _print_text(text: str) -> None:
    width = screen()
    for row in wrap(one_line(text), min(width, WIDEST)) if width < PIPED else [one_line(text)]:
        print(row)


def _print_unknown(report: ErrorReport) -> None:
    _print_text("The tutor does not know this message.")
    if (near := nearest_error(report.text)) is not None:
        _print_text(f"The most similar error that it knows is “{near.key}”: {near.meaning}")
        _print_text(_lesson(near))


def _lesson(error: TorchError) -> str:
    title = library.headline(library.find(error.lesson)).title
    if error.exercise:
        said = f"Exercise {error.exercise} of the lesson “{title}” is about it"
        return f"{said}: tutor {error.lesson} --exercise {error.exercise}"
    return f"The lesson “{title}” is about it: tutor {error.lesson}"


def _own_place(report: ErrorReport, error: TorchError | None) -> list[str]:
    """The learner's own line and variable, as far as the output and the file tell them."""
    at = report.own_line
    if at is None:
        return []
    lines = [_line_words(at), *([f"    {at.source}"] if at.source else [])]
    if error and (culprit := culprit_of(report, error.key, _source(at.file))):
        lines += _about(culprit, error)
    if (forward := report.own_forward_line) is not None:
        lines += [f"The value was computed on line {forward.line}: {forward.source}"]
    return lines


def _line_words(at: CodeLine) -> str:
    where = f"{at.file}:{at.line}" if at.line else at.file
    return f"{where}, in {at.function}" if at.function else where


def _about(culprit: Culprit, error: TorchError) -> list[str]:
    """The variable in words: where it was computed, and which statement is the cause."""
    name, cause, origin = culprit.name, culprit.cause, culprit.origin
    lines = [f"It is about `{name}`."] if cause is None else []
    if origin is not None:
        lines.append(f"`{name}` is computed on line {origin.line}: {origin.code}")
    if cause is not None:
        kind = "step" if name.endswith(".step()") else error.key
        said = CAUSES.get(kind, "`{name}`: see line {line}").format(name=name, line=cause.line)
        lines.append(f"{said}: {cause.code}")
    return lines


def _source(file: str) -> str:
    """The text of a file that a traceback names; empty if it is none that can be read."""
    path = Path(file)
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return ""
        return path.read_text("utf-8", errors="replace")
    except (OSError, ValueError):  # it is gone, or its name can't be one
        return ""


# ── The lesson ──────────────────────────────────────────────────────────────────────────


def _wants(lesson: str) -> bool:
    """Ask at the terminal whether to open a lesson; return whether the learner pressed Enter."""
    try:
        with open(terminal_path(), encoding="utf-8", errors="replace") as terminal:
            print(f"\nEnter opens {lesson}, q and Enter leaves. ", end="", flush=True)
            return terminal.readline() == "\n"
    except (OSError, KeyboardInterrupt):
        print()
        return False


def _open_lesson(error: TorchError) -> int:
    """Open the lesson; the terminal takes the place of a pipe on standard input."""
    from tutor.cli import main  # noqa: PLC0415 - which imports this module

    if not sys.stdin.isatty():
        os.dup2(os.open(terminal_path(), os.O_RDONLY), 0)
    more = ["--exercise", error.exercise] if error.exercise else []
    return main(["open", error.lesson, *more])
