"""The list of a lesson's exercises: any of them can be begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tutor.session.session import Session
from tutor.ui import text_styles
from tutor.ui.commands import EXERCISES_COMMANDS, bindings
from tutor.ui.exercise_lines import list_row, next_open
from tutor.ui.panes.lines import LinesPane
from tutor.ui.prose import inline_formulas
from tutor.ui.text_styles import line


class ExercisesScreen(ModalScreen[None]):
    """The screen that lists every exercise on a line; one of them is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(EXERCISES_COMMANDS)]

    def __init__(self, session: Session, ascii_only: bool) -> None:
        super().__init__()
        self._session = session
        self._ascii = ascii_only
        self._typed = 0
        """The number typed so far."""

    def compose(self) -> ComposeResult:
        """The list and the keys."""
        keys = " · ".join(f"{c.key_label}: {c.label}" for c in EXERCISES_COMMANDS if c.rank)
        with Vertical(classes="dialog", id="exercises-dialog"):
            yield Static("Exercises of this lesson", markup=False)
            yield ExerciseList(self._session, ascii_only=self._ascii, id="exercises")
            yield Static(f"number, or ↑↓ and {keys}", id="exercises-keys", markup=False)

    def on_mount(self) -> None:
        """Give the list the focus."""
        self.query_one(ExerciseList).focus()

    def action_choose(self, by: int) -> None:
        """The exercise above or below."""
        self.query_one(ExerciseList).choose(by)

    def action_digit(self, digit: int) -> None:
        """Choose by number; begin where no other number begins with what has been typed."""
        listed = self.query_one(ExerciseList)
        typed = int(f"{self._typed}{digit}")
        if not 1 <= typed <= listed.count:
            typed = digit
        if 1 <= typed <= listed.count:
            self._typed = typed
            listed.choose_number(typed)
            if typed * 10 > listed.count:
                self.action_begin()

    def action_begin(self) -> None:
        """Begin the chosen exercise."""
        chosen = self.query_one(ExerciseList).chosen
        if chosen is not None:
            self._session.controller.begin(chosen)
        self.dismiss()


class ExerciseList(LinesPane):
    """One line for each exercise."""

    def __init__(self, session: Session, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        session.journal.refresh()
        self._exercises = session.controller.exercises
        self._results = session.controller.results()
        self._inline = inline_formulas(ascii_only)
        ids = [exercise.id for exercise in self._exercises]
        attempt = session.attempt
        first = attempt.exercise.id if attempt else next_open(self._exercises, self._results)
        self._chosen = ids.index(first) if first in ids else 0

    @property
    def chosen(self) -> str | None:
        """The id of the exercise that the keys are about."""
        return self._exercises[self._chosen].id if self._exercises else None

    @property
    def count(self) -> int:
        """The number of exercises."""
        return len(self._exercises)

    def choose_number(self, number: int) -> None:
        """The exercise with this number, from 1."""
        self.choose(number - 1 - self._chosen)

    def choose(self, by: int) -> None:
        """The exercise above or below."""
        self._chosen = min(max(0, self._chosen + by), max(0, len(self._exercises) - 1))
        self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """Mark, number, kind, question and state of each."""
        return (
            [line(("This lesson has none.", text_styles.DIM))]
            if not self._exercises
            else [self._row(index, width) for index in range(len(self._exercises))]
        )

    def _row(self, index: int, width: int) -> Content:
        exercise = self._exercises[index]
        result = self._results.get(exercise.id)
        here = index == self._chosen
        row = list_row(index + 1, exercise, result, width - 2, self._inline)
        if here:
            row = row.pad_right(max(0, width - 2 - row.cell_length)).stylize(text_styles.ACTIVE)
        return line("▶ " if here else "  ") + row

    def settle(self) -> None:
        """Scroll the chosen exercise into view."""
        self.bring_into_view(self._chosen, self._chosen)
