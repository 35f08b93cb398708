"""The state of a script at the end of an epoch, as a keyframe keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tutor.script.driver import WaitingLoop
from tutor.script.memory_image import MemoryImage
from tutor.script.surroundings import SavedSurroundings
from tutor.training.devices import Randomness


@dataclass(frozen=True, slots=True, eq=False)
class ScriptSnapshot:
    """The state of a script at the end of an epoch."""

    owner: object
    """The only ScriptLoop that it can be restored in."""
    loop: WaitingLoop
    passes: int
    image: MemoryImage
    loss: Any
    surroundings: SavedSurroundings
    known: tuple[int, int, Mapping[str, Any]]
    """The steps and batches of an epoch, as far as they were known, and the gradients used last."""
    held: object = None
    """On several ranks: what stands for the others' parts."""

    @property
    def setup_namespace(self) -> object:
        """Not None: it can be restored in no other namespace."""
        return self.owner

    @property
    def device(self) -> str:
        """The device of the parameters."""
        return self.image.device

    @property
    def randomness(self) -> Randomness:
        """The state of the random number generators."""
        return self.image.randomness

    def parts(self) -> Iterator[tuple[int, int]]:
        """The identity and the bytes of each part; another snapshot may share some."""
        return self.image.parts()
