"""What a learner types to set a number of a parameter: `w = 1.5`, `w1[0, 1] = -3`, `1/4`.

Knows the parameters' present values; what is done with the answer is not its business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tutor.lesson.learning_rate import WANTED, is_learning_rate
from tutor.protocol.frame import Element, Value
from tutor.session.number_format import setting
from tutor.training.answers import read_number

_TYPED = re.compile(
    r"^\s*(?:(?P<name>\w+)\s*(?:\[(?P<index>[\d\s,]*)\])?\s*=)?\s*(?P<value>\S.*?)\s*$"
)


def question(values: Mapping[str, Value]) -> str:
    """The words to ask with: which numbers there are, with an example."""
    name, value = next(iter(values.items()))
    now = f" (now {setting(value.data[0])})" if value.data else ""
    if len(values) == 1 and value.size == 1:
        return f"A value for {name}{now}:"
    return f"A number of a parameter, like {name}{_index_text(value)} = 0.5{now}:"


def read(text: str, values: Mapping[str, Value]) -> Element:
    """The element and its new value. Raises ValueError, its text fit to show."""
    typed = _TYPED.match(text)
    if typed is None:
        raise ValueError(f"Type it like this: {_example(values)}")
    name = typed["name"] or next(iter(values))
    if name not in values:
        raise ValueError(f"{name} is no parameter here; there is {', '.join(values)}")
    if typed["name"] is None and (len(values) > 1 or values[name].size > 1):
        raise ValueError(f"Which one? Type it like this: {_example(values)}")
    return Element(
        name, _read_index(typed["index"], name, values[name]), read_number(typed["value"])
    )


def _read_index(text: str | None, name: str, value: Value) -> tuple[int, ...]:
    index = tuple(int(part) for part in re.findall(r"\d+", text or ""))
    if not index and value.size == 1:
        return (0,) * len(value.shape)
    fits = len(index) == len(value.shape) and all(
        i < n for i, n in zip(index, value.shape, strict=True)
    )
    if not fits:
        last = tuple(n - 1 for n in value.shape)
        raise ValueError(f"{name} goes from {name}{[0] * len(last)} to {name}{list(last)}")
    return index


def _example(values: Mapping[str, Value]) -> str:
    name, value = next(iter(values.items()))
    return f"{name}{_index_text(value)} = 0.5"


def _index_text(value: Value) -> str:
    return f"[{', '.join('0' * len(value.shape))}]" if value.size > 1 else ""


def read_learning_rate(text: str) -> float:
    """Return the learning rate that was typed. Raises ValueError, its text fit to show."""
    try:
        value = read_number(text)
    except ValueError:
        value = 0.0
    if not is_learning_rate(value):
        raise ValueError(f"Type a learning rate, like 0.01, 1/4 or 1e-3: {WANTED}.")
    return value
