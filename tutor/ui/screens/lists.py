"""The lists of a lesson's runs, its exercises and the doctor's findings, of which one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.screen import ModalScreen
from textual.widgets import Static

from tutor.digits import BRIEF_DIGITS
from tutor.lesson.exercise import Exercise
from tutor.plain import cell_width, one_line
from tutor.protocol.commands import DeleteRun, Examine, Pause, RenameRun, SelectRun
from tutor.protocol.inspections import DoctorFinding, RunInfo
from tutor.script.line_places import place_in_code
from tutor.session.journal import next_to_do
from tutor.session.run_view import Notice
from tutor.session.session import Session
from tutor.ui.commands import (
    DOCTOR_COMMANDS,
    EXERCISES_COMMANDS,
    KEYS,
    RUNS_COMMANDS,
    AppCommand,
    bindings,
)
from tutor.ui.exercise_lines import exercise_row
from tutor.ui.lines import CURSOR, DIM, STRONG, LinesPane, Shown, line, list_row
from tutor.ui.prose import inline_formulas
from tutor.ui.screens.base import PULSE
from tutor.ui.screens.dialogs import Ask, Question
from tutor.wording.doctor_findings import finding_text, line_place, report_text
from tutor.wording.layout import columns, first_fitting
from tutor.wording.notices import notice_text
from tutor.wording.number_format import number, trimmed
from tutor.wording.parameter_input import read_run_name

T = TypeVar("T")


class ListPane(LinesPane, Generic[T]):
    """Rows of which one is chosen, which has a mark and stands reversed."""

    HEADINGS: ClassVar[int] = 0
    """Lines above the first row."""

    items: var[Sequence[T]] = var(())
    """What each row is about."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._chosen = 0

    @property
    def chosen(self) -> T | None:
        """The chosen row's thing, which the keys act on; None if there are no rows."""
        return self.items[self._chosen] if self._chosen < len(self.items) else None

    def choose(self, by: int) -> None:
        """Choose a row further down, or further up."""
        self._chosen = min(max(0, self._chosen + by), max(0, len(self.items) - 1))
        self.rebuild()

    def watch_items(self) -> None:
        """Redraw when a row was added, removed or changed."""
        self.choose(0)

    def marked(self, index: int, row: Content, width: int) -> Content:
        """A row, behind a mark if it is the chosen one."""
        return list_row(row, index == self._chosen, width)

    def settle(self) -> None:
        """Scroll the chosen row into view."""
        at = self._chosen + self.HEADINGS
        self.bring_into_view(at if self._chosen else 0, at)


class ListScreen(ModalScreen[T], Generic[T]):
    """A dialog with a list, of which one row is chosen."""

    def on_mount(self) -> None:
        """Give the list the focus."""
        self.query_one(ListPane).focus()

    def action_choose(self, by: int) -> None:
        """Choose a row above or below."""
        self.query_one(ListPane).choose(by)


def _keys(commands: Iterable[AppCommand], left_out: Collection[str] = ()) -> str:
    """The keys of a dialog in a line."""
    shown = (c for c in commands if c.rank and c.name not in left_out)
    return " · ".join(f"{command.key_label} {command.label}" for command in shown)


