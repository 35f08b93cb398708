"""Values, their changes from frame to frame, and printed output in words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tutor.protocol.frame import NO_VALUE, NONE, Frame, Value
from tutor.wording.number_format import is_single, setting

_WARNING = re.compile(r".*?:\d+: (?P<kind>\w*Warning): (?P<message>.*)")
"""`path:line: UserWarning: message`. A row with the source of that line follows, indented; the
line counts within the piece of code that ran, so that neither says where it is."""
_INTERNAL = re.compile(r" \(Triggered internally at [^)]*\)")


def spoken_printed(lines: Sequence[str]) -> Iterator[str]:
    """The lines of a lesson's output that are worth telling."""
    is_after_warning = False
    for line in lines:
        if warning := _WARNING.fullmatch(line):
            message = _INTERNAL.sub("", warning["message"])
            yield f"A warning, {warning['kind']}: {message.rstrip('. ')}."
        elif any(c.isalnum() for c in line) and not (is_after_warning and line.startswith("  ")):
            yield f"Printed: {line}"
        is_after_warning = warning is not None


MOST_ELEMENTS = 16
"""Numbers of an array that are told; the rest is counted."""


def figure(x: float) -> str:
    """A number with up to six digits, without zeros at its end."""
    if math.isnan(x):
        return "not a number"
    if math.isinf(x):
        return "infinity" if x > 0 else "minus infinity"
    return setting(x or 0.0).replace("−", "-")  # no minus before a zero


def spoken_value(value: Value, *, is_part: bool = False) -> str:
    """A value in words: `-30`, `None`, `true`, `3 numbers: 1, 2, 3`, `a row of 2: 1, 2`.

    `is_part`: in a formula, where parentheses mark the end of an array.
    """
    if not value.data:
        return value.text or "no value"
    is_truth = value.dtype == "bool"
    words = [str(bool(x)).lower() if is_truth else figure(x) for x in value.data[:MOST_ELEMENTS]]
    if is_single(value):
        return words[0]
    said = _array(words, value)
    left = value.size - len(words)
    said = f"{said}; and {left} more" if left > 0 else said
    return f"({said})" if is_part else said


def _array(words: Sequence[str], value: Value) -> str:
    """An array in words: its shape, then its rows."""
    match value.shape:
        case (1, width):
            return f"a row of {width}: {', '.join(words)}"
        case (height, 1):
            return f"a column of {height}: {', '.join(words)}"
        case (height, width):
            rows = (words[i : i + width] for i in range(0, len(words), width))
            said = (f"row {i}: {', '.join(row)}" for i, row in enumerate(rows, 1))
            return f"a {height} by {width} matrix: {'; '.join(said)}"
    return f"{value.size} {'values' if value.dtype == 'bool' else 'numbers'}: {', '.join(words)}"


def is_known(value: Value | None) -> bool:
    """Whether a value has been computed."""
    return value is not None and value != NO_VALUE


def changes(now: Frame, was: Frame | None, shown: Iterable[str] = ()) -> list[str]:
    """A sentence for each value that has changed.

    `shown`: expressions whose values formulas tell; their arrays are left out.
    """
    said = list(_changes(now, was, " ".join(shown)))
    if was is not None and now.learning_rate != was.learning_rate:
        rates = f"{figure(was.learning_rate)} to {figure(now.learning_rate)}"
        said.append(f"The learning rate went from {rates}.")
    return said


def _changes(now: Frame, was: Frame | None, shown: str) -> Iterator[str]:
    if was is None or _is_different(now.loss, was.loss):
        yield from _change("The loss", now.loss, was.loss if was else None)
    gradients = was.gradients if was else {}
    yield from _changes_of_each("The gradient of {}", now.gradients, gradients, shown)
    for name, value in now.gradients_now.items():
        before = was.gradients_now.get(name) if was else None
        if _is_different(value, now.gradients.get(name)) and _is_different(value, before):
            what = "changed" if any(value.data) else "reset"  # clipping changes it
            yield f"The gradient of {name} is {what}: now {spoken_value(value)}."
    yield from _changes_of_each("{}", now.values, was.values if was else {}, shown)
    watched = was.watched if was else {}
    yield from _changes_of_each("{}", now.watched, watched, shown, link=":")


def _changes_of_each(
    words: str,
    now: Mapping[str, Value],
    was: Mapping[str, Value],
    shown: str,
    *,
    link: str = " is",
) -> Iterator[str]:
    for name, value in now.items():
        is_said = not is_single(value) and re.search(rf"\b{re.escape(name)}\b", shown)
        if _is_different(value, was.get(name)) and not is_said:
            yield from _change(words.format(name), value, was.get(name), link=link)


def _is_different(now: Value, was: Value | None) -> bool:
    """Whether a value has changed; NaN is equal to NaN here."""
    if was is None or now.shape != was.shape or len(now.data) != len(was.data):
        return True
    pairs = zip(now.data, was.data, strict=True)
    return now.text != was.text or any(a != b and not (a != a and b != b) for a, b in pairs)


def _change(name: str, now: Value, was: Value | None, *, link: str = " is") -> Iterator[str]:
    if not is_known(now) or (not now.data and was is None):
        return
    if was is not None and was.data and now.data and is_single(now) and is_single(was):
        a, b = was.data[0], now.data[0]
        if now.dtype == was.dtype == "bool":
            yield f"{name}: {'now' if b else 'no longer'} true."
            return
        if math.isfinite(a) and math.isfinite(b):
            verb, start, end = "rose" if b > a else "fell", figure(a), figure(b)
            by_little = f"by {figure(abs(b - a))}, to {end}"  # if both look the same
            yield f"{name} {verb} {f'from {start} to {end}' if start != end else by_little}."
            return
    is_first = was is None or not was.data
    yield f"{name}{link} {'' if is_first else 'now '}{spoken_value(now)}."


def all_values(frame: Frame) -> list[str]:
    """A sentence for each watched number."""
    has_loss = frame.loss.data or frame.loss.text != NONE.text
    said = [f"The loss is {spoken_value(frame.loss)}." if has_loss else "There is no loss yet."]
    for name, value in frame.values.items():
        gradient = frame.gradients.get(name)
        now = frame.gradients_now.get(name)
        line = f"{name} is {spoken_value(value)}."
        if gradient is not None:
            line += f" Its gradient is {spoken_value(gradient)}."
            if now is not None and _is_different(now, gradient):
                line += f" Now its gradient is {spoken_value(now)}."
        said.append(line)
    watched = (f"{name}: {spoken_value(v)}." for name, v in frame.watched.items() if is_known(v))
    return [*said, *watched]
