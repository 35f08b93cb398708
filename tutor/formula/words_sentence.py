"""The parts of a spoken formula put together: `times` between factors, commas in chains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto


class PhraseRole(Enum):
    """The role of a part between its neighbours."""

    FACTOR = auto()
    """Something to be multiplied: between two of them stands `times`."""
    PREFIX = auto()
    """`the sum over i of`: what follows belongs to it."""
    POSTFIX = auto()
    """`squared`, `percent`: belongs to what stands before it, and may be multiplied."""
    OPERATOR = auto()
    RELATION = auto()
    """A verb: in a chain, each but the first becomes `which equals`."""
    TEXT = auto()
    MARK = auto()
    """A comma or a colon: leans on what stands before it, and a chain ends there."""
    STOP = auto()
    """The end of a statement; its text begins the next (`hence`), and is mostly empty."""


@dataclass(frozen=True, slots=True)
class PhrasePart:
    """A few words, and what they are to their neighbours."""

    text: str
    role: PhraseRole = PhraseRole.FACTOR
    is_long: bool = False
    """Whether a comma is said before what it is multiplied with, as one loses its end else."""


_MULTIPLIED = (PhraseRole.FACTOR, PhraseRole.POSTFIX)
_MULTIPLIES = (PhraseRole.FACTOR, PhraseRole.PREFIX)
_TIDY = (
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s+(?=[,;:.)\]])"), ""),
    (re.compile(r"(?<=[(\[])\s+"), ""),
    (re.compile(r"[,;]+(?=[;)\]])"), ""),
    (re.compile(r"(?<=[;,]),|(?<=:);"), ""),
)


def sentence(parts: Iterable[PhrasePart], *, product: str = "times") -> str:
    """The parts as one text. `product` is said between factors."""
    said: list[str] = []
    before: PhraseRole | None = None
    is_chain = is_long = is_quantified = False
    for part in parts:
        match part.role:
            case PhraseRole.STOP:
                said.append(f"; {part.text}")
            case PhraseRole.RELATION:
                verb = part.text.removeprefix("is ") if is_quantified else part.text
                said.append(f", which {verb}" if is_chain else verb)
            case role:
                is_multiplied = before in _MULTIPLIED and role in _MULTIPLIES
                if is_long and (is_multiplied or part.text == "times"):
                    said.append(",")
                if is_multiplied:
                    said.append(product)
                said.append(part.text)
        is_quantified = part.text in ("for all", "there is") or (
            is_quantified and part.role is PhraseRole.FACTOR
        )
        is_chain = part.role is PhraseRole.RELATION or (
            is_chain
            and part.role not in (PhraseRole.STOP, PhraseRole.MARK)
            and part.text != "given"
        )
        before, is_long = part.role, part.is_long
    return tidy(" ".join(said))


def tidy(text: str) -> str:
    """The text without blanks and marks that follow each other."""
    for pattern, better in _TIDY:
        text = pattern.sub(better, text)
    return text.strip(" ,;")
