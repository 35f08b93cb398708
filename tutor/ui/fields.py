"""Input fields that handle keys in the order in which they were typed.

Textual lets a letter act at once, but a key with a binding (backspace, an arrow) only after it
has wandered up to the app. On a slow line, where several keys arrive together, `0.1`, backspace,
`2` would become `0.1`.
"""

from __future__ import annotations

from textual import events
from textual.binding import NoBinding
from textual.widget import Widget
from textual.widgets import Input


async def act_in_order(widget: Widget, event: events.Key) -> None:
    """Run at once the action that a widget itself binds to a key; leave other keys alone.

    To be called by its `_on_key`; Textual calls that of its base after it, unless this has acted.
    """
    try:
        bindings = widget._bindings.get_bindings_for_key(event.key)
    except NoBinding:
        return
    for binding in bindings:
        if not binding.priority and await widget.app.run_action(binding.action, widget):
            event.prevent_default()
            event.stop()
            return


class Field(Input):
    """A one-line input field. It doesn't blink: each blink costs bytes on a slow line."""

    def on_mount(self) -> None:
        """Turn the blinking off."""
        self.cursor_blink = False

    async def _on_key(self, event: events.Key) -> None:
        await act_in_order(self, event)
