"""One mapping in the YAML of an exercise: its text, expressions and code, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import yaml

from tutor.lesson import code_checks, formula_checks, markdown, scalars
from tutor.lesson.markdown import MathSpan, Unclosed
from tutor.lesson.scalars import ScalarType
from tutor.lesson.yaml_values import Keys, Values, first_line_of, line_of

T = TypeVar("T")


class ExerciseEntry:
    """Gives the values of a mapping's keys, with a default for each that is left out or wrong."""

    def __init__(self, keys: Keys, values: Values, lines: dict[str, int], path: str = "") -> None:
        """`lines` collects the line of every key of the exercise; `path` stands before each."""
        self._keys = keys
        self._values = values
        self.lines = lines
        self._path = path
        lines.update({path + key: line for key, line in keys.lines.items()})

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    @property
    def line(self) -> int:
        """Of the mapping."""
        return self._keys.line

    @property
    def diagnostics(self) -> int:
        """How many there are so far in the file."""
        return len(self._values.diagnostics)

    def diagnostic(self, key: str, message: str) -> None:
        """Note what is wrong with `key`, or with the mapping where the key is left out.

        A key of a mapping within this one is written `set.w`.
        """
        self._values.diagnostics.add(self.lines.get(self._path + key, self.line), message)

    def one(self, key: str, kind: ScalarType[T], default: T) -> T:
        """The value of one scalar."""
        value = self.optional(key, kind)
        return default if value is None else value

    def optional(self, key: str, kind: ScalarType[T]) -> T | None:
        """The value of one scalar, None where there is none."""
        return self._values.scalar(key, self._keys.nodes[key], kind) if key in self else None

    def text(self, key: str, default: str = "") -> str:
        """Markdown whose formulas parse."""
        return self._text(key, self._keys.nodes[key]) if key in self else default

    def texts(self, key: str, example: str) -> tuple[str, ...]:
        """A list of Markdown texts that differ, at least one."""
        found: dict[str, int] = {}
        for number, node in enumerate(self._items(key, example)):
            line = self.lines[f"{self._path}{key}.{number}"] = line_of(node)
            text = self._text(key, node)
            if text and text in found:
                self._values.diagnostics.add(
                    line, f"this is in `{key}` already, on line {found[text]}; keep one of them"
                )
            found.setdefault(text, line)
        return tuple(found)

    def words(self, key: str, kind: ScalarType[str], example: str) -> tuple[str, ...]:
        """A list of words, each once; each is told of as `key.WORD`."""
        found: dict[str, None] = {}
        for node in self._items(key, example):
            word = self._values.scalar(key, node, kind)
            if word in found:
                self._values.diagnostics.add(
                    line_of(node), f"`{word}` is twice in `{key}`; keep one of them"
                )
            elif word is not None:
                found[word] = None
                self.lines[f"{self._path}{key}.{word}"] = line_of(node)
        return tuple(found)

    def expression(self, key: str) -> str:
        """A Python expression that compiles; "" where there is none."""
        written = self.one(key, scalars.EXPRESSION, "")
        if written and (reason := code_checks.why_not_expression(written)):
            self.diagnostic(key, f"`{key}` is not a Python expression ({reason}); correct it")
        return written

    def code(self, key: str) -> str:
        """Python code that compiles, perhaps only a comment, perhaps empty."""
        written = self.one(key, scalars.CODE, "")
        if written and (bad := code_checks.why_not_code(written, self._first_line(key))):
            self._values.diagnostics.add(bad.line, f"this is not Python ({bad.reason}); correct it")
        return written

    def entry(
        self, key: str, known: Mapping[str, str], required: tuple[str, ...] = ()
    ) -> ExerciseEntry:
        """The mapping under `key`; an empty one where there is none."""
        if key not in self:
            return ExerciseEntry(Keys(self.line), self._values, {})
        node, line = self._keys.nodes[key], self._keys.lines[key]
        return self._entry(node, f"`{key}`", f"{key}.", line, known, required)

    def entries(
        self, key: str, known: Mapping[str, str], required: tuple[str, ...] = (), *, example: str
    ) -> tuple[ExerciseEntry, ...]:
        """The mappings in the list under `key`."""
        return tuple(
            self._entry(
                node, f"an entry of `{key}`", f"{key}.{number}.", line_of(node), known, required
            )
            for number, node in enumerate(self._items(key, example))
        )

    def pairs(self, key: str, example: str) -> list[tuple[str, yaml.Node]]:
        """The entries of a mapping whose keys are free, each told of as `key.ITS KEY`."""
        if key not in self:
            return []
        node = self._keys.nodes[key]
        if not isinstance(node, yaml.MappingNode):
            self.diagnostic(key, f"`{key}` must be a mapping; write `{key}: {example}`")
            return []
        pairs = self._values.pairs(node)
        self.lines.update({f"{self._path}{key}.{name}": line for name, line, _ in pairs})
        return [(name, value) for name, _, value in pairs]

    def value(self, name: str, node: yaml.Node, kind: ScalarType[T]) -> T | None:
        """The value of a node that `pairs` gave."""
        return self._values.scalar(name, node, kind)

    def text_of(self, name: str, node: yaml.Node) -> str:
        """The Markdown of a node that `pairs` gave."""
        return self._text(name, node)

    def _entry(
        self,
        node: yaml.Node,
        within: str,
        path: str,
        line: int,
        known: Mapping[str, str],
        required: tuple[str, ...],
    ) -> ExerciseEntry:
        keys = self._values.keys(node, known, within=within, line=line, required=required)
        path = self._path + path
        self.lines[path.removesuffix(".")] = line
        return ExerciseEntry(keys, self._values, self.lines, path)

    def _items(self, key: str, example: str) -> list[yaml.Node]:
        if key not in self:
            return []
        node = self._keys.nodes[key]
        if not isinstance(node, yaml.SequenceNode):
            found = "a mapping" if isinstance(node, yaml.MappingNode) else "a text"
            how = f"write `{key}:` and below it `  - …`, or `{key}: {example}`"
            self.diagnostic(
                key, f"`{key}` must be a list, not {found if node.value else 'empty'}; {how}"
            )
            return []
        if not node.value:
            self.diagnostic(key, f"`{key}` must be a list, not empty; write `{key}: {example}`")
            return []
        return list(node.value)

    def _first_line(self, key: str) -> int:
        return first_line_of(self._keys.nodes[key])

    def _text(self, name: str, node: yaml.Node) -> str:
        if isinstance(node, yaml.MappingNode):  # what a text with a colon is to YAML
            how = "put 'single quotes' around it if it has a `:`"
            self._values.diagnostics.add(line_of(node), f"`{name}` must be text; {how}")
            return ""
        text = self._values.scalar(name, node, scalars.MARKDOWN) or ""
        if "$" in text:
            self._formulas(text, node)
        return text

    def _formulas(self, text: str, node: yaml.Node) -> None:
        """Each formula is told on its own line, where the YAML keeps the lines of the text."""
        keeps_lines = isinstance(node, yaml.ScalarNode) and node.style == "|"
        first = first_line_of(node) + (_blank_lines_before(node.value) if keeps_lines else 0)
        diagnostics = self._values.diagnostics
        for found in markdown.find(text.split("\n")):
            if not isinstance(found, MathSpan | Unclosed):
                continue
            line = first + (found.place.line if keeps_lines else 0)
            if isinstance(found, Unclosed) or found.display:
                diagnostics.add(line, "a formula in an exercise stands in its line; write $…$")
            if isinstance(found, MathSpan):
                formula_checks.check(found.latex, line, diagnostics)


def _blank_lines_before(text: str) -> int:
    """The blank lines that a text begins with, and that reading it leaves out."""
    return len(text) - len(text.lstrip("\n"))
