"""A declarative schema for the YAML of lessons.

A subclass of Entry declares the keys of a mapping, each with the kind of its value, a default and
an example. `read` makes an instance of it and reports every diagnostic: unknown, missing and
repeated keys, and values of the wrong kind. Scalars are taken as they are written: `yes` does not
become True, and `1e-3` does not stay text.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar, cast

import msgspec
import yaml
from msgspec.structs import replace

from tutor.lesson.model import LARGEST_WHOLE, DiagnosticList, is_learning_rate
from tutor.plain import cut_short

T = TypeVar("T")
E = TypeVar("E", bound="Entry")

_QUOTED = 40
"""Characters of a value that are quoted."""


class YamlValue(msgspec.Struct, frozen=True):
    """A node of the YAML that is to be read."""

    name: str
    """The key it stands under."""
    path: str
    """The keys that lead to it, as `wrong.0.reply`."""
    line: int
    """1-based line of its key."""
    node: yaml.Node
    lines: dict[str, int]
    """The line of each key that has been read, by path, of the whole block of YAML."""
    diagnostics: DiagnosticList

    @property
    def own_line(self) -> int:
        """The 1-based line that the value itself begins on."""
        return self.node.start_mark.line + 1

    @property
    def first_line(self) -> int:
        """The line of the first character of its text: below the `|` of a block of lines."""
        is_block = isinstance(self.node, yaml.ScalarNode) and self.node.style in ("|", ">")
        return self.own_line + is_block

    def report(self, code: str, line: int | None = None, /, **values: object) -> None:
        """Add a diagnostic, on the line of the key if no other is given."""
        self.diagnostics.add(self.line if line is None else line, code, name=self.name, **values)

    def below(self, key: str, node: yaml.Node, line: int, name: str | None = None) -> YamlValue:
        """A value within this one, whose line is noted."""
        path = f"{self.path}.{key}" if self.path else key
        self.lines[path] = line
        return YamlValue(name or key, path, line, node, self.lines, self.diagnostics)


ValueReader: TypeAlias = Callable[[YamlValue], T | None]
"""Reads a value of one kind; None, and a diagnostic, where it can't be read."""


# ── Scalars ─────────────────────────────────────────────────────────────────────────

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that an escape in a YAML string can bring into a text of several lines."""


def scalar(wanted: str, convert: Callable[[str], T], **bounds: int) -> ValueReader[T]:
    """A kind of scalar; `convert` raises ValueError for text that isn't `wanted`."""

    def read_scalar(value: YamlValue) -> T | None:
        node = value.node
        if not isinstance(node, yaml.ScalarNode):
            found = "list" if isinstance(node, yaml.SequenceNode) else "mapping"
            value.report("no_scalar", value.own_line, wanted=wanted, found=found, **bounds)
            return None
        try:
            return convert(node.value)
        except ValueError:
            written = cut_short(node.value, _QUOTED) if node.value.strip() else ""
            value.report("bad_scalar", value.own_line, wanted=wanted, written=written, **bounds)
            return None

    return read_scalar


def _where(holds: Callable[[str], object], convert: Callable[[str], T]) -> Callable[[str], T]:
    """The conversion of text for which a condition holds."""

    def converted(written: str) -> T:
        if not holds(written):
            raise ValueError
        return convert(written)

    return converted


def _number_where(holds: Callable[[float], object]) -> Callable[[str], float]:
    return _where(lambda written: math.isfinite(float(written)) and holds(float(written)), float)


def _text(written: str) -> str:
    line = " ".join(written.split())
    if not line or not line.isprintable():
        raise ValueError
    return line


def _markdown(written: str) -> str:
    text = written.strip("\n").rstrip()
    if not text.strip() or _CONTROL.search(text):
        raise ValueError
    return text


def at_least(least: int) -> ValueReader[int]:
    """Whole numbers from `least` up."""
    return in_range(least, LARGEST_WHOLE)


def in_range(least: int, most: int) -> ValueReader[int]:
    """Whole numbers from `least` to `most`."""

    def is_in_range(written: str) -> bool:
        return len(written) <= len(str(LARGEST_WHOLE)) and least <= int(written) <= most

    return scalar("whole", _where(is_in_range, int), least=least, most=most)


def word_of(known: Sequence[str]) -> ValueReader[str]:
    """One of these words. Another is returned as well, with a diagnostic."""

    def read_word(value: YamlValue) -> str | None:
        word = TEXT(value)
        if word is not None and word not in known:
            value.report("unknown_word", value.own_line, word=word, known=[*known])
        return word

    return read_word


