"""The front matter of a lesson: YAML between two `---` lines, checked key by key.

Takes every scalar of the YAML tree as it is written: no `yes` becomes True and no `1e-3` stays
text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import yaml

from tutor.lesson import yaml_values
from tutor.lesson.diagnostics import DiagnosticList, did_you_mean
from tutor.lesson.model import DataNames
from tutor.lesson.yaml_values import ScalarType, Values

T = TypeVar("T")

LAST = 1e9
"""The order of a lesson that says none: after all that do."""


@dataclass(frozen=True, slots=True)
class ByMode(Generic[T]):
    """A value that holds for all modes, or one for each mode."""

    common: T | None = None
    own: Mapping[str, T] = field(default_factory=dict)
    line: int = 1
    """1-based line of the key."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """1-based line of each mode's own value."""

    def get(self, mode: str) -> T | None:
        """The value for `mode`, or None if nothing is said about it."""
        return self.own.get(mode, self.common)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """The values of the front matter, with defaults for missing keys."""

    title: str = ""
    summary: str = ""
    order: float = LAST
    modes: tuple[str, ...] = ()
    """Empty if the fences alone say which modes there are."""
    parameters: ByMode[tuple[str, ...]] = field(default_factory=ByMode)
    learning_rate: ByMode[float] = field(default_factory=lambda: ByMode(0.01))
    epochs: ByMode[int] = field(default_factory=lambda: ByMode(100))
    batches: int = 1
    warm_up: int = 0
    watch: Mapping[str, ByMode[str]] = field(default_factory=dict)
    """By label."""
    own_gradient: tuple[str, ...] = ()
    comparable: bool = True
    data: DataNames | None = None
    builds_on: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    """1-based line of each key that is there."""
    end: int = 0
    """How many lines of the file are front matter, the `---` lines included."""

    def line(self, key: str) -> int:
        """Where `key` stands, or 1 if it is left out."""
        return self.lines.get(key, 1)

    @property
    def are_modes_unread(self) -> bool:
        """Whether it is at fault, so that no one knows which modes the lesson has."""
        return not self.lines or ("modes" in self.lines and not self.modes)


def parse(lines: Sequence[str], diagnostics: DiagnosticList) -> FrontMatter:
    """The front matter of a file, given as its lines. Faults are added to `diagnostics`."""
    end = yaml_values.end_of(lines, diagnostics)
    if not end:
        return FrontMatter()
    root = yaml_values.compose(
        lines[1 : end - 1], diagnostics, first=2, what="the front matter", example="title"
    )
    if root is None:
        return FrontMatter(end=end)
    return _Reader(diagnostics).read(root, end)


