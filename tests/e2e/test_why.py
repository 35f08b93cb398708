"""From an error in the learner's own program to the exercise about it, in a pseudo-terminal."""

from __future__ import annotations

from tests.terminal import IN_SHELL, Terminal


def test_enter_opens_the_exercise_about_an_error_that_came_through_a_pipe() -> None:
    message = "RuntimeError: grad can be implicitly created only for scalar outputs"
    command = f"echo '{message}' 2>&1 | {IN_SHELL} why"
    with Terminal(["sh", "-c", command]) as terminal:
        terminal.wait_for("Enter opens")
        terminal.press("enter")
        terminal.wait_for("Exercise", "It fails with: RuntimeError: grad can be implicitly")
        terminal.press("\x11")  # Ctrl+Q
        terminal.wait_until(lambda: terminal.process.poll() is not None)


def test_another_key_leaves() -> None:
    command = f"echo 'RuntimeError: Target 5 is out of bounds.' | {IN_SHELL} why; echo over"
    with Terminal(["sh", "-c", command]) as terminal:
        terminal.wait_for("Enter opens")
        terminal.press("q", "enter")
        terminal.wait_for("over")
