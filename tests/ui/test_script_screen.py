"""The lesson screen on a learner's own script: its code pane, its keys, its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tutor.lesson.model import ScriptOptions
from tutor.protocol.commands import SetLearningRate, StepPhase, Switch
from tutor.protocol.events import LessonFailed, OutputPrinted
from tutor.protocol.frame import Remark, Value
from tutor.script.outline import ScriptPhase
from tutor.session.run_view import Notice, RunView
from tutor.ui import code_lines
from tutor.ui.code_lines import LineMarks, ScriptListing
from tutor.ui.commands import KEYS
from tutor.ui.lines import KEYWORD
from tutor.ui.panes.code import CodePane
from tutor.ui.panes.formula import FormulaPane
from tutor.ui.panes.numbers import NumbersPane
from tutor.ui.screens.dialogs import AskTrust, HelpScreen
from tutor.ui.screens.lesson_list import MenuScreen
from tutor.wording.notices import notice_text

from .conftest import LARGE, SMALL, Learner, MakeApp
from .panes import OnePane, running
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

pytestmark = pytest.mark.app(first=SCRIPT)

ALL_COMMANDS = ("space", "s", "i", "b", "B", "r", "R", "S", "z", "g", "G", "d", "[", "]", "f", "v",
                "V", "D", "c", "x", "O", "a", "o", "h", "H", "k", "K", "A", "escape", "tab",
                *"12345678")  # fmt: skip


@pytest.fixture
def engine() -> ScriptEngine:
    return ScriptEngine()


def code(view: RunView) -> OnePane:
    return OnePane(CodePane(id="code"), view)


def formulas(view: RunView) -> OnePane:
    return OnePane(FormulaPane(id="formula", ascii_only=False), view)


def numbers(view: RunView) -> OnePane:
    return OnePane(NumbersPane(id="numbers"), view)


# ── The code ────────────────────────────────────────────────────────────────────────


async def test_the_code_is_the_whole_file_with_numbers_and_the_names_of_the_phases() -> None:
    async with running(code(view_of(at(1, 1))), size=(70, 40)) as app:
        rows = [content.plain for content in app.pane.lines]
        for number, (row, line) in enumerate(zip(rows, SCRIPT.source.splitlines(), strict=True), 1):
            assert row[2:].startswith(f"{number:>2} {line}")
        labels = {n: row.split()[-1] for n, row in enumerate(rows, 1) if n in LINES.values()}
        assert labels == {line: phase for phase, line in LINES.items()}
        assert all(len(row) <= 68 for row in rows)


UPDATE_FAILED = LessonFailed(
    lesson="train.py", phase="Update", line=14, error=Remark("text", {"text": "no"})
)


async def test_the_next_line_and_the_last_one_are_marked_and_a_line_that_failed() -> None:
    """Before an epoch the loop is next, and after the end nothing is."""
    async with running(code(view_of(None)), size=(60, 5)) as app:
        for view, marks in (
            (view_of(at(1, 3)), ["┃ 12", "▶ 13", ": 14"]),
            (view_of(at(1, 3), failed=UPDATE_FAILED), ["┃ 12", "▶ 13", "✗ 14"]),
            (view_of(at(2, 5)), ["▶  9", "┃ 15"]),
            (view_of(at(3, 5, is_over=True)), ["┃ 15"]),
        ):
            await app.show(view)
            rows = [content.plain for content in app.pane.lines]
            assert [row[:4] for row in rows if row[:1] in "▶:┃✗"] == marks
        assert any(row.strip().startswith("┃ 15") for row in app.screen_rows), "in view"


async def test_the_line_of_an_error_is_in_view_also_before_the_loop() -> None:
    long = script(SCRIPT.source + "# more\n" * 50)
    failed = LessonFailed(
        lesson="train.py", phase="", line=60, error=Remark("text", {"text": "no"})
    )
    async with running(code(view_of(None, long)), size=(60, 8)) as app:
        await app.show(view_of(None, long, failed=failed))
        assert any(row.strip().startswith("✗ 60") for row in app.screen_rows)


async def test_a_long_line_is_folded_and_its_phase_stays_in_view() -> None:
    text = SCRIPT.source.replace("w * x", "w * x  # " + "long " * 30)
    async with running(code(view_of(at(1, 0), script(text))), size=(50, 60)) as app:
        rows = [content.plain for content in app.pane.lines]
        first = next(i for i, row in enumerate(rows) if "y_pred = w * x" in row)
        assert rows[first].endswith("Predict")
        assert rows[first + 1].startswith("↪ ")
        assert all(len(row) <= 48 for row in rows)
        joined = "".join(row[5:].removesuffix("Predict") for row in rows[first : first + 6])
        assert joined.count("long") == 30


async def test_the_loop_is_in_view_as_a_whole_where_there_is_room() -> None:
    shift = 200
    phases = tuple(
        msgspec.structs.replace(p, line=p.line + shift, end_line=p.end_line + shift) for p in PHASES
    )
    far = script("# a comment\n" * shift + SCRIPT.source, phases=phases, line=9 + shift)

    def moved(epoch: int, step: int) -> RunView:
        frame = at(epoch, step)
        line = frame.line and frame.line + shift
        frame = msgspec.structs.replace(frame, line=line, next_line=frame.next_line + shift)
        return view_of(frame, far)

    async with running(code(moved(0, 0)), size=(60, 12)) as app:
        top = app.pane.scroll_offset.y
        for step in range(1, 6):
            await app.show(moved(1, step))
            assert app.pane.scroll_offset.y == top
        seen = {int(word) for row in app.screen_rows for word in row.split()[:2] if word.isdigit()}
        assert {line + shift for line in (9, *LINES.values())} <= seen
        app.pane.show_from(0)
        await app.pilot.pause()
        await app.show(moved(1, 5))  # nothing has moved: the learner is left alone
        assert app.pane.scroll_offset.y == 0


async def test_the_cursor_goes_over_the_names_inside_functions() -> None:
    async with running(code(view_of(at(1, 1))), "right") as app:
        assert isinstance(app.pane, CodePane)
        assert app.pane.chosen == "loss"  # line 11 is next
        await app.press("right")
        assert app.pane.chosen == "y_pred"
        await app.press("down", "down", "down")
        assert app.pane.chosen == "w.grad"
        for by, last in ((1, "w"), (-1, "x")):  # torch, before x, is no value
            for _ in range(60):
                app.pane.action_name(by)
            assert app.pane.chosen == last


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


async def test_a_key_stays_quick_in_a_file_of_1000_lines() -> None:
    """Compared with the first drawing of the same file, which no key repeats."""
    long = script(SCRIPT.source + "def f(a):\n    return a + 1\n" * 500)
    async with running(code(view_of(at(0, 0), long)), size=(60, 30)) as app:
        views = [view_of(at(1, step), long) for step in (1, 3, 5)]
        by_key = [calls(partial(setattr, app, "view", view)) for view in views]
        assert max(by_key) < calls(partial(ScriptListing, long, 58)) / 3


def test_a_very_long_file_is_listed_without_highlighting(monkeypatch: pytest.MonkeyPatch) -> None:
    short = ScriptListing(SCRIPT, 60).rows(LineMarks())
    monkeypatch.setattr(code_lines, "MOST_HIGHLIGHTED", len(TEXT))
    rows = ScriptListing(script(TEXT + "# more\n"), 60).rows(LineMarks())
    assert len(rows) == len(short) + 1
    assert [row.plain.split() for row in rows[:15]] == [row.plain.split() for row in short[:15]]
    keywords = [{span.style for span in row.spans} & {KEYWORD} for row in (rows[0], short[0])]
    assert keywords == [set(), {KEYWORD}]


# ── The formulas, or the code in their place ────────────────────────────────────────


async def test_the_code_stands_for_a_formula_that_is_not_there() -> None:
    own = script(TEXT.replace("loss.backward()", "backward_of(loss)"))
    async with running(formulas(view_of(at(1, 2), own))) as app:
        rows = [row.strip() for row in app.screen_rows]
        assert {"┃ Loss · line 11", "▶ Gradient · line 12", "backward_of(loss)"} <= {*rows}
        assert "w.grad = None" not in rows  # it has a formula
        assert "import torch" not in rows
        assert isinstance(app.pane, FormulaPane)
        assert not app.pane.page_to_next_phase()


async def test_of_two_phases_of_one_name_the_one_on_the_line_is_marked() -> None:
    names = ("Predict", "Update", "Loss", "Update")
    phases = tuple(
        ScriptPhase(name, n, 4, n, starts_batch=n == 2) for n, name in enumerate(names, 2)
    )
    text = "while True:\n    p = f()\n    one.step()\n    loss = g(p)\n    two.step()\n"
    gan = script(text, phases=phases, line=1)
    frame = msgspec.structs.replace(
        at(1, 3), phase="Loss", next_phase="Update", line=4, next_line=5
    )
    async with running(formulas(view_of(frame, gan))) as app:
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
    async with running(formulas(view_of(at(1, 0), book))) as app:
        assert any("Predict · [7]:4" in row for row in app.screen_rows)


# ── The numbers ─────────────────────────────────────────────────────────────────────


async def test_large_arrays_are_shown_by_shape_mean_and_norm_and_many_take_a_line_each() -> None:
    async with running(numbers(view_of(network(1), before=network(1, 4.5))), size=(100, 11)) as app:
        row = next(row for row in app.screen_rows if "model[0].weight" in row)
        assert row.split()[:6] == ["┃", "model[0].weight", "(64×32:", "mean", "0.2500,", "norm"]
        assert "norm ▲0.5000" in row
        assert app.text.count("\n") < 5
        await app.pilot.resize_terminal(78, 11)
        await app.show(view_of(network(20), before=network(20, 4.5)))
        rows = app.text.split("\n")
        assert len(rows) == 2 + 1 + 20
        row = next(row for row in rows if "model[19].weight" in row)
        assert row.split() == [
            "┃", "model[19].weight", "64×32", "0.2500", "24", "▲0.5000", "0.1250"
        ]  # fmt: skip
        assert all(len(row) <= 76 for row in rows)
        assert "more" in str(app.pane.border_title)


async def test_a_rate_that_no_key_lowers_is_lowered_in_the_script() -> None:
    async with running(numbers(view_of(None)), size=(100, 20)) as app:
        for rate, advice in ((0.5, "([)"), (0.0, "in the script")):
            nan = Value((float("nan"),), (), "float32")
            frame = msgspec.structs.replace(at(2, 2), loss=nan, diverged=True, learning_rate=rate)
            await app.show(view_of(frame, diverged_at=2))
            assert advice in app.text


# ── The keys ────────────────────────────────────────────────────────────────────────


@pytest.mark.app(first=SCRIPT, size=LARGE)
async def test_every_key_can_be_pressed(learner: Learner) -> None:
    await learner.press(*ALL_COMMANDS, "s", "s", "s")
    await learner.resize(SMALL)
    await learner.press(*ALL_COMMANDS)
    assert learner.app.return_code is None
    assert not any(isinstance(command, Switch) for command in learner.engine.sent)


MISSING = (
    ("g", Notice("one_mode", {"mode": "autograd"})),
    ("d", Notice("script_device", {"name": "cpu"})),
    ("Dc", Notice("script_compare")),
    ("aAoh8", Notice("script_exercises")),
    ("np", Notice("script_neighbours")),
)
"""The keys of what a script does not have, and what they say."""


@pytest.mark.app(first=SCRIPT, size=(120, 24))
async def test_what_a_script_does_not_have_is_said(learner: Learner) -> None:
    """And no word of it is in the help, or in the question whether to trust the script."""
    for keys, notice in MISSING:
        for key in keys:
            await learner.press("space")
            assert not learner.sees(notice_text(notice, KEYS), "status")
            await learner.press(key)
            assert learner.sees(notice_text(notice, KEYS), "status"), key
    await learner.press("question_mark")
    assert isinstance(learner.app.screen, HelpScreen)
    text = learner.text("help")
    assert "Next phase" in text
    assert "gradient mode" not in text
    assert "exercise" not in text.lower()
    await learner.app.push_screen(AskTrust(SCRIPT))
    words = str(learner.app.screen.query_one(".dialog Static", Static).content)
    assert "script" in words
    assert "lesson" not in words
    assert str(SCRIPT.path) in words


async def test_space_steps_at_once_and_the_code_has_the_focus(learner: Learner) -> None:
    """After the timeline and the menu, too."""
    await learner.press("space")
    assert StepPhase() in learner.engine.sent
    assert learner.sees("next: ▶ Loss, line 11", "status")
    assert learner.sees("train.py", "header")
    assert (learner.shows("code"), learner.focused) == (True, "code")
    await learner.press("t", "enter")
    assert learner.focused == "code"
    await learner.press("m")
    assert isinstance(learner.app.screen, MenuScreen)
    assert not learner.sees("train.py", "lessons")
    await learner.press("escape")
    assert learner.sees("next: ▶ Loss", "status")


async def test_the_end_of_the_script_is_said_and_b_goes_back(learner: Learner) -> None:
    await learner.press("s", "s", "s", "space")
    assert learner.text("status").startswith("The script has ended")
    assert learner.sees("the last", "header")
    sent = len(learner.engine.sent)
    await learner.press("space", "s", "r")
    assert not [c for c in learner.engine.sent[sent:] if isinstance(c, StepPhase)]
    assert learner.sees("The script has ended", "status")
    await learner.press("b")
    assert learner.sees("next:", "status")


UNCOUNTED = msgspec.structs.replace(SCRIPT.script or ScriptOptions(), is_counted=False)


@pytest.mark.app(first=msgspec.structs.replace(SCRIPT, script=UNCOUNTED), keys="s")
async def test_a_loop_whose_epochs_nobody_knows_has_no_goal(learner: Learner) -> None:
    assert learner.text("header").rstrip().endswith("epoch 1")


async def test_a_learning_rate_that_is_not_known_can_be_typed_only(learner: Learner) -> None:
    assert isinstance(learner.engine, ScriptEngine)
    learner.engine.rate_is_known = False
    await learner.press("space", "]")
    assert learner.sees(notice_text(Notice("rate_unknown"), KEYS), "status")
    assert not learner.sees("lr", "header")
    await learner.press("l", *"0.5", "enter")
    assert learner.engine.sent[-1] == SetLearningRate(value=0.5)


@pytest.mark.app(first=SCRIPT, size=(120, 24))
async def test_only_the_figures_of_a_script_are_written(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await learner.press("space", "e")
    assert learner.app.screen.query_one("#answer", Input).value == "train-autograd.csv"
    await learner.press(*"other.py", "enter")
    assert learner.sees(notice_text(Notice("script_export"), KEYS), "status")
    assert not list(tmp_path.iterdir())


# ── The looks ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x36"])
def test_a_script_after_some_steps(
    make_app: MakeApp,
    engine: ScriptEngine,
    snap_compare: Callable[..., bool],
    size: tuple[int, int],
) -> None:
    async def run(pilot: Pilot[None]) -> None:
        await pilot.pause()
        await pilot.press("s", "space", "space", "space")
        engine.tell(OutputPrinted(text="epoch 1 loss 30.0\n"))
        await pilot.pause()

    assert snap_compare(make_app(first=SCRIPT), terminal_size=size, run_before=run)
