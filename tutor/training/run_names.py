"""The names of runs: the letter that each is given, or a short name of the learner's own."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from tutor.errors import RunError

LETTERS = "ABCDEFGH"
"""Twice as many as there can be runs: a file from elsewhere may name runs by them, too."""
MAX_CELLS = 12


def free_letter(taken: Collection[str]) -> str:
    """The first letter that no run is called by."""
    return next(letter for letter in LETTERS if letter not in taken)


def given_letters(runs: Sequence[tuple[str, str]]) -> list[str]:
    """A letter for each run, from its name and the letter that it had; no two are the same.

    A run that had no letter is given the one that it is called by, else a free one.
    """
    wished = [letter or name for name, letter in runs]
    found: list[str] = []
    for wish in wished:
        is_free = wish in LETTERS and len(wish) == 1 and wish not in found
        found.append(wish if is_free else free_letter([*found, *wished]))
    return found


def checked_name(name: str, others: Collection[str], letter: str) -> str:
    """The name without blanks around it. Raises RunError, saying what a name may be.

    `letter` is the run's own: it may be called by no other.
    """
    name = name.strip()
    if not name or not name.isprintable():
        raise RunError("a run's name is one line of letters, digits or signs")
    if cells(name) > MAX_CELLS:
        raise RunError(f"a run's name has at most {MAX_CELLS} characters; this has {cells(name)}")
    if name in others:
        raise RunError(f"there is a run {name} already")
    if len(name) == 1 and name in LETTERS and name != letter:
        raise RunError(f"the letter of this run is {letter}: a name has more than one letter")
    return name


def cells(text: str) -> int:
    """How many cells of a terminal the text takes: wide characters take two."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
