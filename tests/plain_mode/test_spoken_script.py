"""A learner's own script as lines: its loop, the line that comes next, and its end."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.plain_mode import listening
from tests.ui.scripts import IN_CELLS, SCRIPT, ScriptEngine, network, script
from tutor.plain_mode.run_narrator import all_values, changes
from tutor.protocol.commands import Command, RunTo, Seek, StepPhase, Switch


class Finishing(ScriptEngine):
    """A run is at its end at once."""

    def send(self, command: Command) -> int:
        number = super().send(command)
        if isinstance(command, RunTo):
            self.advance(command.epoch)
        return number


def said(*lines: str, **more: Any) -> str:
    return listening.said(*lines, **{"script": SCRIPT, "engine": Finishing(), **more})


def answer(*lines: str) -> str:
    return said(*lines).removeprefix(said(*lines[:-1])).strip()


def test_a_script_begins_with_its_name_its_loop_and_the_first_line_of_it() -> None:
    text = said()
    assert text.startswith("Script: train.py. The training loop of train (line 9).\n")
    assert "Next: Predict, from line 9: for epoch in range(3):\n" in text
    assert "import torch" not in text


def test_the_next_line_is_told_with_its_number_and_all_lines_of_its_phase_once() -> None:
    whole = said(*["next"] * 10)
    assert answer("next") == (
        "Predict has run, in epoch 1.\nNext: Loss, line 11: loss = ((y_pred - y) ** 2).mean()"
    )
    assert whole.count("Next: Update, line 13: with torch.no_grad():") == 2
    assert whole.count("Line 14:     w -= lr * w.grad") == 1


def test_before_an_epoch_the_line_of_the_loop_is_told() -> None:
    assert answer("s").endswith("Next: Predict, from line 9: for epoch in range(3):")


def test_the_end_is_told_and_steps_after_it_are_not_made() -> None:
    engine = Finishing()
    text = said("s", "s", "s", "next", "next", "where", engine=engine)
    assert text.count("The script has ended") == 3
    assert sum(isinstance(command, StepPhase) for command in engine.sent) == 1
    assert "after Update. Next: Reset, line 15." in said("s", "s", "s", "next", "back")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("code", "Code: Line 10: y_pred = w * x"),
        ("code update", "Line 14:     w -= lr * w.grad"),
        ("code 19", 'Line 20: print("w", w.item())'),
        ("code 99", "there is no line 99"),
        ("code 0", "there is no line 0"),
        ("where", "Script train.py, mode autograd"),
        ("read", "only code"),
        ("compare", "nothing to compare"),
        ("mode", "one gradient mode"),
        ("device", "chooses its own device"),
        ("device cuda", "chooses its own device"),
        ("exercise", "no exercises"),
        ("export script", "already a file"),
        ("jump 1 loss", "12 3"),
        ("formula", "has no formula"),
        ("ladder", "Gradient: by PyTorch"),
    ],
)
def test_each_question_has_an_answer(typed: str, told: str) -> None:
    assert told in answer(typed)


def test_a_jump_goes_to_a_step() -> None:
    engine = Finishing()
    text = said("jump 2 3", engine=engine)
    assert Seek(epoch=2, step=3) in engine.sent
    assert "after Gradient. Next: Update, line 13." in text
    assert not any(isinstance(command, Switch) for command in engine.sent)


def test_a_jump_goes_to_a_phase_where_each_is_one_step() -> None:
    engine, options = Finishing(), SCRIPT.script
    assert options is not None
    regular = replace(options, phases=("Predict", "Loss", "Gradient", "Update", "Reset"))
    text = said("jump 2 grad", engine=engine, script=replace(SCRIPT, script=regular))
    assert Seek(epoch=2, step=3) in engine.sent
    assert "after Gradient. Next: Update, line 13." in text


def test_the_text_of_a_script_can_send_nothing_to_the_terminal() -> None:
    text = SCRIPT.source.replace("w * x", "w * x  # \x1b[31m\u202e")
    assert "\x1b" not in said("code 1", "next", script=script(text))
    assert "\u202e" not in said("code 1", "next", script=script(text))


def test_of_a_large_network_the_changes_are_counted_and_the_values_are_short() -> None:
    said = changes(network(20), network(20, 4.5))
    assert said == ["20 parameters have changed. Type values for all."]
    assert changes(network(1), network(1, 4.5)) == [
        "model[0].weight is now 64 by 32 numbers, mean 0.25, norm 5."
    ]
    assert all(len(line) < 150 for line in all_values(network(20)))


def test_a_long_file_is_read_in_parts() -> None:
    long = script(SCRIPT.source + "# more\n" * 50)
    text = said("code 1", "code 31", script=long)
    assert "Type code 31 to go on." in text
    assert "Line 60: # more" in text


def test_a_notebook_has_the_lines_of_its_cells() -> None:
    book = script(IN_CELLS, "/home/anna/fit.ipynb")
    heard = said("code [7]:2", "next", script=book)
    assert "The training loop of train ([7]:3)." in heard
    assert "[7]:2:     w = torch.tensor" in heard
    assert "Predict, from [7]:3: for epoch" in heard
    assert "line 9" not in heard
