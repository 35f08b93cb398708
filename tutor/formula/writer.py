"""A writer for prepared LaTeX: the text, the pieces put aside, and the groups still open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tutor.errors import FormulaError
from tutor.formula import commands
from tutor.formula.cursor import MAX_DEPTH, TOO_DEEP, Cursor

_FIRST_PIECE = 0xF0000

Kind = Literal[
    "value", "unsupported", "text", "word", "limits", "not", "space", "soft", "line",
    "cancel", "bar",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class PutAsidePiece:
    """Something put aside: what it is, and its text."""

    kind: Kind
    text: str = ""


@dataclass(frozen=True, slots=True)
class PreparedSource:
    """LaTeX prepared for latex2mathml, with the piece behind each placeholder."""

    latex: str
    pieces: Mapping[str, PutAsidePiece]
    leaves: Mapping[str, int]
    """How often each letter, digit and placeholder occurs: none may be lost later."""


@dataclass(slots=True)
class OpenGroup:
    """Something still to be closed."""

    opener: str
    atom: bool = False
    """Whether, once closed, it is a factor that a blank may follow."""


class Writer(Cursor):
    """A cursor over the source that writes what it has read."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.out: list[str] = []
        self.pieces: dict[str, PutAsidePiece] = {}
        self.leaves: Counter[str] = Counter()
        self.open: list[OpenGroup] = []
        self.previous = ""
        """The token that was read before this one."""
        self.atom = False
        """Whether what was written last is a factor."""

    def emit(self, text: str, *, atom: bool = False) -> None:
        """Write `text`; say whether it is a factor that a blank may follow."""
        self.out.append(text)
        self.atom = atom and self.previous[1:] not in commands.TWO_ARGUMENTS

    def piece(self, kind: Kind, text: str = "", *, atom: bool = True) -> None:
        """Put something aside, and write a private-use character in its place."""
        character = chr(_FIRST_PIECE + len(self.pieces))
        self.pieces[character] = PutAsidePiece(kind, text)
        self.leaves[character] += 1
        self.emit(character, atom=atom)

    def push(self, opener: str, *, atom: bool = False) -> None:
        """Open something; raises FormulaError where too much is open."""
        if len(self.open) >= MAX_DEPTH:
            raise FormulaError(TOO_DEEP)
        self.open.append(OpenGroup(opener, atom))

    def pop(self, wanted: str, closer: str) -> OpenGroup:
        """Close what begins with `wanted`; raises FormulaError if that is not what is open."""
        if not self.open:
            raise FormulaError(f"{closer} without {wanted}")
        if not self.open[-1].opener.startswith(wanted):
            raise FormulaError(f"{closer} comes before the end of {self.open[-1].opener}")
        return self.open.pop()

    def require_table(self, token: str) -> None:
        """Raise FormulaError unless a table is open, in which alone `token` has a meaning."""
        opener = self.open[-1].opener if self.open else ""
        name = opener.removeprefix(r"\begin{").removesuffix("}")
        if name not in commands.ENVIRONMENTS and opener != r"\substack{":
            where = f"inside {opener}" if opener else "outside of an environment"
            raise FormulaError(rf"{token} {where}; put it into \begin{{aligned}}…\end{{aligned}}")
