"""Code as lines to show: highlighted, marked, folded; two modes compared; a whole script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec
from textual.content import Content
from textual.style import Style

from tutor.lesson.model import SETUP, Fence, Lesson, Section
from tutor.plain import one_line, plain
from tutor.script.line_places import cells_in, line_in_cell
from tutor.session.run_view import RunView
from tutor.ui.lines import (
    ACTIVE,
    CODE,
    DIM,
    DONE_MARK,
    ERROR,
    GUTTER,
    KEYWORD,
    NEXT,
    NEXT_MARK,
    NO_MARK,
    STRING,
    STRONG,
    Piece,
    line,
)
from tutor.ui.variables import Name

Sign: TypeAlias = Literal["-", "+", " "]


class DiffLine(msgspec.Struct, frozen=True):
    """One line of code: gone (-), new (+), or the same in both."""

    sign: Sign
    code: str


class PhaseDifference(msgspec.Struct, frozen=True):
    """The difference of one phase between two modes."""

    phase: str
    lines: tuple[DiffLine, ...]
    """Empty if both modes run the same code. Blank lines are left out: they are no change."""
    says: str
    """A remark on the phase as a whole; empty if the lines are enough."""

    def count(self, sign: Sign) -> int:
        """The number of lines with this sign."""
        return sum(line.sign == sign for line in self.lines)


class Difference(msgspec.Struct, frozen=True):
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
        return f"{one_line(after)} no longer writes any code here"
    if not old:
        return f"{one_line(before)} writes no code here"
    return ""


def turned(modes: Sequence[str], current: str, shown: str) -> str:
    """The mode to compare with after `shown`; "" stands for no comparison, which comes last.

    The first is the mode just below `current`.
    """
    others = compared_with(modes, current)
    if not shown:
        return others[0] if others else ""
    return dict(zip(others, (*others[1:], ""), strict=True)).get(shown, "")


def compared_with(modes: Sequence[str], current: str) -> tuple[str, ...]:
    """The modes other than the current one; the next lower mode comes first."""
    here = modes.index(current)
    below = modes[here - 1 : here] if here else ()
    return (*below, *(mode for mode in modes if mode != current and mode not in below))


_LEAST_ROOM = 10
"""Cells that a row of code has at least, in however narrow a pane."""

FOLDED: Piece = ("↪ ", DIM)
FAILED: Piece = ("✗ ", ERROR)
SIGNS: dict[str, Piece] = {"-": ("- ", STRONG), "+": ("+ ", STRONG), " ": "  "}


class CodeRow(msgspec.Struct, frozen=True, eq=False):
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
    room = max(_LEAST_ROOM, width - GUTTER)
    for number, content in enumerate(highlighted(fence.code), fence.line):
        before = FAILED if number == failed else mark
        if chosen is not None and chosen.line == number:
            content = content.stylize(ACTIVE, chosen.start, chosen.end)
        for start, part in _folded(content, room):
            yield CodeRow(line(before) + part, number, start, start + len(part.plain))
            before = FOLDED


def _folded(content: Content, room: int, first_room: int = 0) -> Iterator[tuple[int, Content]]:
    """The rows of a line of code, each with the character that it begins with."""
    at, here = 0, first_room or room
    while (rest := content[at:]).cell_length > here:
        end = at + fold_at(rest.plain, len(rest.fold(here)[0].plain))
        yield at, content[at:end]
        at, here = end, room
    yield at, rest


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
    content = line((plain(change.code), DIM))
    if change.sign != "-":
        (content,) = highlighted(change.code)
    mark = SIGNS[change.sign]
    for _, part in _folded(content, max(_LEAST_ROOM, width - GUTTER)):
        yield line(mark) + part
        mark = FOLDED


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
    "Token.Comment": DIM,
    "Token.Keyword": KEYWORD,
    "Token.Operator.Word": KEYWORD,
    "Token.Literal.String": STRING,
    "Token.Literal.Number": CODE,
}


CONTINUED: Piece = (": ", NEXT)
"""Beside the further lines of the phase that is about to run."""

MOST_HIGHLIGHTED = 200_000
"""Characters of a file with syntax highlighted: 5,000 lines, which take half a second."""

_LABEL_GAP = 2


class LineMarks(msgspec.Struct, frozen=True):
    """The lines that are not drawn like all others."""

    ahead: range = range(0)
    """The lines of the phase that is about to run; before an epoch, the loop's line."""
    done: range = range(0)
    """The lines of the phase that has just run."""
    failed: int | None = None
    chosen: Name | None = None

    def lines(self) -> Iterator[int]:
        """Each of these lines."""
        yield from self.ahead
        yield from self.done
        if self.failed is not None:
            yield self.failed
        if self.chosen is not None:
            yield self.chosen.line


def marks_of(view: RunView, chosen: Name | None) -> LineMarks:
    """The marks at the position of the run."""
    last, failed = view.last_section, view.failed.line if view.failed else None
    return LineMarks(lines_ahead(view), last.lines if last else range(0), failed, chosen)


