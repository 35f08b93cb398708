"""Lines of styled text, and the base class of the panes that show them.

All styles can be read without colour. Colours are the terminal's own sixteen: they cost a slow line
little, and they are readable in whatever palette the learner has chosen. Of a pane's lines only the
changed cells are painted again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from rich.cells import cell_len
from textual import events
from textual.color import Color
from textual.content import Content, Span
from textual.dom import DOMNode
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from tutor.lesson.model import Section
from tutor.session.run_view import RunView

if TYPE_CHECKING:
    from textual._types import MessageTarget

PLAIN = Style()
HEADING = Style(bold=True)
NEXT = Style(bold=True, foreground=Color.parse("ansi_green"))
"""The phase that is about to run (with its ▶)."""
DONE = Style(bold=True, foreground=Color.parse("ansi_yellow"))
"""The code and values that the last step ran and changed (with its ┃)."""
DIM = Style(dim=True)
CODE = Style(foreground=Color.parse("ansi_cyan"))
KEYWORD = Style(bold=True, foreground=Color.parse("ansi_magenta"))
STRING = Style(foreground=Color.parse("ansi_green"))
EMPHASIS = Style(italic=True)
STRONG = Style(bold=True)
VALUE = Style(bold=True, foreground=Color.parse("ansi_cyan"))
CHANGED = Style(bold=True, underline=True, foreground=Color.parse("ansi_yellow"))
UNSUPPORTED = Style(reverse=True)
ERROR = Style(bold=True, foreground=Color.parse("ansi_red"))
KEY = Style(bold=True, foreground=Color.parse("ansi_cyan"))
ACTIVE = Style(bold=True, reverse=True)
CURVE = Style(foreground=Color.parse("ansi_green"))

Piece: TypeAlias = str | tuple[str, Style]
"""Text, or text with a style."""


def line(*pieces: Piece) -> Content:
    """One line of pieces; nothing in them is read as markup."""
    texts: list[str] = []
    spans: list[Span] = []
    at = 0
    for piece in pieces:
        text, style = (piece, None) if isinstance(piece, str) else piece
        if style is not None and text:
            spans.append(Span(at, at + len(text), style))
        texts.append(text)
        at += len(text)
    return Content("".join(texts), spans)


BLANK = line()


def rule(width: int, *pieces: Piece) -> Content:
    """A line across, with pieces near its beginning."""
    start = line(("── ", DIM), *pieces, " ")
    return start + line(("─" * max(0, width - start.cell_length), DIM))


CURSOR = "▶ "
"""Before the chosen row of a list."""


def list_row(row: Content, is_chosen: bool, width: int) -> Content:
    """A row of a list, `width` cells wide; the chosen one has a mark and stands reversed."""
    if not is_chosen:
        return line(" " * len(CURSOR)) + row
    row = row.truncate(width - len(CURSOR))
    blank = " " * max(0, width - len(CURSOR) - row.cell_length)
    return line(CURSOR, (row.plain + blank, ACTIVE))  # of one style: dim is grey on grey


# ── The marks of phases, in a gutter of two cells ───────────────────────────────────

GUTTER = 2
"""The width of a mark in cells."""
NEXT_MARK: Piece = ("▶ ", NEXT)
"""Before the phase that is about to run."""
DONE_MARK: Piece = ("┃ ", DONE)
"""Beside all that belongs to the last step: the formula, the code, the changed numbers."""
NO_MARK: Piece = "  "


def phase_marks(section: Section | None, view: RunView) -> tuple[Piece, Piece]:
    """The mark before a phase's name, and that before each line of its code or formulas."""
    frame = view.frame
    if section is None or frame is None:
        return NO_MARK, NO_MARK
    has_just_run = section.phase == frame.phase and _is_same(section, view.last_section)
    is_next = section.phase == frame.next_phase and _is_same(section, view.next_section)
    mark = DONE_MARK if has_just_run else NO_MARK
    return NEXT_MARK if is_next else mark, mark


def _is_same(one: Section, other: Section | None) -> bool:
    """Whether two sections are one phase: its code may differ, as in an exercise."""
    return other is not None and (one.phase, one.line) == (other.phase, other.line)


# ── Panes ───────────────────────────────────────────────────────────────────────────

Tab = tuple[str, bool]
"""The name of a pane in the row of titles, and whether that pane is shown."""


