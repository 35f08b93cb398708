"""The values that nodes of a YAML tree hold, with a fault for each that is not as it must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import yaml

from tutor.lesson.diagnostics import DiagnosticList, did_you_mean
from tutor.lesson.scalars import ScalarType

T = TypeVar("T")


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
