"""The body of a lesson as sections of prose, formulas and fences.

A fence outside a phase and a formula that does not parse get a diagnostic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from tutor.lesson import code_checks, markdown
from tutor.lesson.diagnostics import DiagnosticList
from tutor.lesson.exercise import KINDS, Exercise
from tutor.lesson.exercise_yaml import ExerciseBlock
from tutor.lesson.markdown import CodeBlock, Heading, MathSpan, SourceRange, Unclosed
from tutor.lesson.model import PHASES, Block, DisplayFormula, Fence, Prose, Section

_EXERCISE = ("yaml", "exercise")
_OPENING = re.compile(r"^ {0,3}(?:```|~~~)[ ]*[A-Za-z]", re.MULTILINE)
"""A fence that opens, with the word that says of what kind it is."""

_EXERCISE_KEY = re.compile(rf"^kind:[ ]*({'|'.join(KINDS)})\b", re.MULTILINE)
_MISSPELT_PYTHON = ("py", "py3", "python3")


@dataclass(slots=True)
class _Part:
    """A section while it is being put together."""

    heading: str
    start: SourceRange
    phase: str | None
    cuts: list[tuple[SourceRange, Block | ExerciseBlock]] = field(default_factory=list)
    """Fences, formulas and exercises, in order."""


class Body:
    """The body of a lesson, below the front matter. Its exercises are read last."""

    def __init__(self, lines: Sequence[str], first: int, diagnostics: DiagnosticList) -> None:
        """`lines` are those of the whole file, the body beginning at index `first`."""
        self._lines = [""] * first + list(lines[first:])
        parts = _Parts(first, diagnostics)
        for found in markdown.find(self._lines):
            parts.add(found)
        self._parts = parts.all
        self.is_whole = parts.is_whole
        """False where a fence swallows another: what else is wrong can't be known then."""

    @property
    def exercises(self) -> tuple[ExerciseBlock, ...]:
        """The blocks that are exercises, in order."""
        cuts = (cut for part in self._parts for _, cut in part.cuts)
        return tuple(cut for cut in cuts if isinstance(cut, ExerciseBlock))

    def sections(self, exercises: Mapping[int, Exercise] | None = None) -> tuple[Section, ...]:
        """The sections, with those of the exercises that are given by the line of their block."""
        parts, lines = self._parts, self._lines
        ends = [(p.start.line, p.start.column) for p in parts[1:]] + [(len(lines), 0)]
        found = [
            Section(
                part.heading,
                part.start.line + 1,
                part.phase,
                tuple(_blocks(part, end, lines, exercises or {})),
            )
            for part, end in zip(parts, ends, strict=True)
        ]
        return tuple(s for s in found if s.heading or s.blocks)


