"""The formula pane: the lesson's prose and formulas, with this step's numbers in them."""

from __future__ import annotations

import textwrap
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec
from textual import events
from textual.content import Content
from textual.reactive import var

from tutor.errors import FormulaError
from tutor.lesson.exercise import Exercise
from tutor.lesson.model import REPORT, SETUP, DisplayFormula, Fence, Lesson, Prose, Section
from tutor.plain import one_line
from tutor.progress import ExerciseResult
from tutor.protocol.frame import Frame, Value
from tutor.script.line_places import place_in
from tutor.session.attempt import Attempt, asks_what_comes, is_asked_for, shown_values
from tutor.session.journal import next_to_do
from tutor.session.run_view import RunView
from tutor.ui.exercise_lines import place_line, tells_what_came
from tutor.ui.lines import (
    DIM,
    GUTTER,
    HEADING,
    NEXT,
    NEXT_MARK,
    NO_MARK,
    UNSUPPORTED,
    LinesPane,
    Piece,
    after_paint,
    line,
    phase_marks,
)
from tutor.ui.prose import formula_rows, inline_formulas, prose_lines
from tutor.wording.lesson_faults import formula_error_text
from tutor.wording.number_format import changed_spans, counted, value_text

LineSpan: TypeAlias = tuple[int, int]
"""A first and a last line."""
_Key: TypeAlias = tuple[str, int]
"""A phase: its name and its line in the file, as a script may have several of one name."""

MOST_CODE = 4
"""Lines of code that stand for a formula."""

INDENT = " " * GUTTER
FORMULA_INDENT = "  "
"""Between a formula and the mark before it."""


class _State(NamedTuple):
    """All that the lines of a section depend on, besides its text."""

    width: int
    heading_mark: Piece
    line_mark: Piece
    is_asked_for: bool
    """Whether an exercise asks for the result of this phase."""
    now: Mapping[str, Value]
    """The values to show, by expression."""
    last: Mapping[str, Value | None]
    """The last values, by expression; None where there was none before this step."""


class _Drawn(msgspec.Struct, frozen=True):
    """The lines of one section, and the values that they were drawn from."""

    state: _State
    lines: Sequence[Content]
    formulas: Sequence[LineSpan]
    """First and last line of each formula."""
    results: LineSpan | None
    """The lines from the first formula with numbers to the last one."""


