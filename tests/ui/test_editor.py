"""The editor of a repair: the text is never lost, and what comes of it is told with its line."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from tests.session.driven import Notebook
from tests.waiting import PATIENCE
from tutor.protocol.commands import OpenLesson
from tutor.protocol.events import LessonFailed, StoppedAt
from tutor.protocol.frame import Remark
from tutor.session.journal import Draft
from tutor.session.run_view import Notice
from tutor.ui.screens import editor
from tutor.ui.screens.dialogs import Confirm
from tutor.ui.screens.editor import AroundPane, CodeArea, EditorScreen, TaskPane
from tutor.ui.screens.lesson import LessonScreen

from .conftest import Learner, MakeApp, at_screen, come_true, doing
from .exercises import REPAIR, with_exercises
from .fake_engine import FakeEngine

BROKEN = "w += learning_rate * w.grad\n"


pytestmark = doing(REPAIR, size=(80, 22), keys=("a", "o"))
"""The editor is open."""


def failed(learner: Learner, line: int, message: str) -> LessonFailed:
    """What the engine says of the learner's code."""
    number = learner.engine.run_number
    return LessonFailed(
        answers=number,
        lesson="",
        phase="Update",
        line=line,
        error=Remark("text", {"text": message}),
    )


async def test_fixed_code_is_run_and_success_leads_back(learner: Learner) -> None:
    assert learner.sees("The update goes the wrong way.", "task")
    assert learner.sees("It fails with: a leaf Variable", "task")
    assert learner.area.has_focus
    assert learner.area.size.height >= 5
    await learner.press("delete", "delete", "delete", "w", " ", "-", "ctrl+s")
    assert learner.area.read_only
    assert learner.sees("esc stops it", "verdict")
    assert learner.text("footer").strip() == "esc stops it", "the only key that is named"
    learner.engine.busy = 3.0
    learner.session._heard_at -= 3.0
    learner.app.tell(Notice())
    await learner.settle()
    assert learner.sees("is still running (3 s) · esc stops it", "status")
    run = [c for c in learner.engine.sent if isinstance(c, OpenLesson)][-1].lesson.phase("Update")
    assert run is not None
    assert [f.code for f in run.fences("autograd")] == ["w -= learning_rate * w.grad\n"]
    learner.engine.advance(3)
    await learner.settle()
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.sees("✓ Done.", "exercise-text")


FOREIGN = "import os; os.system('true')\n"


