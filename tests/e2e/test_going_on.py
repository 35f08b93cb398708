"""A line that drops, a tutor that is killed: what was done is there the next time."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from tests.terminal import TUTOR, Terminal
from tests.waiting import PATIENCE

PLACE = "autograd · cpu · lr 0.02 · epoch 3 of 100"


def numbers(terminal: Terminal) -> dict[str, str]:
    """By row of the table of numbers: what it is now, what it was, and the change."""
    found = re.findall(r"^ [┃|]? *(loss|w|f\(5\)) +([−\d].*)", terminal.text(), re.MULTILINE)
    return dict(found)


def kept_place(home: Path) -> tuple[int, int]:
    """Epoch and step of the lesson's place in the progress file."""
    with suppress(sqlite3.OperationalError):  # it is being made
        file = home / "progress.sqlite3"
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT epoch, step FROM places").fetchone() or (0, 0)
    return 0, 0


def test_after_a_kill_enter_goes_on_exactly_there_until_the_terminal_is_gone(home: Path) -> None:
    command = [str(TUTOR), "line-through-origin", "--mode", "autograd"]
    with Terminal(command) as terminal:
        terminal.wait_for("next: ▶ Predict")
        terminal.press("s", "s", "f", "]")
        terminal.wait_for("lr 0.02")
        terminal.press("space")
        terminal.wait_for(PLACE, "Predict has run")
        terminal.press("space")
        terminal.wait_for(PLACE, "Loss has run")
        # A screen is not painted in one stroke: the loss of epoch 3 is 7.5 · (0.555 − 2)².
        terminal.wait_until(lambda: numbers(terminal).get("loss", "").startswith("15.66"))
        # A crash may cost the last moments, and how many depends on the machine.
        terminal.wait_until(lambda: kept_place(home) == (3, 2))
        before = numbers(terminal)
        assert before.keys() >= {"loss", "w"}
        assert len(before["loss"].split()) == 3
    assert terminal.process.returncode == -9, "it was killed, with no chance to write anything"

    with Terminal([str(TUTOR)]) as terminal:
        terminal.wait_for("▶ Go on: A line through the origin · autograd · epoch 3")
        terminal.press("enter")
        terminal.wait_for(PLACE, "You are back where you left off")
        terminal.wait_until(lambda: numbers(terminal) == before)
        terminal.press("F")
        terminal.wait_for("Runs of this lesson", "epoch 2  ◂ this run")
        terminal.hang_up()
        terminal.process.wait(timeout=PATIENCE)
