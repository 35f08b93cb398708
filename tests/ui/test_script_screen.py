"""The lesson screen on a learner's own script: its code pane, its keys, its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tutor.lesson.model import ScriptOptions
from tutor.protocol.commands import SetLearningRate, StepPhase, Switch
from tutor.protocol.events import LessonFailed, OutputPrinted
from tutor.protocol.frame import Value
from tutor.script.outline import ScriptPhase
from tutor.session.run_view import Notice
from tutor.ui import text_styles
from tutor.ui.app import TutorApp
from tutor.ui.code_lines import MOST_HIGHLIGHTED, LineMarks, ScriptListing
from tutor.ui.commands import KEYS
from tutor.ui.panes.code import CodePane
from tutor.ui.panes.formula import FormulaPane
from tutor.ui.panes.numbers import NumbersPane
from tutor.ui.screens.dialogs import AskTrust, HelpScreen
from tutor.ui.screens.lesson_list import MenuScreen
from tutor.wording.notices import notice_text

from .conftest import LARGE, SMALL, MakeApp, settled, text_of
from .panes import OnePane
from .scripts import (
    IN_CELLS,
    LINES,
    PHASES,
    SCRIPT,
    TEXT,
    ScriptEngine,
    at,
    network,
    script,
    view_of,
)

ALL_COMMANDS = ("space", "s", "i", "b", "B", "r", "R", "S", "z", "g", "G", "d", "[", "]", "f", "v",
                "V", "D", "c", "x", "O", "a", "o", "h", "H", "k", "K", "A", "escape", "tab",
                *"12345678")  # fmt: skip


@pytest.fixture
def engine() -> ScriptEngine:
    return ScriptEngine()


@pytest.fixture
def make_script_app(make_app: MakeApp) -> Callable[..., TutorApp]:
    def make(**more: Any) -> TutorApp:
        return make_app(first=SCRIPT, **more)

    return make


def marked(app: Any) -> list[str]:
    """The rows of the code with a mark, without the phase's name at their end."""
    rows = [c.plain for c in app.lines]
    return [row for row in rows if row[:1] in "▶:┃✗"]


# ── The code ────────────────────────────────────────────────────────────────────────


async def test_the_code_is_the_whole_file_with_numbers_and_the_names_of_the_phases() -> None:
    app = OnePane(CodePane(id="code"), view_of(at(1, 1)))
    async with app.run_test(size=(70, 40)) as pilot:
        await pilot.pause()
        rows = [content.plain for content in app.pane.lines]
        for number, (row, code) in enumerate(zip(rows, SCRIPT.source.splitlines(), strict=True), 1):
            assert row[2:].startswith(f"{number:>2} {code}")
        labels = {n: row.split()[-1] for n, row in enumerate(rows, 1) if n in LINES.values()}
        assert labels == {line: phase for phase, line in LINES.items()}
        assert all(len(row) <= 68 for row in rows)


async def test_the_next_phase_and_the_last_one_are_marked_and_a_line_that_failed() -> None:
    app = OnePane(CodePane(id="code"), view_of(at(1, 3)))
    async with app.run_test(size=(60, 40)) as pilot:
        await pilot.pause()
        assert [row[:4] for row in marked(app.pane)] == ["┃ 12", "▶ 13", ": 14"]
        failed = LessonFailed(lesson="train.py", phase="Update", line=14, message="no")
        app.view = view_of(at(1, 3), failed=failed)
        await pilot.pause()
        assert [row[:4] for row in marked(app.pane)] == ["┃ 12", "▶ 13", "✗ 14"]


async def test_before_an_epoch_the_loop_is_next_and_after_the_end_nothing_is() -> None:
    app = OnePane(CodePane(id="code"), view_of(at(2, 5)))
    async with app.run_test(size=(60, 40)) as pilot:
        await pilot.pause()
        assert [row[:4] for row in marked(app.pane)] == ["▶  9", "┃ 15"]
        app.view = view_of(at(3, 5, is_over=True))
        await pilot.pause()
        assert [row[:4] for row in marked(app.pane)] == ["┃ 15"]


async def test_the_line_of_an_error_is_in_view_also_before_the_loop() -> None:
    long = script(SCRIPT.source + "# more\n" * 50)
    app = OnePane(CodePane(id="code"), view_of(None, long))
    async with app.run_test(size=(60, 8)) as pilot:
        await pilot.pause()
        failed = LessonFailed(lesson="train.py", phase="the code", line=60, message="no")
        app.view = view_of(None, long, failed=failed)
        await pilot.pause()
        assert any(row.strip().startswith("✗ 60") for row in app.screen_rows)


