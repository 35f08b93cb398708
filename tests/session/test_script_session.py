"""A session on a learner's own script: its bookmark, and the commands that it does not take."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.session.driven import Driven
from tests.ui.lessons import lesson
from tests.ui.scripts import LAST_EPOCH, SCRIPT, TEXT, Read, ScriptEngine, script
from tutor.cli.progress import overviews
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.progress.store import Store
from tutor.protocol.commands import (
    OpenLesson,
    Reseed,
    Restart,
    RunTo,
    SetLearningRate,
    StepPhase,
    Switch,
)
from tutor.protocol.frame import Position
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.outline import ScriptPhase
from tutor.session.bookmark import Bookmark, key_of
from tutor.session.progress_writer import ProgressWriter
from tutor.session.run_view import Notice


class Stepping(Driven):
    """A session with an open script."""

    def __init__(self, writer: ProgressWriter, opened: Lesson = SCRIPT) -> None:
        super().__init__(ScriptEngine(), opened, journal=writer)

    def does(self, *wishes: str) -> Notice:
        for wish in wishes:
            getattr(self.session, wish)()
        return self.session.notice


@pytest.fixture
def writer(tmp_path: Path):
    writer = ProgressWriter(tmp_path / "progress.db")
    yield writer
    writer.close()


# ── The bookmark ────────────────────────────────────────────────────────────────────


def test_a_script_is_found_again_by_its_path_and_not_among_the_lessons(
    writer: ProgressWriter,
) -> None:
    Stepping(writer, lesson()).does("step_epoch")
    Stepping(writer).does("step_epoch", "step_phase")
    bookmark = writer.bookmark_of(key_of(SCRIPT))
    assert isinstance(bookmark, Bookmark)
    assert bookmark.at == Position(2, 1)
    assert "/home/anna/train.py" in bookmark.slug
    last = writer.last_bookmark()
    assert last is not None
    assert last.slug == "line", "the last lesson, though a script was opened since"
    assert writer.bookmark_of(key_of(script(path="/home/bert/train.py"))) is None
    again = Stepping(writer)
    assert again.notice == Notice("script_left_in_epoch", {"epoch": 2})
    again.does("resume_previous")
    assert again.at == Position(2, 1)


def test_a_script_left_at_its_start_is_not_said_to_be_left(writer: ProgressWriter) -> None:
    Stepping(writer).does("step_epoch", "back_epoch")
    bookmark = writer.bookmark_of(key_of(SCRIPT))
    assert isinstance(bookmark, Bookmark)
    assert bookmark.at == Position(0, 0)
    assert Stepping(writer).notice.code != "script_left_in_epoch"


def test_a_bookmark_holds_on_any_machine_and_keeps_no_modules(writer: ProgressWriter) -> None:
    assert SCRIPT.script is not None
    options = replace(SCRIPT.script, modules={"net.py": b"x"})
    Stepping(writer, replace(SCRIPT, script=options)).does("step_epoch")
    bookmark = writer.bookmark_of(key_of(SCRIPT))
    assert bookmark is not None
    assert bookmark.fingerprint == SCRIPT.fingerprint()
    assert bookmark.script == SCRIPT.script


def test_a_script_that_has_changed_begins_anew_and_says_so(writer: ProgressWriter) -> None:
    Stepping(writer).does("step_epoch")
    again = Stepping(writer, script(TEXT + "# more\n"))
    assert again.notice == Notice("script_changed")
    assert again.at == Position(0, 0)
    again.does("resume_previous")
    assert again.notice == Notice("script_changed")
    assert again.at == Position(0, 0)


TWO_LOOPS = """\
w = 0.0
for i in range(3):
    dw = 2 * (w - 3)
    w -= 0.1 * dw
for j in range(3):
    dw = 2 * (w - 5)
    w -= 0.1 * dw
