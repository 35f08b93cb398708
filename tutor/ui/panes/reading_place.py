"""The place to which the learner has read a text that is longer than its pane."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


class ReadingPlace:
    """The first line that has not been in view, although all lines above it have.

    It is kept as a line of a section: the sections above may get longer as their numbers come.
    """

    def __init__(self) -> None:
        self._section = self._line = 0
        self._starts: Sequence[int] = ()
        """The first line of each section."""
        self._count = 0
        self._width = 0

    def lay_out(self, starts: Sequence[int], count: int, width: int) -> None:
        """Take over where the sections begin; in another width, lines of a section are others."""
        if width != self._width:
            self._line = 0
        self._starts, self._count, self._width = tuple(starts), count, width

    def start_again(self) -> None:
        """Begin at the top: another text is shown."""
        self._section = self._line = 0

    @property
    def at(self) -> int:
        """The line in the whole text; the number of lines where all is read."""
        known = self._section < len(self._starts)
        return min(self._count, self._starts[self._section] + self._line) if known else self._count

    def see(self, first: int, end: int) -> None:
        """Note that the lines from `first` up to `end` are in view."""
        if first <= self.at:
            self.pass_over(end)

    def pass_over(self, end: int) -> None:
        """Note that the lines up to `end` need not be shown any more."""
        end = min(end, self._count)
        if end > self.at:
            self._section = bisect_right(self._starts, end) - 1
            self._line = end - self._starts[self._section]
