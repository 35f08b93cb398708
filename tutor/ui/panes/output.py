"""The output pane: the text that the lesson, or the script, has printed."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from textual.content import Content

from tutor.session.printed_text import PrintedText
from tutor.ui.lines import DIM, LinesPane, Shown, line


class OutputPane(LinesPane):
    """The printed lines. The pane follows the last one unless the learner has scrolled up."""

    printed: Shown[PrintedText] = Shown(PrintedText)
    drawn_from = attrgetter("lesson.slug")

    def build(self, width: int) -> Sequence[Content]:
        """Every line, folded where it is too long."""
        printed = self.printed
        if not printed.shown and not printed.left_out and printed.gap is None:
            is_script = self.view is not None and self.view.lesson.script is not None
            words = f"The {'script' if is_script else 'lesson'} has printed nothing."
            return [line((words, DIM))]
        lines: list[Content] = []
        missing = line(("… lines printed on the way here may be missing …", DIM))
        if printed.left_out:
            lines.append(line((f"… {printed.left_out} characters left out …", DIM)))
        for count, text in enumerate(printed.shown):
            if count == printed.gap:
                lines.extend(missing.fold(width))
            lines.extend(line(text).fold(width))
        if printed.gap == len(printed.shown):
            lines.extend(missing.fold(width))
        return lines

    def show_lines(self, lines: Sequence[Content]) -> None:
        """Keep to the end if the end was in view."""
        at_end = self.scroll_offset.y >= self.max_scroll_y
        super().show_lines(lines)
        if at_end:
            self.show_from(self.max_scroll_y)
