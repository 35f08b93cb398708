"""The other runs of a lesson: a letter for each, by which its line is told without colour.

Knows what is told of a run; not how its line is drawn.
"""

from __future__ import annotations

import string
from collections.abc import Container, Sequence
from dataclasses import dataclass

from tutor.plain import one_line
from tutor.training.frame import Curve
from tutor.training.sights import RunInfo
from tutor.ui.digits import setting

NOT_LETTERS = "O"
"""Without UTF-8 it is the mark of where we are."""


@dataclass(frozen=True, slots=True)
class Ghost:
    """An earlier run, as a line to be drawn and words to tell it by."""

    letter: str
    words: str
    curve: Curve

    def __str__(self) -> str:
        return f"{self.letter} {self.words}"


def ghosts_of(runs: Sequence[RunInfo]) -> list[Ghost]:
    """Those of the other runs that have a curve, in the order in which they are listed."""
    found: list[Ghost] = []
    taken: set[str] = set()
    for run in runs:
        if not run.is_current:
            letter = _letter(run.name, taken)
            taken.add(letter)
            if run.curve is not None and run.curve.epochs:
                found.append(Ghost(letter, _words(run, letter), run.curve))
    return found


def legend(ghosts: Sequence[Ghost], room: int) -> str:
    """The ghosts by letter and words; each is cut short alike where they don't all fit."""
    separator = " · "
    for limit in range(max((len(str(g)) for g in ghosts), default=0), 1, -1):
        text = separator.join(_cut(str(ghost), limit) for ghost in ghosts)
        if len(text) <= room:
            return text
    return " ".join(ghost.letter for ghost in ghosts)[: max(0, room)]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _letter(name: str, taken: Container[str]) -> str:
    """The first letter of a name that no other run has, else any that is free."""
    letters = [c for c in name.upper() + string.ascii_uppercase if c in string.ascii_uppercase]
    return next(c for c in letters if c not in taken and c not in NOT_LETTERS)


def _words(run: RunInfo, letter: str) -> str:
    """Its name, with mode and learning rate where the name does not say them already."""
    name = one_line(run.name)
    said = name.split()
    rate = f"lr {setting(run.learning_rate)}"
    words = [] if name == letter else [name]
    words += [] if run.mode in said else [one_line(run.mode)]
    words += [] if rate in name else [rate]
    return " ".join(words)
