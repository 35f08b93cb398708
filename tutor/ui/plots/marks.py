"""The learner's changes in a run as numbered marks and as words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tutor.plain import one_line
from tutor.protocol.frame import Change, Element
from tutor.session.number_format import setting

SEPARATOR = " · "


@dataclass(frozen=True, slots=True)
class ChangeMark:
    """All that was changed in one epoch."""

    number: int
    """1 for the first; what is written at the mark and before its words."""
    epoch: int
    words: str
    is_at_end: bool = False
    """Whether the epoch was over: what was changed is first seen in the next."""

    def __str__(self) -> str:
        return f"{self.number} = {self.words} {self._when}"

    @property
    def _when(self) -> str:
        return f"{'after' if self.is_at_end else 'in'} epoch {self.epoch}"


def marks_of(changes: Sequence[Change], steps: int = 0) -> list[ChangeMark]:
    """One mark for each epoch in which something was changed, the first first.

    `steps` are those of an epoch, by which one that is over is known; 0 where that is not said.
    """
    by_epoch = groupby(changes, key=lambda change: change.at.epoch)
    return [_mark(i, epoch, list(found), steps) for i, (epoch, found) in enumerate(by_epoch, 1)]


def _mark(number: int, epoch: int, changes: Sequence[Change], steps: int) -> ChangeMark:
    is_over = epoch == 0 or (steps > 0 and all(change.at.step >= steps for change in changes))
    return ChangeMark(number, epoch, ", ".join(_words(changes)), is_over)


def nearest(marks: Sequence[ChangeMark], here: int, room: int) -> tuple[list[ChangeMark], str]:
    """The marks nearest to an epoch whose words fit into so many cells, and those words.

    How many had to be left out is said at the end. The one that is nearest is always among
    them, cut short if need be.
    """
    by_distance = sorted(marks, key=lambda mark: (abs(mark.epoch - here), -mark.number))
    for count in range(len(marks), 0, -1):
        chosen = sorted(by_distance[:count], key=lambda mark: mark.number)
        more = [f"and {len(marks) - count} more"] if count < len(marks) else []
        text = SEPARATOR.join([*map(str, chosen), *more])
        if len(text) <= room:
            return chosen, text
    if not marks:
        return [], ""
    return by_distance[:1], str(by_distance[0])[: max(0, room - 1)] + "…"


def _words(changes: Sequence[Change]) -> Iterator[str]:
    """The changes of one epoch in words."""
    values: dict[str, str] = {}
    for change in changes:
        for what, word in _facts(change):
            values[what] = word
    yield from values.values()


def _facts(change: Change) -> Iterator[tuple[str, str]]:
    """The settings that a change sets, each with its words."""
    if change.mode is not None:
        yield "mode", one_line(change.mode)
    if change.device is not None:
        yield "device", one_line(change.device)
    if change.learning_rate is not None:
        yield "learning rate", f"lr {setting(change.learning_rate)}"
    if change.seed is not None:
        yield "seed", f"seed {change.seed}"
    if change.element is not None:
        name = _name(change.element)
        yield name, f"{name} = {setting(change.element.value)}"


def _name(element: Element) -> str:
    where = ", ".join(map(str, element.index))
    return one_line(element.parameter) + (f"[{where}]" if where else "")