def _matching(pattern: str) -> Callable[[str], str]:
    return _where(re.compile(pattern).fullmatch, str)


TEXT = scalar("line", _text)
NUMBER = scalar("number", _number_where(math.isfinite))
POSITIVE = scalar("positive", _number_where(lambda number: number > 0))
RATE = scalar("rate", _number_where(is_learning_rate))
NAME = scalar("name", _where(lambda word: word.isidentifier() and not keyword.iskeyword(word), str))
MODE = scalar("mode", _matching("[A-Za-z][A-Za-z0-9_-]*"))
SLUG = scalar("slug", _matching(r"(?!(?s:.*)\.md\Z)[^\s/\\]+"))
ID = scalar("id", _matching("[A-Za-z0-9-]+"))
YES_OR_NO = scalar("truth", _where(("true", "false").__contains__, lambda word: word == "true"))
MARKDOWN = scalar("text", _markdown)
CODE = scalar(
    "code",
    _where(lambda code: not _CONTROL.search(code), lambda code: code if code.strip() else ""),
)
EXPRESSION = scalar("expression", _text)


# ── Lists and mappings ──────────────────────────────────────────────────────────────


def list_of(
    kind: ValueReader[T], example: str, *, may_repeat: bool = False
) -> ValueReader[tuple[T, ...]]:
    """A list of at least one value; of values that can't be read none is left."""

    def read_list(value: YamlValue) -> tuple[T, ...]:
        node = value.node
        if not node.value:
            value.report("empty_list", example=example)
            return ()
        if not isinstance(node, yaml.SequenceNode):
            found = "mapping" if isinstance(node, yaml.MappingNode) else "text"
            value.report("no_list", found=found, example=example)
            return ()
        found_at: dict[T, int] = {}
        items: list[T] = []
        for number, part in enumerate(node.value):
            at = value.below(str(number), part, part.start_mark.line + 1, value.name)
            item = kind(at)
            if item is None:
                continue
            if not may_repeat and item in found_at:
                said = cut_short(str(item), _QUOTED)
                value.report("item_twice", at.line, item=said, first=found_at[item])
                continue
            if not may_repeat:
                found_at[item] = at.line
            items.append(item)
        return tuple(items)

    return read_list


def mapping_of(kind: ValueReader[T], example: str) -> ValueReader[Mapping[str, T]]:
    """A mapping whose keys are free; of values that can't be read none is left."""

    def read_mapping(value: YamlValue) -> Mapping[str, T] | None:
        if not isinstance(value.node, yaml.MappingNode):
            value.report("no_mapping", example=example)
            return None
        read_pairs = {part.name: kind(part) for part in pairs(value)}
        return {name: found for name, found in read_pairs.items() if found is not None}

    return read_mapping


def pairs(value: YamlValue) -> list[YamlValue]:
    """The entries of a mapping; of entries with the same key the first."""
    found: dict[str, YamlValue] = {}
    for key, node in value.node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            value.report("key_is_no_word", line)
        elif key.value in found:
            value.report("key_twice", line, key=key.value, first=found[key.value].line)
        else:
            found[key.value] = value.below(key.value, node, line)
    return list(found.values())


class ByMode(msgspec.Struct, Generic[T], frozen=True):
    """A value that holds for all modes, or one for each mode."""

    common: T | None = None
    own: Mapping[str, T] = {}
    line: int = 1
    """1-based line of the key."""
    lines: Mapping[str, int] = {}
    """1-based line of each mode's own value."""

    def get(self, mode: str) -> T | None:
        """The value for `mode`, or None if the file has none for it."""
        return self.own.get(mode, self.common)


def by_mode(kind: ValueReader[T]) -> ValueReader[ByMode[T]]:
    """One value for all modes, or a mapping with a value for each."""

    def read_by_mode(value: YamlValue) -> ByMode[T] | None:
        if not isinstance(value.node, yaml.MappingNode):
            common = kind(value)
            return None if common is None else ByMode(common, line=value.line)
        lines: dict[str, int] = {}
        own: dict[str, T] = {}
        for part in pairs(value):
            lines[part.name] = part.line
            found = kind(replace(part, name=value.name))
            if found is not None:
                own[part.name] = found
        if not lines:
            value.report("no_modes_below")
        return ByMode(None, own, value.line, lines) if own else None

    return read_by_mode


