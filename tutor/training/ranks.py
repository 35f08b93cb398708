"""A lesson's loop on several ranks, stepped together phase by phase.

Rank 0's is a RankedLoop. What it does, the loops of the other ranks do at the same time, in
processes of their own (`rank_group`): each request to it is a method of their FollowerLoops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from tutor.lesson.model import SETUP
from tutor.protocol.frame import Element, RankFigures, Value
from tutor.training.changes import carry_over, set_element
from tutor.training.devices import Randomness, SharedGenerators, device_of_rank, seed_all
from tutor.training.figures import Reading, rank_figures, reading_of
from tutor.training.lesson_error import LessonRaised
from tutor.training.loop import Loop, in_namespace
from tutor.training.program import Expression, Program
from tutor.training.rank_group import RANKS, HeldByRanks
from tutor.training.snapshot import SavedState, Snapshot

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Place:
    """A loop of this run on each rank, and where it stands."""

    number: int
    epoch: int
    step: int


def set_up_together(program: Program, device: str, rate: float, seed: int) -> RankedLoop:
    """Run Setup on all ranks, each with the same seed. Raises LessonRaised, or Refused."""
    group = RANKS.group_of(program.workers)
    held = HeldByRanks(group, program, "loop")

    def mine() -> RankedLoop:
        seed_all(seed)
        return in_namespace(program, device, rate, kind=RankedLoop)

    request = (held.number, program, device, rate, seed)
    loop, _ = group.ask(program, SETUP, mine, "set_up", *request)
    loop.setup_namespace.on_other_ranks = held
    return loop


class RankedLoop(Loop):
    """Rank 0's loop. All changes to it are asked of the other ranks, too."""

    __slots__ = ()

    @property
    def _held(self) -> HeldByRanks:
        held = self.setup_namespace.on_other_ranks
        assert held is not None
        return held

    @property
    def place(self) -> Place:
        """Its number on the other ranks, and where it stands."""
        return Place(self._held.number, self.epoch, self.step)

    @property
    def is_lost(self) -> bool:
        """Whether the other ranks have ended: then only a run from the start goes on."""
        return self._held.group.is_closed

    @property
    def group_number(self) -> int:
        """The number of the process group of its ranks."""
        return self._held.group.number

    def everywhere(self, request: str, run: Callable[[], Result], *arguments: object) -> Result:
        """Do what `run` does on all ranks. Raises LessonRaised if one of them fails."""
        return self._asked(request, run, *arguments)[0]

    def _asked(
        self, request: str, run: Callable[[], Result], *arguments: object
    ) -> tuple[Result, list[Any]]:
        if self.setup_namespace.on_other_ranks is None or self._held.group.is_asking:
            return run(), []  # a part of what they all do
        phase = self.next_phase_name()
        sent = [a.place if isinstance(a, RankedLoop) else a for a in arguments]
        return self._held.group.ask(self.program, phase, run, request, self.place, *sent)

    # ── Running ─────────────────────────────────────────────────────────────────────

    def run_step(self, *, for_frame: bool = True, may_stop: bool = True) -> None:
        """Run the next step on all ranks."""
        run = partial(super().run_step, for_frame=for_frame, may_stop=may_stop)
        self.everywhere("run_step", run, may_stop)

    def run_epochs(self, count: int, after: Callable[[], object]) -> None:
        """Run `count` whole epochs on all ranks, each as one piece."""
        self.everywhere("run_epochs", partial(super().run_epochs, count, after), count)

    def set_learning_rate(self, old: float, new: float) -> None:
        """Change the learning rate on all ranks. Raises Refused."""
        run = partial(super().set_learning_rate, old, new)
        self.everywhere("set_learning_rate", run, old, new)

    # ── Looking ─────────────────────────────────────────────────────────────────────

    def evaluate(
        self, expressions: tuple[Expression, ...], pending: Collection[str] = ()
    ) -> dict[str, Value]:
        """Each expression's value on this rank alone: no collective operation waits in it."""
        held = self.setup_namespace.on_other_ranks
        group = held.group if held is not None else RANKS.group_of(self.program.workers)
        with group.alone():
            return super().evaluate(expressions, pending)

    def other_figures(self) -> tuple[RankFigures, ...]:
        """The figures of the other ranks; none if one of them has ended."""
        if self.is_lost:
            return ()
        try:
            return tuple(self._asked("figures", lambda: None)[1])
        except LessonRaised:  # the next move says so
            return ()

    def other_readings(self) -> tuple[Any, ...]:
        """The readings of the other ranks. Raises LessonRaised if one of them has ended."""
        return tuple(self._asked("reading", lambda: None)[1])

    # ── Keeping ─────────────────────────────────────────────────────────────────────

    def snapshot(self, before: SavedState | None, limit: float = math.inf) -> SavedState | None:
        """A snapshot that each rank keeps its part of."""
        held = HeldByRanks(self._held.group, self.program, "snapshot")
        there = before.on_other_ranks if isinstance(before, Snapshot) else None
        take = partial(super().snapshot, before, limit)
        mine, others = self._asked("snapshot", take, held.number, there and there.number, limit)
        if not isinstance(mine, Snapshot) or not all(others):
            return None
        return replace(mine, on_other_ranks=held)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore a snapshot on all ranks."""
        assert snapshot.on_other_ranks is not None
        run = partial(super().restore, snapshot)
        self.everywhere("restore", run, snapshot.on_other_ranks.number)


class LoneLoop(Loop):
    """Rank 0's loop without the others, for a probe: a collective operation changes nothing."""

    __slots__ = ()

    def execute(self, code: Any) -> None:
        """Run code as if there were no other rank."""
        with RANKS.group_of(self.program.workers).alone():
            super().execute(code)