class RunsScreen(ListScreen[None]):
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
        view = self.session.view
        what = "script" if view and view.lesson.script else "lesson"
        with Vertical(classes="dialog", id="runs-dialog"):
            yield Static(f"Runs of this {what}", markup=False)
            yield RunsPane(id="runs")
            yield Static("", id="runs-notice", markup=False)
            yield Static(f"↑↓ and {_keys(RUNS_COMMANDS)}", id="runs-keys", markup=False)

    def on_mount(self) -> None:
        """Show the runs, and while there are none, what the learner waits for."""
        self.update_from_session()
        self.set_interval(PULSE, self.update_from_session)

    def update_from_session(self) -> None:
        """Take over the session's state, while the list is there: an app that ends removes it."""
        if not (panes := self.query(RunsPane)):
            return
        view = self.session.view
        pane = panes.first()
        pane.then = self.session.wanted.then
        pane.why_empty = notice_text(self.session.waiting, KEYS)
        if not self.session.is_waiting:
            pane.why_empty = "There is no run."
        pane.items = view.runs if view else ()
        self.query_one("#runs-notice", Static).update(line(notice_text(self.session.notice, KEYS)))

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_choose(self, by: int) -> None:
        """Choose the run above or below."""
        self._delete_asked = ""
        super().action_choose(by)

    def action_take(self) -> None:
        """Resume the chosen run."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is not None and not chosen.is_current:
            self.session.request(SelectRun(name=chosen.name))
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
            self.session.request(DeleteRun(name=chosen.name))
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
            self.session.tell("is_this_run", kind="no_effect")
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
                self.session.request(RenameRun(name=chosen.name, new=name))

        words = (
            f"A name for run {run_label(chosen)} (its letter in the plot stays {chosen.letter}):"
        )
        self.app.push_screen(Ask(Question(words, read_run_name, chosen.name)), answered)


class RunsPane(ListPane[RunInfo]):
    """A heading, and a line for each run."""

    HEADINGS = 1
    then: Shown[str] = Shown("")
    """The run whose figures are shown beside the current ones."""
    why_empty: Shown[str] = Shown("")
    """The words while there is no run: what the learner waits for."""

    def build(self, width: int) -> Sequence[Content]:
        """The heading and a line each, in as many columns as there is room for."""
        if not self.items:
            return line((self.why_empty, DIM)).wrap(width)
        rows = [dict(zip(COLUMNS, COLUMNS, strict=True))]
        rows += [dict(zip(COLUMNS, _cells(run, self.then), strict=True)) for run in self.items]
        has_forks = any(run.forked_at for run in self.items)
        names = [name for name in COLUMNS if name != "from" or has_forks]
        layouts = (
            columns([[row[name] for name in names if name not in GIVEN_UP[:count]] for row in rows])
            for count in range(len(GIVEN_UP) + 1)
        )
        widest = width - len(CURSOR)
        heading, *texts = first_fitting(layouts, lambda t: max(map(cell_width, t)), widest)
        lines = [line(" " * len(CURSOR), (heading, DIM))]
        lines += [self.marked(index, line(text), width) for index, text in enumerate(texts)]
        return [content.truncate(width, ellipsis=True) for content in lines]


COLUMNS = ("run", "mode", "lr", "seed", "epochs", "loss", "from", "")
GIVEN_UP = ("seed", "from", "lr")
"""The columns left out, in this order, if there is no room for all."""


def _cells(run: RunInfo, then: str) -> Iterator[str]:
    yield run_label(run)
    yield one_line(run.mode)
    yield trimmed(run.learning_rate) if run.learning_rate else "its own"
    yield str(run.seed)
    yield str(run.last_epoch)
    yield number(run.loss, BRIEF_DIGITS) if run.last_epoch else ""
    yield f"epoch {run.forked_at.epoch}" if run.forked_at is not None else ""
    yield "◂ this run" if run.is_current else "◂ then" if run.name == then else ""


def run_label(run: RunInfo) -> str:
    """`B`; `B fast`, if the learner has named it: its line in the plot has the letter, too."""
    name = one_line(run.name)
    return name if run.name == run.letter or not run.letter else f"{run.letter} {name}"


class ExercisesScreen(ListScreen[None]):
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
        keys = f"number, or ↑↓ and {_keys(EXERCISES_COMMANDS)}"
        with Vertical(classes="dialog", id="exercises-dialog"):
            yield Static("Exercises of this lesson", markup=False)
            yield ExerciseList(self._session, ascii_only=self._ascii, id="exercises")
            yield Static(keys, id="exercises-keys", markup=False)

    def action_digit(self, digit: int) -> None:
        """Choose by number; begin where no other number begins with what has been typed."""
        listed = self.query_one(ExerciseList)
        typed = int(f"{self._typed}{digit}")
        count = len(listed.items)
        if not 1 <= typed <= count:
            typed = digit
        if 1 <= typed <= count:
            self._typed = typed
            listed.choose_number(typed)
            if typed * 10 > count:
                self.action_begin()

    def action_begin(self) -> None:
        """Begin the chosen exercise."""
        chosen = self.query_one(ExerciseList).chosen
        if chosen is not None:
            self._session.controller.begin(chosen.id)
        self.dismiss()


class ExerciseList(ListPane[Exercise]):
    """One line for each exercise."""

    def __init__(self, session: Session, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        session.journal.refresh()
        self.items = session.controller.exercises
        self._results = session.controller.results()
        self._inline = inline_formulas(ascii_only)
        attempt = session.attempt
        first = attempt.exercise if attempt else next_to_do(self.items, self._results)
        ids = [exercise.id for exercise in self.items]
        self._chosen = ids.index(first.id) if first else 0

    def choose_number(self, number: int) -> None:
        """The exercise with this number, from 1."""
        self.choose(number - 1 - self._chosen)

    def build(self, width: int) -> Sequence[Content]:
        """Mark, number, kind, question and state of each."""
        if not self.items:
            return [line(("This lesson has none.", DIM))]
        return [
            self.marked(index, self._row(index, width - len(CURSOR)), width)
            for index in range(len(self.items))
        ]

    def _row(self, index: int, width: int) -> Content:
        exercise = self.items[index]
        result = self._results.get(exercise.id)
        return exercise_row(index + 1, exercise, result, width, self._inline)


class DoctorScreen(ListScreen[None]):
    """The screen that lists the findings, of which one is chosen; Enter opens its lesson."""

    @dataclass
    class ExplanationChosen(Message):
        """The learner wants the lesson that explains a finding."""

        slug: str
        exercise: str
        """The exercise that reproduces it, if there is one."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(DOCTOR_COMMANDS)]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        """The list, the result in a line, and the keys."""
        with Vertical(classes="dialog", id="doctor-dialog"):
            yield Static("The doctor: mistakes in this code", markup=False)
            yield FindingsPane(id="findings")
            yield Static("", id="doctor-result", markup=False)
            yield Static("", id="doctor-keys", markup=False)

    def on_mount(self) -> None:
        """Ask for the examination of the code."""
        self.session.examine()
        self.update_from_session()

    def update_from_session(self) -> None:
        """Take over the session's state, while the list is there: an app that ends removes it."""
        if not (panes := self.query(FindingsPane)):
            return
        report = self.session.report
        pane, view = panes.first(), self.session.view
        if view is not None:
            pane.place_of = place_in_code(view.lesson)
        pane.items = report.findings if report else ()
        words = report_text(report) if report else notice_text(self.session.notice, KEYS)
        if self.session.unanswered.last(Examine):
            words = "Examining a second run of this code …"
            if not self.session.devices:
                words = notice_text(self.session.waiting, KEYS)
        self.query_one("#doctor-result", Static).update(line(words))
        useless = {"open"} if not pane.items else set()
        useless |= {"taught"} if not (report and report.taught) else set()
        choosing = "↑↓ and " if len(pane.items) > 1 else ""
        keys = f"{choosing}{_keys(DOCTOR_COMMANDS, useless)}"
        self.query_one("#doctor-keys", Static).update(line(keys))

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_open(self) -> None:
        """Open the lesson that explains the chosen finding."""
        chosen = self.query_one(FindingsPane).chosen
        if chosen is not None and chosen.lesson:
            self.dismiss()
            self.app.post_message(self.ExplanationChosen(chosen.lesson, chosen.exercise))

    def action_taught(self) -> None:
        """List what the lesson does wrong on purpose, too."""
        if not self.session.unanswered.last(Examine):
            self.session.examine(with_taught=True)
            self.update_from_session()

    def action_close(self) -> None:
        """Close the list; an examination ends after its present step."""
        if self.session.unanswered.last(Examine):
            self.session.send(Pause())
        self.dismiss()


