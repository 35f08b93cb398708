"""The YAML of a lesson file as a tree of nodes with their lines, and its front matter.

YAML that can't be read, and text that YAML reads otherwise than its author meant, become
diagnostics with advice.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import yaml

from tutor.lesson import schema
from tutor.lesson.model import LAST, MOST_WORKERS, DataNames, DiagnosticList, Fault
from tutor.lesson.schema import ByMode, Entry, YamlValue, by_mode, key, list_of

_INVISIBLE = "\u00a0\u00ad\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
_KEY = r"[ ]*(?:-[ ]+)?[\w-]+"
_ODD = re.compile(rf"(?:[ ]*(?:-[ ]*)?|{_KEY}|{_KEY}[ ]*:[ ]*)(?P<odd>[{_INVISIBLE}]|(?<=\w)：)")
"""A character that looks like a blank, or like a colon, where YAML needs the plain one."""

_BLOCK = re.compile(
    r"(?P<indent>[ ]*)(?:-[ ]+)?(?P<key>[\w-]+):[ ]+(?P<mark>[|>][+-]?)[ ]*(?:#.*)?"
)
_NEXT_KEY = re.compile(r"[ ]*(?:-[ ]+)?[\w-]+:(?:[ ]|$)|[ ]*-[ ]|[ ]*#")
_ESCAPE = re.compile(r"\\[A-Za-z]+")


def _spoiled_latex(root: yaml.Node, lines: Sequence[str]) -> Iterator[tuple[int, Fault]]:
    """LaTeX commands that double quotes turn into escapes, each with the index of its line.

    `lines` are counted as the nodes' marks count them.
    """
    for node in _double_quoted(root):
        for number, line in enumerate(_source_of(node, lines), node.start_mark.line):
            for formula in line.replace("\\\\", "").split("$")[1::2]:
                if found := _ESCAPE.search(formula):
                    values = {"escape": found[0][:2], "command": found[0]}
                    yield number, Fault("latex_in_double_quotes", values)


def _odd_character(lines: Sequence[str]) -> tuple[int, Fault] | None:
    for index, line in enumerate(lines):
        if found := _ODD.match(line):
            odd = found["odd"]
            name = unicodedata.name(odd, "character").lower()
            if odd == "：":
                return index, Fault("odd_colon", {"character": name})
            values = {"character": name, "ordinal": ord(odd), "column": found.end()}
            return index, Fault("odd_blank", values)
    return None


def _not_indented(lines: Sequence[str]) -> tuple[int, Fault] | None:
    """A block of lines whose first line stands no deeper than its key."""
    for index, line in enumerate(lines):
        found = _BLOCK.fullmatch(line.rstrip())
        below = next((n for n in range(index + 1, len(lines)) if lines[n].strip()), None)
        if found is None or below is None or _NEXT_KEY.match(lines[below]):
            continue
        if len(lines[below]) - len(lines[below].lstrip(" ")) <= len(found["indent"]):
            return below, Fault("not_indented", {"key": found["key"], "mark": found["mark"]})
    return None


def _double_quoted(root: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """The scalars in double quotes, each once, though an alias may lead back to its anchor."""
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


def _source_of(node: yaml.ScalarNode, lines: Sequence[str]) -> list[str]:
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


def _end_of(lines: Sequence[str], diagnostics: DiagnosticList) -> int:
    """The number of lines of front matter, both `---` included; 0 and a diagnostic without one."""
    if not lines or lines[0].rstrip() != "---":
        diagnostics.add(1, "no_front_matter")
        return 0
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == "---":
            return number
    diagnostics.add(1, "front_matter_not_closed")
    return 0


def compose(
    lines: Sequence[str], diagnostics: DiagnosticList, *, first: int, block: str, example: str
) -> yaml.MappingNode | None:
    """The tree of the YAML on `lines`, or None and a diagnostic.

    `lines` begin on line `first` of the file, counted from 1; a node's mark counts the file's
    lines from 0. The YAML is that of a `block`, the front matter or an exercise, and `example` is
    one of its keys.
    """
    for number, line in enumerate(lines, start=first):
        if found := _UNREADABLE.search(line):
            diagnostics.add(number, "character_not_in_yaml", character=found[0])
            return None
    above = first - 1
    placed = [""] * above + list(lines)  # a mark counts the lines of the file
    text = "\n".join(placed) + "\n"
    try:
        too_deep = _too_deep(text)
        root = None if too_deep else yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        at, (code, values) = _usual_slip(lines, first) or _parser_error(error)
        at = min(max(at, first), above + len(lines))  # the end is seen below
        diagnostics.add(at, code, **values)
        return None
    if too_deep:
        diagnostics.add(too_deep, "yaml_too_deep")
    elif not isinstance(root, yaml.MappingNode):
        no_keys = Fault("no_keys", {"block": block, "example": example})
        at, (code, values) = _usual_slip(lines, first) or (above, no_keys)
        diagnostics.add(at, code, **values)
    elif spoiled := list(_spoiled_latex(root, placed)):
        for index, (code, values) in spoiled:
            diagnostics.add(index + 1, code, **values)
    else:
        return root
    return None


def _usual_slip(lines: Sequence[str], first: int) -> tuple[int, Fault] | None:
    """The line in the file of a usual slip in YAML, and what to fix."""
    found = _odd_character(lines) or _not_indented(lines)
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


def _parser_error(error: yaml.YAMLError) -> tuple[int, Fault]:
    """The line that YAML itself complains of, and its words."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or ""
    code = "unknown_escape" if "escape" in problem else "bad_yaml"
    return mark.line + 1 if mark else 1, Fault(code, {"problem": problem})


