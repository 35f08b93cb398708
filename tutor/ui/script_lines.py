"""A learner's own script as lines to show: the whole file, its phases named and marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from textual.content import Content
from textual.style import Style

from tutor.lesson.model import Lesson
from tutor.plain import one_line, plain
from tutor.script.line_places import cells_in, line_in_cell
from tutor.session.run_view import RunView
from tutor.ui import text_styles
from tutor.ui.code_lines import FAILED, FOLDED, fold_at, highlighted
from tutor.ui.text_styles import Piece, line
from tutor.ui.variables import Name

CONTINUED: Piece = (": ", text_styles.NEXT)
"""Beside the further lines of the phase that is about to run."""

MOST_HIGHLIGHTED = 200_000
"""Characters of a file with syntax highlighted: 5,000 lines, which take half a second."""

_LABEL_GAP = 2
_LEAST_ROOM = 10
"""Cells that a row of code has at least, in however narrow a pane."""


@dataclass(frozen=True, slots=True)
class LineMarks:
    """The lines that are not drawn like all others."""

    ahead: range = range(0)
    """The lines of the phase that is about to run; before an epoch, that of the loop."""
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
    """The lines of what is about to run; at the end of an epoch the line of the loop."""
    section, frame = view.next_section, view.frame
    if section is None or frame is None:
        return range(0)
    if not frame.next_line or frame.next_line in section.lines:
        return section.lines
    return range(frame.next_line, frame.next_line + 1)


def lines_to_follow(view: RunView) -> range:
    """The lines to keep in view: that of an error, of what is next, or at the end of the last."""
    if view.failed is not None and view.failed.line:
        return range(view.failed.line, view.failed.line + 1)
    last = view.last_section
    return lines_ahead(view) or (last.lines if last and not view.at_start else range(0))


class ScriptListing:
    """The rows of a script's file in a pane of one width.

    They are drawn once; the few lines with a mark are drawn again for each view.
    """

    def __init__(self, lesson: Lesson, width: int) -> None:
        self._code = _code(lesson.source)
        self._labels = _labels(lesson)
        self._cells = cells_in(lesson.path, lesson.source)
        self._digits = max(len(self._number(line)) for line in range(1, len(self._code) + 1))
        self._room = max(_LEAST_ROOM, width - text_styles.GUTTER - self._digits - 1)
        self._rows: list[Content] = []
        self._starts: list[int] = []
        """By line, from 0: its first row."""
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
            content = content.stylize(text_styles.ACTIVE, marks.chosen.start, marks.chosen.end)
        mark = _mark(number, marks)
        style = _style(number, marks)
        margin = f"{self._number(number):>{self._digits}} "
        room = self._room - (len(label) + _LABEL_GAP if label else 0)
        room, at = max(_LEAST_ROOM, room), 0
        while True:
            rest = content[at:]
            is_last = rest.cell_length <= room
            cut = rest.plain if is_last else rest.plain[: fold_at(rest.plain, _fitting(rest, room))]
            row = line(mark, (margin, style)) + content[at : at + len(cut)]
            if label:
                gap = self._room - content[at : at + len(cut)].cell_length - len(label)
                row += line(" " * max(1, gap), (label, style))
            yield at, row
            if is_last:
                return
            at, label, room = at + len(cut), "", self._room
            mark, margin = FOLDED, " " * len(margin)


def _code(source: str) -> tuple[Content, ...]:
    """The lines of a file, highlighted unless that takes seconds."""
    if len(source) <= MOST_HIGHLIGHTED:
        return highlighted(source)
    return tuple(map(line, plain(source).rstrip("\n").split("\n")))


def _fitting(rest: Content, room: int) -> int:
    """The number of characters that fit into so many cells."""
    return len(rest.fold(room)[0].plain)


def _labels(lesson: Lesson) -> dict[int, str]:
    """The names of phases by their first line; of several on one line, all of them."""
    found: dict[int, list[str]] = {}
    for section in lesson.sections:
        if section.phase and section.heading and section.lines:
            found.setdefault(section.lines[0], []).append(one_line(section.heading))
    return {number: " · ".join(names) for number, names in found.items()}


def _mark(number: int, marks: LineMarks) -> Piece:
    """The mark before a line; of one with several, that of what is to come."""
    if number == marks.failed:
        return FAILED
    if number in marks.ahead:
        return text_styles.NEXT_MARK if number == marks.ahead[0] else CONTINUED
    return text_styles.DONE_MARK if number in marks.done else text_styles.NO_MARK


def _style(number: int, marks: LineMarks) -> Style:
    """The style of a line's number and of the phase's name beside it."""
    if number in marks.ahead:
        return text_styles.NEXT
    return text_styles.STRONG if number in marks.done else text_styles.DIM
