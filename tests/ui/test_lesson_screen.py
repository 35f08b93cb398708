"""Every key of the lesson screen, pressed."""

import re
from collections.abc import Sequence

import msgspec
import pytest
from textual.command import CommandPalette
from textual.content import Content
from textual.widgets import Input, OptionList

from tutor.lesson.library import shipped_folder
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
from tutor.session.attempt import CodePlace
from tutor.session.run_view import Notice, NoticeKind
from tutor.ui.commands import LESSON_COMMANDS, PANE_COMMANDS, PANE_TITLES, RECONNECT, bindings
from tutor.ui.lines import LinesPane
from tutor.ui.screens.base import SizedScreen
from tutor.ui.screens.compare import CompareScreen
from tutor.ui.screens.dialogs import HelpPane, HelpScreen
from tutor.ui.screens.lesson import LessonScreen
from tutor.ui.screens.lesson_list import MapScreen, MenuScreen
from tutor.wording.number_format import time_left
from tutor.wording.parameter_input import read_learning_rate

from .conftest import LARGE, SMALL, Learner, MakeApp, at_screen, come_true
from .exercises import AUTOGRAD, CHOOSE, PREDICT, REACH, REPAIR, with_exercises
from .fake_engine import FakeEngine, PrintingEngine
from .lessons import lesson

KEYS: tuple[tuple[str, Command], ...] = (
    ("space", StepPhase()),
    ("s", StepEpoch()),
    ("b", BackPhase()),
    ("B", BackEpoch()),
    ("g", Switch(mode="autograd")),
    ("G", Switch(mode="manual")),
    ("[", SetLearningRate(value=0.005)),
    ("]", SetLearningRate(value=0.01)),
    ("]", SetLearningRate(value=0.02)),
    ("r", RunTo(epoch=20)),
    ("R", Restart()),
)


async def test_a_key_sends_its_command(learner: Learner) -> None:
    for key, command in KEYS:
        await learner.press(key)
        sent = [c for c in learner.engine.sent if not isinstance(c, FramePainted)]
        assert sent[-1] == command, key


async def test_the_lesson_can_be_read_while_pytorch_is_loading(
    make_app: MakeApp, engine: FakeEngine
) -> None:
    engine.ready_at_once = False
    async with at_screen(make_app(), LARGE) as learner:
        assert learner.sees("One weight learns y = 2x", "formula")
        shown = [line.plain[2:] for line in learner.pane("code").lines]
        code = [f.code for section in lesson().sections for f in section.fences("manual")]
        assert {*"".join(code).splitlines()} <= {*shown}, "to the character"
        assert learner.text("status") == "loading PyTorch …"
        engine.get_ready()
        await learner.settle()
        assert learner.sees("next: ▶ Predict", "status")


@pytest.mark.app(size=LARGE, keys=["space"] * 4)
async def test_a_step_shows_in_all_panes(learner: Learner) -> None:
    assert not learner.sees("▶ Reset", "code")  # manual has none
    (row,) = [line for line in learner.pane("formula").lines if "0.30000 · 4" in line.plain]
    underlined = [row.plain[s.start : s.end] for s in row.spans if s.style.underline]
    assert underlined == ["30000"], "the digits that have changed"
    assert learner.sees("w             0.300000", "numbers")
    assert learner.sees("▲0.300000", "numbers")
    assert learner.sees("Update has run", "status")
    assert learner.sees("epoch 1 of 20", "header")


def with_introduction(paragraphs: int) -> Lesson:
    plain = lesson()
    words = tuple(Prose(f"Paragraph {n}. " + "It is long. " * 12, 1) for n in range(paragraphs))
    setup, *rest = (
        msgspec.structs.replace(s, blocks=(*words, *s.blocks)) if s.phase == SETUP else s
        for s in plain.sections
    )
    return msgspec.structs.replace(plain, sections=(setup, *rest))


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.app(first=with_introduction(15))
async def test_space_pages_through_the_introduction_before_it_steps(
    learner: Learner, size: tuple[int, int]
) -> None:
    """No paragraph of it is passed over; after a restart it has been read."""
    pane = learner.pane("formula")
    await come_true(lambda: learner.sees("Paragraph 14", "formula"))
    seen: set[int] = set()
    for _ in range(30):
        height = pane.scrollable_content_region.height
        seen |= set(range(pane.scroll_offset.y, pane.scroll_offset.y + height))
        await learner.press("space")
        if StepPhase() in learner.engine.sent:
            break
    end = next(i for i, row in enumerate(pane.lines) if "Predict" in row.plain)
    assert set(range(end)) <= seen
    await learner.press("R", "space")
    assert learner.engine.sent.count(StepPhase()) == 2