class FormulaPane(LinesPane):
    """Prose and formulas of all sections; the last step's and the next step's are marked.

    In their numbers, the digits that the last step has changed stand out.
    """

    loads_slowly = True
    results: var[Mapping[str, ExerciseResult]] = var(dict)
    """The learner's best result, by exercise."""
    attempt: var[Attempt | None] = var(None)

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._ascii = ascii_only
        self._inline = inline_formulas(ascii_only)
        self._drawn: dict[int, _Drawn] = {}
        """The index of a section → its lines."""
        self._exercises: dict[str, Content] = {}
        """An exercise's id → the line at its place in the text, with the learner's result."""
        self._words: dict[tuple[str, int], list[Content]] = {}
        """Markdown and a width → its lines."""
        self._sections: dict[_Key, LineSpan] = {}
        """A phase → its first and last line."""
        self._results: dict[_Key, LineSpan] = {}
        """A phase → the first and the last line of its formulas with numbers."""
        self._formulas: list[LineSpan] = []
        """First and last line of each formula."""
        self._last: dict[str, dict[str, Value]] = {}
        """A phase and an expression → the last value there before this frame."""
        self._closing_starts: list[int] = []
        """The first line of each section behind the last phase."""
        self._followed: tuple[object, ...] | None = None
        self._is_whole = False
        """Whether the text below the pane is built, too: that takes longer."""
        self._asks_what_comes = self._tells_what_came = False
        self._read = ReadingPlace()

    def watch_view(self, old: RunView | None, new: RunView | None) -> None:
        """Redraw for another lesson, step or value."""
        if new is None:
            return
        if old is None or old.lesson is not new.lesson:
            for cache in (self._drawn, self._exercises, self._words, self._last):
                cache.clear()
            self._followed, self._is_whole = None, False
            self.scroll_to(y=0, x=0, animate=False, immediate=True, force=True)
        if old is not None and old.lesson.slug != new.lesson.slug:  # not for an exercise's code
            self._read = ReadingPlace()
        self._remember(new.before)
        self.rebuild()

    def watch_results(self) -> None:
        """Redraw when a result changes."""
        self._drawn.clear()
        self._exercises.clear()
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
            known = {e: value for e, value in values.items() if value.dtype != "text"}
            self._last.setdefault(phase, {}).update(known)

    def build(self, width: int) -> Sequence[Content]:
        """Every section, one below the other; at first only those in view."""
        view = self.view
        if view is None:
            return []
        attempt = self.attempt
        self._asks_what_comes = attempt is not None and asks_what_comes(attempt)
        self._tells_what_came = attempt is not None and tells_what_came(attempt)
        lines: list[Content] = []
        starts: list[int] = []
        for found in (self._sections, self._results, self._formulas, self._closing_starts):
            found.clear()
        sections = _shown_sections(view.lesson)
        last_phase = max([i for i, s in enumerate(sections) if s.phase], default=len(sections))
        is_first_look = view.frame is None and not self._is_whole
        for index, section in enumerate(sections):
            if index > last_phase:
                self._closing_starts.append(len(lines))
            room = self.room - len(lines) if is_first_look else None
            drawn = self._section(index, section, view, width, room)
            first, phase = len(lines), _key(section)
            starts.append(first)
            lines += drawn.lines
            self._formulas += [(first + start, first + end) for start, end in drawn.formulas]
            if phase:
                self._sections[phase] = (first, len(lines) - 1)
            if phase and drawn.results:
                self._results[phase] = (first + drawn.results[0], first + drawn.results[1])
            if is_first_look and len(lines) > self.room:
                after_paint(self, self._build_whole)
                break
            if drawn.lines:
                lines.append(line())
        else:
            lines = lines[:-1]
        self._read.lay_out(starts, len(lines), width)
        return lines

    def page_to_next_phase(self) -> bool:
        """Page down if some text up to the end of the next phase has not been in view.

        Returns whether so. At the end of the lesson's epochs the text that closes it follows.
        """
        view = self.view
        if view is None or self.is_hidden or view.lesson.script:
            return False
        read, end = self._read.at, self._end_of_text(view)
        if end <= read:
            return False
        cut = (a for a, b in self._formulas if a < read <= b + 1 < a + self.room)
        self.show_from(min(next(cut, read - 1), end - self.room))
        self._note_what_is_seen()
        return True

    def _end_of_text(self, view: RunView) -> int:
        """The line after the next phase; after the last, also that of phases this mode lacks."""
        ends = {phase: last + 1 for phase, (_, last) in self._sections.items()}
        loop = view.lesson.loop(view.mode)
        following = _key(view.next_section or next(iter(loop), None))
        if following not in ends or self._closing_section(view) is not None:
            return len(self.lines)
        keys = map(_key, (*loop, view.lesson.phase(REPORT)))
        runs = [ends.get(key, 0) for key in keys if key]
        return max(ends.values()) if ends[following] == max(runs) else ends[following]

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Note what has come into view."""
        super().watch_scroll_y(old_value, new_value)
        self._note_what_is_seen()

    def _note_what_is_seen(self) -> None:
        if not self.is_hidden:
            self._read.see(self.scroll_offset.y, self.scroll_offset.y + self.room)

    def _pass_over_what_has_run(self, view: RunView) -> None:
        """Ask for no reading of phases that ran by other keys than the one that pages."""
        section = view.last_section
        done = self._sections.get(_key(section) or ("", 0))
        if self.attempt is None and not view.at_start and done is not None:
            last = max(span[1] for span in self._sections.values())
            self._read.pass_over((last if view.epoch > 1 else done[1]) + 2)

    def _build_whole(self) -> None:
        self._is_whole = True
        self.rebuild()

    def settle(self) -> None:
        """Keep in view the phase that has just run, with the next one below it.

        Between steps nothing scrolls. After the last phase, whose next one stands far above, the
        sections that close the lesson follow: from the second epoch on (in the first they would
        answer the exercises). After the lesson's last epoch the first of them is shown, after
        each further epoch the next.
        """
        view = self.view
        if view is None:
            return
        self._pass_over_what_has_run(view)
        self._scroll_to_what_runs(view)
        self._note_what_is_seen()

    def _scroll_to_what_runs(self, view: RunView) -> None:
        closing = self._closing_section(view)
        # The next one; the last one if a prediction was about it.
        followed = view.last_section if self._tells_what_came else view.next_section
        next_phase = None if view.at_start else _key(followed)
        place = (view.mode, next_phase, closing, view.epoch > 1, self._asks_what_comes)
        if place == self._followed:
            return
        self._followed = place
        if closing is not None:
            self.show_from(closing)
        elif next_phase is not None and next_phase in self._sections:
            self._follow(view, next_phase)
        elif view.at_start:
            self.show_from(0)

    def _closing_section(self, view: RunView) -> int | None:
        """The first line of the closing section to show: at the end of the lesson's epochs."""
        frame = view.frame
        if frame is None or self.attempt is not None or not self._closing_starts:
            return None
        epoch, last = frame.at.epoch, view.lesson.epochs[view.mode]
        if not frame.is_epoch_end or (epoch < last and epoch != view.target_epoch):
            return None
        return self._closing_starts[min(max(epoch - last, 0), len(self._closing_starts) - 1)]

    def _follow(self, view: RunView, phase: _Key) -> None:
        ahead = self._sections[phase]
        done_phase = _key(view.last_section) or ("", 0)
        done = self._sections.get(done_phase)
        if done is None:
            self.bring_into_view(*ahead)
        elif done == ahead:  # what has come was asked for
            self.show_from(self._top(done_phase, done[1]))
        elif done > ahead and self._asks_what_comes:  # about the first phase of an epoch
            self.show_from(ahead[0])
        elif done > ahead:
            shows_closing = self._closing_starts and view.epoch > 1 and self.attempt is None
            below = self._closing_starts[0] if shows_closing else None
            self.show_from(self._top(done_phase, done[1] if below is None else below + 1))
        else:
            _, result = self._results.get(_key(view.next_section) or ("", 0), ahead)
            self.show_from(self._top(done_phase, result, ahead[0] + 2))

    def _top(self, done: _Key, *below: int) -> int:
        """The line to show from, so that the phase that has run and the next one are in view.

        `below`: down to which line of the next phase, the best first. If that has no room below
        the heading of the phase that has run, that phase is shown from its formulas, or from those
        with numbers. A phase longer than the pane is shown from its heading, or its first number.
        """
        height = self.room
        first, last = self._sections[done]
        is_long = last - first >= height
        formulas = [span for span in self._formulas if first <= span[0] <= last]
        results = self._results.get(done)
        if results is None:
            start = first if is_long or below[-1] - first < height else last + 2
            return self._without_cut(first, start, start)
        wishes = [(first, below[0]), (first, below[-1])]
        wishes += [(first, results[1])] if is_long else []
        wishes += [(formulas[0][0], below[-1]), (results[0], below[-1]), results]
        for start, end in wishes:
            if end - start < height:
                return self._without_cut(first, start, end)
        return first if results[0] - first <= height // 2 else results[0]

    def _without_cut(self, heading: int, start: int, end: int) -> int:
        """The line at or a little above `start` from where the pane's edges cut no formula."""
        height = self.room
        start = min(start, max(0, len(self.lines) - height))
        highest = max(heading if start >= heading else 0, start - height // 3)
        inner = {row for a, b in self._formulas for row in range(a + 1, b + 1)}
        for top in range(start, highest - 1, -1):
            if end - top < height and top not in inner and top + height not in inner:
                return top
        return start

    # ── The lines of a section ──────────────────────────────────────────────────────

    def _section(
        self, index: int, section: Section, view: RunView, width: int, room: int | None
    ) -> _Drawn:
        """The lines of a section; with `room`, no more than fill it.

        They are drawn again only if a mark or a number in them has changed.
        """
        phase = section.phase or ""
        before = view.before.boxed.get(phase) if view.before else None
        last = self._last.get(phase, {})
        state = _State(
            width,
            *(phase_marks(section, view) if phase else _NO_MARKS),
            self._asks_what_comes and is_asked_for(self.attempt, section, view),
            view.frame.boxed.get(phase, {}) if view.frame else {},
            {e: last.get(e) for e in before} if before else {},
        )
        drawn = self._drawn.get(index)
        if drawn is None or drawn.state != state:
            drawn = self._draw_section(section, view.lesson, state, room)
            if room is None:
                self._drawn[index] = drawn
        return drawn

    def _draw_section(
        self, section: Section, lesson: Lesson, state: _State, room: int | None
    ) -> _Drawn:
        lines: list[Content] = []
        formulas: list[LineSpan] = []
        live: list[LineSpan] = []
        is_next = state.heading_mark == NEXT_MARK
        if section.heading:
            style = NEXT if is_next else HEADING
            heading = line(state.heading_mark, (one_line(section.heading), style))
            if lesson.script is not None:
                heading += line((f" · {place_in(lesson)(section.line)}", DIM))
            lines += heading.wrap(state.width)
        indent = INDENT if section.heading else ""
        start = line(state.line_mark, FORMULA_INDENT)
        for block in section.blocks:
            if room is not None and len(lines) > room:
                break
            first = len(lines)
            if isinstance(block, Prose):
                lines += self._prose(block, indent, state.width)
            elif isinstance(block, DisplayFormula):
                lines += [start + row for row in self._formula(block, section, state)]
                formulas.append((first, len(lines) - 1))
                live += formulas[-1:] if block.boxed else []
            elif isinstance(block, Exercise):
                lines += [line(indent), line(indent) + self._exercise(block, lesson)]
        if lesson.script is not None and not formulas:
            lines += (start + row for row in _code_rows(section, state.width))
        return _Drawn(state, lines, formulas, (live[0][0], live[-1][1]) if live else None)

    def _exercise(self, exercise: Exercise, lesson: Lesson) -> Content:
        """The line for an exercise in the text: its number, and whether it is done."""
        if not self._exercises:
            every, results = lesson.exercises, self.results
            following = next_to_do(every, results)
            self._exercises = {
                e.id: place_line(number, e, results.get(e.id), e is following)
                for number, e in enumerate(every, 1)
            }
        return self._exercises[exercise.id]

    def _prose(self, block: Prose, indent: str, width: int) -> list[Content]:
        key = (block.markdown, width - len(indent))
        if key not in self._words:
            lines = prose_lines(block.markdown, width - len(indent) - 1, self._inline)
            self._words[key] = [line(indent) + content for content in lines]
        return self._words[key]

    def _formula(self, block: DisplayFormula, section: Section, state: _State) -> list[Content]:
        """The rows of a formula with its numbers; an error and the source if it can't be drawn."""
        boxed = block.boxed
        if state.is_asked_for and self.view is not None:
            boxed = shown_values(block, self.attempt, section, self.view)
        now = {e: text for e in boxed if (text := _text(state.now.get(e)))}
        changed = {
            e: changed_spans(text, value_text(was) if (was := state.last[e]) else "")
            for e, text in now.items()
            if e in state.last
        }
        room = max(10, state.width - GUTTER - len(FORMULA_INDENT))
        try:
            return formula_rows(block.latex, now, changed, room, self._ascii)
        except FormulaError as error:
            return [
                line((one_line(block.latex), UNSUPPORTED)),
                line((formula_error_text(error.code, error.values), DIM)),
            ]


_NO_MARKS = NO_MARK, NO_MARK


def _shown_sections(lesson: Lesson) -> Sequence[Section]:
    """The sections that the pane shows: of a script only the phases of its loop."""
    if lesson.script is None:
        return lesson.sections
    return [s for s in lesson.sections if s.phase not in (None, SETUP)]


def _key(section: Section | None) -> _Key | None:
    """The phase of a section and its line; None for a section that is no phase."""
    return (section.phase, section.line) if section and section.phase else None


def _code_rows(section: Section, width: int) -> Iterator[Content]:
    """The first lines of a phase's code, for a script from which no formula can be derived."""
    from tutor.ui.code_lines import highlighted  # noqa: PLC0415 - after the first paint

    code = "".join(block.code for block in section.blocks if isinstance(block, Fence))
    rows = highlighted(textwrap.dedent(code).strip("\n").rstrip())
    room = max(10, width - GUTTER - len(FORMULA_INDENT))
    for row in rows[:MOST_CODE]:
        yield from row.fold(room)
    if len(rows) > MOST_CODE:
        more = counted(len(rows) - MOST_CODE, "more line", "more lines")
        yield line((f"… {more}", DIM))


def _text(value: Value | None) -> str:
    """The value as it stands in the formula; nothing where there is none yet."""
    return "" if value is None or value.dtype == "text" else value_text(value)


class ReadingPlace:
    """The first line that has not been in view, although all lines above it have.

    It is kept as a line of a section: the sections above may get longer as their numbers come.
    """

    def __init__(self) -> None:
        self._section = self._line = 0
        self._starts: Sequence[int] = ()
        """The first line of each section."""
        self._count = 0
        self._width = 0

    def lay_out(self, starts: Sequence[int], count: int, width: int) -> None:
        """Take over where the sections begin; in another width, lines of a section are others."""
        if width != self._width:
            self._line = 0
        self._starts, self._count, self._width = tuple(starts), count, width

    @property
    def at(self) -> int:
        """The line in the whole text; the number of lines where all is read."""
        known = self._section < len(self._starts)
        return min(self._count, self._starts[self._section] + self._line) if known else self._count

    def see(self, first: int, end: int) -> None:
        """Note that the lines from `first` up to `end` are in view."""
        if first <= self.at:
            self.pass_over(end)

    def pass_over(self, end: int) -> None:
        """Note that the lines up to `end` need not be shown any more."""
        end = min(end, self._count)
        if end > self.at:
            self._section = bisect_right(self._starts, end) - 1
            self._line = end - self._starts[self._section]
