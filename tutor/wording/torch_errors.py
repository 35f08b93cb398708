"""PyTorch's errors in plain words, from `torch_errors.toml`: found by a part of their message."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property, lru_cache
from pathlib import Path

LIKE_ENOUGH = 0.5
"""The least likeness (difflib's ratio of words) at which a message is offered as the nearest."""


@dataclass(frozen=True)
class TorchError:
    """One kind of error."""

    key: str
    """`changed in place`: the name of the kind."""
    patterns: tuple[str, ...]
    """Regular expressions, each for a part of the message."""
    meaning: str
    """Two or three sentences, with code between backticks."""
    advice: str
    lesson: str
    """The slug of the lesson that explains it."""
    exercise: str = ""
    """The exercise that reproduces it, if there is one."""
    detail: str = ""
    """A template for what the message's own numbers say: the groups of the patterns."""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(f"(?:{p})" for p in self.patterns), re.IGNORECASE)

    def is_in(self, message: str) -> bool:
        """Whether the message is one of this kind."""
        return self._pattern.search(message) is not None

    def detail_of(self, message: str) -> str:
        """The sentences on a message's numbers; "" if it has none."""
        found = self._pattern.search(message)
        groups = {} if found is None else found.groupdict()
        return self.detail.format(**groups) if groups and None not in groups.values() else ""

    def likeness(self, message: str) -> float:
        """The share of a message's words that one of the patterns has, from 0 to 1."""
        words = _words(message)
        return max(SequenceMatcher(None, _words(p), words).ratio() for p in self.patterns)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z_]{2,}", text.lower())


@lru_cache(maxsize=1)
def torch_errors() -> tuple[TorchError, ...]:
    """All known kinds of errors."""
    text = Path(__file__).with_suffix(".toml").read_text("utf-8")
    return tuple(
        TorchError(
            key=entry["key"],
            patterns=tuple(entry["patterns"]),
            meaning=" ".join(entry["meaning"].split()),
            advice=" ".join(entry["advice"].split()),
            lesson=entry["lesson"],
            exercise=entry.get("exercise", ""),
            detail=" ".join(entry.get("detail", "").split()),
        )
        for entry in tomllib.loads(text)["error"]
    )


def torch_error_of(message: str) -> TorchError | None:
    """The kind of error that a message is one of; None if it is not known."""
    return next((known for known in torch_errors() if known.is_in(message)), None)


def nearest_error(message: str) -> TorchError | None:
    """The known error whose message is most like this one; None if none is like it."""
    best = max(torch_errors(), key=lambda known: known.likeness(message))
    return best if best.likeness(message) >= LIKE_ENOUGH else None
