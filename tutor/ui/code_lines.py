"""Code as lines to show: highlighted, marked, folded, and compared between two modes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal, TypeAlias

from textual.content import Content
from textual.style import Style

from tutor.lesson.model import SETUP, Fence, Lesson, Section
from tutor.plain import one_line, plain
from tutor.ui import text_styles
from tutor.ui.text_styles import GUTTER, Piece, line
from tutor.ui.variables import Name

Sign: TypeAlias = Literal["-", "+", " "]


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of code: gone (-), new (+), or the same in both."""

    sign: Sign
    code: str


@dataclass(frozen=True, slots=True)
class PhaseDifference:
    """The difference of one phase between two modes."""

    phase: str
    lines: tuple[DiffLine, ...]
    """Empty if both modes run the same code. Blank lines are left out: they are no change."""
    says: str
    """A remark on the phase as a whole; empty if the lines are enough."""

    def count(self, sign: Sign) -> int:
        """The number of lines with this sign."""
        return sum(line.sign == sign for line in self.lines)


@dataclass(frozen=True, slots=True)
class Difference:
    """All that changes from one mode to another."""

    before: str
    after: str
    """The mode that comes later in the lesson's ladder."""
    phases: tuple[PhaseDifference, ...]

    def summary(self) -> tuple[str, str]:
        """Two lines: the code that a step no longer needs, and the code that replaces it."""
        steps = [phase for phase in self.phases if phase.phase != SETUP]
        gone = _lines(sum(phase.count("-") for phase in steps))
        new = _lines(sum(phase.count("+") for phase in steps))
        setup = any(phase.lines for phase in self.phases if phase.phase == SETUP)
        return (
            f"What you stop writing when {one_line(self.after)} takes over: {gone}",
            f"What you write instead: {new}" + (" (Setup not counted)" if setup else ""),
        )


def _lines(count: int) -> str:
    return {0: "nothing", 1: "1 line"}.get(count, f"{count} lines")


def difference(lesson: Lesson, one: str, other: str) -> Difference:
    """The difference between two modes, from the lower to the higher in the lesson's order.

    Which of the two is named first makes no difference. Raises ValueError if one of them
    is no mode of the lesson.
    """
    before, after = sorted((one, other), key=lesson.modes.index)
    phases = tuple(
        (section.phase, _code(section, before), _code(section, after))
        for section in lesson.sections
        if section.phase
    )
    return _difference(before, after, phases)


_Rows: TypeAlias = tuple[str, ...]


@lru_cache(16)
def _difference(
    before: str, after: str, phases: tuple[tuple[str, _Rows, _Rows], ...]
) -> Difference:
    """The cached difference, as a pane asks at every step. Rows are hashable, sections are not."""
    return Difference(before, after, tuple(_phases(before, after, phases)))


def _phases(
    before: str, after: str, phases: Sequence[tuple[str, _Rows, _Rows]]
) -> Iterator[PhaseDifference]:
    for phase, old, new in phases:
        if old or new:
            is_same = _bare(old) == _bare(new)
            lines = () if is_same else tuple(_diff(old, new))
            says = "the same in both" if is_same else _in_words(old, new, before, after)
            yield PhaseDifference(phase, lines, says)


def _code(section: Section, mode: str) -> _Rows:
    """The lines that a mode runs in a phase, without their fences and without blank ones."""
    rows = (row for f in section.fences(mode) for row in plain(f.code).split("\n"))
    return tuple(row.rstrip() for row in rows if row.strip())


def _bare(rows: Sequence[str]) -> list[str]:
    return [row.strip() for row in rows]


