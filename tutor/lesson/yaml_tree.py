"""YAML in a lesson's file as a tree of nodes that know their lines in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from tutor.lesson import yaml_advice
from tutor.lesson.diagnostics import DiagnosticList

MAX_DEPTH = 8
"""libyaml's composer recurses in C and crashes on deep nesting; no key needs more than 2."""

_UNREADABLE = re.compile(r"[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML does not allow."""

_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)


def end_of(lines: Sequence[str], diagnostics: DiagnosticList) -> int:
    """How many lines are front matter, both `---` included; 0 and a fault if there is none."""
    if not lines or lines[0].rstrip() != "---":
        diagnostics.add(
            1, "no front matter; begin the file with --- , keys such as `title: …`, and ---"
        )
        return 0
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == "---":
            return number
    diagnostics.add(1, "the front matter is not closed; write a line --- below its last key")
    return 0


def compose(
    lines: Sequence[str], diagnostics: DiagnosticList, *, first: int, what: str, example: str
) -> yaml.MappingNode | None:
    """The tree of the YAML on `lines`, or None and a fault.

    `lines` begin on line `first` of the file, counted from 1; a node's mark counts the file's
    lines from 0. `what` is what the YAML is, and `example` a key of it, for the faults.
    """
    for number, line in enumerate(lines, start=first):
        if found := _UNREADABLE.search(line):
            diagnostics.add(number, f"the character {found[0]!r} may not stand here; delete it")
            return None
    above = first - 1
    placed = [""] * above + list(lines)  # a mark counts the lines of the file
    text = "\n".join(placed) + "\n"
    try:
        too_deep = _too_deep(text)
        root = None if too_deep else yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        at, message = _slip(lines, first) or _told(error)
        diagnostics.add(min(max(at, first), above + len(lines)), message)  # the end is seen below
        return None
    if too_deep:
        diagnostics.add(
            too_deep, "the YAML is nested too deeply; no key needs more than two levels"
        )
    elif not isinstance(root, yaml.MappingNode):
        no_list = f"{what} is not a list of keys; write lines such as `{example}: …`"
        diagnostics.add(*(_slip(lines, first) or (above, no_list)))
    elif spoiled := list(yaml_advice.eaten(root, placed)):
        for index, message in spoiled:
            diagnostics.add(index + 1, message)
    else:
        return root
    return None


def _slip(lines: Sequence[str], first: int) -> tuple[int, str] | None:
    """The line in the file of a usual slip, and what to fix."""
    found = yaml_advice.slip(lines)
    return found and (first + found[0], found[1])


def _too_deep(text: str) -> int:
    """The line where nesting gets too deep, 0 if it does not."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return event.start_mark.line + 1 if event.start_mark else 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return 0


def _told(error: yaml.YAMLError) -> tuple[int, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or "it can't be read"
    line = mark.line + 1 if mark else 1
    advice = "write `key: value`, with 'single quotes' around a text with odd characters"
    return line, yaml_advice.in_double_quotes(problem) or f"bad YAML: {problem}; {advice}"
