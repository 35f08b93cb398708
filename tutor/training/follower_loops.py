"""The loops of one other rank: each request to rank 0's own loop is done to them, too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tutor.protocol.frame import Element, RankFigures
from tutor.training.changes import carry_over, set_element
from tutor.training.devices import GeneratorOwner, Randomness, device_of_rank, seed_all
from tutor.training.loop import Loop, in_namespace
from tutor.training.program import Program
from tutor.training.ranks import Place
from tutor.training.run import Reading, rank_figures, reading_of
from tutor.training.set_up import spare_compiler
from tutor.training.snapshot import SavedState, Snapshot


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
        self._turn = GeneratorOwner()
        spare_compiler()

    def release(self, released: Iterable[tuple[str, int]]) -> None:
        """Forget loops and snapshots that nobody needs any more."""
        held: dict[str, dict[int, Any]] = {"loop": self._loops, "snapshot": self._snapshots}
        for kind, number in released:
            held.get(kind, {}).pop(number, None)

    def _hold(self, number: int, loop: Loop) -> None:
        self._loops[number] = self._turn.holder = _Held(loop)

    def _at(self, place: Place) -> Loop:
        """A loop, brought to the place where rank 0's stands."""
        held = self._loops[place.number]
        self._turn.take(held)
        held.loop.epoch, held.loop.step = place.epoch, place.step
        return held.loop

    # ── Requests ────────────────────────────────────────────────────────────────────

    def set_up(self, number: int, program: Program, device: str, rate: float, seed: int) -> None:
        """Make a loop: seed, and run Setup."""
        self._turn.leave()
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
        self._turn.take(held)
        setup = snapshot.only_namespace or held.loop.setup_namespace
        held.loop = Loop(held.loop.program, snapshot.device, setup.names, setup)
        held.loop.restore(snapshot)

    def figures(self, place: Place) -> RankFigures:
        """The figures of this rank in a frame."""
        return rank_figures(self._at(place), self.rank)

    def reading(self, place: Place) -> Reading:
        """The figures of this rank that are written down at the end of an epoch."""
        return reading_of(self._at(place), self.rank)
