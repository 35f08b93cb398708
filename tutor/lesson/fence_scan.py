"""A lesson's fences found by a glance at its lines, for lists that must cost next to nothing.

Loads no Markdown parser and says nothing of what is wrong: whoever opens the lesson does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_MARKER = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$", re.MULTILINE)
_KEY = re.compile(r"^(id|kind)[ \t]*:[ \t]*[\"']?([A-Za-z0-9-]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FenceGlimpse:
    """A fence: the words after its opening line's marks, and what is in it."""

    info: tuple[str, ...]
    text: str


def fences(text: str) -> Iterator[FenceGlimpse]:
    """Every fence that is closed, in order; `text` has plain newlines."""
    opened = ""
    info, start = "", 0
    for found in _MARKER.finditer(text):
        marks, rest = found.groups()
        if not opened:
            if marks[0] == "`" and "`" in rest:
                continue  # code in the middle of a line
            opened, info, start = marks, rest, found.end() + 1
        elif marks.startswith(opened) and not rest.strip():
            yield FenceGlimpse(tuple(info.split()), text[start : found.start()])
            opened = ""


def modes_named(found: Iterable[FenceGlimpse]) -> frozenset[str]:
    """The words after `python`."""
    return frozenset(word for f in found if f.info[:1] == ("python",) for word in f.info[1:])


def exercises(found: Iterable[FenceGlimpse]) -> Iterator[tuple[str, str]]:
    """The id and the kind of each exercise that says both, in order."""
    for fence in found:
        if fence.info[:2] == ("yaml", "exercise"):
            said: dict[str, str] = {}
            for key, value in _KEY.findall(fence.text):
                said.setdefault(key, value)
            if len(said) == 2:
                yield said["id"], said["kind"]
