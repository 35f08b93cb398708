"""Keys that arrive together are done in the order in which they were typed."""

from __future__ import annotations

from textual import events
from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import TextArea

from tutor.ui.keys_in_order import Field
from tutor.ui.screens.editor import CodeArea

CHARACTERS = {"space": " ", "equals_sign": "=", "colon": ":"}


class OneField(App[None]):
    def __init__(self, field: Widget) -> None:
        super().__init__()
        self._field = field

    def compose(self) -> ComposeResult:
        yield self._field

    def at_once(self, *keys: str) -> None:
        """As a terminal hands them on whose line was slow: all in one piece."""
        for key in keys:
            character = CHARACTERS.get(key, key) if len(key) == 1 or key in CHARACTERS else None
            self.post_message(events.Key(key, character))


async def test_a_number_can_be_corrected_while_it_is_typed() -> None:
    field = Field()
    app = OneField(field)
    async with app.run_test() as pilot:
        app.at_once("0", "1", "backspace", "2", "left", "5")
        await pilot.pause()
        assert field.value == "052"


async def test_code_can_be_corrected_while_it_is_typed() -> None:
    area = CodeArea("", id="code")
    app = OneField(area)
    async with app.run_test() as pilot:
        app.at_once("i", "f", "space", "w", "colon", "enter", "x", "y", "backspace", "tab", "z")
        await pilot.pause()
        assert area.text == "if w:\n    x   z"
        assert isinstance(area, TextArea)
