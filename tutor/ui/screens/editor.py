"""The editor for the code of a Repair exercise, in Textual's text area with Python's habits."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import ClassVar

from msgspec.structs import replace
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import TextArea

from tutor.lesson.exercise import Repair
from tutor.plain import one_line
from tutor.session.attempt import Attempt
from tutor.session.run_view import Notice
from tutor.session.session import Session
from tutor.ui import exercise_lines as lines_of
from tutor.ui.bars import Bar, Footer, Header, StatusBar, act_in_order
from tutor.ui.code_lines import fence_rows
from tutor.ui.commands import EDITOR_COMMANDS, JUDGING_COMMANDS, bindings
from tutor.ui.exercise_lines import TextPart
from tutor.ui.lines import DIM, NEXT, STRONG, LinesPane, Shown, line
from tutor.ui.panes.exercise import PartsPane
from tutor.ui.prose import inline_formulas
from tutor.ui.screens.base import SessionScreen
from tutor.ui.screens.dialogs import Confirm
from tutor.wording.number_format import counted

SAVE_SECONDS = 0.5
"""Seconds after the last key until the text is saved."""

ESCAPE_SECONDS = 1.5
"""Seconds after the code was stopped during which esc doesn't leave: it was meant to stop it."""


class EditorScreen(SessionScreen):
    """The editor of a repair: the task, the code around, the last result, and the code."""

    ALL_COMMANDS = EDITOR_COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(EDITOR_COMMANDS)]
    AUTO_FOCUS = "#editor"
    STOP_KEY = "esc"

    def __init__(self, session: Session, exercise: Repair, ascii_only: bool) -> None:
        """The session must be at this exercise."""
        super().__init__(session)
        self._exercise = exercise
        self._ascii = ascii_only
        self._kept = session.attempt.code if session.attempt else exercise.code
        """The text that was last sent to the session."""
        self._area = CodeArea(self._kept, id="editor")
        self._timer: Timer | None = None
        self._stopped_at = -math.inf

    def parts(self) -> Iterable[Widget]:
        """Header, question, the code around, result, code, status and footer."""
        here = EditorScreen
        yield Header(id="header", host=self.session.host).data_bind(here.view)
        with Container(id="panes"):
            task = TaskPane(ascii_only=self._ascii, id="task").data_bind(here.attempt)
            task.tabs = (("Question", True),)
            yield task
            yield AroundPane(self._exercise, id="around").data_bind(here.view)
            yield ResultBar(ascii_only=self._ascii, id="verdict").data_bind(here.attempt)
            self._area.border_title = line(f" Your code of {one_line(self._exercise.phase)} ")
            yield self._area
        yield StatusBar(id="status").data_bind(here.view, here.notice, here.waiting)
        yield Footer(EDITOR_COMMANDS, id="footer")

    def on_mount(self) -> None:
        """Note that the editor is open, so that resuming opens it again."""
        self.session.notice = Notice()  # it names keys that type letters here
        super().on_mount()
        self.session.controller.keep_editing(True)

    def update_from_session(self) -> None:
        """Take over the session's state; a failure of the code is shown above the code."""
        super().update_from_session()
        if self.notice.kind == "failed":
            self.notice = Notice()

    # ── Changes of the code ─────────────────────────────────────────────────────────

    def watch_attempt(self, old: Attempt | None, new: Attempt | None) -> None:
        """Update when the code was judged or the exercise is over."""
        if not self.is_mounted:
            return
        if new is None or new.exercise.id != self._exercise.id or new.state == "done":
            self._leave()
            return
        is_judged = new.state == "judging"
        self._area.read_only = is_judged
        self.query_one(Footer).only = JUDGING_COMMANDS if is_judged else ()
        if old is not None and old.state == "judging" and new.state == "asking" and new.was_stopped:
            self._stopped_at = time.monotonic()

    # ── The draft ───────────────────────────────────────────────────────────────────

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Keep the text as soon as the learner pauses."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(SAVE_SECONDS, self._keep)

    def _keep(self) -> None:
        text = self._area.text
        if text != self._kept:
            self._kept = text
            self.session.controller.keep_draft(text)

    def on_unmount(self) -> None:
        """Save the text, however the editor is closed."""
        self._keep()

    # ── Keys ────────────────────────────────────────────────────────────────────────

    def action_run_code(self) -> None:
        """Let the session run the code; a syntax error is shown at once. The cursor stays."""
        if self._area.read_only:
            return
        self._keep()
        text = self._area.text
        attempt = self.session.attempt
        if attempt and attempt.is_from_elsewhere and text != self._exercise.code:
            self._ask_about(text)
            return
        self.session.controller.edit(text)
        self.update_from_session()

    def _ask_about(self, text: str) -> None:
        """Ask before code from elsewhere runs."""

        def answered(yes: bool | None) -> None:
            if yes:
                self.session.controller.agree_to(text)
                self.update_from_session()

        self.app.push_screen(_may_it_run(text), answered)

    def action_close(self) -> None:
        """Go back to the lesson; while the code runs, stop it first.

        If the tutor has just stopped the code, the key that was meant to stop it does not close.
        """
        if self._area.read_only:
            self.action_session("stop")
        elif time.monotonic() - self._stopped_at > ESCAPE_SECONDS:
            self._leave()

    def _leave(self) -> None:
        self._keep()
        self.session.controller.keep_editing(False)
        if self.is_current:
            self.dismiss()

    def action_undo(self) -> None:
        """Undo one change."""
        self._area.undo()

    def action_redo(self) -> None:
        """Redo one change."""
        self._area.redo()

    def action_original(self) -> None:
        """Restore the original code, if the learner confirms."""

        def answered(yes: bool | None) -> None:
            if yes:
                self._area.put(self._exercise.code)
                self.session.controller.forget_reply()
                self.update_from_session()

        if not self._area.read_only:
            self.app.push_screen(Confirm(GIVEN_CODE_BACK), answered)

    def action_hint(self) -> None:
        """Show one more hint, below the question."""
        self.action_controller("hint")

    def action_turn_focus(self) -> None:
        """Focus the question, then the code around it, then the code again."""
        ring = (self.query_one("#task"), self.query_one("#around"), self._area)
        after = dict(zip(ring, (*ring[1:], ring[0]), strict=True))
        after.get(self.focused or self._area, self._area).focus()

    def action_copy(self) -> None:
        """Say how to select text, as nothing is selected."""
        self.tell_no_effect("nothing_selected")