def _diff(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    """The differing lines. A line whose indentation alone changes counts as the same."""
    matcher = SequenceMatcher(None, _bare(old), _bare(new), autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield from (DiffLine(" ", code) for code in new[c:d])
        else:
            yield from (DiffLine("-", code) for code in old[a:b])
            yield from (DiffLine("+", code) for code in new[c:d])


def _in_words(old: Sequence[str], new: Sequence[str], before: str, after: str) -> str:
    if not new:
        return f"{one_line(after)} writes no line here any more"
    if not old:
        return f"{one_line(before)} writes no line here"
    return ""


def turned(modes: Sequence[str], current: str, shown: str) -> str:
    """The mode to compare with after `shown` ("" is none): the one below, the others, none."""
    others = compared_with(modes, current)
    if not shown:
        return others[0] if others else ""
    return dict(zip(others, (*others[1:], ""), strict=True)).get(shown, "")


def compared_with(modes: Sequence[str], current: str) -> tuple[str, ...]:
    """The modes other than the current one; the next lower mode comes first."""
    here = modes.index(current)
    below = modes[here - 1 : here] if here else ()
    return (*below, *(mode for mode in modes if mode != current and mode not in below))


FOLDED: Piece = ("↪ ", text_styles.DIM)
FAILED: Piece = ("✗ ", text_styles.ERROR)
SIGNS: dict[str, Piece] = {
    "-": ("- ", text_styles.STRONG),
    "+": ("+ ", text_styles.STRONG),
    " ": "  ",
}


@dataclass(frozen=True, slots=True, eq=False)
class CodeRow:
    """One row of a pane, and the part of the code that it shows."""

    content: Content
    line: int
    """The line number in the lesson's file."""
    start: int
    """The row's first character in that line, and the one after its last."""
    end: int

    def shows(self, name: Name) -> bool:
        """Whether the name begins here."""
        return name.line == self.line and self.start <= name.start < self.end


def fence_rows(
    fence: Fence, width: int, mark: Piece, failed: int | None, chosen: Name | None
) -> Iterator[CodeRow]:
    """The rows of a fence, `mark` before each of its lines; `failed` is a line that raised."""
    for number, content in enumerate(highlighted(fence.code), fence.line):
        first = FAILED if number == failed else mark
        if chosen is not None and chosen.line == number:
            content = content.stylize(text_styles.ACTIVE, chosen.start, chosen.end)
        at = 0
        for part, row in _folded(first, content, width):
            yield CodeRow(row, number, at, at + part)
            at += part


def _folded(mark: Piece, content: Content, width: int) -> Iterator[tuple[int, Content]]:
    """The rows of a line, each with the number of its characters."""
    room = max(10, width - GUTTER)
    rest = content
    while rest.cell_length > room:
        part = rest[: fold_at(rest.plain, len(rest.fold(room)[0].plain))]
        yield len(part.plain), line(mark) + part
        rest, mark = rest[len(part.plain) :], FOLDED
    yield len(rest.plain), line(mark) + rest


def fold_at(code: str, most: int) -> int:
    """The number of characters in the first row, up to a blank or an operator if one is near."""
    for end in (_BLANK, _OPERATOR):
        ends = (found.end() for found in end.finditer(code, most // 2))
        near = max((at for at in ends if at <= most), default=0)
        if code[:near].strip():
            return near
    return most


_BLANK = re.compile(r"\s+")
_OPERATOR = re.compile(r"[-+*/%@=<>,.:(\[{]+(?=[\w\"'(\[])")


def diff_rows(change: DiffLine, width: int) -> Iterator[Content]:
    """The rows of one line of a difference; removed code is dim."""
    (content,) = highlighted(change.code) if change.sign != "-" else (_gone(change.code),)
    for _, row in _folded(SIGNS[change.sign], content, width):
        yield row


def _gone(code: str) -> Content:
    return line((plain(code), text_styles.DIM))


@lru_cache(256)
def highlighted(code: str) -> tuple[Content, ...]:
    """The code's lines with Python's syntax highlighted; not a character is changed."""
    # Lazy: the first paint comes before the lexer is loaded.
    from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]  # noqa: PLC0415

    text = plain(code).rstrip("\n")
    pieces: list[Piece] = []
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    for kind, part in lexer.get_tokens(text):
        style = _style(str(kind))
        pieces.append((part, style) if style else part)
    return tuple(line(*pieces).split("\n", allow_blank=True))


def _style(kind: str) -> Style | None:
    for prefix, style in _STYLES.items():
        if kind.startswith(prefix):
            return style
    return None


_STYLES = {
    "Token.Comment": text_styles.DIM,
    "Token.Keyword": text_styles.KEYWORD,
    "Token.Operator.Word": text_styles.KEYWORD,
    "Token.Literal.String": text_styles.STRING,
    "Token.Literal.Number": text_styles.CODE,
}
