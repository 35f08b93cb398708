"""The lines around the panes: header, error, timeline, status, footer; and a field to type in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import BindingType, NoBinding
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Input

from tutor.digits import BRIEF_DIGITS
from tutor.lesson.library import is_shipped
from tutor.lesson.model import REPORT
from tutor.plain import one_line
from tutor.protocol.events import LessonFailed
from tutor.script.line_places import place_in, step_place
from tutor.session.run_view import Notice, RunView
from tutor.ui.commands import KEYS, TIMELINE_COMMANDS, AppCommand, bindings, footer
from tutor.ui.lines import (
    CURVE,
    DIM,
    DONE,
    DONE_MARK,
    ERROR,
    KEY,
    NEXT,
    STRONG,
    LinesPane,
    Piece,
    Shown,
    line,
)
from tutor.wording.engine_remarks import engine_remark_text, phase_text
from tutor.wording.notices import PART, notice_parts
from tutor.wording.number_format import number, of_batches, speed, time_left, trimmed

if TYPE_CHECKING:
    from tutor.session.attempt import Attempt

MOST_ERROR_LINES = 4
"""Lines of an error's message: PyTorch says within them which tensor it is and what is wrong."""

MOST_STATUS_LINES = 3
"""Lines of a notice: those of the tutor's own words fit into one of 80 columns."""

MOST_OF_HOST = 24
"""Characters of a host's name in the header: beside them, title and settings have room."""


class Bar(LinesPane, can_focus=False):
    """One line of text, or as many as it needs."""

    def settle(self) -> None:
        """Be as high as the text."""
        self.styles.height = max(1, len(self.lines))


class Header(Bar):
    """The header: the open lesson and the settings of its run."""

    heading: Shown[str] = Shown("")
    """The title while no lesson is open."""

    def __init__(self, *, id: str, host: str = "", heading: str = "") -> None:
        """`host`: the machine that runs are on, if it is another one."""
        super().__init__(id=id)
        self.set_reactive(Header.heading, heading)
        name = one_line(host).rpartition("@")[2]
        self._host = name if len(name) <= MOST_OF_HOST else name[: MOST_OF_HOST - 1] + "…"

    def build(self, width: int) -> Sequence[Content]:
        """The title on the left, the settings on the right; the title is cut if both don't fit."""
        view = self.view
        title = one_line(view.lesson.title) if view else self.heading
        host = f" on {self._host}" if self._host else ""
        right = " · ".join(_settings(view, host)) if view else host.strip()
        left: Sequence[Piece] = (" tutor · ", (title, STRONG)) if title else (" tutor",)
        right = f"{right} "
        room = max(8, width - len(right) - 2)
        if line(*left).cell_length > room:
            left = (" ", (title, STRONG))
        named = line(*left).truncate(room, ellipsis=True)
        return [named.pad_right(max(0, width - named.cell_length - len(right))) + line(right)]


def _settings(view: RunView, on_host: str) -> Iterable[str]:
    frame, lesson = view.frame, view.lesson
    rate = frame.learning_rate if frame else lesson.learning_rate[view.mode]
    yield one_line(view.mode)
    yield one_line(view.device) + on_host
    if lesson.script is None or (frame and rate):  # else it is not known
        yield f"lr {trimmed(rate)}"
    if frame and frame.seed:
        yield f"seed {frame.seed}"
    is_known = lesson.script is None or lesson.script.is_counted
    target = f" of {view.target_epoch}" if is_known and view.epoch <= view.target_epoch else ""
    if frame and frame.is_over:
        target = ", the last"
    yield f"epoch {view.epoch}{target}"


