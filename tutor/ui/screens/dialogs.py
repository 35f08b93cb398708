"""Small questions over the screen, and the action on each answer; the page of all keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.command import Hit, Hits
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.system_commands import SystemCommandsProvider
from textual.widget import Widget
from textual.widgets import Input, Static

from tutor.errors import TutorError
from tutor.lesson.model import Lesson
from tutor.plain import one_line, plain
from tutor.protocol.commands import SetElement, SetLearningRate
from tutor.protocol.frame import Element
from tutor.session.run_view import RunView
from tutor.session.session import FIGURES, Session, suggested_file, write_lesson
from tutor.ui.bars import Field, Footer, Header
from tutor.ui.commands import AppCommand
from tutor.ui.lines import BLANK, KEY, LinesPane, line
from tutor.ui.screens.base import SizedScreen
from tutor.wording import parameter_input
from tutor.wording.notices import error_text
from tutor.wording.number_format import trimmed
from tutor.wording.parameter_input import read_learning_rate, read_position

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """A question and the function that reads its answer."""

    text: str
    read: Callable[[str], T]
    """A function that reads the typed text. Raises ValueError with a message for the learner."""
    given: str = ""
    """The initial text of the field. It is selected, so that typing replaces it."""


def learning_rate_question(now: float | None) -> Question[float]:
    """Ask for a learning rate."""
    is_now = f" (now {trimmed(now)})" if now is not None else ""
    return Question(f"Learning rate{is_now}:", read_learning_rate)


def place_question(view: RunView) -> Question[tuple[int, int]]:
    """Ask for an epoch, and perhaps a phase of it, or a step of a script's epoch."""
    lesson, mode = view.lesson, view.mode
    if lesson.script is None:
        phases = lesson.steps(mode)
        example = phases[1].lower() if len(phases) > 1 else "loss"
        within = f"to a phase of it, like 12 {example}"
    else:
        phases = lesson.script.phases
        example = f"12 3 or 12 {phases[-1].lower()}" if phases else "12 3"
        within = f"to a step of it, like {example}"
    words = f"Jump to the end of an epoch (now {view.epoch}), like 12, or {within}:"
    return Question(words, lambda text: read_position(text, lesson, mode))


class Ask(ModalScreen[T | None], Generic[T]):
    """A dialog that asks until the answer is valid or the learner cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "dismiss(None)", "cancel", priority=True)
    ]

    def __init__(self, question: Question[T]) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Question, field, and a line for what is wrong."""
        with Vertical(classes="dialog"):
            yield Static(self._question.text, markup=False)
            yield Field(self._question.given, id="answer", compact=True, select_on_focus=True)
            yield Static("enter: accept · esc: cancel, nothing changes", id="hint", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the answer, or say why it is not valid."""
        try:
            value = self._question.read(event.value)
        except ValueError as error:
            hint = self.query_one("#hint", Static)
            hint.update(line(one_line(f"{error} · esc: cancel")))
            hint.add_class("-wrong")
            return
        self.dismiss(value)


class Confirm(ModalScreen[bool]):
    """A dialog that asks whether to do something."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,ctrl+c,q", "dismiss(False)", "no", priority=True),
    ]

    def __init__(self, words: str) -> None:
        """`words`: the question, and its answers."""
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        """The question and its answers."""
        with Vertical(classes="dialog"):
            yield Static(self._words, markup=False)


class AskTrust(Confirm):
    """A dialog that asks whether a lesson from elsewhere, or a script, may run."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("v", "view", "view")]

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        what = "This lesson did not come with the tutor, and a lesson is a program"
        if lesson.script is not None:
            what = "The tutor runs this script, as `python` does"
        super().__init__(
            f"{what}:\n"
            "it can do whatever you can do on this machine.\n\n"
            f"  {one_line(str(lesson.path))}\n"
            f"  SHA-256 {lesson.digest[:16]}…\n\n"
            "You are asked once for this exact content.\n\n"
            "y run it    n don't    v view its text"
        )

    def action_view(self) -> None:
        """Show the file's text."""
        self.app.push_screen(ViewText(self._lesson))


