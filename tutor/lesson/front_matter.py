"""The front matter of a lesson: YAML between two `---` lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tutor.lesson import schema, yaml_tree
from tutor.lesson.diagnostics import DiagnosticList
from tutor.lesson.model import LAST, DataNames
from tutor.lesson.schema import ByMode, Entry, YamlValue, by_mode, key, list_of

_expressions = by_mode(schema.EXPRESSION)


def _watched(value: YamlValue) -> ByMode[str] | None:
    """An expression, or one for each mode, below the label that it is shown with."""
    if not value.name.strip() or not value.name.isprintable():
        value.diagnostics.add(value.line, f"`{value.name}` is not a label; write a word or two")
    return _expressions(value)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class _DataKeys(Entry):
    input: str = key(schema.NAME, "", "x", required=True)
    target: str = key(schema.NAME, "", "y", required=True)
    prediction: str = key(schema.NAME, "", "y_pred", required=True)


def _data(value: YamlValue) -> DataNames | None:
    """All three names; None where one is missing or wrong."""
    names = schema.read(_DataKeys, value, "`data`")
    found = (names.input, names.target, names.prediction)
    return DataNames(*found) if all(found) else None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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
    warm_up: int = key(schema.at_least(0), 0)
    watch: Mapping[str, ByMode[str]] = key(
        schema.mapping_of(_watched, "{label: expression}"), MappingProxyType({})
    )
    """By label."""
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
    end = yaml_tree.end_of(lines, diagnostics)
    if not end:
        return FrontMatter()
    root = yaml_tree.compose(
        lines[1 : end - 1], diagnostics, first=2, what="the front matter", example="title"
    )
    if root is None:
        return FrontMatter(end=end)
    read = schema.read(FrontMatter, YamlValue("", "", 1, root, {}, diagnostics))
    return dataclasses.replace(read, end=end)
