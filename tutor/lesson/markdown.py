"""The Markdown of a lesson: where each thing stands, and the sections that it makes.

A fence outside a phase and a formula that does not parse get a diagnostic.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import accumulate
from typing import TypeAlias

import msgspec
from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.dollarmath.index import math_block_dollar, math_inline_dollar

from tutor.lesson import code_checks
from tutor.lesson.exercise import EXERCISE_KINDS, Exercise
from tutor.lesson.model import PHASES, Block, DiagnosticList, DisplayFormula, Fence, Prose, Section

_BlockRule: TypeAlias = Callable[[StateBlock, int, int, bool], bool]
_InlineRule: TypeAlias = Callable[[StateInline, bool], bool]

MATH = ("math_inline", "math_inline_double")


class SourceRange(msgspec.Struct, frozen=True):
    """A stretch of the file: from (line, column) up to, not including, (line, column)."""

    line: int
    """0-based, as are all the numbers here."""
    column: int
    end_line: int
    end_column: int


class Heading(msgspec.Struct, frozen=True):
    """A heading that is not inside a list or a quote."""

    level: int
    text: str
    place: SourceRange


class CodeBlock(msgspec.Struct, frozen=True):
    """A fenced block."""

    info: tuple[str, ...]
    """The words after the opening fence."""
    text: str
    place: SourceRange
    closed: bool
    nested: bool
    """Whether it stands inside a list or a quote."""


class MathSpan(msgspec.Struct, frozen=True):
    """A formula between dollars."""

    latex: str
    place: SourceRange
    display: bool
    """Whether it can be cut out of the text around it and shown by itself."""


class Unclosed(msgspec.Struct, frozen=True):
    """Two dollars that open a formula which nothing closes."""

    place: SourceRange


Found: TypeAlias = Heading | CodeBlock | MathSpan | Unclosed


@cache
def parser() -> MarkdownIt:
    """The Markdown that lessons are written in: CommonMark, tables, `$…$` and `$$…$$`.

    `math_inline`, `math_inline_double` and `math_block` are its tokens for formulas.
    """
    md = MarkdownIt("commonmark").enable("table")
    # Without text_join an escaped dollar stays apart from a real one.
    md.disable("text_join")
    block = math_block_dollar(allow_labels=False, allow_blank_lines=False)
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    md.block.ruler.before("fence", "math_block", _without_trace(block), interrupts)
    inline = math_inline_dollar(allow_space=False, allow_digits=True, allow_double=True)
    md.inline.ruler.before("escape", "math_inline", _with_position(inline))
    return md


def _without_trace(rule: _BlockRule) -> _BlockRule:
    """The plugin's rule ignores `silent`, which a rule that may end a paragraph must not."""

    def wrapped(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        line, tokens = state.line, len(state.tokens)
        found = rule(state, start, end, silent)
        if silent:
            state.line = line
            del state.tokens[tokens:]
        return found

    return wrapped


def _with_position(rule: _InlineRule) -> _InlineRule:
    """Note where in the paragraph the formula begins and ends, which tokens don't say."""

    def wrapped(state: StateInline, silent: bool) -> bool:
        start = state.pos
        found = rule(state, silent)
        if found and not silent:
            state.tokens[-1].meta.update(start=start, end=state.pos)
        return found

    return wrapped


def find(lines: Sequence[str]) -> tuple[Found, ...]:
    """The headings, fences and formulas of the text, in order."""
    return tuple(_walk(parser().parse("\n".join(lines)), lines))


def with_inline_math(markdown: str, drawn: Callable[[str], str]) -> str:
    """The text with each formula between dollars replaced by `drawn(latex)`."""
    lines = markdown.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    result, end = "", 0
    for found in find(lines):
        if not isinstance(found, MathSpan):
            continue
        first = starts[found.place.line]
        dollars = "$$" if found.display else "$"
        source = dollars + found.latex + dollars
        start = first + found.place.column
        if start < end or not markdown.startswith(source, start):  # in a cell of a table
            start = markdown.find(source, max(first, end))
        if start >= 0:
            result += markdown[end:start] + drawn(found.latex)
            end = start + len(source)
    return result + markdown[end:]


def _walk(tokens: Sequence[Token], lines: Sequence[str]) -> Iterator[Found]:
    for index, token in enumerate(tokens):
        if token.map is None:
            continue
        whole = SourceRange(token.map[0], 0, token.map[1], 0)
        if token.type == "heading_open" and token.level == 0:
            yield Heading(int(token.tag[1:]), tokens[index + 1].content.strip(), whole)
        elif token.type == "fence":
            closed = _is_closed(token, lines)
            info = tuple(token.info.split())
            yield CodeBlock(info, token.content, whole, closed, nested=token.level > 0)
        elif token.type == "math_block":
            yield MathSpan(token.content, whole, display=True)
        elif token.type == "inline":
            in_paragraph = tokens[index - 1].type == "paragraph_open"
            yield from _inline(token, token.map[0], lines, in_paragraph)


def _is_closed(token: Token, lines: Sequence[str]) -> bool:
    first, end = token.map or (0, 0)
    last = lines[end - 1].lstrip("> \t").rstrip()
    return end - first >= 2 and last.startswith(token.markup) and not last.strip(token.markup[0])


def _inline(
    token: Token, first: int, lines: Sequence[str], in_paragraph: bool
) -> Iterator[MathSpan | Unclosed]:
    text = _Paragraph(token.content, first, lines)
    line = first
    for child in token.children or ():
        if child.type in MATH:
            place = SourceRange(*text.at(child.meta["start"]), *text.at(child.meta["end"]))
            display = in_paragraph and child.type == "math_inline_double"
            yield MathSpan(child.content, place, display)
            line = place.end_line
        elif child.type in ("softbreak", "hardbreak"):
            line += 1
        elif child.type == "text" and "$$" in child.content:
            yield Unclosed(SourceRange(line, 0, line + 1, 0))


class _Paragraph:
    """A paragraph, and the place in the file of each of its characters."""

    def __init__(self, content: str, first: int, lines: Sequence[str]) -> None:
        self._first = first
        own = content.split("\n")
        self._starts = list(accumulate((len(line) + 1 for line in own), initial=0))
        # A paragraph's line is the tail of the file's line: before it are `>`, `-`, blanks.
        self._margins = [
            max(len(whole.rstrip()) - len(line.rstrip()), 0)
            for whole, line in zip(lines[first : first + len(own)], own, strict=True)
        ]

    def at(self, offset: int) -> tuple[int, int]:
        """The 0-based line and column in the file."""
        number = bisect_right(self._starts, offset) - 1
        return self._first + number, self._margins[number] + offset - self._starts[number]


_EXERCISE = ("yaml", "exercise")
_OPENING = re.compile(r"^ {0,3}(?:```|~~~)[ ]*[A-Za-z]", re.MULTILINE)
"""A fence that opens, with the word that names its kind."""

_EXERCISE_KEY = re.compile(rf"^kind:[ ]*({'|'.join(EXERCISE_KINDS)})\b", re.MULTILINE)
_MISSPELT_PYTHON = ("py", "py3", "python3")


class ExerciseBlock(msgspec.Struct, frozen=True):
    """A block of a lesson's file that is an exercise, as it is written."""

    yaml: str
    line: int
    """1-based line of the fence that opens it; the YAML begins on the next."""


class _Part(msgspec.Struct):
    """A section while it is being put together."""

    heading: str
    start: SourceRange
    phase: str | None
    cuts: list[tuple[SourceRange, Block | ExerciseBlock]] = []
    """Fences, formulas and exercises, in order."""


class Body:
    """The body of a lesson, below the front matter. Its exercises are read last."""

    def __init__(self, lines: Sequence[str], first: int, diagnostics: DiagnosticList) -> None:
        """`lines` are the whole file's; the body begins at index `first`."""
        self.is_whole = True
        """False where a fence swallows another: then nobody can know what else is wrong."""
        self._lines = [""] * first + list(lines[first:])
        self._parts = [_Part("", SourceRange(first, 0, first, 0), None)]
        self._diagnostics = diagnostics
        self._report = diagnostics.add
        self._phases: dict[str, int] = {}
        for found in find(self._lines):
            self._add(found)

    @property
    def exercises(self) -> tuple[ExerciseBlock, ...]:
        """The blocks that are exercises, in order."""
        cuts = (cut for part in self._parts for _, cut in part.cuts)
        return tuple(cut for cut in cuts if isinstance(cut, ExerciseBlock))

    def sections(self, exercises: Mapping[int, Exercise] | None = None) -> tuple[Section, ...]:
        """The sections; `exercises` has each exercise by the line of its block."""
        ends = [(p.start.line, p.start.column) for p in self._parts[1:]] + [(len(self._lines), 0)]
        found = [
            Section(
                part.heading,
                part.start.line + 1,
                part.phase,
                tuple(_blocks(part, end, self._lines, exercises or {})),
            )
            for part, end in zip(self._parts, ends, strict=True)
        ]
        return tuple(s for s in found if s.heading or s.blocks)

    def _add(self, found: Found) -> None:
        match found:
            case Heading():
                self._heading(found)
            case CodeBlock():
                self._code(found)
            case MathSpan():
                self._math(found)
            case Unclosed(place):
                self._report(place.line + 1, "formula_not_closed")

    def _heading(self, found: Heading) -> None:
        line = found.place.line + 1
        phase = found.text if found.level == 2 and found.text in PHASES else None
        meant = found.text.strip(" :.").title()
        if phase is None and meant in PHASES:
            self._report(line, "nearly_a_phase", meant=meant)
        if phase is None and found.level >= 3 and self._parts[-1].phase:
            return  # a lesser heading stays, as prose, inside its phase
        if phase in self._phases:
            self._report(line, "phase_twice", phase=phase, first=self._phases[phase])
        elif phase:
            self._phases[phase] = line
        self._parts.append(_Part(found.text, found.place, phase))

    def _code(self, found: CodeBlock) -> None:
        line = found.place.line + 1
        kind = found.info[0] if found.info else ""
        is_exercise = _is_meant_as_exercise(found.info)
        swallowed = _OPENING.search(found.text) if is_exercise or kind == "python" else None
        if swallowed:
            self.is_whole = False
            following = line + found.text.count("\n", 0, swallowed.start()) + 1
            self._report(line, "fence_not_closed_before", fence=line, following=following)
            return
        if not found.closed:
            self._report(line, "fence_not_closed")
        if is_exercise:
            self._exercise(found, line)
        elif kind in ("yaml", "yml") and _EXERCISE_KEY.search(found.text):
            self._report(line, "yaml_alone", kind=kind)
        elif kind == "python":
            self._python(found, line)
        elif self._parts[-1].phase and (kind in _MISSPELT_PYTHON or kind.lower() == "python"):
            self._report(line, "code_of_other_kind", kind=kind)

    def _python(self, found: CodeBlock, line: int) -> None:
        part = self._parts[-1]
        if found.nested:
            self._report(line, "nested_code")
            return
        if part.phase is None:
            near = get_close_matches(part.heading.strip().title(), PHASES, n=1)
            self._report(line, "code_in_no_phase", heading=part.heading, phases=near)
        elif not found.text.strip():
            self._report(line, "empty_fence")
        modes = tuple(dict.fromkeys(found.info[1:]))
        part.cuts.append((found.place, Fence(found.text, line + 1, modes)))

    def _exercise(self, found: CodeBlock, line: int) -> None:
        if found.info != _EXERCISE:
            self._report(line, "nearly_an_exercise", written=" ".join(found.info))
        elif found.nested:
            self._report(line, "nested_exercise")
        elif found.closed:  # or else it goes on to the file's end
            self._parts[-1].cuts.append((found.place, ExerciseBlock(found.text, line)))

    def _math(self, found: MathSpan) -> None:
        line = found.place.line + 1
        boxed = code_checks.check(found.latex, line, self._diagnostics)
        if found.display:
            block = DisplayFormula(found.latex.strip(), line, boxed)
            self._parts[-1].cuts.append((found.place, block))


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