class _Parts:
    """Sorts what is found in the Markdown into sections."""

    def __init__(self, first: int, diagnostics: DiagnosticList) -> None:
        self.all = [_Part("", SourceRange(first, 0, first, 0), None)]
        self.is_whole = True
        self._diagnostics = diagnostics
        self._phases: dict[str, int] = {}

    def add(self, found: markdown.Found) -> None:
        match found:
            case Heading():
                self._heading(found)
            case CodeBlock():
                self._code(found)
            case MathSpan():
                self._math(found)
            case Unclosed(place):
                self._diagnostics.add(
                    place.line + 1, "`$$` opens a formula that is never closed; write `$$` after it"
                )

    def _heading(self, found: Heading) -> None:
        line = found.place.line + 1
        phase = found.text if found.level == 2 and found.text in PHASES else None
        meant = found.text.strip(" :.").title()
        if phase is None and meant in PHASES:
            self._diagnostics.add(
                line, f"this heading is not quite a phase; write ## {meant}, or call it otherwise"
            )
        if phase is None and found.level >= 3 and self.all[-1].phase:
            return  # a lesser heading stays, as prose, inside its phase
        if phase in self._phases:
            first = self._phases[phase]
            self._diagnostics.add(
                line, f"the phase {phase} is already on line {first}; put its fences there"
            )
        elif phase:
            self._phases[phase] = line
        self.all.append(_Part(found.text, found.place, phase))

    def _code(self, found: CodeBlock) -> None:
        line = found.place.line + 1
        kind = found.info[0] if found.info else ""
        is_exercise = _is_meant_as_exercise(found.info)
        swallowed = _OPENING.search(found.text) if is_exercise or kind == "python" else None
        if swallowed:
            self.is_whole = False
            where = line + found.text.count("\n", 0, swallowed.start()) + 1
            what = f"the fence on line {line} is not closed before the next, on line {where}"
            self._diagnostics.add(line, f"{what}; write ``` below its last line")
            return
        if not found.closed:
            self._diagnostics.add(line, "this fence is never closed; write ``` below its last line")
        if is_exercise:
            self._exercise(found, line)
        elif kind in ("yaml", "yml") and _EXERCISE_KEY.search(found.text):
            self._diagnostics.add(
                line, f"`{kind}` alone is shown, not asked; write ```{' '.join(_EXERCISE)}"
            )
        elif kind == "python":
            self._python(found, line)
        elif self.all[-1].phase and (kind in _MISSPELT_PYTHON or kind.lower() == "python"):
            self._diagnostics.add(line, f"code of the kind `{kind}` is not run; write ```python")

    def _python(self, found: CodeBlock, line: int) -> None:
        part = self.all[-1]
        if found.nested:
            self._diagnostics.add(
                line, "Python inside a list or a quote is not run; move it to the left margin"
            )
            return
        if part.phase is None:
            self._diagnostics.add(line, _outside(part.heading))
        elif not found.text.strip():
            self._diagnostics.add(line, "this fence is empty; write code in it, or delete it")
        modes = tuple(dict.fromkeys(found.info[1:]))
        part.cuts.append((found.place, Fence(found.text, line + 1, modes)))

    def _exercise(self, found: CodeBlock, line: int) -> None:
        if found.info != _EXERCISE:
            written = " ".join(found.info)
            self._diagnostics.add(
                line, f"`{written}` is not an exercise; write ```{' '.join(_EXERCISE)}"
            )
        elif found.nested:
            self._diagnostics.add(
                line,
                "an exercise inside a list or a quote is not asked; move it to the left margin",
            )
        elif found.closed:  # or else it goes on to the file's end
            self.all[-1].cuts.append((found.place, ExerciseBlock(found.text, line)))

    def _math(self, found: MathSpan) -> None:
        line = found.place.line + 1
        boxed = code_checks.check(found.latex, line, self._diagnostics)
        if found.display:
            block = DisplayFormula(found.latex.strip(), line, boxed)
            self.all[-1].cuts.append((found.place, block))


def _outside(heading: str) -> str:
    where = f"under the heading {heading!r}" if heading else "before the first heading"
    near = get_close_matches(heading.strip().title(), PHASES, n=1)
    advice = f"write ## {near[0]}" if near else "move it below a phase such as ## Predict"
    return (
        f"Python {where} is in no phase and never runs; {advice}, "
        "or write ```text if it is only to be read"
    )


def _is_meant_as_exercise(info: Sequence[str]) -> bool:
    """Whether these words after a fence are, or should have been, `yaml exercise`."""
    if not info:
        return False
    first, *others = (word.lower() for word in info)
    kind = get_close_matches(first, ["yaml", "yml"], n=1, cutoff=0.75)
    named = others[:1] if kind else [first]
    return any(get_close_matches(word, _EXERCISE[1:], n=1, cutoff=0.75) for word in named)


def _blocks(
    part: _Part, end: tuple[int, int], lines: Sequence[str], exercises: Mapping[int, Exercise]
) -> Iterator[Block]:
    at = (part.start.end_line, part.start.end_column)
    for place, cut in part.cuts:
        yield from _prose(lines, at, (place.line, place.column))
        block = exercises.get(cut.line) if isinstance(cut, ExerciseBlock) else cut
        if block is not None:
            yield block
        at = (place.end_line, place.end_column)
    yield from _prose(lines, at, end)


def _prose(lines: Sequence[str], start: tuple[int, int], end: tuple[int, int]) -> Iterator[Prose]:
    """The text between two places, without blank lines around it; nothing if it is blank."""
    first, column = start
    last, end_column = end
    if first == last:
        taken = [lines[first][column:end_column]] if end_column else []
    else:
        taken = [lines[first][column:], *lines[first + 1 : last]]
        taken += [lines[last][:end_column]] if end_column else []
    if column and taken:  # after a formula in mid-line
        taken[0] = taken[0].lstrip()
    while taken and not taken[0].strip():
        del taken[0]
        first += 1
    while taken and not taken[-1].strip():
        del taken[-1]
    if taken:
        yield Prose("\n".join(taken), first + 1)
