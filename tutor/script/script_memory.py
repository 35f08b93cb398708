"""Copies of a script's state at the ends of epochs, and at its own end, to go back to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutor.script.driver import Driver, WaitingLoop
from tutor.script.environment import ScriptEnvironment
from tutor.script.loop_progress import EpochProgress
from tutor.script.memory_image import MemoryImage, take_image
from tutor.script.parameters import ParameterTable
from tutor.script.redirected_files import RedirectedFiles
from tutor.script.waiting_state import SavedThreadSettings
from tutor.training.devices import Randomness
from tutor.training.lesson_error import LessonRaised

if TYPE_CHECKING:
    from tutor.training.rank_group import HeldByRanks

_LARGEST_END = 2**26
"""Bytes that may be copied at the script's end, so that it can be gone back to."""


@dataclass(frozen=True, slots=True, eq=False)
class ScriptSnapshot:
    """The state of a script at the end of an epoch, as a keyframe keeps it."""

    owner: object
    """The only ScriptMemory that can put it back."""
    loop: WaitingLoop
    passes: int
    image: MemoryImage
    loss: Any
    thread_settings: SavedThreadSettings
    known: tuple[int, int]
    """The steps and batches of an epoch, as far as they were known."""
    gradients: Mapping[str, Any]
    """The gradients that were handed over last."""
    on_other_ranks: HeldByRanks | None = None
    """The other ranks' parts; None if there is one rank."""

    @property
    def only_namespace(self) -> object:
        """The ScriptMemory, in place of a namespace: never None."""
        return self.owner

    @property
    def can_be_restored(self) -> bool:
        """Whether the other ranks, if there are any, still hold their parts."""
        return self.on_other_ranks is None or not self.on_other_ranks.group.is_closed

    @property
    def device(self) -> str:
        """The device of the parameters."""
        return self.image.device

    @property
    def randomness(self) -> Randomness:
        """The state of the random number generators."""
        return self.image.randomness

    def part_sizes(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another snapshot may share some."""
        return self.image.part_sizes()


class ScriptMemory:
    """Copies the state of one run of a script, and puts it back."""

    def __init__(
        self,
        filename: str,
        driver: Driver,
        progress: EpochProgress,
        table: ParameterTable,
        environment: ScriptEnvironment,
        files: RedirectedFiles | None,
    ) -> None:
        """`files`: the files that the script writes, which are kept and put back, too."""
        self._filename, self._driver = filename, driver
        self._progress, self._table = progress, table
        self._environment, self._files = environment, files
        self._end: tuple[MemoryImage, SavedThreadSettings] | LessonRaised | None = None
        """The state at the script's end; None if it has not come there, or can't be copied."""

    def _image(self, before: MemoryImage | None, limit: float) -> MemoryImage | None:
        waiting = self._driver.loop
        own = [thing for scope in self._driver.scopes() for thing in scope.values()]
        body = [waiting.body] if waiting else []
        counter = self._driver.hashes.counter
        roots = [self._driver.names, *body, *own, counter, self._environment.group]
        return take_image(roots, self._filename, self._driver.device, before, limit, self._files)

    def snapshot(self, before: object, limit: float) -> ScriptSnapshot | None:
        """The state at the end of an epoch; None if it can't be copied, or is too large."""
        driver, waiting, progress = self._driver, self._driver.loop, self._progress
        old = before.image if isinstance(before, ScriptSnapshot) else None
        if waiting is None or (image := self._image(old, limit)) is None:
            return None
        known = (progress.steps_known, progress.batches_known)
        now = (driver.loss.value, driver.thread_settings(), known, self._table.taken)
        return ScriptSnapshot(self, waiting, waiting.passes, image, *now)

    def restore(self, snapshot: object, *, is_start: bool) -> bool:
        """Take the script back to the snapshot's place; False if it can't come there.

        `is_start`: before its loop's first pass.
        """
        if not isinstance(snapshot, ScriptSnapshot) or snapshot.owner is not self:
            return False
        place = (snapshot.loop, snapshot.passes, snapshot.thread_settings)
        with self._environment.entered():  # a pass is given up: its `finally` blocks run
            is_there = self._driver.go_back(*place)
        if not is_there or not self._put_back(snapshot.image):
            return False
        self._driver.loss.value = snapshot.loss
        self._table.taken = snapshot.gradients
        self._progress.stand_at_end(*snapshot.known, is_start=is_start)
        return True

    def _put_back(self, image: MemoryImage) -> bool:
        is_restored = image.restore()
        self._driver.hashes.forget_later()
        return is_restored

    @contextmanager
    def keeping_end(self) -> Iterator[None]:
        """A span in which the script may come to its end, or raise: its end or error is kept."""
        self._end = None
        try:
            yield
        except LessonRaised as error:
            self._end = error
            raise
        if self._driver.has_ended:
            image = self._image(None, _LARGEST_END)
            self._end = (image, self._driver.thread_settings()) if image else None

    def end_again(self) -> bool:
        """End as the script has ended before; False if that is not known. Raises LessonRaised."""
        if isinstance(self._end, LessonRaised):
            raise self._end
        if self._end is None or not self._put_back(self._end[0]):
            return False
        self._driver.end_again(self._end[1])
        return True
