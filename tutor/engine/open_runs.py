"""The runs of the open lesson: opened, set aside for an exercise, changed; their progress.

And their inspections that the app has asked for, computed while no command waits.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tutor.analysis.variable_info import info_of
from tutor.engine.process import limit_memory
from tutor.engine.process_state import ProcessState
from tutor.errors import RunError
from tutor.lesson.model import Lesson
from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    Command,
    DeleteRun,
    EvaluateExpressions,
    Examine,
    FindLocalGradients,
    Fork,
    Inspect,
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
from tutor.protocol.events import (
    DoctorReportReady,
    Event,
    ExpressionsEvaluated,
    InspectionReady,
    LocalGradientsFound,
)
from tutor.protocol.frame import Frame, Position, Remark
from tutor.protocol.inspections import (
    AutogradGraph,
    BatchPlotData,
    BatchPlotKind,
    DoctorReport,
    LocalGradients,
    NoPlot,
    PlotKind,
    RunInfo,
    is_of_batch,
)
from tutor.training.lesson_error import LessonRaised, raise_if_stopped
from tutor.training.probe import Probe, Standpoint
from tutor.training.program import Program, Quiet, Until, programs_of
from tutor.training.run import Run
from tutor.training.runs import Runs

if TYPE_CHECKING:
    from tutor.analysis.mode_comparison import ModeLockstep
    from tutor.analysis.plot_data import PlotReplay


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
        places = [Position(command.epoch, command.step)]
        places += [info.furthest for info in command.runs if info.is_current and info.furthest]
        run = Run.from_recipe(programs, recipe, max(places), quiet=quiet)
        if (at := command.before) is not None:
            before = run.seek(at.epoch, at.step)
        run.seek(command.epoch, command.step)
    return Runs.restored(run, command.runs), before


class RunsSetAside(msgspec.Struct, frozen=True):
    """The runs of a lesson as they were left, while an exercise has a run of its own."""

    lesson: Lesson
    runs: Runs
    state: ProcessState
    """The settings of the process that the lesson's own code has made."""

    @classmethod
    def pause(cls, lesson: Lesson, runs: Runs) -> RunsSetAside:
        """Pause runs: when they move again, they find the random numbers as they left them."""
        runs.current.generators.leave()
        return cls(lesson, runs, ProcessState.now())

    def resume(self) -> Runs:
        """The runs, with the settings of the process that they had."""
        self.state.restore()
        limit_memory(self.runs.current.settings.device_wanted)
        return self.runs

    def is_asked_by(self, command: OpenLesson) -> bool:
        """Whether a command asks for exactly these runs, in the place where they were left."""
        run = self.runs.current
        return (
            run.stands_at(Position(command.epoch, command.step))
            and command.before is None  # else they would have to go there and back
            and command.recipe == run.recipe
            and command.lesson == self.lesson
            and _recipes(command.runs) == _recipes(self.runs.infos(0))
        )


def _recipes(infos: Iterable[RunInfo]) -> list[tuple[Any, ...]]:
    """All that it takes to have these runs again, and what they are called."""
    return [(i.name, i.is_current, i.letter, i.recipe, i.furthest, i.forked_at) for i in infos]


def target_of(command: Command, run: Run) -> float:
    """The epochs that will have run when a command is done, about."""
    match command:
        case BackEpoch():
            return math.ceil(run.epochs_done) - 1.0
        case StepEpoch():
            return math.floor(run.epochs_done) + 1.0
    return run.epochs_done


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
            remark = Remark("element_set", {**values, "value": element.value})
            runs.remarks = (remark, *runs.remarks)
        case Reseed():
            runs.reseed(_new_seed(runs))
        case Fork():
            runs.fork()
        case SelectRun(name=name):
            runs.select(name, until)
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


# ── Inspections ─────────────────────────────────────────────────────────────────────

SHARE = 50
"""During a run, inspections take 1/SHARE of the time, so that no plot slows the run down."""

GLANCE = 0.01
"""Seconds of one glance at what has to run epochs again; its `SHARE` counts on top of that."""


