"""The code pane: the very code that runs in this mode, phase by phase.

Knows the lesson's fences; nothing of formulas or numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from textual.content import Content
from textual.reactive import var
from textual.style import Style

from tutor.lesson.model import Fence, Section
from tutor.plain import plain
from tutor.ui import looks
from tutor.ui.looks import Piece, line
from tutor.ui.moment import Moment
from tutor.ui.panes.lines import LinesPane

GUTTER = 2
"""Cells left of the code, for the marks."""


class CodePane(LinesPane):
    """The fences of the current mode; the phase about to run is marked and in view."""

    loads_slowly = True
    moment: var[Moment | None] = var(None)

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._phases: dict[str, tuple[int, int]] = {}
        self._followed: tuple[object, ...] | None = None

    def watch_moment(self, old: Moment | None, new: Moment | None) -> None:
        """Another lesson, mode or phase."""
        self.rebuild()

    def settle(self) -> None:
        """Keep what is about to run in view, but leave the learner alone between steps."""
        moment = self.moment
        if moment is None:
            return
        place = (moment.lesson.digest, moment.mode, moment.next_phase)
        if place != self._followed:
            self._followed = place
            self.bring_into_view(*self._phases.get(moment.next_phase or "", (0, 0)))

    def build(self, width: int) -> Sequence[Content]:
        """Each phase: its name, and its code to the character."""
        moment = self.moment
        if moment is None:
            return []
        lines: list[Content] = []
        self._phases.clear()
        for section in moment.lesson.sections:
            if section.phase and section.fences(moment.mode):
                first = len(lines)
                lines.extend(self._section(section, moment, width))
                self._phases[section.phase] = (first, len(lines) - 1)
        return lines

    def _section(self, section: Section, moment: Moment, width: int) -> Iterator[Content]:
        is_next = section.phase == moment.next_phase
        mark, style = ("▶ ", looks.NEXT) if is_next else ("  ", looks.DIM)
        yield line((mark + (section.phase or ""), style))
        for fence in section.fences(moment.mode):
            yield from _fence(fence, moment, width)


def _fence(fence: Fence, moment: Moment, width: int) -> Iterator[Content]:
    failed = moment.failed.line if moment.failed else None
    for number, content in enumerate(highlighted(fence.code), fence.line):
        mark: Piece = ("✗ ", looks.ERROR) if number == failed else " " * GUTTER
        for part in content.fold(max(10, width - GUTTER)) or [line()]:
            yield line(mark) + part
            mark = ("↪ ", looks.DIM)


@lru_cache(64)
def highlighted(code: str) -> tuple[Content, ...]:
    """The code's lines with Python's syntax made visible; not a character is changed."""
    # Lazy: the first paint comes before the lexer is loaded.
    from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]  # noqa: PLC0415

    text = plain(code).rstrip("\n")
    pieces: list[Piece] = []
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    for kind, part in lexer.get_tokens(text):
        style = _style(str(kind))
        pieces.append((part, style) if style else part)
    return tuple(line(*pieces).split("\n", allow_blank=True))


def _style(kind: str) -> Style | None:
    for prefix, style in _STYLES.items():
        if kind.startswith(prefix):
            return style
    return None


_STYLES = {
    "Token.Comment": looks.DIM,
    "Token.Keyword": looks.KEYWORD,
    "Token.Operator.Word": looks.KEYWORD,
    "Token.Literal.String": looks.STRING,
    "Token.Literal.Number": looks.CODE,
}