class _Reader:
    """Turns the nodes of the front matter into values, noting every fault."""

    def __init__(self, diagnostics: DiagnosticList) -> None:
        self._diagnostics = diagnostics
        self._values = Values(diagnostics)
        self._nodes: dict[str, yaml.Node] = {}
        self._lines: dict[str, int] = {}

    def read(self, root: yaml.MappingNode, end: int) -> FrontMatter:
        self._collect(root)
        default = FrontMatter()
        return FrontMatter(
            title=self._one("title", yaml_values.TEXT, ""),
            summary=self._one("summary", yaml_values.TEXT, ""),
            order=self._one("order", yaml_values.NUMBER, LAST),
            modes=self._several("modes", yaml_values.MODE),
            parameters=self._parameters(),
            learning_rate=self._by_mode("learning_rate", yaml_values.RATE, default.learning_rate),
            epochs=self._by_mode("epochs", yaml_values.at_least(1), default.epochs),
            batches=self._one("batches", yaml_values.at_least(1), 1),
            warm_up=self._one("warm_up", yaml_values.at_least(0), 0),
            watch=self._watch(),
            own_gradient=self._several("own_gradient", yaml_values.MODE),
            comparable=self._one("comparable", yaml_values.YES_OR_NO, True),
            data=self._data(),
            builds_on=self._several("builds_on", yaml_values.SLUG),
            lines=self._lines,
            end=end,
        )

    def _collect(self, root: yaml.MappingNode) -> None:
        known = [name for name in FrontMatter.__dataclass_fields__ if name not in ("lines", "end")]
        for key, line, node in self._values.pairs(root):
            if key not in known:
                self._diagnostics.add(line, f"unknown key `{key}`{did_you_mean(key, known)}")
                continue
            self._nodes[key], self._lines[key] = node, line
        for key, example in _REQUIRED.items():
            if key not in self._nodes:
                self._diagnostics.add(1, f"the key `{key}` is missing; write `{key}: {example}`")

    def _one(self, key: str, kind: ScalarType[T], default: T) -> T:
        if key not in self._nodes:
            return default
        value = self._values.scalar(key, self._nodes[key], kind)
        return default if value is None else value

    def _list(self, key: str, node: yaml.Node, kind: ScalarType[str]) -> tuple[str, ...]:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self._diagnostics.add(
                line, f"`{key}` must be a list of names; write `{key}: [{_EXAMPLES[key]}]`"
            )
            return ()
        names: dict[str, None] = {}
        for item in node.value:
            name = self._values.scalar(key, item, kind)
            if name in names:
                self._diagnostics.add(
                    item.start_mark.line + 1, f"`{name}` is twice in `{key}`; keep one of them"
                )
            elif name is not None:
                names[name] = None
        return tuple(names)

    def _several(self, key: str, kind: ScalarType[str]) -> tuple[str, ...]:
        node = self._nodes.get(key)
        return () if node is None else self._list(key, node, kind)

    def _parameters(self) -> ByMode[tuple[str, ...]]:
        key = "parameters"
        node = self._nodes.get(key)
        if node is None:
            return ByMode()
        if not isinstance(node, yaml.MappingNode):
            return ByMode(self._list(key, node, yaml_values.NAME), line=self._lines[key])
        pairs = self._values.pairs(node)
        own = {mode: self._list(key, value, yaml_values.NAME) for mode, _, value in pairs}
        return ByMode(None, own, self._lines[key], {mode: line for mode, line, _ in pairs})

    def _by_mode(self, key: str, kind: ScalarType[T], default: ByMode[T]) -> ByMode[T]:
        if key not in self._nodes:
            return default
        found = self._value_or_mapping(key, self._nodes[key], self._lines[key], kind)
        # what could not be read falls back to the default, so that it is told only once
        return ByMode(default.common, {}, found.line) if _says_nothing(found) else found

    def _value_or_mapping(
        self, name: str, node: yaml.Node, line: int, kind: ScalarType[T]
    ) -> ByMode[T]:
        if not isinstance(node, yaml.MappingNode):
            return ByMode(self._values.scalar(name, node, kind), line=line)
        own: dict[str, T] = {}
        lines: dict[str, int] = {}
        before = len(self._diagnostics)
        for mode, mode_line, value in self._values.pairs(node):
            lines[mode] = mode_line
            converted = self._values.scalar(name, value, kind)
            if converted is not None:
                own[mode] = converted
        if not own and len(self._diagnostics) == before:
            self._diagnostics.add(line, f"`{name}` is empty; write a value for each mode")
        return ByMode(None, own, line, lines)

    def _watch(self) -> Mapping[str, ByMode[str]]:
        node = self._nodes.get("watch")
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._diagnostics.add(
                self._lines["watch"],
                "`watch` must be a mapping; write `watch:` and below it `  label: expression`",
            )
            return {}
        pairs = self._values.pairs(node)
        for label, line, _ in pairs:
            if not label.strip() or not label.isprintable():
                self._diagnostics.add(line, f"`{label}` is no label; write a word or two")
        return {
            label: self._value_or_mapping(label, value, line, yaml_values.EXPRESSION)
            for label, line, value in pairs
        }

    def _data(self) -> DataNames | None:
        """All three names, or None and a fault for each that is missing or wrong."""
        node = self._nodes.get("data")
        if node is None:
            return None
        if not isinstance(node, yaml.MappingNode):
            self._diagnostics.add(self._lines["data"], f"`data` must be a mapping; write `{_DATA}`")
            return None
        known, found = DataNames.__struct_fields__, dict[str, str | None]()
        for key, line, value in self._values.pairs(node):
            if key in known:
                found[key] = self._values.scalar(key, value, yaml_values.NAME)
            else:
                wrong = f"unknown key `{key}` in `data`"
                self._diagnostics.add(line, f"{wrong}{did_you_mean(key, known)}")
        if missing := [key for key in known if key not in found]:
            names = ", ".join(f"`{key}`" for key in missing)
            self._diagnostics.add(self._lines["data"], f"`data` lacks {names}; write `{_DATA}`")
        names_of = {key: name for key, name in found.items() if name is not None}
        return DataNames(**names_of) if len(names_of) == len(known) else None


def _says_nothing(value: ByMode[T]) -> bool:
    return value.common is None and not value.own


_REQUIRED = {"title": "…", "summary": "… (one line)", "parameters": "[w]"}
_DATA = "data: {input: x, target: y, prediction: y_pred}"
_EXAMPLES = {
    "parameters": "w, b",
    "modes": "manual, autograd",
    "own_gradient": "manual",
    "builds_on": "one-weight",
}
