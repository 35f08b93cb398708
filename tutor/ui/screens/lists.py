"""The lists of a lesson's runs and of its exercises, of which one is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import var
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from tutor.plain import one_line
from tutor.protocol.inspections import RunInfo
from tutor.session.run_view import Notice
from tutor.session.session import Session
from tutor.ui import text_styles
from tutor.ui.commands import EXERCISES_COMMANDS, KEYS, RUNS_COMMANDS, bindings
from tutor.ui.exercise_lines import list_row, next_open
from tutor.ui.panes.lines import LinesPane
from tutor.ui.prose import inline_formulas
from tutor.ui.screens.dialogs import Ask, Question
from tutor.ui.text_styles import line
from tutor.wording.notices import notice_text
from tutor.wording.number_format import number, setting
from tutor.wording.parameter_input import read_run_name


class RunsScreen(ModalScreen[None]):
    """The screen that lists every run on a line; one of them is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(RUNS_COMMANDS)]
    notice: var[Notice] = var(Notice)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._delete_asked = ""
        """The run that is deleted if `d` is pressed once more."""

    def compose(self) -> ComposeResult:
        """The list, the latest notice, and the keys."""
        with Vertical(classes="dialog", id="runs-dialog"):
            yield from self._parts()

    def _parts(self) -> Iterable[Widget]:
        yield Static("Runs of this lesson", markup=False)
        yield RunsPane(id="runs")
        yield Static("", id="runs-notice", markup=False)
        keys = " · ".join(f"{c.key_label} {c.label}" for c in RUNS_COMMANDS if c.rank)
        yield Static(keys, id="runs-keys", markup=False)

    def on_mount(self) -> None:
        """Show the runs."""
        self.update_from_session()
        self.query_one(RunsPane).focus()

    def update_from_session(self) -> None:
        """Take over the session's state, while the list is there: an app that ends removes it."""
        if not (panes := self.query(RunsPane)):
            return
        view = self.session.view
        pane = panes.first()
        pane.then = self.session.inspected.then
        pane.runs = view.runs if view else ()
        self.query_one("#runs-notice", Static).update(line(notice_text(self.session.notice, KEYS)))

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_choose(self, by: int) -> None:
        """Choose the run above or below."""
        self._delete_asked = ""
        self.query_one(RunsPane).choose(by)

    def action_take(self) -> None:
        """Resume the chosen run."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is not None and not chosen.is_current:
            self.session.select_run(chosen.name)
        self.dismiss()

    def action_fork(self) -> None:
        """Keep the current run and continue with a copy."""
        self.session.fork()

    def action_delete(self) -> None:
        """Delete the chosen run."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is None:
            return
        if chosen.is_current or self._delete_asked == chosen.name:
            self.session.delete_run(chosen.name)
            self._delete_asked = ""
        else:
            self._delete_asked = chosen.name
            self.session.tell("delete_again", name=chosen.name)
            self.update_from_session()

    def action_compare(self) -> None:
        """Show the chosen run's figures beside the present ones."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is None:
            return
        if chosen.is_current:
            self.session.tell("is_this_run")
        else:
            self.session.inspect(then=chosen.name)
            self.session.tell("compared_with", name=chosen.name)
        self.update_from_session()

    def action_rename(self) -> None:
        """Ask for another name for the chosen run."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is None:
            return

        def answered(name: str | None) -> None:
            if name is not None and name != chosen.name:
                self.session.rename_run(chosen.name, name)

        words = f"A name for run {called(chosen)} (its letter in the plot stays {chosen.letter}):"
        self.app.push_screen(Ask(Question(words, read_run_name, chosen.name)), answered)


class RunsPane(LinesPane):
    """One line for each run."""

    runs: var[tuple[RunInfo, ...]] = var(())
    then: var[str] = var("")
    """The run whose figures are shown beside the current ones."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._chosen = 0

    @property
    def chosen(self) -> RunInfo | None:
        """The run that the keys are about."""
        return self.runs[self._chosen] if self._chosen < len(self.runs) else None

    def choose(self, by: int) -> None:
        """Choose the run above or below."""
        self._chosen = min(max(0, self._chosen + by), max(0, len(self.runs) - 1))
        self.rebuild()

    def watch_runs(self) -> None:
        """Redraw when a run was added, deleted or renamed."""
        self._chosen = min(self._chosen, max(0, len(self.runs) - 1))
        self.rebuild()

    def watch_then(self) -> None:
        """Redraw when another run is compared with."""
        self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """A heading, and a line each."""
        table = _table(self.runs, self.then, width - len(CURSOR))
        heading = line((" " * len(CURSOR) + table[0], text_styles.DIM)).truncate(
            width, ellipsis=True
        )
        rows = []
        for index, text in enumerate(table[1:]):
            is_chosen = index == self._chosen
            cursor = line(CURSOR if is_chosen else " " * len(CURSOR))
            row = line((text.ljust(width - len(CURSOR)), text_styles.ACTIVE) if is_chosen else text)
            rows.append((cursor + row).truncate(width, ellipsis=True))
        return [heading, *rows]


CURSOR = "▶ "
"""Before the chosen row, as in the menu."""

COLUMNS = ("run", "mode", "lr", "seed", "epochs", "loss", "from", "")
GIVEN_UP = ("seed", "from", "lr")
"""The columns left out, in this order, if there is no room for all."""


def _table(runs: Sequence[RunInfo], then: str, width: int) -> list[str]:
    """The heading and a row for each run, in as many columns as there is room for."""
    rows = [dict(zip(COLUMNS, COLUMNS, strict=True))]
    rows += [dict(zip(COLUMNS, _cells(run, then), strict=True)) for run in runs]
    columns = [c for c in COLUMNS if c != "from" or any(run.forked_at for run in runs)]
    texts = _texts(rows, columns)
    for column in GIVEN_UP:
        if max(map(cell_len, texts)) > width and column in columns:
            columns.remove(column)
            texts = _texts(rows, columns)
    return texts


def _texts(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[str]:
    widths = {c: max(cell_len(row[c]) for row in rows) for c in columns}
    return [
        "  ".join(row[c] + " " * (widths[c] - cell_len(row[c])) for c in columns).rstrip()
        for row in rows
    ]


def _cells(run: RunInfo, then: str) -> Iterator[str]:
    yield called(run)
    yield one_line(run.mode)
    yield setting(run.learning_rate)
    yield str(run.seed)
    yield str(run.furthest)
    yield number(run.loss, 4) if run.furthest else ""
    yield f"epoch {run.forked_at.epoch}" if run.forked_at is not None else ""
    yield "◂ this run" if run.is_current else "◂ then" if run.name == then else ""


def called(run: RunInfo) -> str:
    """`B`; `B fast`, if the learner has named it: the letter is that of its line in the plot."""
    name = one_line(run.name)
    return name if run.name == run.letter or not run.letter else f"{run.letter} {name}"


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
