"""The list of a lesson's runs: take one up again, name it, forget it, compare with it.

Knows the runs' descriptions and hands the learner's wishes to the session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import var
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from tutor.plain import one_line
from tutor.teaching.digits import number, setting
from tutor.teaching.moment import Notice
from tutor.teaching.session import Session
from tutor.training.sights import RunInfo
from tutor.ui import looks
from tutor.ui.commands import RUNS_COMMANDS, bindings
from tutor.ui.looks import line
from tutor.ui.panes.lines import LinesPane
from tutor.ui.screens.dialogs import Ask, Question

MAX_NAME = 12


class RunsScreen(ModalScreen[None]):
    """Every run on a line; one of them is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(RUNS_COMMANDS)]
    notice: var[Notice] = var(Notice)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._doomed = ""
        """The run that goes if `d` is pressed once more."""

    def compose(self) -> ComposeResult:
        """The list, what has been said, and the keys."""
        with Vertical(classes="dialog", id="runs-dialog"):
            yield from self._parts()

    def _parts(self) -> Iterable[Widget]:
        yield Static("Runs of this lesson", markup=False)
        yield RunsPane(id="runs")
        yield Static("", id="runs-notice", markup=False)
        keys = " · ".join(f"{c.key_label} {c.label}" for c in RUNS_COMMANDS if c.rank)
        yield Static(keys, id="runs-keys", markup=False)

    def on_mount(self) -> None:
        """Show what there is."""
        self.update_from_session()
        self.query_one(RunsPane).focus()

    def update_from_session(self) -> None:
        """Take over what the session holds."""
        moment = self.session.moment
        pane = self.query_one(RunsPane)
        pane.then = self.session.talk.look.then
        pane.runs = moment.runs if moment else ()
        self.query_one("#runs-notice", Static).update(line(self.session.notice.text))

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_choose(self, by: int) -> None:
        """The run above or below."""
        self._doomed = ""
        self.query_one(RunsPane).choose(by)

    def action_take(self) -> None:
        """Go on with the chosen run."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is not None and not chosen.is_current:
            self.session.take_run(chosen.name)
        self.dismiss()

    def action_fork(self) -> None:
        """Keep the current run and go on with a copy."""
        self.session.fork()

    def action_delete(self) -> None:
        """Forget the chosen run."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is None:
            return
        if chosen.is_current or self._doomed == chosen.name:
            self.session.delete_run(chosen.name)
            self._doomed = ""
        else:
            self._doomed = chosen.name
            self.session.talk.tell(f"d again forgets {chosen.name} for good")
            self.update_from_session()

    def action_compare(self) -> None:
        """Show the chosen run's figures beside the present ones."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is None:
            return
        if chosen.is_current:
            self.session.talk.tell("This is the run you are in: choose another to compare with")
        else:
            self.session.compare_with(chosen.name)
            self.session.talk.tell(f"{chosen.name} stands beside the numbers as “then”")
        self.update_from_session()

    def action_rename(self) -> None:
        """Ask for another name."""
        chosen = self.query_one(RunsPane).chosen
        if chosen is None:
            return

        def answered(name: str | None) -> None:
            if name is not None and name != chosen.name:
                self.session.rename_run(chosen.name, name)

        words = f"A name for run {one_line(chosen.name)} (now {one_line(chosen.name)}):"
        self.app.push_screen(Ask(Question(words, _read_name, chosen.name)), answered)


def _read_name(text: str) -> str:
    """A name, from what was typed. Raises ValueError."""
    name = text.strip()
    if not name or not name.isprintable() or len(name) > MAX_NAME:
        raise ValueError(f"A name has 1 to {MAX_NAME} letters.")
    return name


class RunsPane(LinesPane):
    """One line for each run."""

    runs: var[tuple[RunInfo, ...]] = var(())
    then: var[str] = var("")
    """The run whose figures are shown beside the present ones."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._chosen = 0

    @property
    def chosen(self) -> RunInfo | None:
        """The run that the keys are about."""
        return self.runs[self._chosen] if self._chosen < len(self.runs) else None

    def choose(self, by: int) -> None:
        """The run above or below."""
        self._chosen = min(max(0, self._chosen + by), max(0, len(self.runs) - 1))
        self.rebuild()

    def watch_runs(self) -> None:
        """A run came, went or got another name."""
        self._chosen = min(self._chosen, max(0, len(self.runs) - 1))
        self.rebuild()

    def watch_then(self) -> None:
        """Another run is compared with."""
        self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """A heading, and a line each."""
        cells = [["", "name", "mode", "lr", "seed", "epochs", "loss", ""]]
        cells += [list(_cells(run, self.then)) for run in self.runs]
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        texts = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in cells]
        heading = line((texts[0], looks.DIM)).truncate(width, ellipsis=True)
        rows = [
            line((text.ljust(width), looks.ACTIVE) if i == self._chosen else text).truncate(
                width, ellipsis=True
            )
            for i, text in enumerate(texts[1:])
        ]
        return [heading, *rows]


def _cells(run: RunInfo, then: str) -> Iterator[str]:
    yield "▶" if run.is_current else " "
    yield one_line(run.name)
    yield one_line(run.mode)
    yield setting(run.learning_rate)
    yield str(run.seed)
    yield str(run.furthest)
    yield number(run.loss, 4) if run.furthest else ""
    shown = ["shown as “then”"] if run.name == then else []
    since = [f"from epoch {run.forked_at.epoch}"] if run.forked_at is not None else []
    yield " · ".join((*shown, *since))