async def test_after_the_end_the_last_phase_is_in_view() -> None:
    app = OnePane(CodePane(id="code"), view_of(at(3, 5)))
    async with app.run_test(size=(60, 5)) as pilot:
        await pilot.pause()
        app.view = view_of(at(3, 5, is_over=True))
        await pilot.pause()
        assert any(row.strip().startswith("┃ 15") for row in app.screen_rows)


async def test_a_long_line_is_folded_and_its_phase_stays_in_view() -> None:
    text = SCRIPT.source.replace("w * x", "w * x  # " + "long " * 30)
    app = OnePane(CodePane(id="code"), view_of(at(1, 0), script(text)))
    async with app.run_test(size=(50, 60)) as pilot:
        await pilot.pause()
        rows = [content.plain for content in app.pane.lines]
        first = next(i for i, row in enumerate(rows) if "y_pred = w * x" in row)
        assert rows[first].endswith("Predict")
        assert rows[first + 1].startswith("↪ ")
        assert all(len(row) <= 48 for row in rows)
        joined = "".join(row[5:].removesuffix("Predict") for row in rows[first : first + 6])
        assert joined.count("long") == 30


async def test_the_loop_is_in_view_as_a_whole_where_there_is_room() -> None:
    text = "# a comment\n" * 200 + SCRIPT.source
    shift = 200
    phases = tuple(
        msgspec.structs.replace(p, line=p.line + shift, end_line=p.end_line + shift) for p in PHASES
    )
    far = script(text, phases=phases, line=9 + shift)

    def moved(epoch: int, step: int) -> Any:
        frame = at(epoch, step)
        line = frame.line and frame.line + shift
        return msgspec.structs.replace(frame, line=line, next_line=frame.next_line + shift)

    app = OnePane(CodePane(id="code"), view_of(moved(0, 0), far))
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.pause()
        top = app.pane.scroll_offset.y
        for step in range(1, 6):
            app.view = view_of(moved(1, step), far)
            await pilot.pause()
            assert app.pane.scroll_offset.y == top
        seen = {int(word) for row in app.screen_rows for word in row.split()[:2] if word.isdigit()}
        assert {line + shift for line in (9, *LINES.values())} <= seen
        app.pane.show_from(0)
        await pilot.pause()
        app.view = view_of(moved(1, 5), far)  # nothing has moved: the learner is left alone
        await pilot.pause()
        assert app.pane.scroll_offset.y == 0


async def test_the_cursor_goes_over_the_names_inside_functions() -> None:
    app = OnePane(CodePane(id="code"), view_of(at(1, 1)))
    async with app.run_test(size=(60, 40)) as pilot:
        assert isinstance(app.pane, CodePane)
        await pilot.press("right")
        assert app.pane.chosen == "loss"  # line 11 is next
        await pilot.press("right")
        assert app.pane.chosen == "y_pred"
        await pilot.press("down", "down", "down")
        assert app.pane.chosen == "w.grad"
        for _ in range(60):
            app.pane.action_name(1)
        assert app.pane.chosen == "w"  # of the last line
        for _ in range(60):
            app.pane.action_name(-1)
        assert app.pane.chosen == "x"  # torch is no value


def calls(do: Callable[[], object]) -> int:
    """How many functions are called, which is the same on every machine."""
    count = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        do()
    finally:
        sys.setprofile(before)
    return count


async def test_a_key_stays_quick_in_a_file_of_2000_lines() -> None:
    """Compared with the first drawing of the same file, which no key repeats."""
    text = SCRIPT.source + "def f(a):\n    return a + 1\n" * 1000
    long = script(text)
    app = OnePane(CodePane(id="code"), view_of(at(0, 0), long))
    async with app.run_test(size=(60, 30)) as pilot:
        await pilot.pause()
        views = [view_of(at(1, step), long) for step in (1, 2, 3, 4, 5)]
        by_key = [calls(partial(setattr, app, "view", view)) for view in views]
        assert max(by_key) < calls(partial(ScriptListing, long, 58)) / 3


def test_a_very_long_file_is_listed_without_highlighting() -> None:
    text = SCRIPT.source + "# more\n" * (MOST_HIGHLIGHTED // 7)
    rows = ScriptListing(script(text), 60).rows(LineMarks())
    short = ScriptListing(SCRIPT, 60).rows(LineMarks())
    assert len(rows) == text.count("\n")
    assert [row.plain.split() for row in rows[:15]] == [row.plain.split() for row in short[:15]]
    keywords = [
        {span.style for span in row.spans} & {text_styles.KEYWORD} for row in (rows[0], short[0])
    ]
    assert keywords == [set(), {text_styles.KEYWORD}]


# ── The formulas, or the code in their place ────────────────────────────────────────


async def test_the_code_stands_for_a_formula_that_is_not_there() -> None:
    own = script(TEXT.replace("loss.backward()", "backward_of(loss)"))
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view_of(at(1, 2), own))
    async with app.run_test(size=(60, 40)) as pilot:
        await pilot.pause()
        rows = [row.strip() for row in app.screen_rows]
        assert "┃ Loss · line 11" in rows
        assert "▶ Gradient · line 12" in rows
        assert "backward_of(loss)" in rows
        assert "w.grad = None" not in rows  # it has a formula
        assert "import torch" not in rows
        assert not app.pane.page_introduction()  # type: ignore[attr-defined]


