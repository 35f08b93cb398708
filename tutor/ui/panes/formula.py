"""The formula pane: the lesson's prose and formulas, with this step's numbers in them.

Knows the lesson's sections and how to draw a formula; nothing of code or of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import var

from tutor.errors import FormulaError
from tutor.lesson.model import Formula, Prose, Section
from tutor.plain import one_line, plain
from tutor.training.frame import Value
from tutor.ui import looks
from tutor.ui.digits import short
from tutor.ui.looks import Piece, line
from tutor.ui.moment import Moment
from tutor.ui.panes.lines import LinesPane

if TYPE_CHECKING:
    from tutor.formula import Picture

INDENT = "  "
FORMULA_INDENT = "    "


class FormulaPane(LinesPane):
    """Prose and formulas of all sections; the phase about to run is marked and in view."""

    loads_slowly = True
    moment: var[Moment | None] = var(None)

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._ascii = ascii_only
        self._drawn: dict[tuple[object, ...], list[Content]] = {}
        self._sections: dict[str, tuple[int, int]] = {}
        """By phase: its first and last line."""
        self._results: dict[str, int] = {}
        """By phase: the line on which its last live formula begins."""
        self._followed: tuple[str, str | None] | None = None

    def watch_moment(self, old: Moment | None, new: Moment | None) -> None:
        """Another lesson, step or value."""
        if new is None:
            return
        if old is None or old.lesson is not new.lesson:
            self._drawn.clear()
            self._followed = None
            self.scroll_to(y=0, x=0, animate=False, immediate=True, force=True)
        self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """Every section, one below the other."""
        moment = self.moment
        if moment is None:
            return []
        lines: list[Content] = []
        self._sections.clear()
        self._results.clear()
        for section in moment.lesson.sections:
            first = len(lines)
            for block_lines, is_live in self._section(section, moment, width):
                if is_live and section.phase:
                    self._results[section.phase] = len(lines)
                lines.extend(block_lines)
            if section.phase:
                self._sections[section.phase] = (first, len(lines) - 1)
            if len(lines) > first:
                lines.append(line())
        return lines[:-1]

    def settle(self) -> None:
        """Keep what is about to run in view, but leave the learner alone between steps."""
        moment = self.moment
        if moment is None:
            return
        place = (moment.mode, None if moment.at_start else moment.next_phase)
        if place == self._followed:
            return
        self._followed = place
        if place[1] in self._sections:
            first, last = self._sections[place[1]]
            self.bring_into_view(self._from_the_last_result(moment, first), last)
        elif moment.at_start:
            self.scroll_to(y=0, animate=False, immediate=True, force=True)

    def _from_the_last_result(self, moment: Moment, first: int) -> int:
        """The line to show from: what has just been computed, if it stands close above."""
        done = moment.frame.phase if moment.frame else None
        result = self._results.get(done or "", first)
        close = 0 < first - result <= self.scrollable_content_region.height // 2
        return result if close else first

    def _section(
        self, section: Section, moment: Moment, width: int
    ) -> Iterator[tuple[Sequence[Content], bool]]:
        """The lines of the heading and of each block, and whether they have live values."""
        if section.heading:
            is_next = section.phase is not None and section.phase == moment.next_phase
            mark, style = ("▶ ", looks.NEXT) if is_next else (INDENT, looks.HEADING)
            yield line((mark + one_line(section.heading), style)).wrap(width), False
        indent = INDENT if section.heading else ""
        for block in section.blocks:
            if isinstance(block, Prose):
                yield self._prose(block, indent, width), False
            elif isinstance(block, Formula):
                lines = self._formula(block, section.phase or "", moment, width)
                yield lines, bool(block.boxed)

    def _prose(self, block: Prose, indent: str, width: int) -> list[Content]:
        key = (block, width)
        if key not in self._drawn:
            # Lazy: the first paint comes before the Markdown parser is loaded.
            from tutor.ui.prose import prose_lines  # noqa: PLC0415

            lines = prose_lines(block.markdown, width - len(indent) - 1, self._inline)
            self._drawn[key] = [line(indent) + content for content in lines]
        return self._drawn[key]

    def _inline(self, latex: str) -> str:
        # Lazy: the first paint comes before the formula's parser is loaded.
        from tutor.formula import draw_inline, parse  # noqa: PLC0415

        try:
            return plain(draw_inline(parse(latex), {}, ascii=self._ascii))
        except FormulaError:
            return plain(latex)

    def _formula(self, block: Formula, phase: str, moment: Moment, width: int) -> list[Content]:
        values = moment.frame.boxed.get(phase, {}) if moment.frame else {}
        before = moment.before.boxed.get(phase, {}) if moment.before else {}
        now = {e: text for e in block.boxed if (text := _text(values, e))}
        changed = frozenset(e for e in now if e in before and _text(before, e) != now[e])
        key = (block, width, tuple(now.items()), changed)
        if key not in self._drawn:
            self._forget(block)
            self._drawn[key] = list(self._draw(block, now, changed, width))
        return self._drawn[key]

    def _forget(self, block: Formula) -> None:
        for key in [k for k in self._drawn if k[0] is block]:
            del self._drawn[key]

    def _draw(
        self, block: Formula, now: Mapping[str, str], changed: frozenset[str], width: int
    ) -> Iterator[Content]:
        from tutor.formula import draw, parse  # noqa: PLC0415  lazy, as above

        room = max(10, width - len(FORMULA_INDENT))
        try:
            picture = draw(parse(block.latex), now, width=room, ascii=self._ascii)
        except FormulaError as error:
            yield line((FORMULA_INDENT + one_line(block.latex), looks.UNSUPPORTED))
            yield line((FORMULA_INDENT + one_line(str(error)), looks.DIM))
            return
        for row in range(len(picture.rows)):
            yield line(FORMULA_INDENT, *_pieces(picture, row, changed))


def _text(values: Mapping[str, Value], expression: str) -> str:
    """The value as it stands in the formula; nothing where there is none yet."""
    value = values.get(expression)
    return "" if value is None or value.dtype == "text" else one_line(short(value))


def _pieces(picture: Picture, row: int, changed: frozenset[str]) -> Iterator[Piece]:
    """One row of the picture: values stand out, those that have just changed the more so."""
    text, at = picture.rows[row].rstrip(), 0
    for mark in sorted((m for m in picture.marks if m.row == row), key=lambda m: m.start):
        start, end = index_at(text, mark.start), index_at(text, mark.end)
        style = looks.UNSUPPORTED
        if mark.kind == "value":
            style = looks.CHANGED if mark.text in changed else looks.VALUE
        yield text[at:start]
        yield (text[start:end], style)
        at = end
    yield text[at:]


def index_at(text: str, cell: int) -> int:
    """Index of the first character that stands at this cell or after it."""
    cells = 0
    for index, character in enumerate(text):
        width = cell_len(character)
        if cells >= cell and width:
            return index
        cells += width
    return len(text)
