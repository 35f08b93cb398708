"""A lesson's output, bounded and safe to show."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tutor.plain import plain

MAX_LINES = 500
MAX_COLUMNS = 2000
"""Characters of one line that are kept: a megabyte on one line is nobody's reading."""


@dataclass(frozen=True, slots=True)
class PrintedText:
    """The last lines of what was printed; the last of them may still grow."""

    lines: tuple[str, ...] = ()
    left_out: int = 0
    """Characters that were never kept."""
    _open: str = ""
    """The line that no newline has ended yet, as it came."""

    def followed_by(self, text: str, left_out: int = 0) -> PrintedText:
        """Itself and what came after it, safe to show."""
        *ended, last = (self._open + text.replace("\r\n", "\n")).split("\n")
        last = last[: MAX_COLUMNS + 1]
        lines = [*self.lines, *(_bounded(line) for line in ended)]
        dropped = sum(len(line) + 1 for line in lines[:-MAX_LINES])
        return replace(
            self,
            lines=tuple(lines[-MAX_LINES:]),
            left_out=self.left_out + left_out + dropped,
            _open=last,
        )

    @property
    def shown(self) -> tuple[str, ...]:
        """The lines, with the one that is still open."""
        return (*self.lines, _bounded(self._open)) if self._open else self.lines


def _bounded(line: str) -> str:
    text = plain(line[:MAX_COLUMNS])
    return text + " …" if len(line) > MAX_COLUMNS else text
