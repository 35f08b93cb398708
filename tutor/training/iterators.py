"""Iterators that can be copied, so that a batch can be computed again from its own data.

An iterator (a DataLoader's, a generator) can neither be copied nor go back. In its place a
lesson's name bears one that remembers what it has yielded for as long as a copy of it has
yet to come there. The items are copied, and what drawing them did to the random numbers is
done again when they are yielded again.

To run the epoch's batches again, as `carry` does for what has no such copy, would not do here: a
look, a comparison or a check computes one batch from its own data, and an iterator made in Setup
is not made again by an epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from io import IOBase
from typing import Any

from tutor.training.randomness import Randomness


@dataclass(slots=True)
class _Link:
    """A place in the chain of what has been yielded; the last one has no next."""

    item: Any = None
    before: Randomness | None = None
    after: Randomness | None = None
    next: _Link | None = None


class ReplayedIterator:
    """Yields what its source does; its copies yield the same from where they were made."""

    def __init__(
        self, source: Any, link: _Link | None = None, change: Callable[[Any], Any] | None = None
    ) -> None:
        """`change` is what becomes of each item."""
        self.source, self._link, self._change = source, link or _Link(), change

    def __iter__(self) -> ReplayedIterator:
        return self

    def __next__(self) -> Any:
        link = self._link
        if link.next is None:
            item = self._drawn(link)
        else:
            if link.before == Randomness.now("cpu") and link.after is not None:
                link.after.restore("cpu")
            item = _copied(link.item)
        assert link.next is not None
        self._link = link.next
        return item if self._change is None else self._change(item)

    def _drawn(self, link: _Link) -> Any:
        before = Randomness.now("cpu")
        item = next(self.source)
        link.item, link.before, link.after = _copied(item), before, Randomness.now("cpu")
        link.next = _Link()
        return item

    def __len__(self) -> int:
        return len(self.source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an iterator's source can't be copied: a run goes there from its start")

    def copied(self, change: Callable[[Any], Any] | None = None) -> ReplayedIterator:
        """One that yields from here on what this one will; each item as `change` makes it."""
        return ReplayedIterator(self.source, self._link, change or self._change)


def make_replayable(namespace: dict[str, Any]) -> None:
    """Put a ReplayedIterator in the place of each iterator that a name stands for."""
    for name, thing in namespace.items():
        if hasattr(type(thing), "__next__") and not isinstance(thing, (ReplayedIterator, IOBase)):
            namespace[name] = ReplayedIterator(thing)


def _copied(item: Any) -> Any:
    try:
        return copy.deepcopy(item)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException:  # noqa: BLE001 - what can't be copied (mid-graph, an open file) is shared
        return item
