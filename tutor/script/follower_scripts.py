"""The loops of a script on a rank other than rank 0, which does as rank 0 asks."""

from __future__ import annotations

from pathlib import Path

from torch.distributed.distributed_c10d import GroupMember

from tutor.lesson.model import Lesson
from tutor.script.program import ScriptOpener, script_opener
from tutor.script.ranked_script import ScriptPlace
from tutor.script.script_group import ScriptGroup
from tutor.script.script_loop import ScriptLoop
from tutor.training.devices import seed_all
from tutor.training.playback import never
from tutor.training.ranks import FollowerLoops, Place


class FollowerScripts(FollowerLoops):
    """The loops of a script on this rank. Each public method is a request."""

    def __init__(self, rank: int, size: int, port: int) -> None:
        super().__init__(rank, size)
        self._port = port
        self._openers: dict[str, ScriptOpener] = {}

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
        self._turn.leave()
        seed_all(seed + self.rank)
        key = repr((lesson.digest, lesson.source, lesson.script))
        opener = self._openers.setdefault(key, script_opener(lesson))
        group = ScriptGroup(self.rank, self.size, self._port, GroupMember.WORLD, folder)
        loop = opener.opened(ScriptLoop, device, rate, group)
        self._hold(number, loop)
        return ScriptPlace.of(loop)

    def begin_epoch(self, place: Place) -> ScriptPlace:
        """Enter the next epoch."""
        loop = self._loop_at(place)
        loop.begin_epoch()
        return ScriptPlace.of(loop)

    def run_script_step(self, place: Place, for_frame: bool, may_stop: bool) -> ScriptPlace:
        """Run the next phase."""
        loop = self._loop_at(place)
        loop.run_step(for_frame=for_frame, may_stop=may_stop)
        return ScriptPlace.of(loop)

    def run_past_hooks(self, place: Place, end: int, for_frame: bool) -> ScriptPlace:
        """Run phases that nobody looks at."""
        loop = self._loop_at(place)
        loop.run_past_hooks(end, never, for_frame=for_frame)
        return ScriptPlace.of(loop)

    def run_passes(self, place: Place, count: int) -> ScriptPlace:
        """Run whole epochs, or to the loop's end."""
        loop = self._loop_at(place)
        loop.run_epochs(count, lambda: None)
        return ScriptPlace.of(loop)

    def is_at_loop_end(self, place: Place) -> bool:
        """Whether the loop is at its end."""
        return self._loop_at(place).is_at_loop_end

    def has_next_epoch(self, place: Place) -> ScriptPlace:
        """Come to the next epoch, or to the script's end."""
        loop = self._loop_at(place)
        loop.has_next_epoch()
        return ScriptPlace.of(loop)

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
