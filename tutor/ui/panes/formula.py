"""The formula pane: the lesson's prose and formulas, with this step's numbers in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.reactive import var

from tutor.errors import FormulaError
from tutor.lesson.exercise import Exercise
from tutor.lesson.model import DisplayFormula, Lesson, Prose, Section
from tutor.plain import one_line
from tutor.protocol.frame import Frame, Value
from tutor.session.attempt import Attempt
from tutor.session.journal import ExerciseResult
from tutor.session.run_view import RunView
from tutor.ui import text_styles
from tutor.ui.exercise_lines import asks_what_comes, next_open, place_line, tells_what_came
from tutor.ui.panes.lines import LinesPane, after_paint
from tutor.ui.prose import inline_formulas, prose_lines
from tutor.ui.text_styles import Piece, line
from tutor.wording.number_format import Span, changed_spans, short

if TYPE_CHECKING:
    from tutor.formula import Picture

Spans: TypeAlias = tuple[Span, ...]

INDENT = " " * text_styles.GUTTER
FORMULA_INDENT = "  "
"""Between a formula and the mark before it."""


class FormulaPane(LinesPane):
    """Prose and formulas of all sections, those of the last step and of the next one marked.

    In the numbers among them the digits stand out that the last step has changed.
    """

    loads_slowly = True
    view: var[RunView | None] = var(None)
    results: var[Mapping[str, ExerciseResult]] = var(dict)
    """By exercise: the best that the learner has done there."""
    attempt: var[Attempt | None] = var(None)

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._ascii = ascii_only
        self._inline = inline_formulas(ascii_only)
        self._drawn: dict[tuple[object, ...], list[Content]] = {}
        self._sections: dict[str, tuple[int, int]] = {}
        """By phase: its first and last line."""
        self._results: dict[str, tuple[int, int]] = {}
        """By phase: from the first line of its formulas with numbers to the last one's last."""
        self._formulas: list[tuple[int, int]] = []
        """First and last line of each formula."""
        self._last: dict[tuple[str, str], str] = {}
        """By phase and expression: the text that last stood there before this frame."""
        self._closing_starts: list[int] = []
        """The first line of each section behind the last phase."""
        self._followed: tuple[str, str | None, int | None, bool] | None = None
        self._is_whole = False
        """Whether the text below the pane is built, too: that takes longer than what is in view."""

    def watch_view(self, old: RunView | None, new: RunView | None) -> None:
        """Redraw for another lesson, step or value."""
        if new is None:
            return
        if old is None or old.lesson is not new.lesson:
            self._drawn.clear()
            self._last.clear()
            self._followed, self._is_whole = None, False
            self.scroll_to(y=0, x=0, animate=False, immediate=True, force=True)
        self._remember(new.before)
        self.rebuild()

    def watch_results(self) -> None:
        """Redraw when a result changes."""
        self.rebuild()

    def watch_attempt(self, old: Attempt | None, new: Attempt | None) -> None:
        """Scroll when a prediction is asked for or has been answered."""
        if asks_what_comes(old) != asks_what_comes(new):
            self.rebuild()

    def on_resize(self, event: events.Resize) -> None:
        """Scroll to the phase about to run in the new size."""
        self._followed = None
        super().on_resize(event)

    def _remember(self, before: Frame | None) -> None:
        """Remember the values: a box that was empty in between is compared with its last value."""
        for phase, values in before.boxed.items() if before else ():
            for expression in values:
                if text := _text(values, expression):
                    self._last[phase, expression] = text

    def build(self, width: int) -> Sequence[Content]:
        """Every section, one below the other; at first only those in view."""
        view = self.view
        if view is None:
            return []
        lines: list[Content] = []
        self._sections.clear()
        self._results.clear()
        self._formulas.clear()
        phases = [i for i, section in enumerate(view.lesson.sections) if section.phase]
        self._closing_starts.clear()
        for index, section in enumerate(view.lesson.sections):
            first = len(lines)
            if phases and index > phases[-1]:
                self._closing_starts.append(first)
            for block_lines, kind in self._section(section, view, width):
                if kind != "words":
                    self._formulas.append((len(lines), len(lines) + len(block_lines) - 1))
                if kind == "live" and section.phase:
                    start, _ = self._results.get(section.phase, (len(lines), 0))
                    self._results[section.phase] = (start, len(lines) + len(block_lines) - 1)
                lines.extend(block_lines)
                if len(lines) > self._height and view.frame is None and not self._is_whole:
                    after_paint(self, self._build_whole)
                    return lines
            if section.phase:
                self._sections[section.phase] = (first, len(lines) - 1)
            if len(lines) > first:
                lines.append(line())
        return lines[:-1]

    def _build_whole(self) -> None:
        self._is_whole = True
        self.rebuild()

    def settle(self) -> None:
        """Keep in view what has just run, with what is next below it.

        The learner is left alone between steps. Below the last phase, whose next one stands far
        above, the text goes on with the sections that close the lesson: from the second epoch on
        they stand below what has just run (in the first they would answer what the exercises
        ask). After the lesson's last epoch the first of them is shown, after each further epoch
        the next.
        """
        view = self.view
        if view is None:
            return
        closing = self._closing_section(view)
        next_phase = None if view.at_start else self._followed_phase(view)
        place = (view.mode, next_phase, closing, view.epoch > 1)
        if place == self._followed:
            return
        self._followed = place
        if closing is not None:
            self._scroll_up_to(closing)
        elif next_phase in self._sections:
            self._follow(view, str(next_phase))
        elif view.at_start:
            self._scroll_up_to(0)

    def _closing_section(self, view: RunView) -> int | None:
        """The first line of the closing section to show: at the end of the lesson's epochs."""
        frame = view.frame
        if frame is None or self.attempt is not None or not self._closing_starts:
            return None
        epoch, last = frame.at.epoch, view.lesson.epochs[view.mode]
        if not frame.is_epoch_end or (epoch < last and epoch != view.goal):
            return None
        return self._closing_starts[min(max(epoch - last, 0), len(self._closing_starts) - 1)]

    def _follow(self, view: RunView, phase: str) -> None:
        ahead = self._sections[phase]
        done_phase = (view.frame and view.frame.phase) or ""
        done = self._sections.get(done_phase)
        if done is None:
            self.bring_into_view(*ahead)
        elif done == ahead:  # what has come was asked for
            self._scroll_up_to(self._top(done_phase, done[1]))
        elif done > ahead:
            shows_closing = self._closing_starts and view.epoch > 1 and self.attempt is None
            below = self._closing_starts[0] if shows_closing else None
            self._scroll_up_to(self._top(done_phase, done[1] if below is None else below + 1))
        else:
            _, result = self._results.get(view.next_phase or "", ahead)
            self._scroll_up_to(self._top(done_phase, result, ahead[0] + 2))

    def _top(self, done: str, *below: int) -> int:
        """The line to show from, so that what has run is in view, and below it what is next.

        `below`: down to which line of what is next, the most welcome first. If there is no room
        for it from the heading of what has run, then from its formulas, or from those with
        numbers in them, which are the point of it; else those alone, the last ones of many.
        """
        first, last = self._sections[done]
        formulas = [span for span in self._formulas if first <= span[0] <= last]
        results = self._results.get(done)
        if results is None:
            start = first if below[-1] - first < self._height else last + 2
            return self._without_cut(first, start, start)
        starts = (first, formulas[0][0], results[0])
        wishes = [(first, below[0]), *((start, below[-1]) for start in starts), results]
        for start, end in wishes:
            if end - start < self._height:
                return self._without_cut(first, start, end)
        fitting = (a for a, _ in formulas if a >= results[0] and results[1] - a < self._height)
        return next(fitting, formulas[-1][0])

    @property
    def _height(self) -> int:
        return self.scrollable_content_region.height

    def _without_cut(self, heading: int, start: int, end: int) -> int:
        """The line at or a little above `start` from where the pane's edges cut no formula."""
        start = min(start, max(0, len(self.lines) - self._height))
        highest = max(heading if start >= heading else 0, start - self._height // 3)
        for top in range(start, highest - 1, -1):
            edges = (top, top + self._height)
            is_cut = any(a < edge <= b for a, b in self._formulas for edge in edges)
            if end - top < self._height and not is_cut:
                return top
        return start

    def _scroll_up_to(self, top: int) -> None:
        """Let this line be the first that is seen, where the lines below it fill the pane."""
        if top != self.scroll_offset.y:
            self.scroll_to(y=top, animate=False, immediate=True, force=True)

    def _followed_phase(self, view: RunView) -> str | None:
        """The phase to keep in view: the next one, or the last one if a prediction was about it."""
        if tells_what_came(self.attempt) and view.frame is not None:
            return view.frame.phase
        return view.next_phase

    def _section(
        self, section: Section, view: RunView, width: int
    ) -> Iterator[tuple[Sequence[Content], Literal["words", "formula", "live"]]]:
        """The lines of the heading and of each block, and whether they are a formula's."""
        if section.heading:
            style = (
                text_styles.NEXT
                if text_styles.is_next(section.phase, view)
                else text_styles.HEADING
            )
            mark = text_styles.heading_mark(section.phase, view)
            yield line(mark, (one_line(section.heading), style)).wrap(width), "words"
        indent = INDENT if section.heading else ""
        for block in section.blocks:
            if isinstance(block, Prose):
                yield self._prose(block, indent, width), "words"
            elif isinstance(block, DisplayFormula):
                lines = self._formula(block, section.phase or "", view, width)
                start = line(text_styles.line_mark(section.phase, view), FORMULA_INDENT)
                yield [start + content for content in lines], "live" if block.boxed else "formula"
            elif isinstance(block, Exercise):
                yield [line(indent), line(indent) + self._place(block, view.lesson)], "words"

    def _place(self, exercise: Exercise, lesson: Lesson) -> Content:
        """Where an exercise stands in the text: which it is, and whether it is done."""
        every = lesson.exercises
        is_next = exercise.id == next_open(every, self.results)
        return place_line(
            every.index(exercise) + 1, exercise, self.results.get(exercise.id), is_next
        )

    def _prose(self, block: Prose, indent: str, width: int) -> list[Content]:
        key = (block, width)
        if key not in self._drawn:
            lines = prose_lines(block.markdown, width - len(indent) - 1, self._inline)
            self._drawn[key] = [line(indent) + content for content in lines]
        return self._drawn[key]

    def _formula(
        self, block: DisplayFormula, phase: str, view: RunView, width: int
    ) -> list[Content]:
        values = view.frame.boxed.get(phase, {}) if view.frame else {}
        boxed = block.boxed
        if phase == view.next_phase and asks_what_comes(self.attempt):
            boxed = _before_the_result(block)  # the formula would say what is asked
        now = {e: text for e in boxed if (text := _text(values, e))}
        changed = {e: self._changed(phase, e, text, view.before) for e, text in now.items()}
        key = (block, width, tuple(now.items()), tuple(changed.items()))
        if key not in self._drawn:
            self._forget(block)
            self._drawn[key] = list(self._draw(block, now, changed, width))
        return self._drawn[key]

    def _changed(self, phase: str, expression: str, text: str, before: Frame | None) -> Spans:
        """Where the digits stand that the last step has changed."""
        if before is None or expression not in before.boxed.get(phase, {}):
            return ()
        return changed_spans(text, self._last.get((phase, expression), ""))

    def _forget(self, block: DisplayFormula) -> None:
        for key in [k for k in self._drawn if k[0] is block]:
            del self._drawn[key]

    def _draw(
        self,
        block: DisplayFormula,
        now: Mapping[str, str],
        changed: Mapping[str, Spans],
        width: int,
    ) -> Iterator[Content]:
        from tutor.formula import draw, parse  # noqa: PLC0415  lazy, as above

        room = max(10, width - text_styles.GUTTER - len(FORMULA_INDENT))
        try:
            picture = draw(parse(block.latex), now, width=room, ascii=self._ascii)
        except FormulaError as error:
            yield line((one_line(block.latex), text_styles.UNSUPPORTED))
            yield line((one_line(str(error)), text_styles.DIM))
            return
        for row in range(len(picture.rows)):
            yield line(*_pieces(picture, row, now, changed))


def _before_the_result(block: DisplayFormula) -> tuple[str, ...]:
    """The expressions that stand before the formula's last `=`; none where all do."""
    count = block.latex.rpartition("=")[0].count(r"\boxed")
    return block.boxed[:count] if count < len(block.boxed) else ()


def _text(values: Mapping[str, Value], expression: str) -> str:
    """The value as it stands in the formula; nothing where there is none yet."""
    value = values.get(expression)
    return "" if value is None or value.dtype == "text" else one_line(short(value))


def _pieces(
    picture: Picture, row: int, now: Mapping[str, str], changed: Mapping[str, Spans]
) -> Iterator[Piece]:
    """One row of the picture: values stand out, and their changed digits the more so."""
    text, at = picture.rows[row].rstrip(), 0
    for mark in sorted((m for m in picture.marks if m.row == row), key=lambda m: m.start):
        start, end = index_at(text, mark.start), index_at(text, mark.end)
        yield text[at:start]
        if mark.kind != "value":
            yield (text[start:end], text_styles.UNSUPPORTED)
        else:
            spans = changed.get(mark.text, ())
            is_whole = end - start == len(now.get(mark.text, ""))
            yield from _value(text[start:end], spans if is_whole else spans and ((0, end - start),))
        at = end
    yield text[at:]


def _value(text: str, changed: Spans) -> Iterator[Piece]:
    """A value, the changed stretches of it underlined."""
    at = 0
    for start, end in changed:
        yield (text[at:start], text_styles.VALUE)
        yield (text[start:end], text_styles.CHANGED)
        at = end
    yield (text[at:], text_styles.VALUE)


def index_at(text: str, cell: int) -> int:
    """Index of the first character that stands at this cell or after it."""
    cells = 0
    for index, character in enumerate(text):
        width = cell_len(character)
        if cells >= cell and width:
            return index
        cells += width
    return len(text)
