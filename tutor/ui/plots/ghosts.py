"""The other runs of a lesson: a letter for each, by which its line is told without colour.

Knows what is told of a run; not how its line is drawn.
"""

from __future__ import annotations

import string
from collections.abc import Container, Sequence
from dataclasses import dataclass

from tutor.plain import one_line
from tutor.teaching.digits import setting
from tutor.training.frame import Curve
from tutor.training.sights import RunInfo

NOT_LETTERS = "O"
"""Without UTF-8 it is the mark of where we are."""


@dataclass(frozen=True, slots=True)
class Ghost:
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


def ghosts_of(runs: Sequence[RunInfo]) -> list[Ghost]:
    """Those of the other runs that have a curve, in the order in which they are listed."""
    found: list[Ghost] = []
    taken: set[str] = set()
    for run in runs:
        if not run.is_current:
            letter = _letter(run.name, taken)
            taken.add(letter)
            if run.curve is not None and run.curve.epochs:
                name = one_line(run.name)
                known = "" if name == letter else name
                found.append(Ghost(letter, known, _settings(run, name), run.curve))
    return found


def legend(ghosts: Sequence[Ghost], room: int) -> str:
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


def _letter(name: str, taken: Container[str]) -> str:
    """The first letter of a name that no other run has, else any that is free."""
    letters = [c for c in name.upper() + string.ascii_uppercase if c in string.ascii_uppercase]
    return next(c for c in letters if c not in taken and c not in NOT_LETTERS)


def _settings(run: RunInfo, name: str) -> str:
    """Mode and learning rate, unless the name says them already."""
    rate = f"lr {setting(run.learning_rate)}"
    words = [] if run.mode in name.split() else [one_line(run.mode)]
    words += [] if rate in name else [rate]
    return " ".join(words)
