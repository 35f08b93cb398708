"""Typed values: a parameter's number (`w1[0, 1] = -3`), a learning rate, a position, a file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tutor.digits import whole_number
from tutor.errors import Refused
from tutor.lesson.model import LARGEST_RATE, LARGEST_WHOLE, Lesson, is_learning_rate
from tutor.plain import one_line
from tutor.protocol.commands import run_name
from tutor.protocol.frame import EPOCH_END, Element, Remark, Value
from tutor.session.session import FIGURES, NOTEBOOK, SCRIPT
from tutor.training.exercises import UnreadableError, read_number
from tutor.wording.notices import unreadable
from tutor.wording.number_format import trimmed
from tutor.wording.remarks import remark_text

MOST_NAMES = 8
"""Names of parameters that one message lists."""

_REST = r"\s*(?P<index>(?:\[[^\[\]]*\]\s*)*)(?P<sign>=|(?<=[\s\]]))\s*(?P<value>[^\s=].*?)\s*"
"""Behind a parameter's label: `[0, 1] = -3`, `[0, 1] -3`, `-3`."""

_NO_VALUE = r"\s*(?:\[[^\[\]]*\]\s*)*=?\s*"
"""Behind a parameter's label where its value is still missing: `[0, 1] =`."""

_ASSIGNED = re.compile(r"\s*(?P<name>[^\W\d][^=]*?)\s*(?:\[[^\[\]\"']*\]\s*)*=.*")
_BESIDE = re.compile(r"\s*(?P<name>[^\W\d][\w.\[\]\"']*?)(?:\[[\d\s,]*\])?\s+\S.*")
"""A name that is no parameter's, before a value: `v[0] = 1`, `v 1`."""


def question(values: Mapping[str, Value]) -> str:
    """The words to ask with: which numbers there are, with an example."""
    name, value = next(iter(values.items()))
    now = f" (now {trimmed(value.data[0])})" if value.data else ""
    if len(values) == 1 and value.size == 1:
        return f"A value for {name}{now}:"
    return f"A number of a parameter, like {name}{_index_text(value)} = 0.5{now}:"


def read(text: str, values: Mapping[str, Value], *, command: str = "") -> Element:
    """The element and its new value. Raises ValueError, its text fit to show.

    `command` is what is typed before it in the examples.
    """
    example = f"Type it like this: {command}{_example(values)}"
    if not text.strip() or text.strip() in values:  # a name alone has no value
        raise ValueError(example)
    if text.strip().startswith("="):
        raise ValueError(f"Type a parameter before =. {example}")
    for name in sorted(values, key=len, reverse=True):
        if re.fullmatch(_label_pattern(name) + _NO_VALUE, text):
            number = one_line(text.partition("=")[0].strip())
            number = name + _index_text(values[name]) if "[" not in number else number
            raise ValueError(f"Type a value after =, like {command}{number} = 0.5")
        typed = re.fullmatch(_label_pattern(name) + _REST, text)
        if typed is not None:
            index = _read_index(typed["index"], name, values[name])
            return Element(name, index, _read_number(typed["value"]))
    _check_unnamed(text, values)
    name, value = next(iter(values.items()))
    if len(values) > 1 or value.size > 1:
        raise ValueError(f"Which one? {example}")
    return Element(name, _read_index("", name, value), _read_number(text.strip()))


def _label_pattern(label: str) -> str:
    """A pattern for a parameter's label, an expression, with spaces and either quotes."""
    quote = "[\"']"
    tokens = re.findall(r"\w+|[^\w\s]", label)
    named = r"\s*".join(quote if token == '"' else re.escape(token) for token in tokens)
    return rf"\s*{named}(?![\w.])" if label[-1] != "]" else rf"\s*{named}(?!\.)"


