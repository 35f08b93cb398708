"""A lesson as lines: what is said at first, and to each command."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from tests.plain_mode.listening import answer_to, said
from tests.session.test_exercise_controller import PREDICT, Notebook
from tests.ui.fake_engine import FakeEngine
from tutor.errors import EngineError, LessonError
from tutor.plain_mode import COMMANDS
from tutor.plain_mode.run_narrator import RunNarrator
from tutor.protocol.commands import Command, OpenLesson, StepPhase
from tutor.protocol.events import (
    CommandRefused,
    FrameShown,
    LessonFailed,
    OutputPrinted,
    ProcessEnded,
)
from tutor.protocol.frame import Remark

SIGNS = re.compile(r"[^\x20-\x7E\n]")


def test_a_lesson_begins_with_its_title_its_words_and_the_first_phase():
    text = said()
    assert text.startswith("Lesson: A line through the origin. One weight learns y = 2x.\n")
    assert "It begins with autograd, on cpu, learning rate 0.01, 20 epochs." in text
    assert "One weight learns y = 2x from four points." in text
    setup, first = text.index("Setup."), text.index("Next: Predict.")
    assert setup < text.index("Code: x = torch.tensor([1, 2, 3, 4])") < first
    assert first < text.index("y hat sub i equals w times x sub i.")
    assert text.endswith("help for the rest.\n\n")


def test_only_the_code_of_the_mode_is_said():
    assert "np.array" not in said("next")


@pytest.mark.parametrize("command", ["next", "n", "", "  ", "NEXT"])
def test_the_next_phase_runs_and_the_one_after_it_is_told(command: str):
    text = answer_to(command)
    assert text.startswith("Predict has run, in epoch 1.")
    assert "y hat sub 4 equals 0 times 4." in text
    assert "Next: Loss.\nL equals the mean over i from 1 to N of" in text
    assert "Code:\n# how far off\nloss = ((y_pred - y) ** 2).mean()\nEnd of code." in text


def test_what_has_been_said_of_a_phase_is_not_said_again():
    text = answer_to("s", "next")
    assert "w.grad" not in text
    assert answer_to("s", "next", "s", "next").endswith("Next: Loss.")
    assert "End of code." in answer_to("s", "next")


def test_numbers_are_told_with_what_they_were():
    text = answer_to("s", "s")
    assert "The loss fell from 30 to 21.675." in text
    assert "The gradient of w rose from -30 to -25.5." in text
    assert "w rose from 0.3 to 0.555." in text


def test_a_run_goes_on_to_the_epoch_that_is_named():
    text = answer_to("r 7")
    assert text.startswith("Epoch 7 is done.")
    assert "The run is already past epoch 3" in answer_to("r 7", "r 3")
    assert "abc is not a whole number from 0 to " in answer_to("r abc")


def test_back_and_jump_say_where_the_run_stands():
    assert answer_to("s", "b").startswith("The run is in epoch 1, after Update. Next: Reset.")
    text = answer_to("s", "j 3 gradient")
    assert text.startswith("The run is in epoch 3, after Gradient. Next: Update.")
    assert "w is 0.555. Its gradient is" in text
    assert answer_to("s", "j 3 gr 1") == text, "a phase may be shortened, as on the screen"
    assert "predict, loss" in answer_to("j 3 nonsense")
    assert "batch 2" in answer_to("j 3 loss 2")
    assert answer_to("b") == "This is the beginning. Next goes on."


def test_settings_are_changed_and_told():
    assert answer_to("lr 0.1") == "The learning rate went from 0.01 to 0.1."
    assert answer_to("lr 0.1", "lr") == "The learning rate is 0.1."
    for typed in ("much", "0", "1e7"):
        assert "positive" in answer_to(f"lr {typed}")
    assert "The gradient mode is manual, on cpu." in answer_to("mode manual")
    assert "The gradient mode is manual, on cpu." in answer_to("g")
    assert answer_to("mode x") == "There is no mode x; available: manual and autograd."
    assert "There is no cuda here" in answer_to("device cuda")
    assert "No parameter q here" in answer_to("set q 3")


def test_questions_are_answered_without_a_step():
    assert "Next: Predict." in answer_to("where")
    assert "There is no loss yet.\nw is 0. Its gradient is None." in answer_to("values")
    assert "L equals the mean over i from 1 to N" in answer_to("formula loss")
    assert "which equals 30." in answer_to("next", "next", "formula")
    assert answer_to("code gradient") == "Gradient, in the mode autograd.\nCode: loss.backward()"
    assert "Gradient: by PyTorch in autograd, the current mode; by hand" in answer_to("ladder")
    assert answer_to("read").startswith("What to remember.\nsmall steps\nno rest")


def test_an_unknown_command_is_told_with_the_nearest():
    assert answer_to("hlep") == (
        "There is no command hlep. Did you mean help? Type help for all of them."
    )
    assert "There is no command" in answer_to("xyz \x1b[31m [bold]")


def test_help_has_a_line_for_every_command():
    lines = answer_to("help").splitlines()
    assert len(lines) == len(COMMANDS)
    assert answer_to("help lr").startswith("lr [NUMBER], or l: ")


def test_every_command_has_words_of_its_own():
    words = [word for command in COMMANDS for word in command.words]
    assert len(words) == len(set(words))


def test_the_readme_names_every_command():
    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    chapter = readme[readme.index("## Without a screen") : readme.index("## Write a lesson")]
    assert [c.name for c in COMMANDS if not re.search(rf"`{c.name}\b", chapter)] == []


def test_the_end_of_the_input_ends_it_and_so_does_quit():
    assert said("s", "q", "s").count("Epoch 1 is done.") == 1
    assert "Epoch 2" not in said("s", "q", "s")


def test_without_a_lesson_it_asks_for_one():
    text = said(name=None)
    assert "1, line: A line through the origin. One weight learns y = 2x." in text
    assert text.endswith("Which lesson? Type its name or number.\n\n")
    assert "Lesson: A line" in answer_to("1", name=None)
    assert "Lesson: A line" in answer_to("line", name=None)
    assert "No lesson is named foo." in answer_to("foo", name=None)
    assert "Lesson: A line" in answer_to("s", "open xor")
    with pytest.raises(LessonError):
        said(name="foo")


def test_it_is_said_where_the_lesson_was_left_and_go_on_goes_there():
    notebook = Notebook()
    said("s", "s", "next", notebook=notebook)
    notebook.bookmark_of = lambda lesson: notebook.places[-1]  # type: ignore[method-assign]
    whole = said("go on", notebook=notebook)
    opened, _, _ = whole.partition("You left this lesson in epoch 3. Go on takes you there.")
    assert opened.endswith("help for the rest.\n")
    assert "You are back where you left off." in whole


def test_going_on_into_an_exercise_tells_once_where_it_stands():
    notebook = Notebook()
    said("s", "a first", notebook=notebook, exercises=(PREDICT,))
    notebook.bookmark_of = lambda lesson: notebook.places[-1]  # type: ignore[method-assign]
    text = said("go on", notebook=notebook, exercises=(PREDICT,))
    after = text[text.index("Go on takes you there.") :]
    assert "Exercise 1 of 1, first" in after
    assert after.count("The run is") == 1


def test_an_error_of_the_lesson_is_told_and_ends_nothing():
    engine = FakeEngine()
    engine.fails_at = "Loss"
    text = said("next", "next", "where", engine=engine)
    assert "Loss failed on line 31: ZeroDivisionError: division by zero." in text
    assert text[text.index("A run goes to epoch 20.") :].count("Loss failed on line 31") == 1


def test_an_engine_that_comes_back_is_waited_for():
    engine = Dying()
    text = said("next", "where", engine=engine)
    ended = "The process exited with status 3; it starts again."
    assert f"{ended} Back at epoch 0." in text
    assert "The run is at the start." in text


class Dying(FakeEngine):
    """Its process ends in the first step, and comes back."""

    restarts = True

    def send(self, command: Command) -> int:
        if not isinstance(command, StepPhase):
            return super().send(command)
        self.sent.append(command)
        self.tell(ProcessEnded(remark=Remark("exited", {"status": 3}), restarting=self.restarts))
        if self.restarts:
            self.tell(self.shown())
        return len(self.sent)


def test_an_engine_that_is_gone_is_an_error():
    engine = Dying()
    engine.restarts = False
    with pytest.raises(EngineError, match="exited with status 3"):
        said("next", engine=engine)


def test_what_the_lesson_prints_is_said_and_can_not_reach_the_terminal():
    engine = Printing()
    assert "Printed: ^[[31mred" in answer_to("next", engine=engine)


def test_a_number_behind_a_step_is_how_many_and_what_means_nothing_is_refused():
    assert answer_to("next 3").startswith("Predict has run, in epoch 1.")
    assert "Gradient has run, in epoch 1." in answer_to("next 3")
    assert answer_to("epoch 3").startswith("Epoch 3 is done.")
    assert answer_to("next", "epoch 2").startswith("Epoch 2 is done.")
    assert answer_to("s", "back 2") == answer_to("s", "j 1 gradient")
    assert answer_to("seed 5").startswith("The run is at the start.")
    assert answer_to("epoch x") == "x is not a whole number from 1 to 1000."
    assert answer_to("where now") == "where takes nothing after it: type it alone."


def test_names_may_be_typed_in_capitals_and_a_device_alone_asks_for_no_other():
    assert "The gradient mode is manual, on cpu." in answer_to("mode MANUAL")
    assert answer_to("device") == "There is only one device here: cpu."


class Printing(FakeEngine):
    def send(self, command: Command) -> int:
        if isinstance(command, StepPhase):
            self.tell(OutputPrinted(text="\x1b[31mred\n"))
        return super().send(command)


def test_a_run_that_diverges_is_told_once():
    text = said("s", "s", engine=Diverging())
    assert text.count("The loss is not finite from epoch 1 on.") == 1


class Diverging(FakeEngine):
    def shown(self, answers: int = 0, remark: Remark | None = None) -> FrameShown:
        diverged_at = 1 if self.at.epoch else None
        return msgspec.structs.replace(super().shown(answers, remark), diverged_at=diverged_at)


def test_everything_is_plain_ascii_without_escapes():
    text = said("next", "next", "next", "s", "g", "values", "ladder", "formula", "help", "read")
    assert not SIGNS.findall(text)


def test_on_a_terminal_there_is_a_prompt_and_lines_are_wrapped():
    text = said("next", is_attended=True, width=40)
    assert "\n> " in text
    assert max(map(len, text.splitlines())) <= 40
    assert "> " not in said("next")


def test_a_pipe_gets_whole_lines():
    assert max(map(len, said().splitlines())) > 80


def test_ctrl_c_at_the_prompt_says_how_to_leave():
    text = said(is_attended=True, keyboard=Interrupting("where\n"))
    assert "Press Ctrl+C once more, or type quit, to leave." in text
    assert "The run is at the start." in text


def test_ctrl_c_just_after_the_end_of_a_command_does_not_leave(monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunNarrator, "tell", interrupted)
    assert "The run is in epoch 1" in said("next", "where", is_attended=True)
    with pytest.raises(KeyboardInterrupt):
        said("next", "where")


class Interrupting(io.StringIO):
    """Ctrl+C comes before the first line."""

    is_first = True

    def readline(self, size: int | None = -1, /) -> str:
        if self.is_first:
            self.is_first = False
            raise KeyboardInterrupt
        return super().readline(size)


def test_a_failed_setup_is_told():
    engine = FailingSetup()
    text = said("restart", "where", engine=engine)
    assert text.count("Setup failed on line 7: NameError: q.") == 3
    assert "Next:" not in text


class FailingSetup(FakeEngine):
    """Its lesson never comes to stand."""

    def _answer(self, number: int, command: Command) -> None:
        if isinstance(command, OpenLesson):
            message = "NameError: q"
            self.tell(
                LessonFailed(
                    answers=number,
                    lesson="line",
                    phase="Setup",
                    line=7,
                    error=Remark("text", {"text": message}),
                )
            )
        else:
            self.tell(CommandRefused(answers=number, remark=Remark("no_lesson_open")))
