"""A line that drops, a tutor that is killed: what was done is there the next time."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.terminal import TUTOR, Terminal
from tests.waiting import PATIENCE

PLACE = "autograd · cpu · lr 0.02 · epoch 3 of 100"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """A home of the test's own."""
    folders = {name: str(tmp_path / name) for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    return {"HOME": str(tmp_path), "TUTOR_PROGRESS": "", "LANG": "C.UTF-8", **folders}


def numbers(terminal: Terminal) -> dict[str, str]:
    """By row of the table of numbers: what it is now, what it was, and the change."""
    found = re.findall(r"^ [┃|]? *(loss|w|f\(5\)) +([−\d].*)", terminal.text(), re.MULTILINE)
    return dict(found)


def kept_place(home: dict[str, str]) -> tuple[int, int]:
    """Epoch and step of the lesson's place in the progress file."""
    file = next(Path(home["XDG_DATA_HOME"]).rglob("progress.sqlite3"))
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT epoch, step FROM places").fetchone()
    return row or (0, 0)


def test_after_a_kill_enter_goes_on_exactly_there(home: dict[str, str]) -> None:
    command = [str(TUTOR), "line-through-origin", "--mode", "autograd"]
    with Terminal(command, env=home) as terminal:
        terminal.wait_for("next: ▶ Predict")
        terminal.press("s", "s", "f", "]")
        terminal.wait_for("lr 0.02")
        terminal.press("space", "space")
        terminal.wait_for(PLACE, "Loss has run")
        # A crash may cost the last moments, and how many depends on the machine.
        terminal.wait_until(lambda: kept_place(home) == (3, 2))
        before = numbers(terminal)
        assert before.keys() >= {"loss", "w"}
        assert len(before["loss"].split()) == 3
    assert terminal.process.returncode == -9, "it was killed, with no chance to write anything"

    with Terminal([str(TUTOR)], env=home) as terminal:
        terminal.wait_for("▶ Go on: A line through the origin · autograd · epoch 3")
        terminal.press("enter")
        terminal.wait_for(PLACE, "You are back where you left")
        terminal.wait_until(lambda: numbers(terminal) == before)
        terminal.press("F")
        terminal.wait_for("Runs of this lesson", "epoch 2  ◂ this run")


def test_a_terminal_that_is_gone_without_a_word_ends_the_tutor(home: dict[str, str]) -> None:
    with Terminal([str(TUTOR)], env=home) as terminal:
        terminal.wait_for("One weight", "enter opens a lesson")
        terminal.hang_up()
        terminal.process.wait(timeout=PATIENCE)