def lines_ahead(view: RunView) -> range:
    """The lines that are about to run; at the end of an epoch the loop's line."""
    section, frame = view.next_section, view.frame
    if section is None or frame is None:
        return range(0)
    if not frame.next_line or frame.next_line in section.lines:
        return section.lines
    return range(frame.next_line, frame.next_line + 1)


def lines_to_follow(view: RunView) -> range:
    """The lines to keep in view: an error's, or else the next ones, or at the end the last."""
    if view.failed is not None and view.failed.line:
        return range(view.failed.line, view.failed.line + 1)
    last = view.last_section
    return lines_ahead(view) or (last.lines if last and not view.at_start else range(0))


class ScriptListing:
    """The rows of a script's file in a pane of one width.

    They are drawn once; the few lines with a mark are drawn again for each view.
    """

    def __init__(self, lesson: Lesson, width: int) -> None:
        self._code = _lines_of_source(lesson.source)
        self._labels = _labels(lesson)
        self._cells = cells_in(lesson.path, lesson.source)
        self._digits = max(len(self._number(line)) for line in range(1, len(self._code) + 1))
        self._room = max(_LEAST_ROOM, width - GUTTER - self._digits - 1)
        self._rows: list[Content] = []
        self._starts: list[int] = []
        """A line, from 0 → its first row."""
        unmarked = LineMarks()
        for number in range(1, len(self._code) + 1):
            self._starts.append(len(self._rows))
            self._rows += (row for _, row in self._line(number, unmarked))

    def rows(self, marks: LineMarks) -> list[Content]:
        """All rows of the file."""
        rows = list(self._rows)
        for number in set(marks.lines()):
            if 1 <= number <= len(self._code):
                first = self._starts[number - 1]
                drawn = [row for _, row in self._line(number, marks)]
                rows[first : first + len(drawn)] = drawn
        return rows

    def span(self, lines: range) -> tuple[int, int] | None:
        """The first and the last row of some lines; None if there are none."""
        if not lines or not 1 <= lines[0] <= lines[-1] <= len(self._code):
            return None
        return self._starts[lines[0] - 1], self._end(lines[-1]) - 1

    def places(self, names: Iterable[Name]) -> Mapping[Name, int]:
        """The row of each name."""
        unmarked = LineMarks()
        folded: dict[int, list[int]] = {}
        found: dict[Name, int] = {}
        for name in names:
            if name.line not in folded:
                parts = self._line(name.line, unmarked)
                folded[name.line] = [start for start, _ in parts]
            before = sum(start <= name.start for start in folded[name.line])
            found[name] = self._starts[name.line - 1] + max(0, before - 1)
        return found

    def _end(self, number: int) -> int:
        """The row behind a line."""
        return self._starts[number] if number < len(self._starts) else len(self._rows)

    def _number(self, line: int) -> str:
        """The number beside a line: that in the file, or in the cell of a notebook."""
        return f"{line_in_cell(self._cells, line)[1] or ''}" if self._cells else f"{line}"

    def _line(self, number: int, marks: LineMarks) -> Iterator[tuple[int, Content]]:
        """The rows of a line, each with the character that it begins with.

        Marks change neither the number of the rows nor where they are folded.
        """
        content, label = self._code[number - 1], self._labels.get(number, "")
        if marks.chosen is not None and marks.chosen.line == number:
            content = content.stylize(ACTIVE, marks.chosen.start, marks.chosen.end)
        mark = _mark(number, marks)
        style = _style_of_line(number, marks)
        margin = f"{self._number(number):>{self._digits}} "
        beside_label = self._room - (len(label) + _LABEL_GAP if label else 0)
        for at, part in _folded(content, self._room, max(_LEAST_ROOM, beside_label)):
            row = line(mark, (margin, style)) + part
            if label:
                gap = self._room - part.cell_length - len(label)
                row += line(" " * max(1, gap), (label, style))
            yield at, row
            mark, margin, label = FOLDED, " " * len(margin), ""


def _lines_of_source(source: str) -> tuple[Content, ...]:
    """The lines of a file, highlighted unless that takes seconds."""
    if len(source) <= MOST_HIGHLIGHTED:
        return highlighted(source)
    return tuple(map(line, plain(source).rstrip("\n").split("\n")))


def _labels(lesson: Lesson) -> dict[int, str]:
    """The names of phases by their first line; of several on one line, all of them."""
    found: dict[int, list[str]] = {}
    for section in lesson.sections:
        if section.phase and section.heading and section.lines:
            found.setdefault(section.lines[0], []).append(one_line(section.heading))
    return {number: " · ".join(names) for number, names in found.items()}


def _mark(number: int, marks: LineMarks) -> Piece:
    """The mark before a line; where it could have several, the mark of the next phase."""
    if number == marks.failed:
        return FAILED
    if number in marks.ahead:
        return NEXT_MARK if number == marks.ahead[0] else CONTINUED
    return DONE_MARK if number in marks.done else NO_MARK


def _style_of_line(number: int, marks: LineMarks) -> Style:
    """The style of a line's number and of the phase's name beside it."""
    if number in marks.ahead:
        return NEXT
    return STRONG if number in marks.done else DIM
