"""Reading a lesson with `space` alone: it pages through the text, and skips none of it."""

from __future__ import annotations

from msgspec.structs import replace
from textual.content import Content

from tests.shipped import read_once
from tutor.lesson.library import lesson_files, shipped_folder
from tutor.lesson.model import REPORT, DisplayFormula, Lesson
from tutor.protocol.frame import Frame, Position, Value
from tutor.session.run_view import RunView
from tutor.ui.panes.formula import FormulaPane

from .panes import OnePane, frame, running

SMALL_PANE = (78, 10)
"""About the formula pane's columns and rows in a terminal of 80×24, its border included."""

LESSONS = [path for folder in (".", "zh") for path in lesson_files(shipped_folder() / folder)]


def phases_of(lesson: Lesson) -> list[str]:
    report = [REPORT] if lesson.phase(REPORT) else []
    return [str(section.phase) for section in lesson.loop(lesson.modes[0])] + report


def frame_at(lesson: Lesson, step: int, epoch: int = 1) -> Frame:
    """The lesson after so many of its phases, with a few numbers in each of its boxes."""
    phases = phases_of(lesson)
    numbers = Value((0.1234, -5.678, 1e-3), (3,), "float32")
    boxed = {
        str(section.phase): dict.fromkeys(block.boxed, numbers)
        for section in lesson.sections
        for block in section.blocks
        if section.phase in phases[:step] and isinstance(block, DisplayFormula)
    }
    return replace(
        frame(1, 1),
        mode=lesson.modes[0],
        at=Position(epoch, step) if step else Position(0, 0),
        steps=len(phases),
        phase=phases[step - 1] if step else None,
        next_phase=phases[step % len(phases)],
        boxed=boxed,
    )


class Reader(OnePane):
    """A learner who reads what is in view, and presses nothing but `space`."""

    def __init__(self) -> None:
        self.formula = FormulaPane(id="formula", ascii_only=False)
        super().__init__(self.formula, replace(EMPTY, frame=None))

    async def read(self, view: RunView) -> set[str]:
        """The rows that are in view, one page after the other, until the next phase runs."""
        await self.show(view)
        seen = self._rows_in_view()
        while self.formula.page_to_next_phase():
            seen |= self._rows_in_view()
        return seen

    def _rows_in_view(self) -> set[str]:
        top = self.pane.scroll_offset.y
        return {_bare(row) for row in self.pane.lines[top : top + self.pane.room]}


def _bare(row: Content) -> str:
    return row.plain.strip(" ┃▶")


EMPTY = RunView(replace(read_once(LESSONS[0]), slug=""), "manual", "cpu", 1)


async def test_no_line_of_a_lesson_is_passed_over() -> None:
    async with running(Reader(), size=SMALL_PANE) as app:
        for path in LESSONS:
            await reads_all_of(app, read_once(path))


async def reads_all_of(app: Reader, lesson: Lesson) -> None:
    mode = lesson.modes[0]
    epochs, phases = lesson.epochs[mode], phases_of(lesson)
    seen: set[str] = set()
    before = None
    for step in range(len(phases)):
        now = frame_at(lesson, step)
        seen |= await app.read(RunView(lesson, mode, "cpu", epochs + 1, now, before))
        assert rows_between(app, before, now) <= seen, now.next_phase
        before = now
    last = frame_at(lesson, len(phases), epochs)
    seen |= await app.read(RunView(lesson, mode, "cpu", epochs, last, before))
    assert rows_between(app, before, None) <= seen


def rows_between(app: Reader, before: Frame | None, now: Frame | None) -> set[str]:
    """The rows below the phase that `before` was about to run, to the end of the next one."""
    ends = {name: last + 1 for (name, _), (_, last) in app.formula._sections.items()}
    first = ends[before.next_phase] if before else 0
    return {_bare(row) for row in app.pane.lines[first : ends[now.next_phase] if now else None]}
