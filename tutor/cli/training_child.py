"""The child process of `tutor run`: trains a lesson and tells its figures as text.

`tutor export … .csv` has its figures from here, too.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO, cast

from tutor.engine import command_child
from tutor.engine.command_messages import (
    Event,
    FiguresPrinted,
    LessonPrinted,
    LessonStopped,
    PartBegun,
    RunFailed,
    RunRemark,
    TrainLesson,
)
from tutor.engine.process import limit_memory
from tutor.errors import RunError, TutorError, UsageError
from tutor.lesson.code_checks import sets_a_seed
from tutor.lesson.model import SETUP
from tutor.plain import LONGEST, shortened

if TYPE_CHECKING:
    from tutor.engine.streams import Capture
    from tutor.training.run import Run

Tell = Callable[[Event], None]

LONGEST_TRACE = 20_000
"""Characters of a traceback that are told."""


def load() -> command_child.Servant:
    """The function that trains a lesson; descriptors 1 and 2 are the lesson's."""
    from tutor.engine.streams import Capture  # noqa: PLC0415
    from tutor.training.devices import use_one_thread  # noqa: PLC0415 - loads torch

    use_one_thread()
    capture = Capture()
    return lambda wish, tell: train(wish, tell, capture)


def train(wish: TrainLesson, tell: Tell, capture: Capture) -> None:
    """Train, and tell the figures; last, if it is so, what went wrong."""
    from tutor.training.loop import SOMEWHERE, LessonRaised  # noqa: PLC0415 - loads torch

    training = _Training(wish, tell, capture)
    try:
        training.go()
    except LessonRaised as error:
        _tell_output(tell, capture)
        if error.stopped and error.phase == SOMEWHERE:  # it met code of ours
            tell(LessonStopped(training.at.line, training.at.what))
        elif error.stopped:
            tell(LessonStopped(error.line or 1, f"mode {error.mode}, {error.phase}"))
        else:
            tell(_failure(error, wish))
    except TutorError as error:
        _tell_output(tell, capture)
        tell(_failure(error, wish))
    except KeyboardInterrupt:  # it met code of ours
        _tell_output(tell, capture)
        tell(LessonStopped(training.at.line, training.at.what))


def _failure(error: TutorError, wish: TrainLesson) -> RunFailed:
    trace = shortened(traceback.format_exc(), LONGEST_TRACE) if wish.with_debug else ""
    return RunFailed(shortened(str(error), 2 * LONGEST), isinstance(error, UsageError), trace)


def _tell_output(tell: Tell, capture: Capture) -> None:
    text, left_out = capture.take()
    if text or left_out:
        tell(LessonPrinted(text, left_out))


class _Lines:
    """The stream that reports write to: it sends whole lines of figures."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._text = ""

    def write(self, text: str) -> int:
        self._text += text
        return len(text)

    def flush(self) -> None:
        if self._text:
            self._tell(FiguresPrinted(self._text))
            self._text = ""


class _Training:
    """One run, and what is told of it."""

    def __init__(self, wish: TrainLesson, tell: Tell, capture: Capture) -> None:
        self._wish = wish
        self._tell = tell
        self._capture = capture
        self._lines = _Lines(tell)
        self.at = PartBegun(1, "")

    def go(self) -> None:
        """Train to the last epoch. Raises RunError, LessonRaised or UsageError."""
        run = self._run()
        if run.note:
            self._tell(RunRemark(run.note))
        if self._wish.seed and self._sets_a_seed(run.mode):
            text = "the lesson's code sets a seed: --seed changes only what it draws before that"
            self._tell(RunRemark(text))
        self._begins(run.program.loop[0].name, run.program.mode)
        report = self._comparing(run) if self._wish.compare else self._reading(run)
        epochs, every = self._wish.epochs or run.program.epochs, self._wish.every
        for epoch in (*range(every, epochs, every), epochs):
            run.run_to(epoch)
            _tell_output(self._tell, self._capture)
            report()
        for expression in run.program.expressions():
            if why := run.program.stopped.get(expression.source):
                path, line = run.program.filename, expression.line
                self._tell(RunRemark(f"{path}:{line}: {expression.label} has no value: {why}"))
        if run.diverged_at is not None:
            self._tell(RunRemark(f"the loss is not finite from epoch {run.diverged_at} on"))

    def _run(self) -> Run:
        from tutor.analysis.mode_comparison import BASE  # noqa: PLC0415 - loads torch
        from tutor.training.program import programs_of  # noqa: PLC0415 - likewise
        from tutor.training.run import Run  # noqa: PLC0415 - likewise

        wish, lesson = self._wish, self._wish.lesson
        programs = programs_of(lesson)
        first = BASE if wish.compare and BASE in lesson.modes else lesson.modes[0]
        mode = wish.mode or first
        try:
            Run.check_start(programs, mode, wish.device)
        except RunError as error:
            raise UsageError(str(error)) from error
        limit_memory(wish.device)
        self._begins(SETUP, mode)
        quiet = self._capture.muted
        return Run(programs, mode, wish.device, wish.learning_rate, wish.seed, quiet=quiet)

    def _sets_a_seed(self, mode: str) -> bool:
        sections = self._wish.lesson.sections
        return sets_a_seed(fence.code for s in sections for fence in s.fences(mode))

    def _begins(self, phase: str, mode: str) -> None:
        section = self._wish.lesson.phase(phase)
        fences = section.fences(mode) if section else ()
        self.at = PartBegun(fences[0].line if fences else 1, f"mode {mode}, {phase}")
        self._tell(self.at)

    def _reading(self, run: Run) -> Callable[[], None]:
        """The function that sends the figures of the run's present epoch."""
        from tutor.cli.reports import REPORTS  # noqa: PLC0415 - loads torch

        report = REPORTS[self._wish.format](cast(TextIO, self._lines))
        return lambda: report.write(run.reading())

    def _comparing(self, run: Run) -> Callable[[], None]:
        """Return what sends the gradients of all modes. All modes go through all epochs."""
        from tutor.analysis.mode_comparison import ModeLockstep  # noqa: PLC0415 - likewise
        from tutor.cli.reports import COMPARISONS  # noqa: PLC0415

        report = COMPARISONS[self._wish.format](cast(TextIO, self._lines))
        lockstep = ModeLockstep(run.programs, run.device_wanted, run.learning_rate, self._wish.seed,
                            quiet=self._capture.muted, patience=self._wish.every)  # fmt: skip

        def tell() -> None:
            found = lockstep.compare(run.standpoint(), run.at.epoch)
            assert found is not None  # nobody breaks it off but by Ctrl+C, which raises
            report.write(found)

        return tell


if __name__ == "__main__":
    command_child.main(load)