_expressions = by_mode(schema.EXPRESSION)


def _watched(value: YamlValue) -> ByMode[str] | None:
    """An expression, or one for each mode, below the label that it is shown with."""
    if not value.name.strip() or not value.name.isprintable():
        value.report("no_label")
    return _expressions(value)


class _DataKeys(Entry):
    input: str = key(schema.NAME, "", "x", required=True)
    target: str = key(schema.NAME, "", "y", required=True)
    prediction: str = key(schema.NAME, "", "y_pred", required=True)


def _data(value: YamlValue) -> DataNames | None:
    """All three names; None where one is missing or wrong."""
    names = schema.read(_DataKeys, value, "key")
    found = (names.input, names.target, names.prediction)
    return DataNames(*found) if all(found) else None


class FrontMatter(Entry):
    """The values of the front matter, with defaults for missing keys."""

    title: str = key(schema.TEXT, "", required=True)
    summary: str = key(schema.TEXT, "", "… (one line)", required=True)
    chapter: str = key(schema.TEXT, "")
    """The heading that it stands below in lists; empty: in no chapter."""
    order: float = key(schema.NUMBER, LAST)
    modes: tuple[str, ...] = key(list_of(schema.MODE, "[manual, autograd]"), ())
    """Empty if the fences alone name the modes."""
    parameters: ByMode[tuple[str, ...]] = key(
        by_mode(list_of(schema.NAME, "[w, b]")), ByMode(), "[w]", required=True
    )
    learning_rate: ByMode[float] = key(by_mode(schema.RATE), ByMode(0.01))
    epochs: ByMode[int] = key(by_mode(schema.at_least(1)), ByMode(100))
    batches: int = key(schema.at_least(1), 1)
    workers: int = key(schema.in_range(2, MOST_WORKERS), 1)
    warm_up: int = key(schema.at_least(0), 0)
    watch: Mapping[str, ByMode[str]] = key(
        schema.mapping_of(_watched, "{label: expression}"), MappingProxyType({})
    )
    """The watched expressions by label."""
    own_gradient: tuple[str, ...] = key(list_of(schema.MODE, "[manual]"), ())
    comparable: bool = key(schema.YES_OR_NO, True)
    data: DataNames | None = key(_data, None)
    builds_on: tuple[str, ...] = key(list_of(schema.SLUG, "[one-weight]"), ())
    end: int = 0
    """The number of lines of the file that are front matter, the `---` lines included."""

    @property
    def are_modes_unread(self) -> bool:
        """Whether diagnostics hide which modes the lesson has."""
        return not self.source.own or ("modes" in self and not self.modes)


def parse(lines: Sequence[str], diagnostics: DiagnosticList) -> FrontMatter:
    """The front matter of a file, given as its lines."""
    end = _end_of(lines, diagnostics)
    if not end:
        return FrontMatter()
    root = compose(lines[1 : end - 1], diagnostics, first=2, block="front matter", example="title")
    if root is None:
        return FrontMatter(end=end)
    value = YamlValue("", "", 1, root, {}, diagnostics)
    return schema.read(FrontMatter, value, "front matter").replaced(end=end)
