"""The panes of the code: what runs in this mode, who does what in each mode, and what is printed.

In the code a cursor goes from name to name, and the facts of the chosen one stand at the foot; or
the difference to another mode's code is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import ClassVar

import msgspec
from textual.binding import BindingType
from textual.content import Content
from textual.reactive import var

from tutor.lesson.code_checks import ladder
from tutor.lesson.model import SETUP, Lesson, Section
from tutor.plain import one_line
from tutor.session.attempt import Attempt, phase_to_fix
from tutor.session.printed_text import PrintedText
from tutor.session.run_view import RunView
from tutor.ui.code_lines import (
    Difference,
    ScriptListing,
    compared_with,
    diff_rows,
    difference,
    fence_rows,
    lines_to_follow,
    marks_of,
    turned,
)
from tutor.ui.commands import CODE_COMMANDS, bindings
from tutor.ui.lines import (
    DIM,
    DONE_MARK,
    NEXT,
    NEXT_MARK,
    PLAIN,
    STRONG,
    LinesPane,
    Piece,
    Shown,
    line,
    phase_marks,
    rule,
)
from tutor.ui.variables import (
    Name,
    meaningful_names,
    name_beside,
    names_of_file,
    on_next_line,
    same_name,
    variable_lines,
)


class CodePane(LinesPane):
    """The fences of the current mode; the phase about to run is marked and in view.

    The lines at its foot do not scroll.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(CODE_COMMANDS)]
    loads_slowly = True
    attempt: var[Attempt | None] = var(None)
    difference_to: var[str] = var("")
    """The mode whose code this mode's is compared with; empty to show the code itself."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._phases: dict[str, tuple[int, int]] = {}
        self._rows: dict[Name, int] = {}
        """The place of each name."""
        self._chosen: Name | None = None
        self._inspected = {"name": ""}
        self._followed: tuple[object, ...] | None = None
        self._adopted: tuple[Lesson, str] | None = None
        """The lesson and the mode whose code is shown."""
        self._sections: tuple[Section, ...] = ()
        """The phases that this mode runs."""
        self._names: tuple[Name, ...] = ()
        self._drawn: dict[tuple[str, tuple[Piece, Piece]], _DrawnPhase] = {}
        """A phase and its marks → its lines."""
        self._drawn_for: tuple[object, ...] = ()
        """The width, the line that failed, and the chosen name, as they are drawn."""
        self._listing: ScriptListing | None = None
        """The rows of a script, for the width of the pane."""
        self._listed_for: tuple[object, ...] = ()

    # ── Changes of the attributes ───────────────────────────────────────────────────

    def watch_attempt(self, old: Attempt | None, new: Attempt | None) -> None:
        """Redraw for another exercise, which may have other code to fix."""
        if (old and old.exercise.id) != (new and new.exercise.id):
            self.rebuild()

    def view_changed(self, old: RunView | None, new: RunView | None) -> None:
        """Redraw when the lesson, mode, phase or the chosen name's facts change."""
        if old is None or new is None or _shown_of(old) != _shown_of(new):
            self.rebuild()

    def rebuild(self) -> None:
        """Build the lines again; in another lesson or mode, choose a name anew."""
        if self.view is not None and not self.is_hidden:
            self._adopt(self.view.lesson, self.view.mode)
        super().rebuild()

    def _adopt(self, lesson: Lesson, mode: str) -> None:
        before, self._adopted = self._adopted, (lesson, mode)
        if before == self._adopted:
            return
        self._sections = tuple(s for s in lesson.sections if s.phase and s.fences(mode))
        self._names = ()
        if lesson.script is None:
            self._names = meaningful_names(
                [fence for s in self._sections for fence in s.fences(mode)]
            )
        self._drawn.clear()
        if before is None or before[0].digest != lesson.digest:
            self.difference_to = ""
            self._choose(None)
        else:
            if self.difference_to == mode:
                self.difference_to = turned(lesson.modes, mode, "")
            self._choose(same_name(self._names, self._chosen) if self._chosen else None)

    def watch_difference_to(self) -> None:
        """Redraw; a difference has no names to choose."""
        if self.difference_to:
            self._choose(None)
        self._followed = None
        self.rebuild()

    def turn_difference(self) -> str:
        """Compare with the next mode, the one below on the ladder first; after the last, none.

        Returns the mode that is compared with now; empty if none is.
        """
        view = self.view
        if view is not None:
            self._adopt(view.lesson, view.mode)  # a hidden pane has not done so
            self.difference_to = turned(view.lesson.modes, view.mode, self.difference_to)
        return self.difference_to

    # ── The cursor ──────────────────────────────────────────────────────────────────

    @property
    def chosen(self) -> str:
        """The name that the cursor stands on; empty if it stands on none."""
        return self._chosen.text if self._chosen else ""

    def action_name(self, by: int) -> None:
        """Choose the next or previous name; without one, the first that is about to run."""
        self._find_names()
        names = tuple(self._rows)
        if self._chosen in names:
            self._go_to(name_beside(names, self._chosen, by))
        else:
            first, _ = self._phases.get(self._next, (0, 0))
            ahead = [name for name in names if self._rows[name] >= first] or names
            self._go_to(ahead[0] if ahead else None)

    def _find_names(self) -> None:
        """Find the names of a script and their rows, as soon as one is to be chosen."""
        is_script = self.view is not None and self.view.lesson.script is not None
        if is_script and self.view is not None and self._listing is not None and not self._rows:
            names = names_of_file(self.view.lesson.source)
            self._rows = dict(self._listing.places(names))

    def action_line(self, by: int) -> None:
        """Choose a name on another line; scroll if there is none or none is chosen."""
        if self._chosen is not None:
            self._find_names()
        target = on_next_line(tuple(self._rows), self._chosen, by) if self._chosen else None
        if target is not None:
            self._go_to(target)
        elif by > 0:
            self.action_scroll_down()
        else:
            self.action_scroll_up()

    def action_no_name(self) -> None:
        """Choose no name."""
        self._choose(None)
        self.rebuild()

    def _go_to(self, name: Name | None) -> None:
        if name is None:
            return
        self._choose(name)
        self.rebuild()
        self.show_nearby(self._rows[name])

    def _choose(self, name: Name | None) -> None:
        self._chosen = name
        self.inspect(name=self.chosen)

    @property
    def _next(self) -> str:
        """The phase about to run."""
        return (self.view.next_phase if self.view else None) or ""

    # ── Lines ───────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Keep what is about to run in view, but leave the learner alone between steps.

        Where code is to be fixed and nothing has run yet, it is that, and what runs before it.
        """
        view = self.view
        if view is None:
            return
        fixed = phase_to_fix(self.attempt.exercise if self.attempt else None) or ""
        to_fix = fixed if view.at_start else ""
        lines = (view.frame.next_line, view.frame.is_over) if view.frame else ()
        state = view.next_phase, lines, view.failed if view.lesson.script else None
        place = (view.lesson.digest, view.mode, state, to_fix, self.room)
        if place == self._followed:
            return
        self._followed = place
        if to_fix in self._phases:
            _, last = self._phases[to_fix]
            self.show_from(max(0, last - self.room + 1))
        elif view.lesson.script is None:
            self.bring_into_view(*self._phases.get(self._next, (0, 0)))
        elif self._next in self._phases:
            self._follow_script(view.lesson, *self._phases[self._next])

    def _follow_script(self, lesson: Lesson, first: int, last: int) -> None:
        """Scroll so that all phases of the loop can be seen, with the lines that are next.

        If they need more rows than there are, those lines come into the middle.
        """
        assert self._listing is not None
        phases = (s.lines for s in lesson.sections if s.phase not in (None, SETUP))
        spans = [(first, last), *filter(None, map(self._listing.span, phases))]
        start, end = min(a for a, _ in spans), max(b for _, b in spans)
        if end - start >= self.room:
            start, end = first, last
        top, room = self.scroll_offset.y, self.room
        if start < top or end >= top + room:
            self.show_from(max(0, start - max(0, room - (end - start + 1)) // 2))

    def _foot(self, found: Difference | None, view: RunView, width: int) -> Sequence[Content]:
        """The facts of the chosen name; or a summary of the difference."""
        if found is not None:
            lines = [_legend(found, view, width), *map(line, found.summary())]
            return [content.truncate(width, ellipsis=True) for content in lines]
        if self._chosen is None:
            return []
        return variable_lines(self._chosen.text, view.inspections.variable, width)

    def build(self, width: int) -> Sequence[Content]:
        """Each phase: its name and its code, or the lines that differ; below them the foot."""
        view, found = self.view, self._found
        self._phases.clear()
        if view is None:
            return []
        if view.lesson.script is not None:
            lines = self._script(view, width)
        else:
            self._rows.clear()
            lines = self._difference(found, view, width) if found else self._code(view, width)
        foot = self._foot(found, view, width)
        self.foot = len(foot)
        return [*lines, *foot]

    def _script(self, view: RunView, width: int) -> list[Content]:
        """The file of a script; its names are looked for when one is chosen."""
        drawn_for = (view.lesson.source, view.lesson.sections, width)
        if self._listing is None or self._listed_for != drawn_for:
            self._listing, self._listed_for = ScriptListing(view.lesson, width), drawn_for
            self._rows.clear()
        span = self._listing.span(lines_to_follow(view))
        if span is not None:
            self._phases[self._next] = span
        return self._listing.rows(marks_of(view, self._chosen))

    @property
    def _found(self) -> Difference | None:
        """The difference that is shown, if one is."""
        view, other = self.view, self.difference_to
        if not other or view is None or other not in compared_with(view.lesson.modes, view.mode):
            return None
        return difference(view.lesson, view.mode, other)

    def _code(self, view: RunView, width: int) -> list[Content]:
        failed = view.failed.line if view.failed else None
        if self._drawn_for != (width, failed, self._chosen):
            self._drawn_for = width, failed, self._chosen
            self._drawn.clear()
        lines: list[Content] = []
        for section in self._sections:
            phase = str(section.phase)
            state = (phase, phase_marks(section, view))
            if state not in self._drawn:
                self._drawn[state] = self._draw_phase(section, state[1], view, width)
            drawn = self._drawn[state]
            self._phases[phase] = (len(lines), len(lines) + len(drawn.lines) - 1)
            self._rows |= {name: len(lines) + row for name, row in drawn.rows.items()}
            lines += drawn.lines
        return lines

    def _draw_phase(
        self, section: Section, marks: tuple[Piece, Piece], view: RunView, width: int
    ) -> _DrawnPhase:
        lines = [_heading(str(section.phase), *marks)]
        failed = view.failed.line if view.failed else None
        rows: dict[Name, int] = {}
        for fence in section.fences(view.mode):
            for row in fence_rows(fence, width, marks[1], failed, self._chosen):
                rows |= {name: len(lines) for name in self._names if row.shows(name)}
                lines.append(row.content)
        return _DrawnPhase(lines, rows)

    def _difference(self, found: Difference, view: RunView, width: int) -> list[Content]:
        lines: list[Content] = []
        for phase in found.phases:
            first = len(lines)
            marks = phase_marks(view.lesson.phase(phase.phase), view)
            heading = _heading(phase.phase, *marks)
            lines.append(heading + line((f"  {phase.says}", DIM)) if phase.says else heading)
            lines += [row for change in phase.lines for row in diff_rows(change, width)]
            self._phases[phase.phase] = (first, len(lines) - 1)
        return lines


def _shown_of(view: RunView) -> tuple[object, ...]:
    """The parts of a view that the pane draws: one epoch end looks like the next."""
    frame = view.frame
    phases = (frame.phase if frame else None, view.next_phase, view.at_start)
    lines = (frame.line, frame.next_line, frame.is_over) if frame else ()
    return (view.lesson.digest, view.mode, phases, lines, view.failed, view.inspections.variable)


def _heading(phase: str, mark: Piece, mark_of_lines: Piece) -> Content:
    style = NEXT if mark == NEXT_MARK else DIM
    if mark_of_lines == DONE_MARK:
        style = STRONG
    return line(mark, (phase, style))


class _DrawnPhase(msgspec.Struct, frozen=True):
    """The lines of a phase, and in which of them each name stands."""

    lines: Sequence[Content]
    rows: Mapping[Name, int]


def _legend(found: Difference, view: RunView, width: int) -> Content:
    """A line across, with what the signs mean in it."""
    gone, new = (
        f"{one_line(mode)} (runs now)" if mode == view.mode else one_line(mode)
        for mode in (found.before, found.after)
    )
    return rule(width, ("- ", STRONG), gone, ("   + ", STRONG), new)


WORDS = {True: "by hand", False: "PyTorch", None: "–"}
NAME = 10


class LadderPane(LinesPane):
    """The table "who does what"; the present mode is marked."""

    drawn_from = attrgetter("lesson", "mode")

    def build(self, width: int) -> Sequence[Content]:
        """A row for each phase, a column for each mode."""
        view = self.view
        if view is None:
            return []
        modes = view.lesson.modes
        cell = max(9, *(len(one_line(m)) + 2 for m in modes)) + 1
        rows = ladder(view.lesson)
        names = max([NAME, *(len(row.phase) + 1 for row in rows)])
        head: list[Piece] = [" " * names]
        for mode in modes:
            here = mode == view.mode
            text = f"▶ {one_line(mode)}" if here else f"  {one_line(mode)}"
            head.append((text.ljust(cell), NEXT if here else DIM))
        lines = [line(*head)]
        for row in rows:
            pieces: list[Piece] = [(row.phase.ljust(names), DIM)]
            for mode in modes:
                word = "  " + WORDS[row.by_hand.get(mode)]
                pieces.append((word.ljust(cell), STRONG if mode == view.mode else PLAIN))
            lines.append(line(*pieces))
        return lines


class OutputPane(LinesPane):
    """The printed lines. The pane follows the last one unless the learner has scrolled up."""

    printed: Shown[PrintedText] = Shown(PrintedText)
    drawn_from = attrgetter("lesson.slug")

    def build(self, width: int) -> Sequence[Content]:
        """Every line, folded where it is too long."""
        printed = self.printed
        if not printed.shown and not printed.left_out and printed.gap is None:
            is_script = self.view is not None and self.view.lesson.script is not None
            words = f"The {'script' if is_script else 'lesson'} has printed nothing."
            return [line((words, DIM))]
        lines: list[Content] = []
        missing = line(("… lines printed on the way here may be missing …", DIM))
        if printed.left_out:
            lines.append(line((f"… {printed.left_out} characters left out …", DIM)))
        for count, text in enumerate(printed.shown):
            if count == printed.gap:
                lines.extend(missing.fold(width))
            lines.extend(line(text).fold(width))
        if printed.gap == len(printed.shown):
            lines.extend(missing.fold(width))
        return lines

    def show_lines(self, lines: Sequence[Content]) -> None:
        """Keep to the end if the end was in view."""
        at_end = self.scroll_offset.y >= self.max_scroll_y
        super().show_lines(lines)
        if at_end:
            self.show_from(self.max_scroll_y)
