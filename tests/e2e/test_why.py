"""From an error in the learner's own program to the exercise about it, in a pseudo-terminal."""

from __future__ import annotations

import shlex

from tests.terminal import Terminal
from tests.without_torch import COMMAND


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
