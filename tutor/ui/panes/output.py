"""The output pane: what the lesson has printed."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.reactive import var

from tutor.session.run_view import PrintedText
from tutor.ui import text_styles
from tutor.ui.panes.lines import LinesPane
from tutor.ui.text_styles import line


class OutputPane(LinesPane):
    """The printed lines. The pane follows the last one unless the learner has scrolled up."""

    printed: var[PrintedText] = var(PrintedText)

    def watch_printed(self) -> None:
        """Redraw when more was printed or another lesson opened."""
        self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """Every line, folded where it is too long."""
        printed = self.printed
        if not printed.shown and not printed.left_out:
            return [line(("The lesson has printed nothing.", text_styles.DIM))]
        lines: list[Content] = []
        if printed.left_out:
            lines.append(line((f"… {printed.left_out} characters left out …", text_styles.DIM)))
        for text in printed.shown:
            lines.extend(line(text).fold(width))
        return lines

    def show_lines(self, lines: Sequence[Content]) -> None:
        """Keep to the end if the end was in view."""
        at_end = self.scroll_offset.y >= self.max_scroll_y
        super().show_lines(lines)
        if at_end:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
