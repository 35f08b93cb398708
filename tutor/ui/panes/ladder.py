"""The ladder pane: which phase is done by hand and which by PyTorch, mode by mode."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.reactive import var

from tutor.lesson.ladder import ladder
from tutor.plain import one_line
from tutor.session.run_view import RunView
from tutor.ui import text_styles
from tutor.ui.panes.lines import LinesPane
from tutor.ui.text_styles import Piece, line

WORDS = {True: "by hand", False: "PyTorch", None: "–"}
NAME = 10


class LadderPane(LinesPane):
    """The table "who does what"; the present mode is marked."""

    view: var[RunView | None] = var(None)

    def watch_view(self, old: RunView | None, new: RunView | None) -> None:
        """Redraw for another lesson or mode."""
        if new and (old is None or (old.lesson, old.mode) != (new.lesson, new.mode)):
            self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """A row for each phase, a column for each mode."""
        view = self.view
        if view is None:
            return []
        modes = view.lesson.modes
        cell = max(9, *(len(one_line(m)) + 2 for m in modes)) + 1
        head: list[Piece] = [" " * NAME]
        for mode in modes:
            here = mode == view.mode
            text = f"▶ {one_line(mode)}" if here else f"  {one_line(mode)}"
            head.append((text.ljust(cell), text_styles.NEXT if here else text_styles.DIM))
        lines = [line(*head)]
        for row in ladder(view.lesson):
            pieces: list[Piece] = [(row.phase.ljust(NAME), text_styles.DIM)]
            for mode in modes:
                word = "  " + WORDS[row.by_hand.get(mode)]
                pieces.append(
                    (
                        word.ljust(cell),
                        text_styles.STRONG if mode == view.mode else text_styles.PLAIN,
                    )
                )
            lines.append(line(*pieces))
        return lines
