"""What runs may be called: a letter by itself, or a short name of the learner's own."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

from tutor.errors import RunError

LETTERS = "ABCDEFGH"
"""Twice as many as there can be runs: a learner may call one of them by a letter."""
MAX_CELLS = 12


def free_letter(taken: Collection[str]) -> str:
    """The first letter that no run is called by."""
    return next(letter for letter in LETTERS if letter not in taken)


def checked_name(name: str, others: Collection[str]) -> str:
    """The name without blanks around it. Raises RunError, saying what a name may be."""
    name = name.strip()
    if not name or not name.isprintable():
        raise RunError("a run's name is one line of letters, digits or signs")
    if cells(name) > MAX_CELLS:
        raise RunError(f"a run's name has at most {MAX_CELLS} characters; this has {cells(name)}")
    if name in others:
        raise RunError(f"there is a run {name} already")
    return name


def cells(text: str) -> int:
    """How many cells of a terminal the text takes: wide characters take two."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
