"""A script's loop on several ranks, which all step together: rank 0's, and those of the others."""

from __future__ import annotations

import copy
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.distributed.distributed_c10d import GroupMember
from torch.nn.parallel import DistributedDataParallel

from tutor.lesson.model import SETUP, Lesson
from tutor.protocol.frame import Remark
from tutor.script.environment import ScriptGroup
from tutor.script.loop_progress import PASS_END
from tutor.script.probe_loop import ProbeLoop
from tutor.script.redirected_files import new_folder
from tutor.script.script_loop import ScriptLoop
from tutor.script.script_memory import ScriptSnapshot
from tutor.training.devices import seed_all
from tutor.training.lesson_error import LessonRaised
from tutor.training.playback import never
from tutor.training.program import Program
from tutor.training.rank_group import RANKS, HeldByRanks
from tutor.training.ranks import FollowerLoops, LoneLoop, Place, RankedLoop
from tutor.training.state_copy import BatchStart

Opener: TypeAlias = Callable[[type[ScriptLoop], str, float, ScriptGroup], ScriptLoop]
"""Runs a script to its loop, of that kind, on a device, with a learning rate."""

_MOST_SECONDS_PAST = 0.1
"""Seconds that the ranks may run past hooks before they are asked again."""


class ScriptPlace(NamedTuple):
    """The place where a rank's loop stands, which has to be the same on all ranks."""

    epoch: int
    step: int
    next: int
    """The number of the phase that comes next, or PASS_END."""
    executions: int
    is_over: bool

    @classmethod
    def of(cls, loop: ScriptLoop) -> ScriptPlace:
        """The place where a loop stands."""
        return cls(loop.epoch, loop.step, loop.progress.next, loop.driver.executions, loop.is_over)


def open_together(
    lesson: Lesson,
    program: Program,
    start: tuple[str, float, int],
    opened: Callable[[type[RankedScriptLoop], ScriptGroup], RankedScriptLoop],
) -> RankedScriptLoop:
    """Run a script to its loop on all ranks; `start`: the device, learning rate and seed.

    Where a script sets no seed, each rank draws its own numbers, as it does under torchrun. Raises
    LessonRaised, or Refused.
    """
    ranks = RANKS.group_of(program.workers)
    held = HeldByRanks(ranks, program, "loop")
    is_here = lesson.script is not None and lesson.script.is_here
    group = ScriptGroup(0, ranks.size, ranks.port, ranks.world, None if is_here else new_folder())

    def mine() -> RankedScriptLoop:
        seed_all(start[2])
        return opened(RankedScriptLoop, group)

    request = (held.number, lesson, *start, group.folder)
    loop, others = ranks.ask(program, SETUP, mine, "open_script", *request)
    loop.setup_namespace.on_other_ranks = held
    loop.check_others(others)
    return loop


