"""The other runs of a lesson, each with its letter, which tells its line without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutor.plain import one_line
from tutor.protocol.frame import Curve
from tutor.protocol.inspections import RunInfo
from tutor.session.number_format import setting


@dataclass(frozen=True, slots=True)
class OtherRunLine:
    """An earlier run, as a line to be drawn and words to tell it by."""

    letter: str
    name: str
    """Empty if that is its letter and no more."""
    settings: str
    """What it was trained with, as far as the name does not say so."""
    curve: Curve

    def __str__(self) -> str:
        return f"{self.letter} = " + " ".join(filter(None, (self.name, self.settings)))

    @property
    def in_short(self) -> str:
        """Just enough to tell it from the others."""
        return f"{self.letter} = {self.name or self.settings}"


def ghosts_of(runs: Sequence[RunInfo]) -> list[OtherRunLine]:
    """Those of the other runs that have a curve, in the order in which they are listed."""
    return [
        OtherRunLine(
            run.letter,
            "" if run.name == run.letter else one_line(run.name),
            _settings(run, one_line(run.name)),
            run.curve,
        )
        for run in runs
        if not run.is_current and run.curve is not None and run.curve.epochs
    ]


def legend(ghosts: Sequence[OtherRunLine], room: int) -> str:
    """The ghosts by letter and words, in short or cut short alike where they don't all fit."""
    separator = " · "
    text = separator.join(map(str, ghosts))
    if len(text) <= room:
        return text
    names = [ghost.in_short for ghost in ghosts]
    for limit in range(max(map(len, names), default=0), 1, -1):
        text = separator.join(_cut(name, limit) for name in names)
        if len(text) <= room:
            return text
    return " ".join(ghost.letter for ghost in ghosts)[: max(0, room)]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _settings(run: RunInfo, name: str) -> str:
    """Mode and learning rate, unless the name says them already."""
    rate = f"lr {setting(run.learning_rate)}"
    words = [] if run.mode in name.split() else [one_line(run.mode)]
    words += [] if rate in name else [rate]
    return " ".join(words)
