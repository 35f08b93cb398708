"""Diagnostics of a lesson file: all at once, one line each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tutor.errors import LessonError
from tutor.plain import one_line


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong with a lesson file."""

    path: Path
    line: int
    """1-based line in the file."""
    message: str
    """The problem and what to write instead, on one line."""

    def __str__(self) -> str:
        return one_line(f"{self.path}:{self.line}: {self.message}")


class LessonDiagnostics(LessonError):
    """A lesson file that can't be used as it is. Its text has a line for each diagnostic."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(
            sorted(dict.fromkeys(diagnostics), key=lambda diagnostic: diagnostic.line)
        )
        super().__init__("\n".join(map(str, self.diagnostics)))


class DiagnosticList:
    """The diagnostics found so far in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[Diagnostic] = []
        self._remarks: list[Diagnostic] = []

    def add(self, line: int, message: str) -> None:
        """Add a diagnostic that makes the lesson unusable."""
        self._found.append(Diagnostic(self._path, line, message))

    def remark(self, line: int, message: str) -> None:
        """Add a remark: the author should fix it, but the lesson can be used."""
        self._remarks.append(Diagnostic(self._path, line, message))

    @property
    def remarks(self) -> tuple[Diagnostic, ...]:
        """The remarks, by line."""
        return tuple(sorted(dict.fromkeys(self._remarks), key=lambda diagnostic: diagnostic.line))

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raise LessonDiagnostics if there are any."""
        if self._found:
            raise LessonDiagnostics(self._found)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` if a known word is near, else the list of what is known."""
    words = list(known)
    near = get_close_matches(word, words, n=1)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; write one of: {', '.join(words)}"