class ViewText(ModalScreen[None]):
    """A dialog that shows a lesson's file unchanged."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,v,ctrl+c", "dismiss", "close", priority=True)
    ]

    def __init__(self, lesson: Lesson) -> None:
        super().__init__()
        self._lesson = lesson

    def compose(self) -> ComposeResult:
        """The text, and how to leave."""
        yield SourcePane(self._lesson.source, id="source")
        yield Static("↑ ↓ PgUp PgDn scroll · v or esc closes", markup=False)


class SourcePane(LinesPane):
    """Text to scroll through."""

    def __init__(self, text: str, *, id: str) -> None:
        super().__init__(id=id)
        self._text = plain(text)
        self.tabs = (("The file", True),)

    def build(self, width: int) -> Sequence[Content]:
        """The text, folded."""
        return [part for row in self._text.split("\n") for part in line(row).fold(width)]


def ask(app: App[None], session: Session, what: str, done: Callable[[], None]) -> None:
    """Ask for `what` (lr, place, value or file), let the session act on it, and call `done`."""
    view = session.view
    if view is None:
        return
    is_script = view.lesson.script is not None
    if what == "lr":
        rate = session.learning_rate
        if not session.is_allowed(SetLearningRate(value=rate or 1.0)):
            done()  # it shows why
            return
        _put(
            app,
            learning_rate_question(rate),
            lambda rate: session.request(SetLearningRate(value=rate)),
            done,
        )
    elif what == "place":
        _put(app, place_question(view), lambda place: session.seek(*place), done)
    elif what == "file":
        words = "Write this lesson to a file (.py script, .ipynb notebook, .csv figures so far):"
        if is_script:
            words = "Write the figures so far to a file (.csv):"
        given = suggested_file(view, FIGURES) if is_script else suggested_file(view)
        asked_for = Question(words, parameter_input.read_path, given)
        _put(app, asked_for, lambda path: _write(session, path), done)
    elif view.frame is not None and view.frame.values:
        now = view.frame.values
        if not session.is_allowed(SetElement(element=Element(next(iter(now)), (), 0.0))):
            done()
            return
        asked = Question(
            parameter_input.question(now), lambda text: parameter_input.read(text, now)
        )
        _put(app, asked, lambda element: session.request(SetElement(element=element)), done)


def _write(session: Session, path: Path) -> None:
    view = session.view
    if path.suffix == FIGURES:
        session.write_figures(path)
    elif view is not None and view.lesson.script is not None:
        session.tell("script_export", kind="refused")
    elif view is not None:
        try:
            write_lesson(view, path)
        except TutorError as error:
            session.tell("text", kind="refused", text=error_text(error))
            return
        session.tell("written", path=str(path))


def _put(
    app: App[None], question: Question[T], act: Callable[[T], object], done: Callable[[], None]
) -> None:
    def answered(answer: T | None) -> None:
        if answer is not None:
            act(answer)
        done()

    app.push_screen(Ask(question), answered)


NOTES = (
    "tab and shift+tab go from pane to pane; the one with the double line has the focus.",
    "↑ ↓ PgUp PgDn Home End scroll it.",
    "▶ marks what runs next, ┃ what has just run; underlined digits have just changed.",
    "“gradient” is the one that the update uses; “left over” is what is stored after a reset.",
)

HELP_COMMANDS = (
    AppCommand(
        "close", ("escape", "question_mark", "q", "ctrl+c"), "close", "Close", "app.back", 1
    ),
)


class HelpScreen(SizedScreen):
    """The screen with all keys on one page."""

    ALL_COMMANDS = HELP_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, "app.back", "close", priority=True) for key in HELP_COMMANDS[0].keys
    ]

    def __init__(self, commands: Sequence[AppCommand]) -> None:
        super().__init__()
        self._commands = commands

    def parts(self) -> Iterable[Widget]:
        """Header, page and footer."""
        yield Header(id="header", heading="Keys")
        yield HelpPane(self._commands, id="help")
        yield Footer(HELP_COMMANDS, id="footer")


class CommandSearch(SystemCommandsProvider):
    """The search of the command palette, which finds a command by its label and by its help."""

    async def search(self, query: str) -> Hits:
        """The commands whose label is like the query, then those whose words have all of its."""
        matcher, typed = self.matcher(query), query.lower().split()
        for name, help_text, act, _ in self.app.get_system_commands(self.screen):
            score = matcher.match(name)
            if not score and all(word in f"{name} {help_text}".lower() for word in typed):
                score = _LEAST_SCORE
            if score:
                yield Hit(score, matcher.highlight(name), act, help=help_text)


_LEAST_SCORE = 1e-6
"""Less than that of any command that is found by its label."""


_GAP = "   "
"""The blanks before each key of a pane."""


class HelpPane(LinesPane):
    """Two columns of keys, then the notes."""

    def __init__(self, commands: Sequence[AppCommand], *, id: str) -> None:
        super().__init__(id=id)
        self._commands = commands

    def build(self, width: int) -> Sequence[Content]:
        """Every command with its keys and what it does, then the commands of single panes."""
        everywhere = [c for c in self._commands if not c.where]
        keys = max(len(c.key_label) for c in everywhere)
        entries = [line((c.key_label.rjust(keys), KEY), f"  {c.help}") for c in everywhere]
        half = (len(entries) + 1) // 2
        column = max(e.cell_length for e in entries[:half]) + 2
        if column + max(e.cell_length for e in entries[half:]) > width:
            lines = entries
        else:
            pairs = zip(entries[:half], [*entries[half:], line()], strict=False)
            lines = [left.pad_right(column - left.cell_length) + right for left, right in pairs]
        notes = [part for note in NOTES for part in line(note).wrap(width)]
        return [*lines, line(), *self._of_panes(width), line(), *notes]

    def _of_panes(self, width: int) -> Iterator[Content]:
        """The keys of each pane with keys of its own, in a column."""
        for where in dict.fromkeys(c.where for c in self._commands if c.where):
            row = line(f"{where}:")
            for command in (c for c in self._commands if c.where == where):
                entry = line(_GAP, (command.key_label, KEY), f" {command.label}")
                if row.cell_length + entry.cell_length > width:
                    yield row
                    row = BLANK
                row += entry
            yield row
