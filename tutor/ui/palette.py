"""The commands of Textual's palette, from their one definition in `commands`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from textual.app import SystemCommand

from tutor.ui.screens.base import SizedScreen
from tutor.ui.themes import LOOKS, ThemedApp

_MOUSE_HELP = {
    "terminal": "To select text, from the next start on (this time: tutor --no-mouse)",
    "tutor": "To scroll panes and choose, from the next start on",
}


def commands(
    app: ThemedApp, screen: SizedScreen, take_mouse: Callable[[bool], None]
) -> Iterator[SystemCommand]:
    """The commands of a screen, the owner of the mouse, and the themes if there are colours."""
    for command in screen.ALL_COMMANDS:
        if command.name != "palette":
            title = f"{command.label} ({command.key_label})"
            yield SystemCommand(title, command.help, _action(app, screen, command.action))
    for owner, help_text in _MOUSE_HELP.items():
        take = partial(take_mouse, owner == "tutor")
        yield SystemCommand(f"Mouse for the {owner}", help_text, take)
    for name, look in LOOKS.items() if not app.no_color else ():
        take_theme = partial(app.action_take_theme, name)
        yield SystemCommand(f"Theme {name}", look.title.capitalize(), take_theme)


def _action(app: ThemedApp, screen: SizedScreen, action: str) -> Callable[[], None]:
    """A call that runs an action once the palette is closed."""

    def call() -> None:
        app.call_next(screen.run_action, action)

    return call