async def test_of_two_phases_of_one_name_the_one_on_the_line_is_marked() -> None:
    twice = [
        ScriptPhase("Predict", 1, 4, 1, starts_batch=True),
        ScriptPhase("Update", 2, 4, 2),
        ScriptPhase("Loss", 3, 4, 3),
        ScriptPhase("Update", 4, 4, 4),
    ]
    lines = tuple(
        msgspec.structs.replace(p, line=p.line + 1, end_line=p.end_line + 1) for p in twice
    )
    text = "while True:\n    p = f()\n    one.step()\n    loss = g(p)\n    two.step()\n"
    gan = script(text, phases=lines, line=1)
    frame = msgspec.structs.replace(
        at(1, 3), phase="Loss", next_phase="Update", line=4, next_line=5
    )
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view_of(frame, gan))
    async with app.run_test(size=(60, 40)) as pilot:
        await pilot.pause()
        heads = [row.strip() for row in app.screen_rows if "line" in row]
        assert heads == [
            "Predict · line 2", "Update · line 3", "┃ Loss · line 4", "▶ Update · line 5"
        ]  # fmt: skip


async def test_a_notebook_has_the_numbers_that_jupyter_shows() -> None:
    book = script(IN_CELLS, "/home/anna/fit.ipynb")
    rows = [row.plain.split() for row in ScriptListing(book, 40).rows(LineMarks())]
    assert rows[0][:3] == ["#", "%%", "[3]"]
    assert rows[1][:3] == ["1", "import", "torch"]
    heading = rows.index(["#", "%%", "[7]"])
    assert rows[heading + 1][:2] == ["1", "def"]
    app = OnePane(FormulaPane(id="formula", ascii_only=False), view_of(at(1, 0), book))
    async with app.run_test(size=(60, 40)) as pilot:
        await pilot.pause()
        assert any("Predict · [7]:4" in row for row in app.screen_rows)


# ── The numbers ─────────────────────────────────────────────────────────────────────


async def test_a_large_array_is_shown_by_its_shape_mean_and_norm() -> None:
    before = network(1, 4.5)
    app = OnePane(NumbersPane(id="numbers"), view_of(network(1), before=before))
    async with app.run_test(size=(100, 20)) as pilot:
        await pilot.pause()
        row = next(row for row in app.screen_rows if "model[0].weight" in row)
        assert row.split()[:6] == ["┃", "model[0].weight", "(64×32:", "mean", "0.2500,", "norm"]
        assert "norm ▲0.5000" in row
        assert app.text.count("\n") < 5


@pytest.mark.parametrize(("rate", "advice"), [(0.5, "([)"), (0.0, "in the script")])
async def test_a_rate_that_no_key_lowers_is_lowered_in_the_script(rate: float, advice: str) -> None:
    nan = Value((float("nan"),), (), "float32")
    frame = msgspec.structs.replace(at(2, 2), loss=nan, diverged=True, learning_rate=rate)
    app = OnePane(NumbersPane(id="numbers"), view_of(frame, diverged_at=2))
    async with app.run_test(size=(100, 20)) as pilot:
        await pilot.pause()
        assert advice in app.text


async def test_many_parameters_take_one_line_each() -> None:
    app = OnePane(NumbersPane(id="numbers"), view_of(network(20), before=network(20, 4.5)))
    async with app.run_test(size=(78, 11)) as pilot:
        await pilot.pause()
        rows = app.text.split("\n")
        assert len(rows) == 2 + 1 + 20
        row = next(row for row in rows if "model[19].weight" in row)
        assert row.split() == [
            "┃", "model[19].weight", "64×32", "0.2500", "24", "▲0.5000", "0.1250"
        ]  # fmt: skip
        assert all(len(row) <= 76 for row in rows)
        assert "more" in str(app.pane.border_title)


# ── The keys ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_every_key_can_be_pressed(
    make_script_app: Callable[..., TutorApp], engine: ScriptEngine, size: tuple[int, int]
) -> None:
    app = make_script_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press(*ALL_COMMANDS, "s", "s", "s", *ALL_COMMANDS)
        assert app.return_code is None
        assert not any(isinstance(command, Switch) for command in engine.sent)


