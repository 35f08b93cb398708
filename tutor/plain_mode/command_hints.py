"""Notices about keys, reworded for typed commands."""

from __future__ import annotations

import re

from tutor.plain_mode.line_writer import in_words
from tutor.plain_mode.spoken_prose import sentence

_KEYS = (
    (r"O goes on there", "go on takes you there"),
    (r"space goes on", "next goes on"),
    (r"r again goes on to (\d+)", r"run again goes on to \1"),
    (r"R starts again", "restart starts again"),
    (r"esc leaves(?: the exercise)?", "leave ends the exercise"),
    (r"k: I know this", "skip says: I know this"),
    (r"a: exercises", "exercises tells which there are"),
    (r"(?:esc, then )?K takes that back", "unskip takes that back"),
    (r"A shows them", "exercises tells which they are"),
    (r"n: the next lesson", "lessons tells which others there are"),
    (r"x (?:stops|breaks) it(?: off)?|x stops", "Ctrl+C stops it"),
    (r"q quits", "quit leaves"),
)
_OTHER_KEY = re.compile(r"(?:\S|esc|space|enter)(?: again)?:? .*")
"""A key that has no command here: nothing is said of it."""
_IN_PASSING = re.compile(r": \w (?:answers|opens it)$| \((?:\[ \] l|[gdwS])\)(?=,|$)")
"""A key named in a notice."""
_BY_KEY = re.compile(r" \(keys? [^)]*\)")
"""A key named in an exercise."""


def spoken_notice(text: str) -> str:
    """A notice as sentences, with commands in place of keys."""
    first, *others = without_keys(text.removesuffix(" …")).split(" · ")
    said = [first, *filter(None, map(_hint, others))]
    return " ".join(sentence(in_words(part)) for part in said if part)


def without_keys(text: str) -> str:
    """The text without the keys that are named in passing."""
    parts = (_IN_PASSING.sub("", part) for part in text.split(" · "))
    return _BY_KEY.sub("", " · ".join(parts))


def _hint(text: str) -> str:
    """A part that may tell of a key, with the command that does the same."""
    said = "" if _OTHER_KEY.fullmatch(text) else text
    for key, command in _KEYS:
        if found := re.fullmatch(key, text):
            said = found.expand(command)
    return said[:1].upper() + said[1:]