class FindingsPane(ListPane[DoctorFinding]):
    """A few lines for each finding."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.place_of: Callable[[int], str] = line_place
        """The words for a line of the code."""
        self._starts: list[int] = []
        """The first line of each finding, and the line after the last."""

    def watch_items(self) -> None:
        """Redraw for another report, with its first finding chosen."""
        self.choose(-self._chosen)

    def build(self, width: int) -> Sequence[Content]:
        """The findings, an empty line after each."""
        lines: list[Content] = []
        self._starts = []
        for index, finding in enumerate(self.items):
            self._starts.append(len(lines))
            lines += [*self._rows(index, finding, width), line()]
        self._starts.append(len(lines))
        return lines

    def _rows(self, index: int, finding: DoctorFinding, width: int) -> Iterator[Content]:
        first, *others = finding_text(finding, self.place_of).split("\n")
        room = max(20, width - len(CURSOR))
        for row, content in enumerate(line((first, STRONG)).wrap(room)):
            marked = self.marked(index, content, width) if not row else None
            yield marked or line(" " * len(CURSOR)) + content
        for text in others:
            for content in line(text).wrap(room):
                yield line(" " * len(CURSOR)) + content

    def settle(self) -> None:
        """Scroll the chosen finding into view."""
        if self._chosen + 1 < len(self._starts):
            self.bring_into_view(self._starts[self._chosen], self._starts[self._chosen + 1] - 1)
