"""Bounds of what the doctor runs: a time, and the end of a script's loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tutor.training.lesson_error import LessonRaised
from tutor.training.run import Run
from tutor.training.time_limit import TookTooLong, limited


@contextmanager
def time_bound(seconds: float) -> Iterator[None]:
    """Raise TookTooLong after so many seconds, wherever the code is then."""
    try:
        with limited(seconds, ends_process=False):
            yield
    except LessonRaised as error:
        if isinstance(error.__cause__, TookTooLong):
            raise error.__cause__ from None
        raise


def run_in_loop(run: Run, epoch: int, until: Callable[[], bool]) -> None:
    """Run to the end of `epoch`, or of the loop: what follows a script's loop may take hours."""
    if run.program.open_loop is None:
        run.advance(epoch, until)
    while run.loop.epoch < epoch and not until() and not is_at_loop_end(run):
        run.advance(run.loop.epoch + 1, until)


def is_at_loop_end(run: Run) -> bool:
    """Whether the next step would run what follows a script's loop."""
    return run.loop.is_over or (run.at_end and run.loop.is_at_loop_end)