SOON = 0.25
"""The most seconds that a call waits for a paint."""


def after_paint(node: DOMNode, callback: Callable[[], object]) -> None:
    """Call `callback` once after the next paint, or after SOON if there is none.

    Textual hands such a call to the screen on top. One that closes before it is painted takes
    the call with it.
    """
    has_been_called = False

    def call_once() -> None:
        nonlocal has_been_called
        if not has_been_called:
            has_been_called = True
            callback()

    node.call_after_refresh(call_once)
    node.set_timer(SOON, call_once)


def changed_cells(old: Content, new: Content) -> tuple[int, int]:
    """The first cell in which two lines differ, and the one after the last."""
    width = max(old.cell_length, new.cell_length)
    old, new = old.truncate(width, pad=True), new.truncate(width, pad=True)
    styled: list[list[tuple[str, tuple[object, ...]]]] = []
    for content in (old, new):
        styles: list[tuple[object, ...]] = [()] * len(content.plain)
        for span in content.spans:
            for i in range(span.start, min(span.end, len(styles))):
                styles[i] = (*styles[i], span.style)
        styled.append(list(zip(content.plain, styles, strict=True)))
    a, b = styled
    shortest = min(len(a), len(b))
    first = last = 0
    while first < shortest and a[first] == b[first]:
        first += 1
    while last < shortest - first and a[-1 - last] == b[-1 - last]:
        last += 1
    before, after = cell_len(old.plain[:first]), cell_len(old.plain[len(a) - last :])
    return before, max(before, width - after)


T = TypeVar("T")


class Shown(var[T]):
    """An attribute of a pane that is redrawn when it changes, unless it has a watcher."""

    def __set_name__(self, owner: type[MessageTarget], name: str) -> None:
        super().__set_name__(owner, name)
        if not hasattr(owner, f"watch_{name}"):
            setattr(owner, f"watch_{name}", _rebuild)


def _rebuild(pane: LinesPane) -> None:
    pane.rebuild()


