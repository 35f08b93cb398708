"""The page of all keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from tutor.ui import text_styles
from tutor.ui.bars import Footer, Header
from tutor.ui.commands import AppCommand
from tutor.ui.panes.lines import LinesPane
from tutor.ui.screens.base import SizedScreen
from tutor.ui.text_styles import Piece, line

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
        header = Header(id="header")
        header.heading = "Keys"
        yield header
        yield HelpPane(self._commands, id="help")
        yield Footer(HELP_COMMANDS, id="footer")


class HelpPane(LinesPane):
    """Two columns of keys, then the notes."""

    def __init__(self, commands: Sequence[AppCommand], *, id: str) -> None:
        super().__init__(id=id)
        self._commands = commands

    def build(self, width: int) -> Sequence[Content]:
        """Every command with its keys and what it does, then those of single panes."""
        everywhere = [c for c in self._commands if not c.where]
        keys = max(len(c.key_label) for c in everywhere)
        entries = [
            line((c.key_label.rjust(keys), text_styles.KEY), f"  {c.help}") for c in everywhere
        ]
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
            mine = [c for c in self._commands if c.where == where]
            pieces: list[Piece] = [f"{where}: "]
            for command in mine:
                pieces += [(command.key_label, text_styles.KEY), f" {command.label}   "]
            yield from line(*pieces).wrap(width - 2)
