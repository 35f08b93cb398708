"""Every key of the lesson screen, pressed."""

import re
from collections.abc import Sequence

import msgspec
import pytest
from textual.command import CommandPalette
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import OptionList

from tutor.lesson.model import SETUP, Lesson, Prose
from tutor.protocol.commands import (
    BackEpoch,
    BackPhase,
    Command,
    FramePainted,
    Restart,
    RunTo,
    Seek,
    SetLearningRate,
    StepEpoch,
    StepPhase,
    Switch,
)
from tutor.protocol.events import LessonFailed, OutputPrinted, ProcessEnded
from tutor.protocol.frame import Remark
from tutor.session.run_view import Notice, NoticeKind
from tutor.ui.app import TutorApp
from tutor.ui.commands import LESSON_COMMANDS, PANE_COMMANDS, PANE_TITLES, bindings
from tutor.ui.panes.formula import FormulaPane
from tutor.ui.panes.lines import LinesPane
from tutor.ui.screens.dialogs import HelpScreen
from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.lesson_list import LessonListScreen, MenuScreen
from tutor.wording.number_format import time_left
from tutor.wording.parameter_input import read_learning_rate

from .conftest import LARGE, SMALL, MakeApp, come_true, settled, text_of
from .exercises import AUTOGRAD, CHOOSE, PREDICT, REACH, REPAIR, with_exercises
from .fake_engine import FakeEngine
from .lessons import lesson
from .printing import PrintingEngine

KEYS: tuple[tuple[str, Command], ...] = (
    ("space", StepPhase()),
    ("s", StepEpoch()),
    ("b", BackPhase()),
    ("B", BackEpoch()),
    ("g", Switch(mode="autograd")),
    ("G", Switch(mode="manual")),
    ("d", Switch(device="cuda")),
    ("[", SetLearningRate(value=0.005)),
    ("]", SetLearningRate(value=0.01)),
    ("]", SetLearningRate(value=0.02)),
    ("r", RunTo(epoch=20)),
    ("R", Restart()),
)


async def test_a_key_sends_its_command(pilot: Pilot[None], engine: FakeEngine) -> None:
    for key, command in KEYS:
        await pilot.press(key)
        sent = [c for c in engine.sent if type(c).__name__ != "FramePainted"]
        assert sent[-1] == command, key