class RankedScriptLoop(RankedLoop, ScriptLoop):
    """Rank 0's loop of a script. All changes to it are asked of the other ranks, too."""

    _steps_at_once = 16
    """Steps that nobody looks at, as many as take some time."""
    _is_broken = False
    """Whether a backward has been interrupted: DistributedDataParallel never gets over that."""

    def check_others(self, others: list[ScriptPlace]) -> None:
        """Raise LessonRaised if another rank does not stand where this one does."""
        here = ScriptPlace.of(self)
        for rank, there in enumerate(others, 1):
            if there != here:
                places = [(0, *self._told(here)), (rank, *self._told(there))]
                error = Remark("ranks_apart", {"places": places})
                raise LessonRaised(self.program, self.next_phase_name(), self.lines[1], error)

    def _told(self, at: ScriptPlace) -> tuple[str, dict[str, Any]]:
        if at.is_over:
            return "at_script_end", {}
        if at.next == PASS_END:
            return "at_epoch_end", {"epoch": at.epoch, "steps": at.step}
        phase = self.outline.phases[at.next]
        return "reaches_phase", {"phase": phase.name, "line": phase.line, "steps": at.step}

    def _together(
        self,
        method: str,
        *arguments: object,
        mine: Callable[[], Any] | None = None,
        **named: object,
    ) -> Any:
        """Call a method on all ranks. Raises LessonRaised if they stand at different places then.

        `mine`: what this rank does in its place.
        """
        own = partial(getattr(ScriptLoop, method), self, *arguments, **named)
        try:
            result, others = self._asked("call", mine or own, method, arguments, named)
        except LessonRaised as error:
            self._is_broken |= _is_in_backward(error)
            raise
        self.check_others(others)
        return result

    def _all(self, request: str, run: Callable[[], bool], *arguments: object) -> bool:
        """Whether it is done on all ranks."""
        mine, others = self._asked(request, run, *arguments)
        return mine and all(others)

    # ── Running ─────────────────────────────────────────────────────────────────────

    @property
    def is_at_loop_end(self) -> bool:
        """Whether the loop is at its end, on all ranks. Raises LessonRaised if only on some."""
        loop = self.driver.loop
        if loop is not None and loop.goes_on is not None:
            return not loop.goes_on
        mine, others = self._asked("is_at_loop_end", lambda: super(RankedLoop, self).is_at_loop_end)
        if any(other != mine for other in others):
            values = {"epoch": self.epoch, "has_ended": [mine, *others]}
            error = Remark("loops_apart", values)
            raise LessonRaised(self.program, self.next_phase_name(), self.outline.line, error)
        return bool(mine)

    def has_next_epoch(self) -> bool:
        """Whether there is a next epoch; at the loop's end, the rest of the script runs."""
        return bool(self._together("has_next_epoch"))

    def end_again(self) -> bool:
        """End as the script has ended before; False if that is not known. Raises LessonRaised."""
        return self._all("end_again", lambda: ScriptLoop.end_again(self))

    def begin_epoch(self) -> None:
        """Enter the next epoch: its code runs to the first phase."""
        self._together("begin_epoch")

    def run_step(self, *, for_frame: bool = True, may_stop: bool = True) -> None:
        """Run the next phase on all ranks."""
        self._together("run_step", for_frame=for_frame, may_stop=may_stop)

    def run_past_hooks(self, end: int, until: Callable[[], bool], *, for_frame: bool) -> bool:
        """Run phases whose numbers nobody will ask for, some steps at once on all ranks."""
        while self._may_run_past(end, for_frame):
            if until():
                return True
            started, to = time.perf_counter(), min(end, self.step + self._steps_at_once)
            self._together("run_past_hooks", to, never, for_frame=for_frame)
            factor = 2 if time.perf_counter() - started < _MOST_SECONDS_PAST / 2 else 0.5
            self._steps_at_once = max(1, int(self._steps_at_once * factor))
        return False

    def run_epochs(self, count: int, after: Callable[[], object]) -> None:
        """Run `count` whole epochs on all ranks, or to the loop's end."""
        mine = partial(ScriptLoop.run_epochs, self, count, after)
        self._together("run_epochs", count, never, mine=mine)

    # ── Keeping ─────────────────────────────────────────────────────────────────────

    def start_of_batch(self) -> BatchStart:
        """The state as a batch begins, with models that wait for no other rank."""
        with lone_replicas():
            return super().start_of_batch()

    def snapshot(self, before: Any, limit: float = math.inf) -> ScriptSnapshot | None:
        """The state at the end of an epoch, each rank's kept by itself."""
        held = HeldByRanks(self._held.group, self.program, "snapshot")
        before_there = before.on_other_ranks if isinstance(before, ScriptSnapshot) else None
        old = before_there.number if before_there is not None else None
        run = lambda: ScriptLoop.snapshot(self, before, limit)  # noqa: E731
        mine, others = self._asked("snapshot", run, held.number, old, limit)
        return replace(mine, on_other_ranks=held) if mine is not None and all(others) else None

    def go_back(self, snapshot: object, epoch: int) -> bool:
        """Stand at the end of an epoch on all ranks; False if one of them can't."""
        held = snapshot.on_other_ranks if isinstance(snapshot, ScriptSnapshot) else None
        if held is None or self.is_lost or self._is_broken:
            return False
        run = lambda: ScriptLoop.go_back(self, snapshot, epoch)  # noqa: E731
        return self._all("go_back", run, held.number, epoch)

    def close(self) -> None:
        """Give up the script wherever it waits, on all ranks."""
        if self.is_lost:
            ScriptLoop.close(self)
        else:
            self.everywhere("close", lambda: ScriptLoop.close(self))


