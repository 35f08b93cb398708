"""Advice for YAML that can't be read, or that is read otherwise than its author meant.

Looks at the lines as they are written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import yaml

_INVISIBLE = "\u00a0\u00ad\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
_KEY = r"[ ]*(?:-[ ]+)?[\w-]+"
_ODD = re.compile(rf"(?:[ ]*(?:-[ ]*)?|{_KEY}|{_KEY}[ ]*:[ ]*)(?P<odd>[{_INVISIBLE}]|(?<=\w)：)")
"""A character that looks like a blank, or like a colon, where YAML needs the plain one."""

_BLOCK = re.compile(
    r"(?P<indent>[ ]*)(?:-[ ]+)?(?P<key>[\w-]+):[ ]+(?P<mark>[|>][+-]?)[ ]*(?:#.*)?"
)
_NEXT_KEY = re.compile(r"[ ]*(?:-[ ]+)?[\w-]+:(?:[ ]|$)|[ ]*-[ ]|[ ]*#")
_ESCAPE = re.compile(r"\\[A-Za-z]+")

SINGLE = "write the text in 'single quotes', or below `|`"


def slip(lines: Sequence[str]) -> tuple[int, str] | None:
    """The index of the line to fix, and what to fix; None if it is none of the usual slips.

    The lines are YAML that can't be read, or is no list of keys.
    """
    return _odd_character(lines) or _not_indented(lines)


def in_double_quotes(problem: str) -> str:
    """Advice for YAML's complaint about an escape; empty if it complains about something else."""
    if "escape" not in problem:
        return ""
    return f"a backslash in double quotes is an escape, and this is none; {SINGLE}"


def eaten(root: yaml.Node, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """LaTeX commands that double quotes make something else of: where, and what to write.

    `lines` are counted as the nodes' marks count them.
    """
    for node in _double_quoted(root):
        for number, line in enumerate(_written(node, lines), node.start_mark.line):
            for formula in line.replace("\\\\", "").split("$")[1::2]:
                if found := _ESCAPE.search(formula):
                    what = f"double quotes make an escape of `{found[0][:2]}` in `{found[0]}`"
                    yield number, f"{what}; {SINGLE}"


def _odd_character(lines: Sequence[str]) -> tuple[int, str] | None:
    for index, line in enumerate(lines):
        if found := _ODD.match(line):
            odd = found["odd"]
            name = unicodedata.name(odd, "character").lower()
            if odd == "：":
                return index, f"`：` is a {name}; write a plain `:` and a blank"
            what = f"there is an invisible {name} (U+{ord(odd):04X}) in column {found.end()}"
            return index, f"{what}; write a plain blank, or delete it"
    return None


def _not_indented(lines: Sequence[str]) -> tuple[int, str] | None:
    """A block of lines whose first line stands no deeper than its key."""
    for index, line in enumerate(lines):
        found = _BLOCK.fullmatch(line.rstrip())
        below = next((n for n in range(index + 1, len(lines)) if lines[n].strip()), None)
        if found is None or below is None or _NEXT_KEY.match(lines[below]):
            continue
        if len(lines[below]) - len(lines[below].lstrip(" ")) <= len(found["indent"]):
            return below, f"indent the lines below `{found['key']}: {found['mark']}`"
    return None


def _double_quoted(root: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Each once, though an alias may lead back to where it stands."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            if node.style == '"':
                yield node
        elif isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        else:
            waiting += node.value


def _written(node: yaml.ScalarNode, lines: Sequence[str]) -> list[str]:
    """The text between a node's marks, as it stands in the file."""
    start, end = node.start_mark, node.end_mark
    found = list(lines[start.line : end.line + 1])
    found[-1] = found[-1][: end.column]
    found[0] = found[0][start.column :]
    return found
