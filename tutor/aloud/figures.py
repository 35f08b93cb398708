"""Values, and what has changed from one frame to the next, in words.

Knows frames; nothing of lessons and of who says it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tutor.teaching.digits import is_single, setting
from tutor.training.frame import NO_VALUE, NONE, Frame, Value

MOST = 16
"""So many numbers of an array are said; the rest is only counted."""


def figure(x: float) -> str:
    """A number as it is read well: up to six digits, no zeros behind them."""
    if math.isnan(x):
        return "not a number"
    if math.isinf(x):
        return "infinity" if x > 0 else "minus infinity"
    return setting(x or 0.0).replace("−", "-")  # no minus before a zero


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


def changes(now: Frame, was: Frame | None, shown: Iterable[str] = ()) -> list[str]:
    """What is otherwise than it was, a sentence for each.

    `shown`: expressions whose values are said by formulas; the arrays in them are left out.
    """
    said = list(_changes(now, was, " ".join(shown)))
    if was is not None and now.learning_rate != was.learning_rate:
        rates = f"{figure(was.learning_rate)} to {figure(now.learning_rate)}"
        said.append(f"The learning rate went from {rates}.")
    return said


def _changes(now: Frame, was: Frame | None, shown: str) -> Iterator[str]:
    if was is None or _differ(now.loss, was.loss):
        yield from _moved("The loss", now.loss, was.loss if was else None)
    gradients = was.gradients if was else {}
    yield from _of_each("The gradient of {}", now.gradients, gradients, shown)
    for name, value in now.gradients_now.items():
        before = was.gradients_now.get(name) if was else None
        if _differ(value, now.gradients.get(name)) and _differ(value, before):
            yield f"The gradient of {name} is set back: now {said_value(value)}."
    yield from _of_each("{}", now.values, was.values if was else {}, shown)
    yield from _of_each("{}", now.watched, was.watched if was else {}, shown)


def _of_each(
    words: str, now: Mapping[str, Value], was: Mapping[str, Value], shown: str
) -> Iterator[str]:
    for name, value in now.items():
        is_said = not is_single(value) and re.search(rf"\b{re.escape(name)}\b", shown)
        if _differ(value, was.get(name)) and not is_said:
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
            verb, start, end = "rose" if b > a else "fell", figure(a), figure(b)
            by_little = f"by {figure(abs(b - a))}, to {end}"  # where the two look alike
            yield f"{name} {verb} {f'from {start} to {end}' if start != end else by_little}."
            return
    is_first = was is None or not was.data
    yield f"{name} {'is' if is_first else 'is now'} {said_value(now)}."


def everything(frame: Frame) -> list[str]:
    """Each watched number, a sentence for each."""
    has_loss = frame.loss.data or frame.loss.text != NONE.text
    said = [f"The loss is {said_value(frame.loss)}." if has_loss else "There is no loss yet."]
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