def _is_in_backward(error: BaseException | None) -> bool:
    """Whether an error was raised while PyTorch took gradients."""
    while error is not None:
        codes = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
        if any(code.co_name == "_engine_run_backward" for code in codes):
            return True
        error = error.__cause__
    return False


class LoneProbeLoop(LoneLoop, ProbeLoop):
    """A loop that runs a script's phases in a copy of rank 0's names, without the other ranks."""


# ── Copies of DistributedDataParallel models ──────────────────────────────────────────────


class LoneReplica(torch.nn.Module):
    """A copy of a DistributedDataParallel model for a probe: it waits for no other rank."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the model."""
        return self.module(*inputs, **named)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Nothing is synchronized anyway."""
        yield


@contextmanager
def lone_replicas() -> Iterator[None]:
    """A span in which a copy of a DistributedDataParallel model is a LoneReplica."""

    def copied(model: Any, memo: dict[int, Any]) -> LoneReplica:
        return LoneReplica(copy.deepcopy(model.module, memo))

    DistributedDataParallel.__deepcopy__ = copied  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del DistributedDataParallel.__deepcopy__  # type: ignore[attr-defined]


# ── The loops on the other ranks ──────────────────────────────────────────────────────


class FollowerScripts(FollowerLoops):
    """The loops of a script on a rank other than rank 0. Each public method is a request."""

    def __init__(self, rank: int, size: int, port: int, opener: Callable[[Lesson], Opener]) -> None:
        """`opener` returns the function that runs a script to its loop."""
        super().__init__(rank, size)
        self._port, self._opener = port, opener
        self._openers: dict[str, Opener] = {}

    def _loop_at(self, place: Place) -> ScriptLoop:
        loop = self._at(place)
        assert isinstance(loop, ScriptLoop)
        return loop

    def open_script(
        self,
        number: int,
        lesson: Lesson,
        device: str,
        rate: float,
        seed: int,
        folder: Path | None,
    ) -> ScriptPlace:
        """Make a loop: seed, and run the script to its loop."""
        self._generators.leave()
        seed_all(seed + self.rank)
        key = repr((lesson.digest, lesson.source, lesson.script))
        opened = self._openers.setdefault(key, self._opener(lesson))
        group = ScriptGroup(self.rank, self.size, self._port, GroupMember.WORLD, folder)
        loop = opened(ScriptLoop, device, rate, group)
        self._hold(number, loop)
        return ScriptPlace.of(loop)

    def call(
        self, place: Place, method: str, arguments: Sequence[Any], named: Mapping[str, Any]
    ) -> ScriptPlace:
        """Call a method of the loop."""
        loop = self._loop_at(place)
        getattr(loop, method)(*arguments, **named)
        return ScriptPlace.of(loop)

    def is_at_loop_end(self, place: Place) -> bool:
        """Whether the loop is at its end."""
        return self._loop_at(place).is_at_loop_end

    def end_again(self, place: Place) -> bool:
        """End as before."""
        return self._loop_at(place).end_again()

    def go_back(self, place: Place, number: int, epoch: int) -> bool:
        """Restore a snapshot of the end of an epoch."""
        return self._loop_at(place).go_back(self._snapshots.get(number), epoch)

    def seed(self, place: Place, seed: int) -> None:
        """Seed the generators, each rank's otherwise."""
        super().seed(place, seed + self.rank)

    def close(self, place: Place) -> None:
        """Give up a script wherever it waits."""
        self._loop_at(place).close()