@pytest.mark.app(first=with_introduction(20), keys="s")
async def test_other_keys_step_at_once(learner: Learner) -> None:
    assert learner.engine.sent[-1] == StepEpoch()


async def test_a_hidden_pane_builds_nothing_until_it_is_shown_again(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await learner.press(*"2345671")
    before = learner.text("numbers")
    built: list[str | None] = []
    build = LinesPane.show_lines

    def counted(pane: LinesPane, lines: Sequence[Content]) -> None:
        built.append(pane.id)
        build(pane, lines)

    monkeypatch.setattr(LinesPane, "show_lines", counted)
    await learner.press("space", "s")
    hidden = {pane.id for pane in learner.app.screen.query(LinesPane) if pane.is_hidden}
    assert {"code", "graph", "plot", "numbers", "output"} <= hidden
    assert "formula" in built
    assert not hidden & set(built)
    await learner.press("3")
    assert learner.text("numbers") != before


async def test_a_run_shows_its_progress_and_asks_for_the_next_frame_when_painted(
    learner: Learner,
) -> None:
    engine = learner.engine
    await learner.press("r")
    assert engine.kinds()[-1] == "FramePainted"
    engine.advance(5)
    await learner.settle()
    assert engine.kinds().count("FramePainted") == 2
    assert learner.sees("epoch 5 of 20 · 120 epochs/s · r pauses", "status")
    assert learner.text("status").startswith("█")
    await learner.hears(msgspec.structs.replace(engine.shown(), seconds_left=12.0))
    assert learner.sees(time_left(12.0), "status")
    painted = engine.kinds().count("FramePainted")
    await learner.press("question_mark")
    engine.advance(5)
    await learner.settle()
    assert engine.kinds().count("FramePainted") == painted + 1, "while the help is read"
    await learner.press("escape", "r")
    assert not learner.sees("█", "status")


async def test_a_key_that_does_nothing_says_so_until_the_next_key(learner: Learner) -> None:
    """On the lesson and in the menu; a key that acts, or is typed, says nothing of the kind."""
    sent = len(learner.engine.sent)
    for key, name in (("y", "y"), ("f7", "f7"), ("ctrl+x", "ctrl+x"), ("é", "é"), ("0", "0")):
        await learner.press(key)
        assert learner.session.notice == Notice("unused_key", {"key": name}, "no_effect")
    assert isinstance(learner.app.screen, LessonScreen)
    assert len(learner.engine.sent) == sent
    for keys in ("2", "s", ["l", "y", "escape"]):
        await learner.press("y", *keys)
        assert learner.session.notice.code == ""
    await learner.press("d")
    assert learner.text("status") == "There is only one device here: cpu"
    learner.session.request(Switch(device="cuda"))
    await learner.settle()
    learner.app.screen.update_from_session()
    assert learner.text("status") == "! there is no cuda here; there is cpu"
    await learner.press("2")
    assert learner.session.notice.code == "", "a refusal is gone, too"
    assert not learner.sees("!", "status")
    await learner.press("m", "y")
    assert isinstance(learner.app.screen, MenuScreen)
    assert learner.app.screen.notice == Notice("unused_key", {"key": "y"}, "no_effect")
    await learner.press("down")
    assert learner.app.screen.notice.code == ""


async def test_l_asks_for_a_learning_rate_until_it_is_one(learner: Learner) -> None:
    await learner.press("l", *"0.x", "enter")
    said = str(learner.app.screen.query_one("#hint").render())
    assert "esc: cancel" in said
    examples = re.findall(r"-?\d[\d./e-]*", said)
    assert examples
    assert all(read_learning_rate(example.rstrip(".")) > 0 for example in examples)
    assert learner.app.screen.query_one("#answer", Input).value == "0.x"
    await learner.press("backspace", "enter")
    assert not [c for c in learner.engine.sent if isinstance(c, SetLearningRate)], "0. is none"
    await learner.press(*"03", "enter")
    assert learner.engine.sent[-1] == SetLearningRate(value=0.03)
    await learner.press("j", "7", "escape")
    assert isinstance(learner.app.screen, LessonScreen)
    assert not any(isinstance(c, Seek) for c in learner.engine.sent), "no answer was given"
    assert learner.engine.stopped == 0


async def test_what_takes_long_is_named_and_three_keys_stop_it(learner: Learner) -> None:
    engine = learner.engine
    engine.holds, engine.busy = True, 3.0
    await learner.press("space")
    learner.session._heard_at -= 3
    told = re.compile(r"Predict is still running \(([3-9]|\d\d) s\) · x stops it")
    await come_true(lambda: told.search(learner.text("status")))
    engine.busy = 0.0
    engine.release()
    await learner.settle()
    for stopped, key in enumerate(("x", "escape", "ctrl+c"), 1):
        engine.holds = True
        await learner.press("space", key)
        assert engine.stopped == stopped
        engine.release()
        await learner.settle()
    await learner.hears(ProcessEnded(remark=Remark("lesson_did_not_stop"), restarting=True))
    assert learner.sees("the code would not stop", "status")


async def test_the_status_bar_leaves_out_whole_parts_of_what_went_well_and_nothing_of_a_refusal(
    learner: Learner,
) -> None:
    parts = ("the previous run is kept as A", "manual made this update, and the formulas show more")
    remarks = [Remark("text", {"text": part}) for part in parts]
    noted = {"remarks": remarks, "can_restart": False}
    learner.app.tell(Notice("engine_remarks", noted))
    await learner.settle()
    assert learner.text("status").strip() == parts[0]
    learner.app.tell(Notice("engine_remarks", noted, "refused"))
    await learner.settle()
    assert learner.text("status").split() == ["!", *" · ".join(parts).split()]


@pytest.mark.parametrize("kind", ["info", "refused"])
async def test_a_long_reason_has_lines_of_its_own_until_the_next_notice(
    learner: Learner, kind: NoticeKind
) -> None:
    words = [f"word{i}" for i in range(20)]
    learner.app.tell(Notice("text", {"text": " ".join(words)}, kind))
    await learner.settle()
    assert [w for w in learner.text("status").split() if w != "!"] == words
    assert learner.pane("status").size.height == 2
    learner.app.tell(Notice("text", {"text": "A" * 2000}, kind))
    await learner.settle()
    assert learner.pane("status").size.height == 3
    assert learner.text("status").rstrip().endswith("…")
    learner.app.tell(Notice("text", {"text": "short"}, kind))
    await learner.settle()
    assert learner.pane("status").size.height == 1


async def test_n_and_p_turn_the_lessons_and_each_begins_with_its_introduction(
    learner: Learner,
) -> None:
    await learner.press("2", "4", "n")
    assert learner.sees("XOR with a hidden layer", "header")
    assert learner.focused == "formula"
    assert learner.shows("formula")
    assert learner.shows("numbers")
    learner.engine.holds = True
    await learner.press("space", "p")
    assert learner.sees("A line through the origin", "header"), "at once, busy as the engine is"
    learner.engine.release()
    await learner.settle()
    assert learner.sees("epoch 0 of 20", "header")
    await learner.press("p")
    assert learner.sees("This is the first lesson", "status")


async def test_m_shows_the_menu_and_pauses_the_run(learner: Learner) -> None:
    await learner.press("r", "m")
    assert isinstance(learner.app.screen, MenuScreen)
    assert learner.engine.kinds()[-1] == "Pause"
    await learner.press("enter")
    assert isinstance(learner.app.screen, LessonScreen)
    assert learner.engine.kinds().count("OpenLesson") == 1


async def test_question_mark_shows_every_key(make_app: MakeApp, engine: FakeEngine) -> None:
    engine.host = "far-machine"  # where there is one key more
    async with at_screen(make_app()) as learner:
        await learner.press("question_mark")
        assert isinstance(learner.app.screen, HelpScreen)
        text = " ".join(learner.text("help").split())
        for command in (*LESSON_COMMANDS, *PANE_COMMANDS):
            assert command.help in text
        await learner.press("q")
        assert isinstance(learner.app.screen, LessonScreen)


async def test_q_quits_at_once_and_closes_the_engine(make_app: MakeApp, engine: FakeEngine) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("q")
        await come_true(lambda: not app.is_running)
    await come_true(lambda: engine.closed)


async def test_the_command_palette_finds_a_command(learner: Learner) -> None:
    await learner.press("s", "ctrl+p")
    await come_true(lambda: isinstance(learner.app.screen, CommandPalette))
    await learner.press(*"back epoch")
    found = learner.app.screen.query_one(OptionList)
    await come_true(lambda: ["back epoch" in str(o.prompt) for o in found.options] == [True])
    await learner.press("enter")
    await come_true(lambda: "BackEpoch" in learner.engine.kinds())


async def test_the_command_palette_finds_a_command_by_the_words_of_its_help(
    learner: Learner,
) -> None:
    await learner.press("ctrl+p")
    await come_true(lambda: isinstance(learner.app.screen, CommandPalette))
    await learner.press(*"RATE down")
    found = learner.app.screen.query_one(OptionList)
    await come_true(lambda: ["lr down" in str(o.prompt) for o in found.options] == [True])


@pytest.mark.parametrize("size", [SMALL, LARGE, (140, 28)])
async def test_a_digit_shows_a_pane_and_gives_it_the_focus(
    learner: Learner, size: tuple[int, int]
) -> None:
    for key, pane in enumerate(PANE_TITLES, 1):
        await learner.press(str(key))
        widget = learner.app.screen.query_one(f"#{pane}")
        assert widget.has_pseudo_class("focus-within") or widget.has_focus
        assert widget.display
        assert widget.size.height >= 5
        assert sum(map(learner.shows, PANE_TITLES)) == (6 if size == LARGE else 2)


@pytest.mark.app(size=LARGE)
async def test_tab_goes_from_pane_to_pane_and_the_focus_has_a_double_line(learner: Learner) -> None:
    in_view = tuple(PANE_TITLES)[1:6]  # graph and exercise share a place with others
    for name in (*in_view, "formula"):
        await learner.press("tab")
        assert learner.focused == name
        assert learner.pane(name).styles.border_top[0] == "double"
    await learner.press("shift+tab")
    assert learner.focused == "ladder"


async def test_arrows_and_page_keys_scroll_the_focused_pane(learner: Learner) -> None:
    pane = learner.pane("formula")
    await learner.press("down")
    assert pane.scroll_offset.y == 1
    await learner.press("end")
    assert pane.scroll_offset.y == pane.max_scroll_y > 1
    await learner.press("pageup", "home")
    assert pane.scroll_offset.y == 0


LONG_ERROR = (
    "RuntimeError: one of the variables needed for gradient computation has been modified"
    " by an inplace operation: [torch.FloatTensor [2]], which is output 0 of Add, is at"
    " version 1; expected version 0 instead. Hint: enable anomaly detection to find the"
    " operation that failed to compute its gradient, with"
    " torch.autograd.set_detect_anomaly(True, check_nan=False)."
)


SHIPPED = msgspec.structs.replace(lesson(), path=shipped_folder() / "line.md")


@pytest.mark.app(first=SHIPPED, keys=["s", "space"])
async def test_an_error_in_a_file_that_is_not_at_hand_quotes_its_line(learner: Learner) -> None:
    learner.engine.fails_at = "Loss"
    await learner.press("space")
    code = "loss = ((y_pred - y) ** 2).mean()"
    assert learner.sees(f"Loss failed · {code}: ZeroDivisionError", "error")
    assert learner.session.notice.values["place"] == CodePlace("Loss", 31, code)


@pytest.mark.app(keys=["s", "space"])
async def test_an_error_names_its_place_and_the_last_numbers_stay(learner: Learner) -> None:
    """A long one is shown up to its fourth line, and says that it is cut."""
    numbers = learner.text("numbers")
    learner.engine.fails_at = "Loss"
    await learner.press("space")
    error = learner.pane("error")
    assert learner.sees("Loss failed · line.md, line 31: ZeroDivisionError", "error")
    assert error.size.height == 2
    assert learner.text("numbers") == numbers
    await learner.press("2")
    assert learner.sees("✗ loss = ((y_pred - y) ** 2).mean()", "code")
    await learner.press("b")
    assert not error.display
    learner.engine.message = LONG_ERROR
    await learner.press("space", "space")
    *shown, advice = learner.text("error").splitlines()
    assert "expected version 0 instead" in re.sub(r"\s+", " ", " ".join(shown))
    assert shown[-1].rstrip().endswith("…")
    assert "b goes back" in advice
    assert error.size.height == 5


@pytest.mark.app(size=LARGE)
async def test_what_a_lesson_prints_is_data(learner: Learner) -> None:
    """The output follows its last line unless it has been scrolled up."""
    await learner.hears(OutputPrinted(text="[red]loss[/red] \x1b[2Jgone\n", left_out=7))
    message = "KeyError: '[bold]\x1b]0;x\x07'"
    await learner.hears(
        LessonFailed(lesson="line", phase="Loss", line=1, error=Remark("text", {"text": message}))
    )
    assert learner.sees("[red]loss[/red] ^[[2Jgone", "output")
    assert learner.sees("7 characters left out", "output")
    assert learner.sees("KeyError: '[bold]^[]0;x^G'", "error")
    pane = learner.pane("output")
    await learner.hears(OutputPrinted(text="x" * 3000 + "\n" + "line\n" * 20))
    assert pane.scroll_offset.y == pane.max_scroll_y > 20
    await learner.press("5", "home")
    await learner.hears(OutputPrinted(text="more\n"))
    assert pane.scroll_offset.y == 0


@pytest.mark.parametrize("engine", [PrintingEngine], indirect=True)
async def test_going_back_takes_back_what_was_printed_since(learner: Learner) -> None:
    await learner.press("5", "space", "space", "b", "b", "space")
    assert learner.text("output").split() == ["1.1"]


@pytest.mark.app(size=(60, 20))
async def test_a_terminal_that_is_too_small_says_what_it_needs_and_no_key_acts_but_q(
    learner: Learner,
) -> None:
    words = learner.app.screen.query_one("#too-small")
    assert str(words.render()) == "The tutor needs a window of 80×22; this one is 60×20 · q quits"
    assert not learner.shows("panes")
    asked = len(learner.engine.sent)
    await learner.press("s", "r", "A", "escape", "ctrl+c", "6", "m")
    assert len(learner.engine.sent) == asked
    assert words.display
    await learner.resize(SMALL)
    assert not words.display
    assert learner.sees("One weight", "formula")
    await learner.press("s")
    assert len(learner.engine.sent) > asked
    await learner.resize((40, 12))
    await learner.press("q")
    assert not learner.app.is_running


@pytest.mark.app(size=LARGE, keys="r")
async def test_resizing_while_a_run_is_on_keeps_all_panes_right(learner: Learner) -> None:
    sizes = (SMALL, (60, 20), (140, 28), LARGE)
    for size in sizes:
        learner.engine.advance(1)
        await learner.resize(size)
    assert learner.sees("epoch 4 of 20", "header")
    assert learner.sees("epoch 4", "plot")
    assert learner.engine.kinds().count("FramePainted") == 1 + len(sizes)


@pytest.mark.app(first=with_exercises(PREDICT, REACH, REPAIR, AUTOGRAD, CHOOSE))
async def test_no_key_ends_a_lesson_with_exercises(learner: Learner) -> None:
    for command in LESSON_COMMANDS:
        if command.action.startswith("screen."):
            await learner.press(command.keys[0], "escape")
    assert learner.app.is_running
    assert learner.app.return_code is None


@pytest.mark.parametrize("screen", [LessonScreen, CompareScreen, MenuScreen, MapScreen])
def test_the_keys_stand_in_two_columns_in_the_smallest_window(screen: type[SizedScreen]) -> None:
    commands = [*screen.ALL_COMMANDS, *screen.PANE_KEYS]
    assert RECONNECT in commands or screen is not LessonScreen, "with the widest of them"
    rows = HelpPane(commands, id="help").build(SMALL[0] - 2)
    everywhere = [command for command in commands if not command.where]
    assert rows[(len(everywhere) + 1) // 2].plain == "", "the end of the columns"


def test_every_command_has_a_key_of_its_own() -> None:
    commands = LessonScreen.ALL_COMMANDS
    keys = [key for command in commands for key in command.keys]
    assert len(keys) == len(set(keys)) == len(bindings(commands))
