"""`tutor run`: a training run without a screen, its figures on standard output.

What the lesson itself prints goes to standard error, so that the figures stay clean. The
lesson runs in a child process (`training_child`): whatever it does there, it costs a line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from tutor.cli.lessons import trusted_lesson
from tutor.engine.command_messages import (
    Event,
    FiguresPrinted,
    LessonPrinted,
    LessonStopped,
    RequestDone,
    RunFailed,
    RunRemark,
    TrainLesson,
)
from tutor.engine.lesson_child import LessonChild
from tutor.errors import RunError, UsageError
from tutor.lesson.model import Lesson
from tutor.plain import one_line, plain

COMMAND = (sys.executable, "-P", "-m", "tutor.cli.training_child")


def run_command(options: argparse.Namespace) -> int:
    """Train and report. Raises RunError after the figures until then."""
    with Training() as training:
        lesson = trusted_lesson(options.lesson, trust_now=options.trust, language=options.lang)
        if options.compare and not lesson.comparable:
            raise UsageError(f"each mode of {lesson.slug} is a run of its own: leave out --compare")
        training.go(wish_of(options, lesson), _write_figures)
    return 0


def wish_of(options: argparse.Namespace, lesson: Lesson) -> TrainLesson:
    """The training request of the command line; the figures as a table if it names no format."""
    return TrainLesson(
        lesson,
        options.mode,
        options.device,
        options.learning_rate,
        options.seed,
        options.epochs,
        options.every,
        getattr(options, "format", "csv"),
        getattr(options, "compare", False),
        options.debug,
    )


class Training:
    """A training run in a child process, which is ended with the `with` that this is used in."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        """Start the child, which loads torch while the lesson is read. Raises EngineError."""
        self._child = LessonChild(command)

    def __enter__(self) -> Training:
        """The child is started already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child, and all that the lesson has started in it."""
        self._child.end()

    def go(self, wish: TrainLesson, write: Callable[[str], object], *, quiet: bool = False) -> None:
        """Train: figures go to `write`, all else to standard error, unless it is to be `quiet`.

        Raises RunError, UsageError or EngineError; KeyboardInterrupt at Ctrl+C, when the
        lesson's line is told.
        """
        lesson = wish.lesson
        try:
            self._child.wait_until_loaded()
            self._child.ask(wish)
            while (event := self._child.next(None)) is not None:
                if isinstance(event, RequestDone):
                    return
                if isinstance(event, LessonStopped):  # by a signal that the lesson sent to itself
                    raise RunError(f"{self._where(lesson)} raised KeyboardInterrupt")
                _pass_on(event, write, quiet)
            self._tell_of_death(lesson)
        except KeyboardInterrupt:
            for event in self._child.interrupt(lesson, f"mode {wish.mode}" if wish.mode else ""):
                if not isinstance(event, RunFailed):
                    _pass_on(event, write, quiet)
            if self._child.at.what:
                _write_aside(f"tutor: stopped at {self._where(lesson)}\n")
            raise

    def _tell_of_death(self, lesson: Lesson) -> None:
        """Raises RunError that says how the child has ended, and where it was."""
        how = self._child.how_it_ended(lesson)
        if diagnostic := self._child.fault_of_ours():
            raise RunError(f"{lesson.path}: the run broke off: {diagnostic}")
        raise RunError(f"{self._where(lesson)} {how}")

    def _where(self, lesson: Lesson) -> str:
        at = self._child.at
        return one_line(f"{lesson.path}:{at.line}: {at.what}" if at.what else f"{lesson.path}:")


def _pass_on(event: Event, write: Callable[[str], object], quiet: bool) -> None:
    match event:
        case FiguresPrinted():
            write(event.text)
        case RunRemark() if not quiet:
            _write_aside(f"tutor: {event.text}\n")
        case LessonPrinted() if not quiet:
            if event.left_out:
                _write_aside(f"… {event.left_out} characters left out\n")
            # The figures, and what is told next, begin a line of their own.
            _write_aside(event.text + ("" if event.text.endswith("\n") else "\n"))
        case RunFailed():
            error = (UsageError if event.is_usage else RunError)(event.message)
            if event.trace:
                error.add_note(event.trace)
            raise error


def _write_figures(text: str) -> None:
    """Whole lines at once, past Python's buffer: Ctrl+C leaves no half of one behind."""
    sys.stdout.flush()
    data = text.encode(sys.stdout.encoding, "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


def _write_aside(text: str) -> None:
    """Write text that is no figure to standard error, without escape sequences."""
    try:
        sys.stderr.write(plain(text))
        sys.stderr.flush()
    except OSError:  # nobody reads it: the figures count
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