class TaskPane(PartsPane):
    """The question, the symptom, the hints so far and the solution, the newest in view."""

    attempt: Shown[Attempt | None] = Shown(None)

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._inline = inline_formulas(ascii_only)

    def parts(self, width: int) -> Iterable[TextPart]:
        """The parts that this screen shows nowhere else."""
        if self.attempt is None:
            return
        for part in lines_of.parts(self.attempt, -1, width, self._inline):
            if part.name not in ("title", "how", "reply", "explain"):
                yield replace(part, is_tight=True)

    def newest_at_first(self) -> Sequence[str]:
        """Show the latest hint, or the solution, first."""
        return [p.name for p in self._parts if p.name.startswith(lines_of.ASKED_FOR)][-1:]

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """The number of lines."""
        return sum(len(part.lines) for part in self.parts(max(1, width)))


class AroundPane(LinesPane):
    """The lesson's code in this mode, with a line where the code stands that is to be fixed."""

    drawn_from = attrgetter("lesson", "mode")

    def __init__(self, exercise: Repair, *, id: str) -> None:
        super().__init__(id=id)
        self.tabs = (("Code around it", True),)
        self._phase = exercise.phase
        self._own = 0
        """The line that marks the place of the code to fix."""
        self._settled_in = 0

    def build(self, width: int) -> Sequence[Content]:
        """The code, phase by phase."""
        lines: list[Content] = []
        view = self.view
        for section in view.lesson.sections if view else ():
            fences = section.fences(view.mode) if view else ()
            if section.phase == self._phase:
                self._own = len(lines)
                lines.append(line((f"▶ {one_line(self._phase)}", NEXT), ": your code, below"))
            elif section.phase and fences:
                lines.append(line("  ", (one_line(section.phase), DIM)))
                for fence in fences:
                    lines += [row.content for row in fence_rows(fence, width, "  ", None, None)]
        return lines

    def settle(self) -> None:
        """Scroll to the code just before the code to fix."""
        height = self.scrollable_content_region.height
        if height != self._settled_in:
            self._settled_in = height
            self.show_from(max(0, self._own - height + 2))


class ResultBar(Bar):
    """The result of the last run: its error, or the reply."""

    attempt: Shown[Attempt | None] = Shown(None)

    def __init__(self, *, ascii_only: bool, id: str) -> None:
        super().__init__(id=id)
        self._inline = inline_formulas(ascii_only)

    def build(self, width: int) -> Sequence[Content]:
        """The result, up to a few lines."""
        attempt = self.attempt
        if attempt is None:
            return []
        if attempt.state == "judging":
            return [line(("The code runs … esc stops it", STRONG))]
        return lines_of.reply(attempt, width, self._inline)[:4]


def _may_it_run(code: str) -> Confirm:
    """A dialog that asks whether code that was not typed on this machine may run."""
    count = code.rstrip().count("\n") + 1
    digest = hashlib.sha256(code.encode(errors="replace")).hexdigest()
    return Confirm(
        "This code came with a progress file from elsewhere. It is a program:\n"
        "it can do whatever you can do on this machine.\n\n"
        f"  {counted(count, 'line')}, SHA-256 {digest[:16]}…\n\n"
        "Read it to its last line, and to the right end of long lines.\n"
        "You are asked once for this exact code.\n\n"
        "y run it    n back to the code"
    )


GIVEN_CODE_BACK = (
    "Replace your code with the code as first given?\n"
    "(ctrl+z brings yours back.)\n\n"
    "y replace it    n keep mine"
)


INDENT = 4

PASTE_SECONDS = 0.01
"""Keys closer together than this (in seconds) were pasted, or bundled by a slow line."""

PASTED = 8
"""This many fast keys are a paste, in a terminal that doesn't mark pasted text."""

PASTE_PAUSE = 0.3
"""Seconds that a paste may pause, as between two packets."""


class CodeArea(TextArea):
    """The text area of the code. Enter keeps the indentation, tab and shift+tab change it.

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
        longest = PASTE_PAUSE if self._is_pasted else PASTE_SECONDS
        self._burst = 1 + (self._burst if gap < longest else 0)
        is_blank = event.key in ("space", "tab")
        if self._added and gap < PASTE_SECONDS and is_blank:  # it has its own indentation
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
