"""The runs of the open lesson: opened, paused for an exercise, changed; and their progress."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tutor.engine.process import limit_memory
from tutor.engine.process_state import ProcessState
from tutor.lesson.model import Lesson
from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    Command,
    DeleteRun,
    Fork,
    OpenLesson,
    Pause,
    RenameRun,
    Reseed,
    Restart,
    SelectRun,
    SetElement,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.protocol.frame import EPOCH_END, Frame, Position, Remark
from tutor.protocol.inspections import RunInfo
from tutor.training.program import Program, Quiet, programs_of
from tutor.training.run import Run
from tutor.training.runs import Runs


def programs_for(lesson: Lesson, without: Collection[str] = ()) -> Mapping[str, Program]:
    """The programs of a lesson, or of a learner's own script. Raises RunError."""
    if lesson.script is None:
        return programs_of(lesson, without=without)
    from tutor.script.program import script_programs  # noqa: PLC0415 - no lesson needs it

    return script_programs(lesson)


def open_runs(command: OpenLesson, quiet: Quiet) -> tuple[Runs, Frame | None]:
    """The runs that a command asks for, and the frame before if it asks for that."""
    programs = programs_for(command.lesson, command.without)
    recipe = command.recipe
    limit_memory(recipe.device if recipe else command.device)
    before = None
    if recipe is None:
        start = (command.mode, command.device, command.learning_rate, command.seed)
        run = Run(programs, *start, quiet=quiet)
    else:
        # Replayed as far as it had come, then back to where the command says.
        places = [Position(command.epoch, EPOCH_END if command.step is None else command.step)]
        places += [info.reached for info in command.runs if info.is_current and info.reached]
        run = Run.from_recipe(programs, recipe, max(places), quiet=quiet)
        if (at := command.before) is not None:
            before = run.seek(at.epoch, at.step)
        run.seek(command.epoch, command.step)
    return Runs.again(run, command.runs), before


@dataclass(frozen=True, slots=True)
class PausedRuns:
    """The runs of a lesson as they were left, while an exercise has a run of its own."""

    lesson: Lesson
    runs: Runs
    state: ProcessState
    """The settings of the process that the lesson's own code has made."""

    @classmethod
    def pause(cls, lesson: Lesson, runs: Runs) -> PausedRuns:
        """Pause runs: when they move again, they find the random numbers as they left them."""
        runs.current.turn.leave()
        return cls(lesson, runs, ProcessState.now())

    def resume(self) -> Runs:
        """The runs, with the settings of the process that they had."""
        self.state.restore()
        limit_memory(self.runs.current.settings.device_wanted)
        return self.runs

    def is_asked_by(self, command: OpenLesson) -> bool:
        """Whether a command asks for exactly these runs, in the place where they were left."""
        run = self.runs.current
        is_there = Position(command.epoch, command.step or 0) == run.at
        if command.step is None:
            is_there = command.epoch == run.at.epoch and run.at_end
        return (
            is_there
            and command.before is None  # else they would have to go there and back
            and command.recipe == run.recipe
            and command.lesson == self.lesson
            and _recipes(command.runs) == _recipes(self.runs.infos(0))
        )


def _recipes(infos: Iterable[RunInfo]) -> list[tuple[Any, ...]]:
    """All that it takes to have these runs again, and what they are called."""
    return [(i.name, i.is_current, i.letter, i.recipe, i.reached, i.forked_at) for i in infos]


def apply_command(runs: Runs, command: Command, until: Callable[[], bool]) -> Frame | None:
    """Run one command; returns the new frame if it has been built. `until` stops a long replay."""
    match command:
        case StepPhase():
            return runs.current.step_phase()
        case StepEpoch():
            return runs.current.step_epoch(until)
        case BackPhase():
            return runs.current.back(until)
        case BackEpoch():
            return runs.current.back_epoch(until)
        case Restart(new_seed=new_seed):
            runs.restart(_new_seed(runs) if new_seed else None)
        case Switch():
            _switch(runs, command)
        case SetLearningRate(value=value):
            runs.set(learning_rate=value)
        case SetElement(element=element):
            runs.set(element=element)
            values = {"name": element.parameter, "index": list(element.index)}
            note = Remark("element_set", {**values, "value": element.value})
            runs.notes = (note, *runs.notes)
        case Reseed():
            runs.reseed(_new_seed(runs))
        case Fork():
            runs.fork()
        case SelectRun(name=name):
            runs.take(name, until)
        case RenameRun(name=name, new=new):
            runs.rename(name, new)
        case DeleteRun(name=name):
            runs.delete(name)
        case Pause():
            pass
        case _:
            raise AssertionError(f"{command} is no single call")
    return None


def _switch(runs: Runs, command: Switch) -> None:
    limit_memory(command.device or runs.current.settings.device_wanted)
    try:
        runs.switch(mode=command.mode, device=command.device)
    finally:
        limit_memory(runs.current.settings.device_wanted)


def _new_seed(runs: Runs) -> int:
    """One that none of the runs has: small, so that it can be read and typed again."""
    taken = {info.seed for info in runs.infos(0)}
    return next(seed for seed in iter(lambda: secrets.randbelow(10_000), -1) if seed not in taken)


SURE_AFTER = 1.0
"""Seconds after which the speed is known well enough to tell the rest by it."""


GAP_SECONDS = 10.0
"""Seconds between two measurements after which the way is measured anew.

An epoch may last that long, or else the process stood still (Ctrl+Z, a machine put to sleep).
"""


class RunProgress:
    """The progress of a run to a target: its speed, and the seconds to the end."""

    rate = 0.0
    """Epochs a second; 0 where that is not known yet."""
    seconds_left: float | None = None
    """None while that can't be known."""

    def __init__(self, target: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """`target`: in epochs, as `RunState.epochs_done` counts them."""
        self.target, self._clock = target, clock
        self._start: tuple[float, float] | None = None
        self._last = 0.0, 0.0
        self._was_gap = False

    def advance(self, done: float) -> None:
        """Measure, now that `done` epochs have run.

        The way begins at the first call, where the run has gone back to since, or at a gap.
        """
        now = self._clock()
        if self._start is None or done < self._start[1]:
            self._start = self._last = now, done
        is_gap = now - self._last[0] > GAP_SECONDS
        if is_gap or self._was_gap:
            self._start = self._last
        self._was_gap, self._last = is_gap, (now, done)
        passed, way = now - self._start[0], done - self._start[1]
        self.rate = way / passed if passed else 0.0
        is_sure = passed >= SURE_AFTER and way > 0
        self.seconds_left = max(self.target - done, 0.0) / self.rate if is_sure else None
