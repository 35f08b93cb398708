"""The doctor's screen: the mistakes that were found in the code of the open run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import var
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from tutor.protocol.inspections import DoctorFinding, DoctorReport
from tutor.protocol.messages import Examine, Pause
from tutor.script.line_places import place_in
from tutor.session.session import Session
from tutor.ui import text_styles
from tutor.ui.commands import DOCTOR_COMMANDS, KEYS, bindings
from tutor.ui.screens.lists import CURSOR, ListPane
from tutor.ui.text_styles import line
from tutor.wording.findings import finding_text, line_place, report_text
from tutor.wording.notices import notice_text


class Explanation(NamedTuple):
    """The lesson that explains a finding, and the exercise that reproduces it, if there is one."""

    slug: str
    exercise: str


class DoctorScreen(ModalScreen[Explanation | None]):
    """The screen that lists the findings, of which one is chosen; Enter opens its lesson."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(DOCTOR_COMMANDS)]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        """The list, the result in a line, and the keys."""
        with Vertical(classes="dialog", id="doctor-dialog"):
            yield from self._parts()

    def _parts(self) -> Iterable[Widget]:
        yield Static("The doctor: mistakes in this code", markup=False)
        yield FindingsPane(id="findings")
        yield Static("", id="doctor-result", markup=False)
        yield Static("", id="doctor-keys", markup=False)

    def on_mount(self) -> None:
        """Have the code examined."""
        self.session.examine()
        self.update_from_session()
        self.query_one(FindingsPane).focus()

    def update_from_session(self) -> None:
        """Take over the session's state, while the list is there: an app that ends removes it."""
        if not (panes := self.query(FindingsPane)):
            return
        report = self.session.report
        pane, view = panes.first(), self.session.view
        if view is not None:
            pane.place_of = place_in(view.lesson)
        pane.report = report
        words = report_text(report) if report else notice_text(self.session.notice, KEYS)
        if self.session.unanswered.last(Examine):
            words = "Examining a second run of this code …"
        self.query_one("#doctor-result", Static).update(line(words))
        useless = {"open"} if not panes.first().count else set()
        useless |= {"taught"} if not (report and report.taught) else set()
        useful = (c for c in DOCTOR_COMMANDS if c.rank and c.name not in useless)
        keys = " · ".join(f"{command.key_label} {command.label}" for command in useful)
        self.query_one("#doctor-keys", Static).update(line(keys))

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_choose(self, by: int) -> None:
        """Choose the finding above or below."""
        self.query_one(FindingsPane).choose(by)

    def action_open(self) -> None:
        """Open the lesson that explains the chosen finding."""
        chosen = self.query_one(FindingsPane).chosen
        if chosen is not None and chosen.lesson:
            self.dismiss(Explanation(chosen.lesson, chosen.exercise))

    def action_taught(self) -> None:
        """List what the lesson does wrong on purpose, too."""
        if not self.session.unanswered.last(Examine):
            self.session.examine(with_taught=True)
            self.update_from_session()

    def action_close(self) -> None:
        """Close the list; an examination ends after its present step."""
        if self.session.unanswered.last(Examine):
            self.session.send(Pause())
        self.dismiss(None)


class FindingsPane(ListPane):
    """A few lines for each finding."""

    report: var[DoctorReport | None] = var(None)

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.place_of: Callable[[int], str] = line_place
        """The words for a line of the code."""
        self._starts: list[int] = []
        """The first line of each finding, and the line after the last."""

    @property
    def count(self) -> int:
        """The number of findings."""
        return len(self.report.findings) if self.report else 0

    @property
    def chosen(self) -> DoctorFinding | None:
        """The finding that the keys are about."""
        return self.report.findings[self._chosen] if self.report and self.count else None

    def watch_report(self) -> None:
        """Redraw when there is another report."""
        self.choose(-self._chosen)

    def build(self, width: int) -> Sequence[Content]:
        """The findings, an empty line after each."""
        lines: list[Content] = []
        self._starts = []
        for index, finding in enumerate(self.report.findings if self.report else ()):
            self._starts.append(len(lines))
            lines += [*self._rows(index, finding, width), line()]
        self._starts.append(len(lines))
        return lines

    def _rows(self, index: int, finding: DoctorFinding, width: int) -> Iterator[Content]:
        first, *others = finding_text(finding, self.place_of).split("\n")
        room = max(20, width - len(CURSOR))
        for row, content in enumerate(line((first, text_styles.STRONG)).wrap(room)):
            marked = self.marked(index, content, width) if not row else None
            yield marked or line(" " * len(CURSOR)) + content
        for text in others:
            for content in line(text).wrap(room):
                yield line(" " * len(CURSOR)) + content

    def settle(self) -> None:
        """Scroll the chosen finding into view."""
        if self._chosen + 1 < len(self._starts):
            self.bring_into_view(self._starts[self._chosen], self._starts[self._chosen + 1] - 1)
