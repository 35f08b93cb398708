"""An app that wears one of our themes, with the characters and colours that the terminal has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from textual.app import App
from textual.filter import LineFilter, Monochrome, NoColor

from tutor.session.run_view import Notice
from tutor.ui.charset import AsciiOnly, NoControls
from tutor.ui.settings import SettingsFile
from tutor.ui.theme_names import THEMES, ThemeName
from tutor.ui.themes import LOOKS, BlackAndWhite

if TYPE_CHECKING:
    from rich.terminal_theme import TerminalTheme


class ThemedApp(App[None]):
    """An app with themes. Subclasses define `tell`."""

    def __init__(
        self, settings: SettingsFile, theme: ThemeName | None, *, ascii_only: bool
    ) -> None:
        """`theme` goes before what is settled, this once."""
        super().__init__()
        self.settings = settings
        self._ascii: Sequence[LineFilter] = (AsciiOnly(),) if ascii_only else ()
        self._look: ThemeName = "terminal"
        self._colours: Sequence[LineFilter] = ()
        for look in LOOKS.values():
            self.register_theme(look.theme)
        self._wear(theme or settings.settings.theme)

    def tell(self, notice: Notice) -> None:
        """Say one line on the screen that is seen."""
        raise NotImplementedError

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, no colour at all where none is wanted, and ASCII where it must be."""
        filters = [f for f in super().get_line_filters() if not isinstance(f, Monochrome | NoColor)]
        return [*self._colours, *filters, NoControls(), *self._ascii]

    @property
    def ansi_theme(self) -> TerminalTheme:
        """The terminal's sixteen colours, where the tutor sets them."""
        return LOOKS[self._look].palette or super().ansi_theme

    def action_turn_theme(self) -> None:
        """The next theme."""
        self.action_take_theme(THEMES[(THEMES.index(self._look) + 1) % len(THEMES)])

    def action_take_theme(self, name: ThemeName) -> None:
        """Wear this theme, now and the next time."""
        if self.no_color:
            self.tell(Notice("NO_COLOR is set: there are no colours to choose from", "told"))
            return
        self._wear(name)
        self.settings.keep(msgspec.structs.replace(self.settings.settings, theme=name))
        if not self.settings.trouble:
            self.tell(Notice(f"Theme {LOOKS[name].title} · T: the next", "told"))

    def _wear(self, name: ThemeName) -> None:
        """Without colours only the terminal's own theme leaves everything to the terminal."""
        self._look = "terminal" if self.no_color else name
        look = LOOKS[self._look]
        is_plain = look.is_black_and_white
        self._colours = (NoColor(),) if self.no_color else (BlackAndWhite(),) if is_plain else ()
        self.theme = look.theme.name
