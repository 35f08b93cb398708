"""Templates, filled with the parameters of a code.

A field of a template is a parameter: `{epoch}`. After a colon stand the words that write it:
`{reason:why}` is written by the function `why` of the catalogue's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from types import MappingProxyType
from typing import Any, TypeAlias

from tutor.plain import one_line
from tutor.wording.number_format import trimmed

Values: TypeAlias = Mapping[str, Any]
"""The parameters of a code, by name."""

Words: TypeAlias = Mapping[str, Callable[[Any, Values], str]]
"""Functions that write a parameter, by name; they are given its value, and all parameters."""


def filled(template: str, values: Values, words: Words = MappingProxyType({})) -> str:
    """The text of a template, on one line. Any other format after a colon is Python's: `{x:,}`."""
    parts = []
    for text, name, how, conversion in Formatter().parse(template):
        parts.append(text)
        if name is None:
            continue
        value = values[name]
        if how and how in words:
            parts.append(words[how](value, values))
        elif how:
            parts.append(format(value, how))
        else:
            parts.append(repr(value) if conversion else shown(value))
    return one_line("".join(parts))


def shown(value: Any) -> str:
    """A parameter as a sentence has it: a float is rounded, a list has commas."""
    if isinstance(value, float):
        return trimmed(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def shape_text(shape: Sequence[int], _: Values = MappingProxyType({})) -> str:
    """An array's shape as Python writes it: `(2, 3)`, `(4,)`."""
    return str(tuple(shape))


def modes_text(modes: Sequence[str]) -> str:
    """`mode manual`, `modes manual, autograd`."""
    return f"{'mode' if len(modes) == 1 else 'modes'} {', '.join(modes)}"