# ── On the other ranks ──────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Held:
    """A loop, and the random number generators as it left them while another one runs."""

    loop: Loop
    randomness: Randomness | None = None

    @property
    def device(self) -> str:
        """The device of its tensors."""
        return self.loop.device


class FollowerLoops:
    """The loops and snapshots of this rank, by the numbers that rank 0 gives them.

    Each public method is a request: rank 0 does the same to a loop of its own meanwhile.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._loops: dict[int, _Held] = {}
        self._snapshots: dict[int, SavedState] = {}
        self._generators = SharedGenerators()

    def release(self, released: Iterable[tuple[str, int]]) -> None:
        """Forget loops and snapshots that nobody needs any more."""
        held: dict[str, dict[int, Any]] = {"loop": self._loops, "snapshot": self._snapshots}
        for kind, number in released:
            held.get(kind, {}).pop(number, None)

    def _hold(self, number: int, loop: Loop) -> None:
        self._loops[number] = self._generators.holder = _Held(loop)

    def _at(self, place: Place) -> Loop:
        """A loop, brought to the place where rank 0's stands."""
        held = self._loops[place.number]
        self._generators.take(held)
        held.loop.epoch, held.loop.step = place.epoch, place.step
        return held.loop

    # ── Requests ────────────────────────────────────────────────────────────────────

    def set_up(self, number: int, program: Program, device: str, rate: float, seed: int) -> None:
        """Make a loop: seed, and run Setup."""
        self._generators.leave()
        seed_all(seed)
        device = device_of_rank(device, self.rank, self.size)
        self._hold(number, in_namespace(program, device, rate, rank=self.rank, kind=Loop))

    def run_step(self, place: Place, may_stop: bool) -> None:
        """Run the next step."""
        self._at(place).run_step(for_frame=False, may_stop=may_stop)

    def run_epochs(self, place: Place, count: int) -> None:
        """Run whole epochs."""
        self._at(place).run_epochs(count, lambda: None)

    def set_learning_rate(self, place: Place, old: float, new: float) -> None:
        """Change the learning rate."""
        self._at(place).set_learning_rate(old, new)

    def set_element(self, place: Place, element: Element) -> None:
        """Give one number of a parameter another value: the replicas stay equal."""
        set_element(self._at(place), element)

    def seed(self, place: Place, seed: int) -> None:
        """Seed the generators."""
        self._at(place)
        seed_all(seed)

    def carry_over(self, new: Place, old: Place) -> None:
        """Bring a loop of another mode to where one stands."""
        was = self._loops[old.number]
        loop, randomness = self._at(new), was.randomness
        was.loop.epoch, was.loop.step = old.epoch, old.step
        if old.step and randomness is not None:
            randomness.restore(loop.device)
        carry_over(was.loop, loop)

    def snapshot(self, place: Place, number: int, before: int | None, limit: float) -> bool:
        """Keep a snapshot; returns whether that could be."""
        known = None if before is None else self._snapshots.get(before)
        found = self._at(place).snapshot(known, limit)
        if found is None:
            return False
        self._snapshots[number] = found
        return True

    def restore(self, place: Place, number: int) -> None:
        """Restore a snapshot of a loop."""
        snapshot, held = self._snapshots[number], self._loops[place.number]
        assert isinstance(snapshot, Snapshot)
        self._generators.take(held)
        setup = snapshot.only_namespace or held.loop.setup_namespace
        held.loop = Loop(held.loop.program, snapshot.device, setup.names, setup)
        held.loop.restore(snapshot)

    def figures(self, place: Place) -> RankFigures:
        """The figures of this rank in a frame."""
        return rank_figures(self._at(place), self.rank)

    def reading(self, place: Place) -> Reading:
        """The figures of this rank that are written down at the end of an epoch."""
        return reading_of(self._at(place), self.rank)
