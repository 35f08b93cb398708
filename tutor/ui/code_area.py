"""The field in which code is edited: Textual's text area, with Python's habits."""

from __future__ import annotations

import math
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from tutor.ui.keys_in_order import act_in_order

INDENT = 4

FAST = 0.01
"""Keys closer together than this (in seconds) were pasted, or bundled by a slow line."""

PASTED = 8
"""This many fast keys are a paste, in a terminal that doesn't mark pasted text."""

PAUSE = 0.3
"""Seconds that a paste may pause, as between two packets."""


class CodeArea(TextArea):
    """Line numbers from 1; enter keeps the indentation, tab and shift+tab change it.

    A pasted line has its own indentation: none is added to it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+j", "new_line", show=False),
        Binding("tab", "indent", show=False),
        Binding("shift+tab", "outdent", show=False),
    ]

    def __init__(self, text: str, *, id: str) -> None:
        super().__init__(text, id=id, show_line_numbers=True, tab_behavior="indent")
        self.cursor_blink = False  # each blink costs bytes on a slow line
        self.highlight_cursor_line = False
        self._last_key_at = -math.inf
        self._burst = 0
        """The number of fast keys so far, which may be a paste."""
        self._added = 0
        """The number of blanks that the last key, enter, has inserted before the cursor."""

    async def _on_key(self, event: events.Key) -> None:
        gap, self._last_key_at = event.time - self._last_key_at, event.time
        self._burst = 1 + (self._burst if gap < (PAUSE if self._is_pasted else FAST) else 0)
        is_blank = event.key in ("space", "tab")
        if self._added and gap < FAST and is_blank:  # it has its own indentation
            row, column = self.cursor_location
            self.delete((row, column - self._added), (row, column))
        self._added = 0
        await act_in_order(self, event)

    @property
    def _is_pasted(self) -> bool:
        return self._burst >= PASTED

    def action_new_line(self) -> None:
        """Insert a line, indented like this, or deeper after a colon; pasted text is unchanged."""
        row, column = min(self.selection)
        before = self.document.get_line(row)[:column]
        depth = len(before) - len(before.lstrip(" "))
        if before.rstrip().endswith(":"):
            depth += INDENT
        self._added = 0 if self._is_pasted else depth
        self._type("\n" + " " * self._added)

    def action_indent(self) -> None:
        """Insert four spaces, or indent all selected lines by four."""
        first, last = sorted(self.selection)
        if first[0] == last[0]:
            self._type(" " * (INDENT - first[1] % INDENT))
        else:
            self._shift_lines(first[0], last[0], INDENT)

    def action_outdent(self) -> None:
        """Outdent the line, or all selected lines, by four."""
        first, last = sorted(self.selection)
        self._shift_lines(first[0], last[0], -INDENT)

    def put(self, text: str) -> None:
        """Replace the whole text; undo restores the old text."""
        self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)
        self.move_cursor((0, 0))

    def _type(self, text: str) -> None:
        if not self.read_only:
            result = self.replace(text, *self.selection, maintain_selection_offset=False)
            self.move_cursor(result.end_location)

    def _shift_lines(self, first: int, last: int, by: int) -> None:
        if self.read_only:
            return
        rows = [self.document.get_line(row) for row in range(first, last + 1)]
        self.replace(
            "\n".join(_shifted(row, by) for row in rows),
            (first, 0),
            (last, len(rows[-1])),
            maintain_selection_offset=True,
        )


def _shifted(row: str, by: int) -> str:
    """The line indented or outdented; an empty line stays empty."""
    depth = len(row) - len(row.lstrip(" "))
    return row and " " * max(0, depth + by) + row.lstrip(" ")