class Inspector(msgspec.Struct):
    """The inspections of one lesson's runs."""

    quiet: Quiet
    wanted: Inspect = msgspec.field(default_factory=Inspect)
    _probes: dict[tuple[str, str, int, int], Probe] = msgspec.field(default_factory=dict)
    _lockstep: ModeLockstep | None = None
    _followed: tuple[str, str, int, int] | None = None
    """The run that the lockstep follows: another one is followed from the start."""
    _replayed: dict[PlotKind, PlotReplay] = msgspec.field(default_factory=dict)
    """The plots for which epochs run again."""
    _plot: BatchPlotData | None = None
    _plotted: str = ""
    """The run that the plot is of: only for that run its window is kept."""
    _not_before: float = 0.0
    """The time from which on the next inspection during a run may be taken."""

    def forget(self) -> None:
        """Forget all inspections: another lesson is opened."""
        self._probes.clear()
        self._close_replayed(None)
        self._replayed.clear()
        self._lockstep = self._plot = None

    def all(self, runs: Runs, until: Until) -> Iterator[InspectionReady]:
        """All inspections that the app wants, the quick ones first, until `until` stops them."""
        run, wanted = runs.current, self.wanted
        self._close_replayed(wanted.plot)
        if wanted.name:
            yield self._ready(runs, variable=info_of(run.loop, wanted.name))
        if wanted.then:
            yield from self._then(runs, until)
        if is_of_batch(wanted.plot) or wanted.graph or wanted.compare:
            yield from self._of_step(runs, until)
        if wanted.columns and runs.catch_up(until):
            yield InspectionReady(at=run.at, run=runs.name, runs=runs.infos(wanted.columns))
        if wanted.plot and not is_of_batch(wanted.plot) and not until():
            yield from self._draw_replayed(wanted.plot, runs, until)

    def _close_replayed(self, wanted: PlotKind | None) -> None:
        """Close all second runs but that of one kind: each takes as much memory as the first."""
        for kind, plot in self._replayed.items():
            if kind != wanted:
                plot.close()

    def _of_step(self, runs: Runs, until: Until) -> Iterator[InspectionReady]:
        """The inspections of the batch that the run stands in."""
        run, wanted, at = runs.current, self.wanted, runs.current.standpoint()
        if is_of_batch(wanted.plot) and not until():
            yield from self._draw(wanted.plot, runs, at, until)
        if wanted.graph and not until():
            yield self._ready(runs, graph=self._graph(run, at, until))
        if wanted.compare and not until():
            yield from self._compared(runs, at, until)

    def glance(self, runs: Runs, until: Until) -> Iterator[InspectionReady]:
        """The plot and the variable, during a run, as often as their share of time allows."""
        started, kind = time.perf_counter(), self.wanted.plot
        if started < self._not_before or not (kind or self.wanted.name):
            return
        if self.wanted.name:
            yield self._ready(runs, variable=info_of(runs.current.loop, self.wanted.name))
        if is_of_batch(kind):
            yield from self._draw(kind, runs, runs.current.standpoint(), until)
        elif kind:
            due = started + GLANCE
            yield from self._draw_replayed(kind, runs, lambda: until() or time.perf_counter() > due)
        now = time.perf_counter()
        self._not_before = now + SHARE * (now - started)

    # ── Questions ───────────────────────────────────────────────────────────────────

    def answer(
        self,
        opened: OpenLesson | None,
        run: Run,
        command: EvaluateExpressions | FindLocalGradients | Examine,
        until: Until,
    ) -> Event:
        """The answer to a question about a run, which stays as it is. Raises LessonRaised."""
        number = command.number
        if isinstance(command, EvaluateExpressions):
            values = run.evaluate(command.expressions)
            return ExpressionsEvaluated(at=run.at, values=values, answers=number)
        if isinstance(command, FindLocalGradients):
            return LocalGradientsFound(local=self._local(run, until), answers=number)
        assert opened is not None  # as there is a run
        report = self._report(opened.lesson, run, until, with_taught=command.with_taught)
        return DoctorReportReady(report=report, answers=number)

    # ── Each inspection ─────────────────────────────────────────────────────────────────────────

    @staticmethod
    def _ready(runs: Runs, **part: object) -> InspectionReady:
        return InspectionReady(at=runs.current.at, run=runs.name, **part)  # type: ignore[arg-type]

    def _probe(self, run: Run) -> Probe:
        key = (run.mode, run.device, run.settings.seed, run.loop.group_number)
        if key not in self._probes:
            self._probes[key] = Probe(
                run.program, run.device, run.learning_rate, run.settings.seed, quiet=self.quiet
            )
        return self._probes[key]

    def _draw(
        self, kind: BatchPlotKind, runs: Runs, at: Standpoint, until: Until
    ) -> Iterator[InspectionReady]:
        run = runs.current
        # Lazy, like the others here: the first step comes before the first inspection.
        from tutor.analysis.plot_data import plot_data_of  # noqa: PLC0415

        before = self._plot if self._plotted == runs.name else None
        try:
            plot = plot_data_of(
                kind, self._probe(run), at, path=run.trail(), before=before, until=until
            )
        except RunError as error:  # the lesson's own code raises there
            plot = NoPlot(why=Remark.of(error))
        if plot is not None:
            self._plot, self._plotted = plot, runs.name
            yield self._ready(runs, plot=plot)

    def _draw_replayed(self, kind: PlotKind, runs: Runs, until: Until) -> Iterator[InspectionReady]:
        """The plot of a kind for which epochs run again.

        What the code does to the process meanwhile is undone.
        """
        from tutor.analysis.plot_data import PLOT_REPLAYS  # noqa: PLC0415

        if kind not in self._replayed:
            self._replayed[kind] = PLOT_REPLAYS[kind](self.quiet)
        before = ProcessState.now()
        try:
            for plot in self._replayed[kind].plots(runs.current, until):
                yield self._ready(runs, plot=plot)
        except LessonRaised as error:
            raise_if_stopped(error)
            yield self._ready(runs, plot=NoPlot(why=Remark.of(error)))
        finally:
            before.restore()

    def _graph(self, run: Run, at: Standpoint, until: Until) -> AutogradGraph:
        from tutor.analysis.graph import graph_of  # noqa: PLC0415

        try:
            return graph_of(self._probe(run), at, until)
        except RunError as error:
            return AutogradGraph(remarks=(Remark.of(error),))

    def _local(self, run: Run, until: Until) -> LocalGradients:
        """The local gradients of the batch that a run stands in. Raises LessonRaised if stopped."""
        from tutor.analysis.local_gradients import local_gradients  # noqa: PLC0415

        try:
            return local_gradients(self._probe(run), run.standpoint(), until)
        except LessonRaised as error:
            if error.stopped:
                raise
            return LocalGradients(why=Remark.of(error))

    def _report(
        self, lesson: Lesson, run: Run, until: Until, *, with_taught: bool = False
    ) -> DoctorReport:
        """The doctor's findings in the run's code, which runs once more for that.

        What that does to the process is undone. Raises LessonRaised if it is stopped.
        """
        from tutor.analysis.doctor.examination import examine  # noqa: PLC0415

        before = ProcessState.now()
        run.generators.leave()
        try:
            return examine(
                lesson, run.recipe, quiet=self.quiet, until=until, programs=run.programs,
                compiled=programs_for, with_taught=with_taught,
            )  # fmt: skip
        finally:
            before.restore()

    def _compared(self, runs: Runs, at: Standpoint, until: Until) -> Iterator[InspectionReady]:
        from tutor.analysis.mode_comparison import ModeLockstep  # noqa: PLC0415

        run = runs.current
        follows = (runs.name, run.device, run.settings.seed, run.loop.group_number)
        if self._lockstep is None or self._followed != follows:
            self._followed = follows
            self._lockstep = ModeLockstep(
                run.programs, run.device, run.learning_rate, run.settings.seed, quiet=self.quiet
            )
        found = self._lockstep.compare(at, run.at.epoch, until)
        if found is not None:
            yield self._ready(runs, comparison=found)

    def _then(self, runs: Runs, until: Until) -> Iterator[InspectionReady]:
        """The other run may have a long way to catch up: it is sent once it is there.

        One that has just been renamed or deleted is skipped: the app finds that out.
        """
        if self.wanted.then not in runs.names:
            return
        then = runs.then(self.wanted.then, runs.current.at, until)
        if then.frame is not None or not until():
            yield self._ready(runs, then=then)