# ── Mappings whose keys are known ───────────────────────────────────────────────────


class Key(msgspec.Struct, frozen=True):
    """One key of a mapping: the kind of its value, its default, and whether it must be there."""

    kind: ValueReader[Any]
    default: Any
    example: str
    is_required: bool


def key(kind: ValueReader[T], default: T, example: str = "…", *, required: bool = False) -> T:
    """A key of an Entry. `default` stands for a key that is left out or wrong."""
    found: Any = Key(kind, default, example, required)
    return cast(T, found)


def optional(kind: ValueReader[T], example: str = "…") -> T | None:
    """A key whose value is None where it is left out."""
    return cast(T | None, Key(kind, None, example, is_required=False))


class Source(msgspec.Struct, frozen=True):
    """The place of a mapping in its file."""

    line: int = 1
    """The line of the mapping, or of the block that it stands in."""
    path: str = ""
    lines: Mapping[str, int] = {}
    """The line of every key of the whole block of YAML, by path."""
    own: frozenset[str] = frozenset()
    """The known keys that are there."""
    is_right: bool = True
    """Whether it was read without a diagnostic."""


class Entry:
    """A mapping whose keys are the attributes that a subclass declares with `key`.

    Made by `read`, and never changed.
    """

    source: Source = Source()

    def __init__(self, **values: Any) -> None:
        """`values` are those of keys, and of other attributes; the defaults stand for others."""
        defaults = {name: one.default for name, one in keys_of(type(self)).items()}
        self.__dict__.update(defaults, **values)

    def replaced(self, **values: Any) -> Self:
        """A copy with these values."""
        return type(self)(**{**self.__dict__, **values})

    def __contains__(self, name: str) -> bool:
        return name in self.source.own

    def line(self, name: str) -> int:
        """The line of a key, as `mode` or `set.w`, or of the mapping where the key is left out."""
        path = f"{self.source.path}.{name}" if self.source.path else name
        return self.source.lines.get(path, self.source.line)


def keys_of(entry: type[Entry]) -> Mapping[str, Key]:
    """The keys that an entry may have, by name; those of its base class first."""
    declared = {name: one for kind in entry.__mro__[::-1] for name, one in vars(kind).items()}
    return {name: one for name, one in declared.items() if isinstance(one, Key)}


def entry_of(entry: type[E]) -> ValueReader[E]:
    """A mapping with the keys of `entry`."""
    return lambda value: read(entry, value, "key")


def entries_of(entry: type[E], example: str) -> ValueReader[tuple[E, ...]]:
    """A list of mappings with the keys of `entry`."""
    return list_of(lambda value: read(entry, value, "entry"), example, may_repeat=True)


def read(
    entry: type[E],
    value: YamlValue,
    within: Literal["key", "entry", "kind", "exercise", "front matter"],
    elsewhere: Mapping[str, str] | None = None,
) -> E:
    """The mapping in `value`, with the default for every key that is left out or wrong.

    The diagnostics call the mapping `within`. For keys that are not known, `elsewhere` has the kind
    of exercise that they belong to, "" for one that is passed over.
    """
    known, before = keys_of(entry), len(value.diagnostics)
    required = {name: one.example for name, one in known.items() if one.is_required}
    if not isinstance(value.node, yaml.MappingNode):
        first = next(iter(known))
        examples = required or {first: known[first].example}
        example = ", ".join(f"{name}: {text}" for name, text in examples.items())
        value.report("no_entry", within=within, example=example)
        return entry(source=Source(value.line, value.path, value.lines, is_right=False))
    found = {part.name: part for part in pairs(value)}
    for name, part in found.items():
        if name not in known:
            if not elsewhere or name not in elsewhere:
                value.report("unknown_key", part.line, within=within, word=name, known=[*known])
            elif kind := elsewhere[name]:
                value.report("key_elsewhere", part.line, within=within, key=name, kind=kind)
            del value.lines[part.path]
    for name, example in required.items():
        if name not in found:
            value.report("key_missing", within=within, key=name, example=example)
    own = frozenset(name for name in found if name in known)
    read_values = {name: known[name].kind(found[name]) for name in known if name in found}
    given = {name: one for name, one in read_values.items() if one is not None}
    is_right = len(value.diagnostics) == before
    return entry(source=Source(value.line, value.path, value.lines, own, is_right), **given)
