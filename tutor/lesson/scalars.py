"""How the text of one YAML scalar becomes a value: one small Kind for each type."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tutor.lesson.learning_rate import WANTED, is_learning_rate

T = TypeVar("T")

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What an escape in a YAML string can smuggle into text of several lines."""

MAX_INTEGER = 1_000_000_000
"""Counts of epochs and batches above this are typing mistakes."""


@dataclass(frozen=True, slots=True)
class ScalarType(Generic[T]):
    """A type of scalar."""

    wanted: str
    """Completes the sentence "the key must be …"."""
    convert: Callable[[str], T]
    """The value, from the text as it is written. Raises ValueError if it is none."""


def _text(written: str) -> str:
    line = " ".join(written.split())
    if not line or not line.isprintable():
        raise ValueError
    return line


def _number(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise ValueError
    return value


def _positive(written: str) -> float:
    value = _number(written)
    if value <= 0:
        raise ValueError
    return value


def _rate(written: str) -> float:
    value = _number(written)
    if not is_learning_rate(value):
        raise ValueError
    return value


def _name(written: str) -> str:
    if not written.isidentifier() or keyword.iskeyword(written):
        raise ValueError
    return written


def _mode(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", written):
        raise ValueError
    return written


def _slug(written: str) -> str:
    if not re.fullmatch(r"[^\s/\\]+", written) or written.endswith(".md"):
        raise ValueError
    return written


def _id(written: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", written):
        raise ValueError
    return written


def _yes_or_no(written: str) -> bool:
    if written not in ("true", "false"):
        raise ValueError
    return written == "true"


def _markdown(written: str) -> str:
    text = written.strip("\n").rstrip()
    if not text.strip() or _CONTROL.search(text):
        raise ValueError
    return text


def _code(written: str) -> str:
    if _CONTROL.search(written):
        raise ValueError
    return written if written.strip() else ""


def at_least(least: int) -> ScalarType[int]:
    """Whole numbers from `least` up."""

    def convert(written: str) -> int:
        if len(written) > len(str(MAX_INTEGER)):
            raise ValueError
        value = int(written)
        if not least <= value <= MAX_INTEGER:
            raise ValueError
        return value

    return ScalarType(f"a whole number from {least} to {MAX_INTEGER}", convert)


TEXT = ScalarType("one line of text", _text)
NUMBER = ScalarType("a finite number", _number)
POSITIVE = ScalarType("a finite number above 0", _positive)
RATE = ScalarType(WANTED, _rate)
NAME = ScalarType("a Python name", _name)
MODE = ScalarType("a mode's name (letters, digits, - and _)", _mode)
SLUG = ScalarType("a lesson's name (its file's without .md)", _slug)
ID = ScalarType("letters, digits and - only", _id)
YES_OR_NO = ScalarType("true or false", _yes_or_no)
MARKDOWN = ScalarType("text", _markdown)
CODE = ScalarType("Python code", _code)
EXPRESSION = ScalarType("a Python expression on one line", _text)
