"""YAML in a lesson file: a tree of nodes with their lines, and the checked values in it.

A value of the wrong type, a key that is missing or unknown, and text that YAML reads otherwise than
its author meant each become a diagnostic with its line.
"""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import yaml

from tutor.lesson.diagnostics import DiagnosticList, did_you_mean
from tutor.lesson.model import WANTED, is_learning_rate

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
    elif spoiled := list(eaten(root, placed)):
        for index, message in spoiled:
            diagnostics.add(index + 1, message)
    else:
        return root
    return None


def _slip(lines: Sequence[str], first: int) -> tuple[int, str] | None:
    """The line in the file of a usual slip, and what to fix."""
    found = slip(lines)
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
    return line, in_double_quotes(problem) or f"bad YAML: {problem}; {advice}"


T = TypeVar("T")

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What an escape in a YAML string can smuggle into text of several lines."""

MAX_INTEGER = 1_000_000_000
"""Counts of epochs and batches above this are typing mistakes."""


@dataclass(frozen=True, slots=True)
class ScalarType(Generic[T]):
    """A type of scalar."""

    wanted: str
    """Completes the sentence "the key must be …"."""
    convert: Callable[[str], T]
    """The value, from the text as it is written. Raises ValueError if it is none."""


def _text(written: str) -> str:
    line = " ".join(written.split())
    if not line or not line.isprintable():
        raise ValueError
    return line


def _number(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise ValueError
    return value


def _positive(written: str) -> float:
    value = _number(written)
    if value <= 0:
        raise ValueError
    return value


def _rate(written: str) -> float:
    value = _number(written)
    if not is_learning_rate(value):
        raise ValueError
    return value


def _name(written: str) -> str:
    if not written.isidentifier() or keyword.iskeyword(written):
        raise ValueError
    return written


def _mode(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", written):
        raise ValueError
    return written


def _slug(written: str) -> str:
    if not re.fullmatch(r"[^\s/\\]+", written) or written.endswith(".md"):
        raise ValueError
    return written


def _id(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", written):
        raise ValueError
    return written


def _yes_or_no(written: str) -> bool:
    if written not in ("true", "false"):
        raise ValueError
    return written == "true"


def _markdown(written: str) -> str:
    text = written.strip("\n").rstrip()
    if not text.strip() or _CONTROL.search(text):
        raise ValueError
    return text


def _code(written: str) -> str:
    if _CONTROL.search(written):
        raise ValueError
    return written if written.strip() else ""


def at_least(least: int) -> ScalarType[int]:
    """Whole numbers from `least` up."""

    def convert(written: str) -> int:
        if len(written) > len(str(MAX_INTEGER)):
            raise ValueError
        value = int(written)
        if not least <= value <= MAX_INTEGER:
            raise ValueError
        return value

    return ScalarType(f"a whole number from {least} to {MAX_INTEGER}", convert)


TEXT = ScalarType("one line of text", _text)
NUMBER = ScalarType("a finite number", _number)
POSITIVE = ScalarType("a finite number above 0", _positive)
RATE = ScalarType(WANTED, _rate)
NAME = ScalarType("a Python name", _name)
MODE = ScalarType("a mode's name (letters, digits, - and _)", _mode)
SLUG = ScalarType("a lesson's name (its file's without .md)", _slug)
ID = ScalarType("letters, digits and - only", _id)
YES_OR_NO = ScalarType("true or false", _yes_or_no)
MARKDOWN = ScalarType("text", _markdown)
CODE = ScalarType("Python code", _code)
EXPRESSION = ScalarType("a Python expression on one line", _text)


def line_of(node: yaml.Node) -> int:
    """The 1-based line of the file that a node begins on."""
    return node.start_mark.line + 1


def first_line_of(node: yaml.Node) -> int:
    """The line of the first character of its text: below the `|` of a block of lines."""
    is_block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    return line_of(node) + is_block


@dataclass(frozen=True, slots=True)
class Values:
    """Reads nodes, adding what is wrong with them to `diagnostics`."""

    diagnostics: DiagnosticList

    def pairs(self, node: yaml.MappingNode) -> list[tuple[str, int, yaml.Node]]:
        """Key, line and value of each entry; the first of entries with the same key."""
        found: dict[str, tuple[str, int, yaml.Node]] = {}
        for key, value in node.value:
            line = line_of(key)
            if not isinstance(key, yaml.ScalarNode):
                self.diagnostics.add(line, "a key must be one word; write `key: value`")
            elif key.value in found:
                first = found[key.value][1]
                self.diagnostics.add(
                    line, f"the key `{key.value}` is already on line {first}; keep one of them"
                )
            else:
                found[key.value] = (key.value, line, value)
        return list(found.values())

    def scalar(self, name: str, node: yaml.Node, kind: ScalarType[T]) -> T | None:
        """The value of one scalar node, or None and a fault."""
        line = line_of(node)
        if not isinstance(node, yaml.ScalarNode):
            found = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
            self.diagnostics.add(
                line, f"`{name}` must be {kind.wanted}, not {found}; write `{name}: …`"
            )
            return None
        try:
            return kind.convert(node.value)
        except ValueError:
            short = node.value if len(node.value) <= 40 else node.value[:39] + "…"
            shown = f"`{short}`" if short.strip() else "empty"
            self.diagnostics.add(line, f"`{name}` must be {kind.wanted}, not {shown}")
            return None

    def keys(
        self,
        node: yaml.Node,
        known: Mapping[str, str],
        *,
        within: str,
        line: int | None = None,
        required: Sequence[str] = (),
        elsewhere: Mapping[str, str] | None = None,
    ) -> Keys:
        """The entries of a mapping whose keys are known; each unknown or missing one is told.

        `elsewhere` says of keys that are not known here where they are.
        `known` has an example for each key. `within` is what the mapping is, with an article;
        `line` is where a key that is missing is told, the mapping's own if it is left out.
        """
        found = Keys(line_of(node) if line is None else line)
        if not isinstance(node, yaml.MappingNode):
            example = ", ".join(f"{key}: {known[key]}" for key in required or list(known)[:1])
            self.diagnostics.add(found.line, f"{within} must be a mapping; write `{{{example}}}`")
            return found
        for key, at, value in self.pairs(node):
            if key in known:
                found.nodes[key], found.lines[key] = value, at
            else:
                hint = (elsewhere or {}).get(key) or did_you_mean(key, known)
                self.diagnostics.add(at, f"unknown key `{key}` in {within}{hint}")
        for key in required:
            if key not in found:
                self.diagnostics.add(
                    found.line, f"{within} lacks `{key}`; write `{key}: {known[key]}`"
                )
        return found


@dataclass(frozen=True, slots=True)
class Keys:
    """The entries of one mapping, by key."""

    line: int
    """Of the mapping, or of what it stands in."""
    nodes: dict[str, yaml.Node] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    """1-based line of each key."""

    def __contains__(self, key: str) -> bool:
        return key in self.nodes

    def line_of(self, key: str) -> int:
        """Where `key` stands, or the mapping if it is left out."""
        return self.lines.get(key, self.line)