def _check_unnamed(text: str, values: Mapping[str, Value]) -> None:
    """Raise ValueError if a name stands before the number: it is no parameter's."""
    typed = _ASSIGNED.fullmatch(text) or (None if _is_number(text) else _BESIDE.fullmatch(text))
    if typed is None:
        return
    more = len(values) - MOST_NAMES
    known = ", ".join(list(values)[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    raise ValueError(f"No parameter {one_line(typed['name'])} here. Parameters: {known}")


def _is_number(text: str) -> bool:
    try:
        read_number(text)
    except UnreadableError:
        return False
    return True


def _read_number(text: str) -> float:
    try:
        return read_number(text)
    except UnreadableError as error:
        raise ValueError(unreadable(error.code, error.typed)) from None


def _read_index(text: str, name: str, value: Value) -> tuple[int, ...]:
    typed = [part.strip() for part in re.split(r"[\[\],]+", text) if part.strip()]
    if not typed and value.size == 1:
        return (0,) * len(value.shape)
    if typed and not value.shape:
        raise ValueError(f"{name} is a single number: type it without an index.")
    numbers = (whole_number(part, n - 1) for part, n in zip(typed, value.shape, strict=False))
    index = tuple(number for number in numbers if number is not None)
    if not len(typed) == len(value.shape) == len(index):
        last = [n - 1 for n in value.shape]
        limits = f"The elements of {name} are {name}{[0] * len(last)} to {name}{last}"
        raise ValueError(f"{limits}: its shape is {value.shape}.")
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
    except UnreadableError:
        value = 0.0
    if not is_learning_rate(value):
        example = "at most a million" if value > LARGEST_RATE else "like 0.01, 1/4 or 1e-3"
        raise ValueError(f"Type a positive number, {example}.")
    return value


def read_whole_number(text: str, least: int, most: int) -> int:
    """Return the whole number that was typed. Raises ValueError, its text fit to show."""
    number = whole_number(text.strip(), most)
    if number is None or number < least:
        raise ValueError(f"{one_line(text)} is not a whole number from {least} to {most}.")
    return number


def read_count(text: str) -> int:
    """Return the number of epochs, or of something else, from 1. Raises ValueError as above."""
    return read_whole_number(text, 1, LARGEST_WHOLE)


def read_seed(text: str) -> int:
    """Return the seed that was typed. Raises ValueError as above."""
    return read_whole_number(text, 0, LARGEST_WHOLE)


def read_run_name(text: str) -> str:
    """Return the name for a run that was typed. Raises ValueError, its text fit to show."""
    try:
        return run_name(text)
    except Refused as error:
        why = remark_text(Remark.of(error))
        raise ValueError(f"{why[0].upper()}{why[1:]}.") from None


def read_place(text: str, phases: Sequence[str]) -> tuple[int, int]:
    """Return the epoch and how many of its steps have run (EPOCH_END: all) at a typed place.

    `12` is the end of an epoch, `12 loss` after a phase in its first batch, `12 lo 3` in its third.
    `phases` has the phase of each step. Raises ValueError, its text fit to show.
    """
    epoch, rest = _epoch_and_rest(text, 2, "a phase, like 12 loss")
    if not rest or not epoch:
        return epoch, EPOCH_END
    steps = _steps_of(rest[0], phases)
    typed = rest[1] if len(rest) > 1 else "1"
    batch = whole_number(typed, len(steps))
    if not batch:
        raise ValueError(f"There is no batch {one_line(typed)}: an epoch has {len(steps)}.")
    return epoch, steps[batch - 1]


def read_position(text: str, lesson: Lesson, mode: str) -> tuple[int, int]:
    """Return the typed place in a run of a lesson or a script. Raises ValueError as below."""
    if lesson.script is not None:
        return read_step(text, lesson.script.phases)
    return read_place(text, lesson.steps(mode))


def _epoch_and_rest(text: str, most: int, example: str) -> tuple[int, list[str]]:
    """The epoch that a place begins with, and at most `most` words behind it."""
    first, *rest = text.split() or [""]
    if len(rest) > most or not first.isdecimal():
        raise ValueError(f"Type an epoch, like 50, or an epoch and {example}.")
    epoch = whole_number(first, LARGEST_WHOLE)
    if epoch is None:
        raise ValueError(f"An epoch is a number from 0 to {LARGEST_WHOLE}.")
    return epoch, rest


def _steps_of(typed: str, phases: Sequence[str]) -> list[int]:
    """The steps whose phase begins with the typed text, from 1. Raises ValueError without any."""
    steps = [i for i, name in enumerate(phases, 1) if name.lower().startswith(typed.lower())]
    if phases and not steps:
        names = ", ".join(dict.fromkeys(name.lower() for name in phases))
        raise ValueError(f"No phase begins with {one_line(typed)}: the phases are {names}.")
    return steps


def read_step(text: str, phases: Sequence[str] = ()) -> tuple[int, int]:
    """Return the epoch of a typed place of a script, and how many of its steps have run.

    `12` is the end of an epoch, `12 3` after its third step. `phases`: the phase of each step of
    an epoch, empty where that is not known; with them `12 loss` is after the phase. Raises
    ValueError, fit to show.
    """
    epoch, rest = _epoch_and_rest(text, 1, "a step, like 12 3")
    if not rest or not epoch:
        return epoch, EPOCH_END
    step = whole_number(rest[0], LARGEST_WHOLE)
    if step is None:
        return epoch, _step_of_phase(rest[0], phases)
    if not step:
        raise ValueError("The steps of an epoch begin at 1.")
    return epoch, step


def _step_of_phase(typed: str, phases: Sequence[str]) -> int:
    """The number of the one step whose phase begins with the typed text. Raises ValueError."""
    steps = _steps_of(typed, phases)
    if len(steps) == 1:
        return steps[0]
    which = f": {', '.join(map(str, steps))} here" if steps else ""
    raise ValueError(
        f"{one_line(typed)} can be more than one step of an epoch{which}. Type the step's number, "
        "like 12 3: each phase that runs is a step, counted from 1 in every epoch."
    )


def read_path(text: str) -> Path:
    """The file to write, from what was typed. Raises ValueError, its text fit to show."""
    path = Path(os.path.abspath(os.path.expanduser(text.strip())))
    if path.suffix not in (SCRIPT, NOTEBOOK, FIGURES):
        raise ValueError(
            "End the name in .py (a script), .ipynb (a notebook) or .csv (the figures)."
        )
    if not os.path.isdir(path.parent):  # False for a name that is too long, too
        raise ValueError(f"There is no folder {one_line(str(path.parent))}.")
    if os.path.lexists(path):
        raise ValueError(f"{one_line(path.name)} already exists: choose another name.")
    return path