async def test_code_from_elsewhere_runs_only_after_a_yes(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    """The draft came with somebody else's progress."""
    journal = Notebook()
    journal.drafts[REPAIR.id] = Draft(FOREIGN, is_own=False)
    app = make_app(first=with_exercises(REPAIR), journal=journal)

    def has_run() -> bool:
        lessons = [c.lesson for c in engine.sent if isinstance(c, OpenLesson)]
        return any("os.system" in repr(lesson) for lesson in lessons)

    async with app.run_test(size=(80, 22)) as pilot:
        await pilot.press("a", "o")
        learner = Learner(app, pilot)
        assert learner.area.text == FOREIGN
        assert learner.sees("has not been run", "verdict")
        await learner.press("ctrl+s")
        assert isinstance(app.screen, Confirm)
        await learner.press("n")
        assert isinstance(app.screen, EditorScreen)
        await learner.press("#", "ctrl+s", "enter", "escape")  # only y is a yes
        assert not has_run()
        assert journal.drafts[REPAIR.id] == Draft("#" + FOREIGN, is_own=False)
        await learner.press("ctrl+s", "y")
        assert has_run()
        assert journal.drafts[REPAIR.id] == Draft("#" + FOREIGN, is_own=True)


async def test_what_is_no_python_is_told_with_its_line_and_the_cursor_stays(
    learner: Learner,
) -> None:
    await learner.press("end", "enter", *"if w", "up", "home", "right")
    ran = len(learner.engine.sent)
    await learner.press("ctrl+r")
    assert learner.sees("✗ Not yet. Line 2 is not Python", "verdict")
    assert learner.area.cursor_location == (0, 1)
    assert len(learner.engine.sent) == ran
    assert learner.attempt.code == "w += learning_rate * w.grad\nif w\n"
    await learner.press("ctrl+z", "ctrl+z", "ctrl+z")
    assert learner.area.text == BROKEN
    await learner.press("ctrl+y")
    assert learner.area.text != BROKEN


async def test_the_real_error_is_shown_and_the_cursor_stays_where_it_is(learner: Learner) -> None:
    await learner.press("end", "left", "ctrl+s")
    message = "RuntimeError: [bold]a leaf\x1b[31m"
    await learner.hears(failed(learner, 2, message))
    assert learner.sees(
        "✗ Not yet. Line 2 of your code: RuntimeError: [bold]a leaf^[[31m", "verdict"
    )
    assert learner.area.cursor_location == (0, len(BROKEN) - 2)
    assert not learner.area.read_only
    await learner.press("escape")
    assert learner.sees("RuntimeError: [bold]", "exercise-text")
    assert not learner.shows("error")
    await learner.press("h", "h", "H", "o")
    task = learner.app.screen.query_one(TaskPane)
    in_view = task.lines[task.scroll_offset.y :][: task.scrollable_content_region.height]
    solution = [row.plain.strip() for row in in_view][-2:]
    assert solution == ["Solution:", "w -= learning_rate * w.grad"]


async def test_who_meant_to_break_off_what_has_just_been_stopped_stays_in_the_editor(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editor, "ESCAPE_SECONDS", PATIENCE)
    await learner.press("ctrl+s")
    learner.engine.target = None
    await learner.hears(
        learner.engine.shown(learner.engine.run_number, stopped=StoppedAt("Update", 1))
    )
    await learner.press("escape")
    assert isinstance(learner.app.screen, EditorScreen)
    monkeypatch.setattr(editor, "ESCAPE_SECONDS", 0.0)
    await learner.press("escape")
    assert isinstance(learner.app.screen, LessonScreen)
    await learner.press("g")
    assert learner.sees("Only the code may be changed", "status")
    await learner.press("o")
    assert not learner.sees("Only the code may be", "status")


async def test_the_text_is_kept_at_every_pause_and_however_it_is_left(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editor, "SAVE_SECONDS", 0.01)
    async with at_screen(make_app(first=with_exercises(REPAIR)), (80, 22)) as learner:
        await learner.press("a", "o", "#")
        await come_true(lambda: learner.attempt.code == "#" + BROKEN)
        monkeypatch.setattr(editor, "SAVE_SECONDS", 100.0)
        await learner.press("1", "ctrl+c", "escape")
        assert isinstance(learner.app.screen, LessonScreen)
        assert learner.attempt.code == "#1" + BROKEN
        await learner.press("o", "end", "2", "ctrl+q")
    assert learner.attempt.code == "#1w += learning_rate * w.grad2\n"


async def test_the_code_as_given_comes_back_after_a_question_and_undo_takes_that_back(
    learner: Learner,
) -> None:
    await learner.press("#", "ctrl+o", "n")
    assert learner.area.text == "#" + BROKEN
    await learner.press("home", *"if", "ctrl+s")
    assert learner.sees("Line 1 is not Python", "verdict")
    await learner.press("ctrl+o", "y")
    assert not learner.sees("Line 1", "verdict")
    assert learner.area.text == BROKEN
    await learner.press("ctrl+z")
    assert learner.area.text == "if#" + BROKEN


async def test_a_key_gives_a_hint_and_the_text_stays(learner: Learner) -> None:
    await learner.press("#", "ctrl+g")
    assert learner.sees("Hint 1", "task")
    assert learner.area.has_focus
    await learner.press("ctrl+g", "ctrl+g")
    assert learner.sees("No more hints", "status")
    await learner.press("2")
    assert learner.area.text == "#2" + BROKEN
    await learner.press("ctrl+c")
    assert learner.session.notice.code == "nothing_selected"
    await learner.press("2")
    assert learner.session.notice.code == "", "it is said until the next key"


async def test_the_code_around_it_is_in_view_with_the_place_of_what_is_to_be_fixed(
    learner: Learner,
) -> None:
    around = learner.app.screen.query_one("#around", AroundPane)
    top, height = around.scroll_offset.y, around.scrollable_content_region.height
    seen = [row.plain.strip() for row in around.lines[top : top + height]]
    assert "▶ Update: your code, below" in seen
    assert "loss.backward()" in seen
    assert not any("w += learning_rate" in row for row in seen)  # that is the learner's
    area = learner.area
    assert area.region.bottom == area.screen.query_one("#status").region.y
    assert height >= 4  # and no half of the screen is left blank
    await learner.press("ctrl+t", "ctrl+t")
    assert around.has_focus
    await learner.press("home")
    assert around.scroll_offset.y == 0
    await learner.press("ctrl+t")
    assert area.has_focus


# ── Python's habits ─────────────────────────────────────────────────────────────────


class Field(App[None]):
    """The field alone."""

    def compose(self) -> ComposeResult:
        yield CodeArea("if w:\n", id="editor")


async def test_enter_keeps_the_indentation_and_tab_and_shift_tab_change_it() -> None:
    app = Field()
    async with app.run_test() as pilot:
        area = app.query_one(CodeArea)
        area.focus()
        await pilot.press("end", "enter", "a", "enter", "tab", "b", "shift+tab")
        assert area.text == "if w:\n    a\n    b\n"
        await pilot.press("shift+up", "shift+tab")
        assert area.text == "if w:\na\nb\n"
        await pilot.press("tab")
        assert area.text == "if w:\n    a\n    b\n"
        area.read_only = True
        await pilot.press("enter", "tab", "shift+tab", "x")
        assert area.text == "if w:\n    a\n    b\n"
