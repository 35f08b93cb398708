"""A pane with a block of lines at its foot that stays while the rest scrolls."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from textual.content import Content
from textual.strip import Strip

from tutor.ui.panes.lines import LinesPane, difference
from tutor.ui.text_styles import line


class FooterPane(LinesPane):
    """Lines that scroll above lines that don't. Subclasses say what `build` and `foot` do."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._foot: list[Content] = []

    def foot(self, width: int) -> Sequence[Content]:
        """The lines at the foot for so many columns; none takes no room."""
        raise NotImplementedError

    @property
    def foot_lines(self) -> tuple[Content, ...]:
        """The lines at the foot."""
        return tuple(self._foot)

    @property
    def room(self) -> int:
        """How many rows there are above the foot."""
        return max(1, self.scrollable_content_region.height - len(self._foot))

    def show_lines(self, lines: Sequence[Content]) -> None:
        """Show these lines above the foot, which takes as much room below the last one."""
        before = self._foot
        self._foot = list(self.foot(self.scrollable_content_region.width))
        super().show_lines([*lines, *(line() for _ in self._foot)])
        if len(before) != len(self._foot):
            self.refresh(self.size.region)
            return
        for row, (old, new) in enumerate(zip_longest(before, self._foot, fillvalue=line())):
            if not old.is_same(new):
                y = self.scroll_offset.y + self._first_row() + row
                self._refresh_cells(y, *difference(old, new))

    def bring_into_view(self, first: int, last: int) -> None:
        """Scroll so that the lines from `first` to `last` stand above the foot, if they don't."""
        top = self.scroll_offset.y
        if first < top or last >= top + self.room:
            self.scroll_to(y=first, animate=False, immediate=True, force=True)

    def _first_row(self) -> int:
        return self.scrollable_content_region.height - len(self._foot)

    def render_line(self, y: int) -> Strip:
        """The strip of one visible row: the foot's, or a scrolled one."""
        row = y - self._first_row()
        if not 0 <= row < len(self._foot):
            return super().render_line(y)
        content, style = self._foot[row], self.rich_style
        strip = Strip(content.render_segments(self.visual_style), content.cell_length)
        return strip.crop_extend(0, self.scrollable_content_region.width, style)