class ErrorBar(Bar):
    """The error of the lesson's code; it takes no room while there is none."""

    attempt: var[Attempt | None] = var(None)
    """The attempt whose code may have failed."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._failed: LessonFailed | None = None
        """The error that this bar shows."""

    def watch_view(self, old: RunView | None, new: RunView | None) -> None:
        """Redraw when an error appears or disappears."""
        self._show_error()

    def watch_attempt(self) -> None:
        """Redraw when the attempt changes: its reply may already name the error."""
        self._show_error()

    def _show_error(self) -> None:
        failed = self.view.failed if self.view else None
        is_in_reply = False
        if failed is not None and self.attempt is not None:
            from tutor.ui.exercise_lines import tells_why_failed  # noqa: PLC0415 - not for the menu

            is_in_reply = tells_why_failed(self.attempt, failed)
        shown = None if is_in_reply else failed
        if shown is not self._failed:
            self._failed = shown
            self.set_class(shown is not None, "-failed")
            self.rebuild()

    def build(self, width: int) -> Sequence[Content]:
        """The place of the error, its message, and what to do."""
        failed = self._failed
        if failed is None or self.view is None:
            return []
        from tutor.script.line_places import code_at  # noqa: PLC0415 - not for the menu
        from tutor.ui.exercise_lines import where_failed  # noqa: PLC0415 - as above

        lesson = self.view.lesson
        where = lesson.path.name
        if failed.line and is_shipped(lesson.path):
            where = code_at(lesson, failed.line)
        elif failed.line:
            where = f"{where}, {place_in(lesson)(failed.line)}"
        where = where_failed(failed, self.attempt) or where
        phase, error = one_line(phase_text(failed.phase)), engine_remark_text(failed.error)
        what = f"{phase[:1].upper()}{phase[1:]} failed · {one_line(where)}: {error}"
        shown = _wrapped(what, ERROR, width, MOST_ERROR_LINES)
        ways = f"{KEYS['restart']} starts again"
        if self.view.frame is not None:  # there is a place to go back to
            ways = f"{ways}, {KEYS['back_phase']} goes back"
        return [*shown, line(f"The changes of this phase were discarded. {ways}.")]


class StatusBar(Bar):
    """The status bar: the latest notice, the pending command, or the next phase."""

    notice: Shown[Notice] = Shown(Notice)
    waiting: Shown[str] = Shown("")

    def build(self, width: int) -> Sequence[Content]:
        """The most urgent message."""
        view, notice = self.view, self.notice
        if self.waiting:
            return [line((self.waiting, STRONG)).truncate(width, ellipsis=True)]
        if view and view.target is not None:
            return [_progress(view, width).truncate(width, ellipsis=True)]
        if not notice.code:
            return [line(*_next(view)).truncate(width, ellipsis=True)]
        parts = notice_parts(notice, KEYS)
        if notice.kind in ("refused", "failed"):
            said = f"! {PART.join(parts)}"
            return _wrapped(said, ERROR, width, MOST_STATUS_LINES)
        # What went well is soon replaced: the panes don't move for its last parts.
        return _wrapped(_fitting(parts, width), STRONG, width, MOST_STATUS_LINES)


def _fitting(parts: Sequence[str], width: int) -> str:
    """The parts in one line, without the last ones that don't fit; the first one is whole."""
    while cell_len(text := PART.join(parts)) > width and len(parts) > 1:
        parts = parts[:-1]
    return text


def _wrapped(text: str, style: Style, width: int, most: int) -> Sequence[Content]:
    """The text in as many lines as it needs, at most `most`, the last of which is cut then."""
    shown = line((text, style)).wrap(width)
    if len(shown) <= most:
        return shown
    cut = shown[most - 1] + line((" …", style))
    return [*shown[: most - 1], cut.truncate(width, ellipsis=True)]


def _next(view: RunView | None) -> Iterable[Piece]:
    if view is None or view.frame is None:
        return
    frame = view.frame
    if frame.is_over:
        keys = f"{KEYS['back_phase']} goes back", f"{KEYS['restart']} starts again"
        yield ("The script has ended", STRONG)
        yield " · " + " · ".join(keys)
        return
    if frame.phase and not view.at_start:
        has_batch = frame.batches > 1 and frame.phase != REPORT
        batch = f" of batch {of_batches(frame)}" if has_batch else ""
        yield DONE_MARK
        yield (frame.phase, DONE)
        yield f"{batch} has run · "
    yield "next: "
    yield (f"▶ {frame.next_phase}", NEXT)
    if frame.next_line:
        yield f", {step_place(view.lesson, frame.next_line)}"


