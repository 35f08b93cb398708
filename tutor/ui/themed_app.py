"""An app with the tutor's themes, in the characters and colours that the terminal has."""

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
        """Prepare the app. `theme` replaces the saved theme for this session only."""
        super().__init__()
        self.settings = settings
        self._ascii: Sequence[LineFilter] = (AsciiOnly(),) if ascii_only else ()
        self._look: ThemeName = "terminal"
        self._colours: Sequence[LineFilter] = ()
        for look in LOOKS.values():
            self.register_theme(look.theme)
        self._wear(theme or settings.settings.theme)

    def tell(self, notice: Notice) -> None:
        """Show a one-line message on the current screen."""
        raise NotImplementedError

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's line filters, plus ours for no colour and for ASCII where they are needed."""
        filters = [f for f in super().get_line_filters() if not isinstance(f, Monochrome | NoColor)]
        return [*self._colours, *filters, NoControls(), *self._ascii]

    @property
    def ansi_theme(self) -> TerminalTheme:
        """The values of the terminal's sixteen colours in this theme."""
        return LOOKS[self._look].palette or super().ansi_theme

    def action_turn_theme(self) -> None:
        """Change to the next theme."""
        self.action_take_theme(THEMES[(THEMES.index(self._look) + 1) % len(THEMES)])

    def action_take_theme(self, name: ThemeName) -> None:
        """Use this theme now and save it in the settings."""
        if self.no_color:
            self.tell(Notice("NO_COLOR is set: there are no colours to choose from", "told"))
            return
        self._wear(name)
        self.settings.keep(msgspec.structs.replace(self.settings.settings, theme=name))
        if not self.settings.trouble:
            self.tell(Notice(f"Theme {LOOKS[name].title} · T: the next", "told"))

    def _wear(self, name: ThemeName) -> None:
        """Apply a theme; without colours always `terminal`, which sets no colour."""
        self._look = "terminal" if self.no_color else name
        look = LOOKS[self._look]
        is_plain = look.is_black_and_white
        self._colours = (NoColor(),) if self.no_color else (BlackAndWhite(),) if is_plain else ()
        self.theme = look.theme.name
