"""`tutor run`: a training run without a screen, its figures on standard output.

What the lesson itself prints goes to standard error, so that the figures stay clean.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TextIO

from tutor.cli.comparing import COMPARISONS
from tutor.cli.lessons import trusted_lesson
from tutor.cli.reports import REPORTS
from tutor.engine.capture import Capture
from tutor.errors import RunError, UsageError
from tutor.lesson.model import Lesson
from tutor.plain import plain
from tutor.training.devices import use_one_thread
from tutor.training.lockstep import BASE, Lockstep
from tutor.training.program import programs_of
from tutor.training.run import Run


def run_command(options: argparse.Namespace) -> int:
    """Train and report. Raises RunError or LessonRaised, after the figures until then."""
    lesson = trusted_lesson(options.lesson, trust_now=options.trust, language=options.lang)
    use_one_thread()
    # While it trains, descriptors 1 and 2 belong to what the lesson prints.
    with os.fdopen(os.dup(1), "w") as out, os.fdopen(os.dup(2), "w") as errors:
        capture = Capture()
        try:
            _report(lesson, options, out, capture, errors)
        finally:
            capture.close()
            _pass_on(capture, errors)
    return 0


def _report(
    lesson: Lesson, options: argparse.Namespace, out: TextIO, capture: Capture, errors: TextIO
) -> None:
    run = _run(lesson, options, capture)
    if run.note:
        print(f"tutor: {run.note}", file=errors, flush=True)
    tell = (_comparing if options.compare else _reading)(run, options, out, capture)
    for epoch in _epochs(options.epochs or run.program.epochs, options.every):
        run.run_to(epoch)
        _pass_on(capture, errors)
        tell()
    if run.diverged_at is not None:
        print(
            f"tutor: the loss is not finite from epoch {run.diverged_at} on",
            file=errors,
            flush=True,
        )


def _reading(
    run: Run, options: argparse.Namespace, out: TextIO, capture: Capture
) -> Callable[[], None]:
    """What prints the figures of the epoch that the run stands in."""
    report = REPORTS[options.format](out)
    return lambda: report.write(run.reading())


def _comparing(
    run: Run, options: argparse.Namespace, out: TextIO, capture: Capture
) -> Callable[[], None]:
    """What prints the gradients of all modes there. All modes go through all epochs."""
    report = COMPARISONS[options.format](out)
    lockstep = Lockstep(run.programs, run.device_wanted, run.learning_rate, options.seed,
                        quiet=capture.muted, patience=options.every)  # fmt: skip

    def tell() -> None:
        found = lockstep.compare(run.standpoint(), run.at.epoch)
        assert found is not None  # nobody breaks it off but by Ctrl+C, which raises
        report.write(found)

    return tell


def _run(lesson: Lesson, options: argparse.Namespace, capture: Capture) -> Run:
    rate, seed = options.learning_rate, options.seed
    if options.compare and not lesson.comparable:
        raise UsageError(f"each mode of {lesson.slug} is a run of its own: leave out --compare")
    programs = programs_of(lesson)
    first = BASE if options.compare and BASE in lesson.modes else lesson.modes[0]
    mode = options.mode or first
    try:
        Run.check_start(programs, mode, options.device)
    except RunError as error:
        raise UsageError(str(error)) from error
    return Run(programs, mode, options.device, rate, seed, quiet=capture.muted)


def _epochs(last: int, every: int) -> list[int]:
    """The epochs that `every` divides, and the last."""
    return [*range(every, last, every), last]


def _pass_on(capture: Capture, errors: TextIO) -> None:
    """What the lesson has printed, made harmless, to standard error."""
    text, left_out = capture.take()
    if left_out:
        print(f"… {left_out} characters left out", file=errors)
    if text:
        errors.write(plain(text))
        errors.flush()