def _progress(view: RunView, width: int) -> Content:
    target, epoch = view.target or 1, view.epoch
    if view.lesson.script is not None and not view.lesson.script.is_counted:
        return line(PART.join(filter(None, (f"Epoch {epoch}", speed(view.rate), "r pauses"))))
    figures = f"epoch {epoch} of {target}", speed(view.rate), time_left(view.seconds_left)
    words = " " + PART.join(filter(None, (*figures, "r pauses")))
    cells = max(5, width - len(words) - 2)
    done = min(cells, cells * epoch // max(1, target))
    return line(("█" * done, CURVE), ("░" * (cells - done), DIM), words)


class Footer(Bar):
    """The keys of the commands, as many as fit whole."""

    first: Shown[tuple[AppCommand, ...]] = Shown(())
    """The commands that come first for now."""
    only: Shown[tuple[AppCommand, ...]] = Shown(())
    """The only commands that work for now, if any."""
    left_out: Shown[frozenset[str]] = Shown(frozenset())
    """The names of the commands that do nothing now."""

    def __init__(self, commands: Sequence[AppCommand], *, id: str) -> None:
        super().__init__(id=id)
        self._commands = commands

    def build(self, width: int) -> Sequence[Content]:
        """Each key with its label, the most needed first."""
        pieces: list[Piece] = []
        commands, first = (self.only, ()) if self.only else (self._commands, self.first)
        commands = [c for c in commands if c.name not in self.left_out]
        for command in footer(commands, width, first):
            pieces += [(command.key_label, KEY), f" {command.label}  "]
        return [line(*pieces)]


HELP = "←→ epoch · ↑↓ phase · PgUp PgDn a tenth · Home End · enter stays · esc leaves"

PARTS = 10
"""A page moves by one part of the run in this many."""


class Timeline(LinesPane):
    """The run so far as one line: it posts where the learner goes, and shows that place at once."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TIMELINE_COMMANDS)]

    @dataclass
    class Moved(Message):
        """The learner wants to go to the end of another epoch."""

        epoch: int

    @dataclass
    class PhaseMoved(Message):
        """The learner wants to go one phase forward or back."""

        forward: bool

    @dataclass
    class Left(Message):
        """The learner closes the timeline, to stay here or to return to the position before it."""

        stay: bool

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._requested: int | None = None

    @property
    def _furthest(self) -> int:
        return self.view.last_epoch if self.view else 0

    @property
    def epoch(self) -> int:
        """The epoch that it points to: the requested one, if the run is not there yet."""
        if self._requested is not None:
            return self._requested
        return self.view.epoch if self.view else 0

    def on_blur(self) -> None:
        """Forget the requested epoch when another pane gets the focus."""
        self._requested = None

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_by(self, epochs: int) -> None:
        """Move by this number of epochs."""
        self._request(self.epoch + epochs)

    def action_page(self, pages: int) -> None:
        """Move by tenths of the run."""
        self._request(self.epoch + pages * max(1, self._furthest // PARTS))

    def action_to(self, epoch: int) -> None:
        """Move to the start, or (-1) to the end."""
        self._request(self._furthest if epoch < 0 else epoch)

    def action_phase(self, by: int) -> None:
        """Move one phase forward, within the run so far, or back."""
        view = self.view
        if view is None or view.frame is None:
            return
        at_end = (view.epoch, view.frame.at.step) >= (view.last_epoch, view.frame.steps)
        if by < 0 or not at_end:
            self._requested = None
            self.post_message(self.PhaseMoved(by > 0))

    def action_leave(self, stay: bool) -> None:
        """Close the timeline."""
        self._requested = None
        self.post_message(self.Left(stay))

    def _request(self, epoch: int) -> None:
        wanted = self._requested = min(max(epoch, 0), self._furthest)
        self.rebuild()  # forgets the request if the run is there already
        self.post_message(self.Moved(wanted))

    # ── Drawing ─────────────────────────────────────────────────────────────────────

    def build(self, width: int) -> Sequence[Content]:
        """The line with the current position, and the keys."""
        view = self.view
        if view is None:
            return []
        if view.epoch == self._requested:
            self._requested = None
        return [line(*_time(view, self.epoch, width)), line((HELP, DIM)).truncate(width)]


def _time(view: RunView, epoch: int, width: int) -> Iterator[Piece]:
    last_epoch = max(view.last_epoch, epoch, 1)
    loss = view.frame.loss.data if view.frame else ()
    word = f" epoch {epoch} of {last_epoch}"
    if loss and epoch == view.epoch:
        word += f" · loss {number(loss[0], BRIEF_DIGITS)}"
    word = word.ljust(max(len(word), width // 3))
    cells = max(10, width - len(word) - 2)
    track = ["─"] * cells
    for change in view.changes:
        track[_cell(change.at.epoch, last_epoch, cells)] = "│"
    here = _cell(epoch, last_epoch, cells)
    yield "├" + "".join(track[:here])
    yield ("●", NEXT)
    yield "".join(track[here + 1 :]) + "┤"
    yield word


def _cell(epoch: int, last_epoch: int, cells: int) -> int:
    return min(cells - 1, max(0, round((cells - 1) * epoch / last_epoch)))


# ── A field to type in ──────────────────────────────────────────────────────────────


async def act_in_order(widget: Widget, event: events.Key) -> None:
    """Run at once the action that a widget itself binds to a key; leave other keys alone.

    The widget's `_on_key` calls this. If it has acted, Textual does not call the base class's.
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