async def test_the_lesson_can_be_read_while_pytorch_is_loading(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    engine.ready_at_once = False
    app = make_app()
    async with app.run_test(size=LARGE) as pilot:
        assert "One weight learns y = 2x" in text_of(app, "formula")
        assert "y_pred = w * x" in text_of(app, "code")
        assert text_of(app, "status") == "loading PyTorch …"
        engine.get_ready()
        await settled(pilot)
        assert "next: ▶ Predict" in text_of(app, "status")


@pytest.mark.app(size=LARGE)
async def test_a_step_shows_in_all_panes(app: TutorApp, pilot: Pilot[None]) -> None:
    await pilot.press(*["space"] * 4)
    assert "▶ Reset" not in text_of(app, "code")  # manual has none
    assert "0.30000 · 4" in text_of(app, "formula")
    assert "w             0.300000" in text_of(app, "numbers")
    assert "▲0.300000" in text_of(app, "numbers")
    assert "Update has run" in text_of(app, "status")
    assert "epoch 1 of 20" in text_of(app, "header")


def with_introduction(paragraphs: int) -> Lesson:
    plain = lesson()
    words = tuple(Prose(f"Paragraph {n}. " + "It is long. " * 12, 1) for n in range(paragraphs))
    setup, *rest = (
        msgspec.structs.replace(s, blocks=(*words, *s.blocks)) if s.phase == SETUP else s
        for s in plain.sections
    )
    return msgspec.structs.replace(plain, sections=(setup, *rest))


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.app(first=with_introduction(20))
async def test_space_pages_through_the_introduction_before_it_steps(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine, size: tuple[int, int]
) -> None:
    """No paragraph of it is passed over; after a restart it has been read."""
    pane = app.screen.query_one(FormulaPane)
    await come_true(lambda: "Paragraph 19" in text_of(app, "formula"))
    seen: set[int] = set()
    for _ in range(40):
        height = pane.scrollable_content_region.height
        seen |= set(range(pane.scroll_offset.y, pane.scroll_offset.y + height))
        await pilot.press("space")
        if StepPhase() in engine.sent:
            break
    end = next(i for i, row in enumerate(pane.lines) if "Predict" in row.plain)
    assert set(range(end)) <= seen
    await pilot.press("R", "space")
    assert engine.sent.count(StepPhase()) == 2


@pytest.mark.parametrize("key", ["s", "r"])
@pytest.mark.app(first=with_introduction(20))
async def test_other_keys_step_at_once(pilot: Pilot[None], engine: FakeEngine, key: str) -> None:
    await pilot.press(key)
    assert isinstance(engine.sent[-1], StepEpoch | RunTo | FramePainted)


async def test_a_hidden_pane_builds_nothing_until_it_is_shown_again(
    app: TutorApp, pilot: Pilot[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "2345671":
        await pilot.press(key)
    before = text_of(app, "numbers")
    built: list[str | None] = []
    build = LinesPane.show_lines

    def counted(pane: LinesPane, lines: Sequence[Content]) -> None:
        built.append(pane.id)
        build(pane, lines)

    monkeypatch.setattr(LinesPane, "show_lines", counted)
    await pilot.press("space", "s")
    hidden = {pane.id for pane in app.screen.query(LinesPane) if pane.is_hidden}
    assert {"code", "graph", "plot", "numbers", "output"} <= hidden
    assert "formula" in built
    assert not hidden & set(built)
    await pilot.press("3")
    assert text_of(app, "numbers") != before


@pytest.mark.app(size=LARGE)
async def test_the_code_is_shown_to_the_character(app: TutorApp, pilot: Pilot[None]) -> None:
    shown = [line.plain[2:] for line in app.screen.query_one("#code", LinesPane).lines]
    for section in lesson().sections:
        for fence in section.fences("manual"):
            for row in fence.code.rstrip("\n").split("\n"):
                assert row in shown


@pytest.mark.app(size=LARGE)
async def test_the_digits_that_have_changed_are_underlined(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press(*["space"] * 4)
    (row,) = [
        line
        for line in app.screen.query_one("#formula", LinesPane).lines
        if "0.30000 ·" in line.plain
    ]
    underlined = [row.plain[s.start : s.end] for s in row.spans if s.style.underline]
    assert underlined == ["30000"]


async def test_a_run_shows_its_progress_and_asks_for_the_next_frame_when_painted(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("r")
    assert engine.kinds()[-1] == "FramePainted"
    engine.advance(5)
    await settled(pilot)
    assert engine.kinds().count("FramePainted") == 2
    assert "epoch 5 of 20 · 120 epochs/s · r pauses" in text_of(app, "status")
    assert text_of(app, "status").startswith("█")
    engine.tell(msgspec.structs.replace(engine.shown(), seconds_left=12.0))
    await settled(pilot)
    assert time_left(12.0) in text_of(app, "status")
    await pilot.press("r")
    assert "█" not in text_of(app, "status")


async def test_a_run_goes_on_while_the_help_is_read(pilot: Pilot[None], engine: FakeEngine) -> None:
    await pilot.press("r", "question_mark")
    engine.advance(5)
    await settled(pilot)
    assert engine.kinds().count("FramePainted") == 2


async def test_a_refusal_is_gone_from_the_status_line_with_the_next_key(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("d")
    assert text_of(app, "status") == "! there is no cuda here; there is cpu"
    await pilot.press("2")
    assert app.session.notice.code == ""
    assert "!" not in text_of(app, "status")


async def test_a_notice_on_a_key_without_effect_is_gone_with_the_next_key(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("y")
    assert app.session.notice.code == "unknown_key"
    await pilot.press("2")
    assert app.session.notice.code == ""
    await pilot.press("m", "y")
    assert isinstance(app.screen, LessonListScreen)
    assert app.screen.notice.code == "unknown_key"
    await pilot.press("down")
    assert app.screen.notice.code == ""


async def test_l_asks_for_a_learning_rate_until_it_is_one(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("l", *"0.x", "enter")
    hint = app.screen.query_one("#hint")
    said = str(hint.render())
    assert "esc: cancel" in said
    examples = re.findall(r"-?\d[\d./e-]*", said)
    assert examples
    assert all(read_learning_rate(example.rstrip(".")) > 0 for example in examples)
    assert app.screen.query_one("#answer").value == "0.x"  # type: ignore[attr-defined]
    await pilot.press("backspace", "enter")
    assert not [c for c in engine.sent if isinstance(c, SetLearningRate)], "0. is no learning rate"
    await pilot.press(*"03", "enter")
    assert engine.sent[-1] == SetLearningRate(value=0.03)


async def test_escape_leaves_a_question_without_an_answer(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("j", "7", "escape")
    assert isinstance(app.screen, LessonScreen)
    assert not any(isinstance(c, Seek) for c in engine.sent)
    assert engine.stopped == 0


@pytest.mark.parametrize("key", ["x", "escape", "ctrl+c"])
async def test_x_stops_what_runs(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine, key: str
) -> None:
    engine.holds = True
    await pilot.press("space", key)
    assert engine.stopped == 1
    app.session.receive(ProcessEnded(note=Remark("lesson_did_not_stop"), restarting=True))
    app._lesson_screen.update_from_session()
    await settled(pilot)
    assert "the code would not stop" in text_of(app, "status")


async def test_what_takes_long_is_named_in_the_status_line(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    engine.holds, engine.busy = True, 3.0
    await pilot.press("space")
    app.session._heard_at -= 3
    told = re.compile(r"Predict is still running \(([3-9]|\d\d) s\) · x stops it")
    await come_true(lambda: told.search(text_of(app, "status")))


async def test_the_status_line_leaves_out_whole_parts_rather_than_cut_one_off(
    make_app: MakeApp,
) -> None:
    app = make_app()
    parts = ("the previous run is kept as A", "manual made this update, and the formulas show more")
    async with app.run_test(size=SMALL) as pilot:
        kinds: tuple[tuple[NoticeKind, str], ...] = (("info", ""), ("refused", "! "))
        for kind, mark in kinds:
            notes = [Remark("text", {"text": part}) for part in parts]
            app.tell(Notice("engine_notes", {"notes": notes, "can_restart": False}, kind))
            await pilot.pause()
            assert text_of(app, "status").strip() == mark + parts[0]
            app.tell(Notice("text", {"text": "A" * 200}, kind))
            await pilot.pause()
            assert text_of(app, "status").strip().startswith(mark + "AAAA")


async def test_n_and_p_turn_the_lessons(app: TutorApp, pilot: Pilot[None]) -> None:
    await pilot.press("n")
    assert "XOR with a hidden layer" in text_of(app, "header")
    await pilot.press("p")
    assert "A line through the origin" in text_of(app, "header")
    await pilot.press("p")
    assert "This is the first lesson" in text_of(app, "status")


async def test_opening_another_lesson_while_the_engine_is_busy_shows_it_at_once(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    engine.holds = True
    await pilot.press("space", "n")
    assert "XOR" in text_of(app, "header")
    engine.release()
    await settled(pilot)
    assert "epoch 0 of 20" in text_of(app, "header")


async def test_m_shows_the_menu_and_pauses_the_run(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("r", "m")
    assert isinstance(app.screen, MenuScreen)
    assert engine.kinds()[-1] == "Pause"
    await pilot.press("enter")
    assert isinstance(app.screen, LessonScreen)
    assert engine.kinds().count("OpenLesson") == 1


async def test_question_mark_shows_every_key(make_app: MakeApp, engine: FakeEngine) -> None:
    engine.host = "far-machine"  # where there is one key more
    app = make_app()
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        for command in (*LESSON_COMMANDS, *PANE_COMMANDS):
            assert command.help in text_of(app, "help")
        await pilot.press("q")
        assert isinstance(app.screen, LessonScreen)


async def test_q_quits_at_once_and_closes_the_engine(make_app: MakeApp, engine: FakeEngine) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("q")
        await come_true(lambda: not app.is_running)
    await come_true(lambda: engine.closed)


async def test_the_command_palette_finds_a_command(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("s", "ctrl+p")
    await come_true(lambda: isinstance(app.screen, CommandPalette))
    await pilot.press(*"back epoch")
    found = app.screen.query_one(OptionList)
    await come_true(lambda: ["back epoch" in str(o.prompt) for o in found.options] == [True])
    await pilot.press("enter")
    await come_true(lambda: "BackEpoch" in engine.kinds())


@pytest.mark.parametrize("size", [SMALL, LARGE, (140, 28)])
async def test_a_digit_shows_a_pane_and_gives_it_the_focus(
    app: TutorApp, pilot: Pilot[None], size: tuple[int, int]
) -> None:
    for key, pane in enumerate(PANE_TITLES, 1):
        await pilot.press(str(key))
        widget = app.screen.query_one(f"#{pane}")
        assert widget.has_pseudo_class("focus-within") or widget.has_focus
        assert widget.display
        assert widget.size.height >= 5
        shown = [name for name in PANE_TITLES if app.screen.query_one(f"#{name}").display]
        assert len(shown) == (6 if size == LARGE else 2)


@pytest.mark.app(size=LARGE)
async def test_tab_goes_from_pane_to_pane_and_the_focus_has_a_double_line(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    in_view = tuple(PANE_TITLES)[1:6]  # graph and exercise share a place with others
    for name in (*in_view, "formula"):
        await pilot.press("tab")
        focused = app.screen.focused
        assert focused is not None
        assert focused.id == name
        assert focused.styles.border_top[0] == "double"
    await pilot.press("shift+tab")
    assert app.screen.focused is not None
    assert app.screen.focused.id == "ladder"


async def test_arrows_and_page_keys_scroll_the_focused_pane(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    pane = app.screen.query_one("#formula", LinesPane)
    await pilot.press("down")
    assert pane.scroll_offset.y == 1
    await pilot.press("end")
    assert pane.scroll_offset.y == pane.max_scroll_y > 1
    await pilot.press("pageup", "home")
    assert pane.scroll_offset.y == 0


@pytest.mark.app(size=LARGE)
async def test_an_error_names_its_place_and_the_last_numbers_stay(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("s", "space")
    numbers = text_of(app, "numbers")
    engine.fails_at = "Loss"
    await pilot.press("space")
    assert "Loss failed · line.md, line 31: ZeroDivisionError" in text_of(app, "error")
    assert app.screen.query_one("#error").size.height == 2
    assert text_of(app, "numbers") == numbers
    assert "✗ loss = ((y_pred - y) ** 2).mean()" in text_of(app, "code")
    await pilot.press("b")
    assert not app.screen.query_one("#error").display


async def test_a_long_error_is_shown_up_to_its_fourth_line_and_says_that_it_is_cut(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    engine.fails_at = "Loss"
    engine.message = (
        "RuntimeError: one of the variables needed for gradient computation has been modified"
        " by an inplace operation: [torch.FloatTensor [2]], which is output 0 of Add, is at"
        " version 1; expected version 0 instead. Hint: enable anomaly detection to find the"
        " operation that failed to compute its gradient, with"
        " torch.autograd.set_detect_anomaly(True, check_nan=False)."
    )
    await pilot.press("space", "space")
    *shown, advice = text_of(app, "error").splitlines()
    assert "expected version 0 instead" in re.sub(r"\s+", " ", " ".join(shown))
    assert shown[-1].rstrip().endswith("…")
    assert "Its changes were discarded" in advice
    assert app.screen.query_one("#error").size.height == 5


@pytest.mark.app(size=LARGE)
async def test_a_run_that_diverges_is_told_in_a_plain_word(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("l", *"1e6", "enter", "j", *"60", "enter")
    assert "The loss is no longer finite" in text_of(app, "numbers")
    assert "inf" in text_of(app, "numbers")
    assert "NaN or inf left out" in text_of(app, "plot")


@pytest.mark.app(size=LARGE)
async def test_what_a_lesson_prints_is_data(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    engine.tell(OutputPrinted(text="[red]loss[/red] \x1b[2Jgone\n", left_out=7))
    engine.tell(
        LessonFailed(lesson="line", phase="Loss", line=1, message="KeyError: '[bold]\x1b]0;x\x07'")
    )
    await settled(pilot)
    assert "[red]loss[/red] ^[[2Jgone" in text_of(app, "output")
    assert "7 characters left out" in text_of(app, "output")
    assert "KeyError: '[bold]^[]0;x^G'" in text_of(app, "error")


@pytest.mark.app(size=(60, 20))
async def test_a_terminal_that_is_too_small_says_what_it_needs_and_recovers(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    words = app.screen.query_one("#too-small")
    assert str(words.render()) == "The tutor needs a window of 80×22; this one is 60×20 · q quits"
    assert not app.screen.query_one("#panes").display
    await pilot.resize_terminal(*SMALL)
    assert not words.display
    assert "One weight" in text_of(app, "formula")


async def test_in_a_window_that_is_too_small_no_key_acts_but_q(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.resize_terminal(40, 12)
    asked = len(engine.sent)
    await pilot.press("s", "r", "A", "escape", "ctrl+c", "6", "m")
    assert len(engine.sent) == asked
    assert app.screen.query_one("#too-small").display
    await pilot.resize_terminal(*SMALL)
    await pilot.press("s")
    assert len(engine.sent) > asked
    await pilot.resize_terminal(40, 12)
    await pilot.press("q")
    assert not app.is_running


@pytest.mark.app(size=LARGE)
async def test_resizing_while_a_run_is_on_keeps_all_panes_right(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    await pilot.press("r")
    for size in (SMALL, (60, 20), LARGE, (140, 28), LARGE):
        engine.advance(1)
        await pilot.resize_terminal(*size)
    assert "epoch 5 of 20" in text_of(app, "header")
    assert "epoch 5" in text_of(app, "plot")
    assert engine.kinds().count("FramePainted") == 6


async def test_ten_quick_steps_are_ten_steps(pilot: Pilot[None], engine: FakeEngine) -> None:
    await pilot.press(*["space"] * 10)
    assert engine.kinds().count("StepPhase") == 10


async def test_a_wrong_key_does_nothing(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    sent = len(engine.sent)
    for key in ("u", "f5", "ctrl+x", "0", "enter", "delete", "é"):
        await pilot.press(key)
        assert isinstance(app.screen, LessonScreen)
        assert app.is_running
        assert len(engine.sent) == sent


@pytest.mark.app(size=LARGE, first=with_exercises(PREDICT, REACH, REPAIR, AUTOGRAD, CHOOSE))
async def test_no_key_ends_a_lesson_with_exercises(app: TutorApp, pilot: Pilot[None]) -> None:
    for command in LESSON_COMMANDS:
        if command.action.startswith("screen."):
            await pilot.press(command.keys[0], "escape")
    assert app.is_running
    assert app.return_code is None


def test_every_command_has_a_key_of_its_own() -> None:
    commands = LessonScreen.ALL_COMMANDS
    keys = [key for command in commands for key in command.keys]
    assert len(keys) == len(set(keys)) == len(bindings(commands))


@pytest.mark.app(size=LARGE)
async def test_the_output_follows_its_last_line_unless_it_has_been_scrolled_up(
    app: TutorApp, pilot: Pilot[None], engine: FakeEngine
) -> None:
    pane = app.screen.query_one("#output", LinesPane)
    engine.tell(OutputPrinted(text="x" * 3000 + "\n" + "line\n" * 20))
    await settled(pilot)
    assert pane.scroll_offset.y == pane.max_scroll_y > 20
    await pilot.press("5", "home")
    engine.tell(OutputPrinted(text="more\n"))
    await settled(pilot)
    assert pane.scroll_offset.y == 0


async def test_another_lesson_begins_with_its_introduction(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("2", "4", "n")
    assert app.screen.query_one("#formula").display
    assert app.screen.query_one("#formula").has_focus
    assert app.screen.query_one("#numbers").display


async def test_a_key_that_does_nothing_says_so(app: TutorApp, pilot: Pilot[None]) -> None:
    """On the lesson and in the menu; a key that acts, or is typed, says nothing of the kind."""
    await pilot.press("y")
    assert app.session.notice == Notice("unknown_key", {"key": "y"}, "no_effect")
    await pilot.press("f7")
    assert app.session.notice == Notice("unknown_key", {"key": "f7"}, "no_effect")
    for keys in (["s"], ["l", "y", "escape"]):
        await pilot.press(*keys)
        assert app.session.notice.code != "unknown_key"
    await pilot.press("m", "y")
    assert isinstance(app.screen, MenuScreen)
    assert app.screen.notice == Notice("unknown_key", {"key": "y"}, "no_effect")


@pytest.mark.parametrize("engine", [PrintingEngine], indirect=True)
@pytest.mark.app(size=LARGE)
async def test_going_back_takes_back_what_was_printed_since(
    app: TutorApp, pilot: Pilot[None]
) -> None:
    await pilot.press("space", "space", "b", "b", "space")
    await settled(pilot)
    assert text_of(app, "output").split() == ["1.1"]
    await pilot.press("s", "s", "b")
    await settled(pilot)
    printed = [f"1.{step}" for step in range(1, 6)] + [f"2.{step}" for step in range(1, 5)]
    assert text_of(app, "output").split() == printed
