"""A learner's own script in a terminal: stepped, and an error in its output explained."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.terminal import TUTOR, Terminal
from tests.without_torch import COMMAND

SCRIPT = """import sys
from pathlib import Path

def fit(w, target):
    for epoch in range(50):
        error = w - target
        loss = error ** 2
        dw = 2 * error
        w -= 0.25 * dw
    return w

def tune(w):
    for epoch in range(50):
        loss = w ** 2
        dw = 2 * w
        w -= 0.25 * dw
    return w

Path("result.txt").write_text("of this run")
print("asked for", sys.argv[1])
fit(8.0, 2.0)
tune(1.0)
"""


@pytest.fixture
def script(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    (home / "result.txt").write_text("mine")
    path = home / "train.py"
    path.write_text(SCRIPT)
    return path


def test_a_script_is_chosen_agreed_to_stepped_and_gone_back_in(script: Path) -> None:
    with Terminal([str(TUTOR), script.name, "--", "more"], 120, 36) as terminal:
        terminal.wait_for("2 training loops", "fit", "tune", "Which one?")
        terminal.press("enter")
        terminal.wait_for("The tutor runs this script")
        # A long path is wrapped, at any place.
        terminal.wait_until(
            lambda: "/train.py" in "".join(row.strip(" ║") for row in terminal.lines)
        )
        terminal.press("y")
        terminal.wait_for("asked for more", "for epoch in range(50)")
        terminal.press("s")
        terminal.wait_for("epoch 1 of 50", "0.25 · dw = 5 ")
        terminal.press("s")
        terminal.wait_for("epoch 2 of 50", "0.25 · dw = 3.5")
        terminal.press("B")
        terminal.wait_for("epoch 1 of 50", "0.25 · dw = 5 ")
        terminal.press("q")
        assert terminal.wait_ended() == 0
    assert (script.parent / "result.txt").read_text() == "mine"


def test_enter_opens_the_exercise_about_an_error_that_came_through_a_pipe() -> None:
    message = "RuntimeError: grad can be implicitly created only for scalar outputs"
    command = f"echo '{message}' 2>&1 | {shlex.join(COMMAND)} why"
    with Terminal(["sh", "-c", command]) as terminal:
        terminal.wait_for("Enter opens")
        terminal.press("enter")
        terminal.wait_for("Exercise", "It fails with: RuntimeError: grad can be implicitly")
        terminal.press("\x11")  # Ctrl+Q
        terminal.wait_until(lambda: terminal.process.poll() is not None)


def test_another_key_leaves() -> None:
    told = "RuntimeError: Target 5 is out of bounds."
    command = f"echo '{told}' | {shlex.join(COMMAND)} why; echo over"
    with Terminal(["sh", "-c", command]) as terminal:
        terminal.wait_for("Enter opens")
        terminal.press("q", "enter")
        terminal.wait_for("over")
