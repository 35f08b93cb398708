"""Values, and what has changed from one frame to the next, in words.

Knows frames; nothing of lessons and of who says it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from tutor.teaching.digits import is_single, setting
from tutor.training.frame import NO_VALUE, Frame, Value

MOST = 16
"""So many numbers of an array are said; the rest is only counted."""


def figure(x: float) -> str:
    """A number as it is read well: up to six digits, no zeros behind them."""
    if math.isnan(x):
        return "not a number"
    if math.isinf(x):
        return "infinity" if x > 0 else "minus infinity"
    return setting(x).replace("−", "-")


def said_value(value: Value) -> str:
    """A value: `-30`, `None`, `1, 2, 3`, `row 1: 0.1, 0.3; row 2: 0.2, 0.1`."""
    if not value.data:
        return value.text or "no value"
    if value.dtype == "bool" and is_single(value):
        return str(bool(value.data[0]))
    numbers = [figure(x) for x in value.data[:MOST]]
    rows = _rows(numbers, value)
    said = rows[0] if len(rows) == 1 else "; ".join(f"row {i}: {r}" for i, r in enumerate(rows, 1))
    left = value.size - len(numbers)
    return f"{said}; and {left} more" if left > 0 else said


def _rows(numbers: Sequence[str], value: Value) -> list[str]:
    shape = value.shape
    if len(shape) != 2 or 1 in shape:
        return [", ".join(numbers)]
    width = shape[1]
    return [", ".join(numbers[i : i + width]) for i in range(0, len(numbers), width)]


def is_known(value: Value | None) -> bool:
    """Whether anything has been computed that could be said."""
    return value is not None and value != NO_VALUE


def changes(now: Frame, was: Frame | None) -> list[str]:
    """What is otherwise than it was, a sentence for each."""
    said = list(_changes(now, was))
    if was is not None and now.learning_rate != was.learning_rate:
        rates = f"{figure(was.learning_rate)} to {figure(now.learning_rate)}"
        said.append(f"The learning rate went from {rates}.")
    return said


def _changes(now: Frame, was: Frame | None) -> Iterator[str]:
    if was is None or _differ(now.loss, was.loss):
        yield from _moved("The loss", now.loss, was.loss if was else None)
    yield from _of_each("The gradient of {}", now.gradients, was.gradients if was else {})
    for name, value in now.gradients_now.items():
        before = was.gradients_now.get(name) if was else None
        if _differ(value, now.gradients.get(name)) and _differ(value, before):
            yield f"The gradient of {name} is set back: now {said_value(value)}."
    yield from _of_each("{}", now.values, was.values if was else {})
    yield from _of_each("{}", now.watched, was.watched if was else {})


def _of_each(words: str, now: Mapping[str, Value], was: Mapping[str, Value]) -> Iterator[str]:
    for name, value in now.items():
        if _differ(value, was.get(name)):
            yield from _moved(words.format(name), value, was.get(name))


def _differ(now: Value, was: Value | None) -> bool:
    """Whether it is another value; NaN is not another than NaN."""
    if was is None or now.shape != was.shape or len(now.data) != len(was.data):
        return True
    pairs = zip(now.data, was.data, strict=True)
    return now.text != was.text or any(a != b and not (a != a and b != b) for a, b in pairs)


def _moved(name: str, now: Value, was: Value | None) -> Iterator[str]:
    if not is_known(now) or (not now.data and was is None):
        return
    if was is not None and was.data and now.data and is_single(now) and is_single(was):
        a, b = was.data[0], now.data[0]
        if math.isfinite(a) and math.isfinite(b):
            yield f"{name} {'rose' if b > a else 'fell'} from {figure(a)} to {figure(b)}."
            return
    yield (
        f"{name} is now {said_value(now)}." if was is not None else f"{name} is {said_value(now)}."
    )


def everything(frame: Frame) -> list[str]:
    """Each watched number, a sentence for each."""
    said = [f"The loss is {said_value(frame.loss)}."]
    for name, value in frame.values.items():
        gradient = frame.gradients.get(name)
        now = frame.gradients_now.get(name)
        line = f"{name} is {said_value(value)}."
        if gradient is not None:
            line += f" Its gradient is {said_value(gradient)}"
            left = now is not None and _differ(now, gradient)
            line += f", and now {said_value(now)}." if left and now is not None else "."
        said.append(line)
    watched = (f"{name} is {said_value(v)}." for name, v in frame.watched.items() if is_known(v))
    return [*said, *watched]