"""


def test_each_loop_and_its_arguments_have_a_bookmark(writer: ProgressWriter) -> None:
    def loop(number: int, *arguments: str, text: str = TWO_LOOPS) -> Lesson:
        source = Read(Path("/home/anna/two.py"), text)
        options = ScriptOptions(loop=number, arguments=arguments, name=f"{number}/two.py")
        return lesson_of_script(source, outline_of(text), options)

    Stepping(writer, loop(1)).does("step_epoch")
    Stepping(writer, loop(2, "--fast")).does("step_epoch", "step_phase")
    assert Stepping(writer, loop(1)).notice.values == {"epoch": 1}
    again = Stepping(writer, loop(1, "--slow"))
    left = {"epoch": 2, "loop": 2, "arguments": ("--fast",)}
    assert again.notice == Notice("script_left_in_run", left)
    assert again.at == Position(0, 0), "other arguments are another run"
    again.does("resume_previous")
    assert again.view.lesson.sections == loop(2).sections
    assert again.view.lesson.script is not None
    assert again.view.lesson.script.arguments == ("--fast",)
    assert again.at == Position(2, 1)
    other = Stepping(writer, loop(2))
    assert other.notice.values == {**left, "loop": None}
    with_one = TWO_LOOPS[: TWO_LOOPS.index("for j")]
    fewer = Stepping(writer, loop(1, "--slow", text=with_one))
    assert fewer.notice.code == "script_changed"


@pytest.mark.parametrize("path", ["/home/" + "long/" * 60 + "train.py", "/home/a\nb/train.py"])
def test_a_path_that_no_record_may_hold_is_kept_by_its_digest(
    writer: ProgressWriter, tmp_path: Path, path: str
) -> None:
    strange = script(path=path)
    Stepping(writer, strange).does("step_epoch")
    writer.close()
    opened = ProgressWriter(tmp_path / "progress.db")
    found = opened.bookmark_of(key_of(strange))
    opened.close()
    assert found is not None
    assert found.at.epoch == 1


def test_a_script_does_not_appear_in_the_overview_of_progress(
    writer: ProgressWriter, tmp_path: Path
) -> None:
    Stepping(writer).does("step_epoch")
    assert writer.flush()
    with closing(Store(tmp_path / "progress.db")) as store:
        assert len(store.places()) == 1
        assert overviews(store.exercises(), store.places(), []) == []


def test_the_fingerprint_of_a_lesson_does_not_depend_on_scripts() -> None:
    assert lesson().fingerprint() == replace(lesson(), script=None).fingerprint()
    assert script().fingerprint() != replace(script(), script=None).fingerprint()


# ── Commands ────────────────────────────────────────────────────────────────────────


def test_a_script_has_its_own_mode_and_device(writer: ProgressWriter) -> None:
    stepping = Stepping(writer)
    for wish in ("next_mode", "previous_mode"):
        assert stepping.does(wish).code == "one_mode"
    assert stepping.does("next_device").code == "script_device"
    assert not stepping.sent(Switch)
    stepping.session.request(Switch(device="cuda"))
    assert stepping.notice == Notice("script_device", {"name": "cpu"}, "refused")
    stepping.session.request(Switch(mode="manual"))
    assert stepping.notice == Notice("one_mode", {"mode": "autograd"}, "refused")


def test_nothing_is_stepped_after_the_end(writer: ProgressWriter) -> None:
    stepping = Stepping(writer)
    stepping.does("step_epoch", "step_epoch", "step_epoch", "step_phase")
    sent = len(stepping.engine.sent)
    for wish in ("step_phase", "step_epoch", "toggle_run"):
        assert stepping.does(wish) == Notice("script_over", {}, "refused")
    assert not [c for c in stepping.engine.sent[sent:] if isinstance(c, StepPhase)]
    stepping.does("back_phase")
    assert stepping.at == Position(3, 4)
    stepping.does("step_phase")
    assert stepping.at == Position(3, 5)


def test_a_counted_loop_is_run_to_its_last_epoch_and_then_to_the_scripts_end(
    writer: ProgressWriter,
) -> None:
    stepping = Stepping(writer)
    stepping.does("toggle_run")
    stepping.engine.advance(LAST_EPOCH)
    assert stepping.at == Position(LAST_EPOCH, 5)
    told = stepping.notice
    assert (told.code, told.values["epoch"]) == ("script_target_reached", LAST_EPOCH)
    stepping.does("toggle_run")
    assert [c.epoch for c in stepping.engine.sent if isinstance(c, RunTo)][1] > LAST_EPOCH
    assert stepping.view.target_epoch == LAST_EPOCH


def test_a_loop_that_is_not_counted_stops_with_a_word_and_goes_on(writer: ProgressWriter) -> None:
    assert SCRIPT.script is not None
    endless = replace(SCRIPT, script=replace(SCRIPT.script, is_counted=False))
    stepping = Stepping(writer, endless)
    stepping.does("toggle_run")
    stepping.engine.advance(LAST_EPOCH)
    assert stepping.notice.code == "target_reached"
    assert stepping.notice.values["further"] == 2 * LAST_EPOCH
    stepping.does("toggle_run")
    assert [c.epoch for c in stepping.engine.sent if isinstance(c, RunTo)][1] == 2 * LAST_EPOCH
    assert stepping.view.target_epoch == 2 * LAST_EPOCH


def test_a_script_that_seeds_itself_takes_no_seed_and_stays_where_it_is(
    writer: ProgressWriter,
) -> None:
    stepping = Stepping(writer, script(TEXT + "torch.manual_seed(1)\n"))
    stepping.does("step_epoch")
    sent = len(stepping.engine.sent)
    for change in (stepping.session.new_seed, stepping.session.reseed):
        change()
        assert stepping.notice.code == "script_seed"
        place = f"line {len(TEXT.splitlines()) + 1}"
        assert stepping.notice.values["place"] == place
    stepping.session.open_with_seed(3)
    assert stepping.notice.kind == "refused"
    assert not [c for c in stepping.engine.sent[sent:] if isinstance(c, Reseed | Restart)]
    assert stepping.at.epoch == 1
    seedless = Stepping(writer)
    seedless.session.open_with_seed(3)
    assert [c.seed for c in seedless.engine.sent if isinstance(c, OpenLesson)][-1] == 3


def test_a_rate_that_is_not_known_is_scaled_by_no_key(writer: ProgressWriter) -> None:
    stepping = Stepping(writer)
    stepping.engine.rate_is_known = False
    assert stepping.does("step_phase", "raise_learning_rate").code == "rate_unknown"
    assert stepping.does("lower_learning_rate").code == "rate_unknown"
    assert not stepping.sent(SetLearningRate)


def test_of_two_losses_the_gradients_are_those_of_the_last() -> None:
    names = ("Predict", "Loss", "Gradient", "Update", "Loss", "Gradient", "Update", "Report")
    code = "for i in range(3):\n" + "".join(f"    f{n}()\n" for n in range(len(names)))
    phases = tuple(ScriptPhase(name, n, 4, n) for n, name in enumerate(names, 2))
    twice = script(code, phases=phases, line=1)
    known = [twice.has_gradients("autograd", name, n) for n, name in enumerate(names, 2)]
    assert known == [False, False, True, True, False, True, True, True]
    assert lesson().has_gradients("autograd", "Loss") is False
    assert lesson().has_gradients("autograd", "Reset") is True