class LinesPane(ScrollView, can_focus=True):
    """A scrollable pane with a title in its upper border. Subclasses say what `build` does."""

    class Painted(Message):
        """The empty pane has been painted: slow imports may begin."""

    @dataclass
    class Inspects(Message):
        """The pane needs other inspections of the run."""

        changes: Mapping[str, object]
        """The new values, by field of `Inspect`."""

    loads_slowly: ClassVar[bool] = False
    """Whether `build` imports much: then the empty pane is painted first."""
    drawn_from: ClassVar[attrgetter[Any] | None] = None
    """The parts of the view that the pane is drawn from; None for the whole view."""

    view: var[RunView | None] = var(None)
    """The run, in the panes that are bound to it."""

    tabs: var[tuple[Tab, ...]] = var(())
    """The titles in its upper border: its own, and those that share its place."""

    head = foot = 0
    """The numbers of first and of last lines that stay in place when the others are scrolled."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: dict[int, Content] = {}
        """The lines from the first, 0, to the foot, which is counted from the last, -1."""
        self._strips: dict[int, Strip] = {}
        self._title = line()
        self._may_load = False
        self._inspected: Mapping[str, object] = {}
        """The inspections that were asked for last."""

    # ── For subclasses to define ────────────────────────────────────────────────────

    def build(self, width: int) -> Sequence[Content]:
        """All lines of the pane, `width` columns wide."""
        raise NotImplementedError

    def settle(self) -> None:
        """Scroll to the lines that should be in view, after `build`."""

    # ── For subclasses to call ──────────────────────────────────────────────────────

    def watch_view(self, old: RunView | None, new: RunView | None) -> None:
        """Redraw for another view, unless the pane is hidden."""
        if not self.is_hidden:
            self.view_changed(old, new)

    def view_changed(self, old: RunView | None, new: RunView | None) -> None:
        """Redraw where the pane is drawn from something that has changed."""
        parts = self.drawn_from
        if parts is None or old is None or new is None or parts(old) != parts(new):
            self.rebuild()

    def rebuild(self) -> None:
        """Build the lines again and repaint those that differ.

        A hidden pane builds nothing: it is resized, and so rebuilt, as soon as it is shown.
        """
        width = self.scrollable_content_region.width
        if width <= 0 or not self.is_attached or self.is_hidden:
            return
        if self.loads_slowly and not self._may_load:
            after_paint(self, self._load)
            return
        self.show_lines(self.build(width))
        self.settle()

    @property
    def is_hidden(self) -> bool:
        """Whether the pane, or the pane that it is a part of, is hidden."""
        parent = self.parent
        return not self.display or (isinstance(parent, Widget) and not parent.display)

    def _load(self) -> None:
        if not self._may_load:
            self._may_load = True
            self.post_message(self.Painted())
            self.rebuild()

    def show_lines(self, lines: Sequence[Content]) -> None:
        """Show these lines; what is the same as before is not painted again."""
        before, count = self._lines, len(lines)
        self._lines = {y if y < count - self.foot else y - count: c for y, c in enumerate(lines)}
        if min(before, default=0) != -self.foot:
            self.refresh(self.size.region)
        room, padding = self.scrollable_content_region.size, self.styles.padding
        for y in before | self._lines:
            old, new = before.get(y, BLANK), self._lines.get(y, BLANK)
            if not old.is_same(new):
                self._strips.pop(y, None)
                row = y + room.height if y < 0 else y if y < self.head else y - self.scroll_offset.y
                start, end = changed_cells(old, new)
                at = start - self.scroll_offset.x + padding.left, row + padding.top
                self.refresh(Region(*at, end - start, 1).intersection(self.size.region))
        # At least as large as the pane: a table that grows within it moves nothing else.
        widest = max([c.cell_length for c in lines], default=0)
        self.virtual_size = Size(max(widest, room.width), max(count, room.height))
        self._name_tabs()

    def inspect(self, **changes: object) -> None:
        """Ask for other inspections of the run, by field of `Inspect`."""
        if changes != self._inspected:
            self._inspected = changes
            self.post_message(self.Inspects(changes))

    def bring_into_view(self, first: int, last: int) -> None:
        """Scroll so that the lines from `first` to `last` can be seen, if they can't be now."""
        top = self.scroll_offset.y
        if first < top or last >= top + self.room:
            self.show_from(first)

    def show_from(self, y: int) -> None:
        """Let this line be the first that is seen, where the lines below it fill the pane."""
        if y != self.scroll_offset.y:
            self.scroll_to(y=y, animate=False, immediate=True, force=True)

    def show_nearby(self, y: int) -> None:
        """Scroll no further than to bring this line into view between head and foot."""
        self.show_from(min(max(self.scroll_offset.y, y - self.room + 1), y - self.head))

    @property
    def room(self) -> int:
        """The number of rows for lines, above the foot."""
        return max(1, self.scrollable_content_region.height - self.foot)

    @property
    def lines(self) -> tuple[Content, ...]:
        """The lines on show, those of the foot last."""
        return tuple(self._lines.values())

    # ── Painting ────────────────────────────────────────────────────────────────────

    def render_line(self, y: int) -> Strip:
        """The strip of one visible row."""
        left, top = self.scroll_offset
        width, height = self.scrollable_content_region.size
        at = y if y < self.head else y - height if y >= height - self.foot else y + top
        strip = self._strips.get(at)
        if strip is None:
            content = self._lines.get(at, BLANK)
            strip = Strip(content.render_segments(self.visual_style), content.cell_length)
            self._strips[at] = strip
        return strip.crop_extend(left, left + width, self.rich_style)

    def notify_style_update(self) -> None:
        """Forget the strips rendered in the old style."""
        self._strips.clear()
        super().notify_style_update()

    def on_resize(self, event: events.Resize) -> None:
        """Build the lines for the new width."""
        self.rebuild()
        self._name_tabs()

    def watch_tabs(self) -> None:
        """Redraw the titles."""
        self._name_tabs()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Update the title's marks for lines above and below."""
        super().watch_scroll_y(old_value, new_value)
        self._name_tabs()

    def _name_tabs(self) -> None:
        pieces: list[Piece] = []
        for name, active in self.tabs:
            pieces += [(f" {name} ", ACTIVE if active and len(self.tabs) > 1 else DIM)]
        title = line(*pieces, (self._more(), DIM))
        if not self._title.is_same(title):
            self._title = title
            self.border_title = title

    def _more(self) -> str:
        above = self.scroll_offset.y > 0
        height = self.scrollable_content_region.height
        below = self.scroll_offset.y + height < len(self._lines)
        if not height or not (above or below):
            return ""
        return f" {'▲' if above else ''}{'▼' if below else ''} more "