MISSING = (
    ("g", Notice("one_mode", {"mode": "autograd"})),
    ("d", Notice("script_device", {"name": "cpu"})),
    ("Dc", Notice("script_compare")),
    ("aAoh8", Notice("script_exercises")),
    ("np", Notice("script_neighbours")),
)
"""The keys of what a script does not have, and what they say."""


async def test_what_a_script_does_not_have_is_said(
    make_script_app: Callable[..., TutorApp],
) -> None:
    app = make_script_app()
    async with app.run_test(size=(120, 24)) as pilot:
        for keys, notice in MISSING:
            for key in keys:
                await pilot.press("space")
                assert notice_text(notice, KEYS) not in text_of(app, "status")
                await pilot.press(key)
                assert notice_text(notice, KEYS) in text_of(app, "status"), key


async def test_space_steps_at_once_and_the_status_names_the_line(
    make_script_app: Callable[..., TutorApp], engine: ScriptEngine
) -> None:
    app = make_script_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("space")
        assert StepPhase() in engine.sent
        assert "next: ▶ Loss, line 11" in text_of(app, "status")
        assert "train.py" in text_of(app, "header")
        assert app.screen.query_one("#code").display
        assert app.focused is app.screen.query_one("#code")


async def test_the_end_of_the_script_is_said_and_b_goes_back(
    make_script_app: Callable[..., TutorApp], engine: ScriptEngine
) -> None:
    app = make_script_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("s", "s", "s", "space")
        assert text_of(app, "status").startswith("The script has ended")
        assert "the last" in text_of(app, "header")
        sent = len(engine.sent)
        await pilot.press("space", "s", "r")
        assert not [c for c in engine.sent[sent:] if isinstance(c, StepPhase)]
        assert "The script has ended" in text_of(app, "status")
        await pilot.press("b")
        assert "next:" in text_of(app, "status")


async def test_a_loop_whose_epochs_nobody_knows_has_no_goal(make_app: MakeApp) -> None:
    unknown = script()
    options = msgspec.structs.replace(unknown.script or ScriptOptions(), is_counted=False)
    app = make_app(first=msgspec.structs.replace(unknown, script=options))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("s")
        assert text_of(app, "header").rstrip().endswith("epoch 1")


async def test_after_the_timeline_the_code_has_the_focus_again(
    make_script_app: Callable[..., TutorApp],
) -> None:
    app = make_script_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("s", "t", "enter")
        assert app.focused is app.screen.query_one("#code")


async def test_a_learning_rate_that_is_not_known_can_be_typed_only(
    make_script_app: Callable[..., TutorApp], engine: ScriptEngine
) -> None:
    engine.rate_is_known = False
    app = make_script_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("space", "]")
        assert notice_text(Notice("rate_unknown"), KEYS) in text_of(app, "status")
        assert "lr" not in text_of(app, "header")
        await pilot.press("l", *"0.5", "enter")
        assert engine.sent[-1] == SetLearningRate(value=0.5)


async def test_only_the_figures_of_a_script_are_written(
    make_script_app: Callable[..., TutorApp],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_script_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.press("space", "e")
        assert app.screen.query_one("#answer").value == "train-autograd.csv"  # type: ignore[attr-defined]
        await pilot.press(*"other.py", "enter")
        assert notice_text(Notice("script_export"), KEYS) in text_of(app, "status")
        assert not list(tmp_path.iterdir())


async def test_the_help_leaves_out_what_a_script_does_not_have(
    make_script_app: Callable[..., TutorApp],
) -> None:
    app = make_script_app()
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = text_of(app, "help")
        assert "Next phase" in text
        assert "gradient mode" not in text
        assert "exercise" not in text.lower()


async def test_whether_to_trust_is_asked_of_a_script(
    make_script_app: Callable[..., TutorApp],
) -> None:
    app = make_script_app()
    async with app.run_test(size=SMALL) as pilot:
        await app.push_screen(AskTrust(SCRIPT))
        await settled(pilot)
        shown = app.screen.query_one(".dialog Static", Static)
        words = str(shown.content)
        assert "script" in words
        assert "lesson" not in words
        assert str(SCRIPT.path) in words


async def test_the_menu_and_back(make_script_app: Callable[..., TutorApp]) -> None:
    app = make_script_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("space", "m")
        assert isinstance(app.screen, MenuScreen)
        assert "train.py" not in text_of(app, "lessons")
        await pilot.press("escape")
        assert "next: ▶ Loss" in text_of(app, "status")


# ── The looks ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x36"])
def test_a_script_after_some_steps(
    make_script_app: Callable[..., TutorApp],
    engine: ScriptEngine,
    snap_compare: Callable[..., bool],
    size: tuple[int, int],
) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await pilot.press("s", "space", "space", "space")
        engine.tell(OutputPrinted(text="epoch 1 loss 30.0\n"))
        await settled(pilot)

    assert snap_compare(make_script_app(), terminal_size=size, run_before=run)
