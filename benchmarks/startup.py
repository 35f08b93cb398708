"""From the start of the process to the first screen, and to the first step that is possible.

    python -m benchmarks.startup [ROUNDS]

The screen against an app of three lines in Textual; the step against `import torch`.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.figures import print_table
from benchmarks.home import own_home
from tests.terminal import TUTOR, Terminal
from tutor import cli

THREE_LINES = """
from textual.app import App
from textual.widgets import Static
class Small(App):
    def compose(self): yield Static("ready")
Small().run()
"""


def main() -> None:
    # As an installer does: where Python may write no bytecode, each start would compile all again.
    compileall.compile_dir(Path(cli.__file__).parents[1], quiet=2)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    screens: dict[str, list[float]] = {
        "Textual app of three lines": [],
        "tutor": [],
        "tutor xor, its frame": [],
        "tutor xor, its text": [],
    }
    steps: dict[str, list[float]] = {"import torch": [], "tutor xor, first step": []}
    python = [sys.executable, "-c"]
    for _ in range(rounds):
        screens["Textual app of three lines"].append(painted([*python, THREE_LINES], "ready"))
        screens["tutor"].append(painted([str(TUTOR)], "One weight"))
        screens["tutor xor, its frame"].append(painted([str(TUTOR), "xor"], "XOR with a hidden"))
        screens["tutor xor, its text"].append(painted([str(TUTOR), "xor"], "two inputs is 1 if"))
        steps["import torch"].append(imported([*python, "import torch; print(1, flush=True)"]))
        steps["tutor xor, first step"].append(first_step([str(TUTOR), "xor"]))
    print_table("process start to first screen", "s", screens, "Textual app of three lines", min)
    print_table("process start to first step", "s", steps, "import torch", min)


def painted(command: Sequence[str], text: str) -> float:
    """Seconds until `text` is on the screen."""
    return until(command, lambda terminal: text in terminal.text())


def first_step(command: Sequence[str]) -> float:
    """Seconds until the lesson stands and says what a key press runs."""
    return until(command, lambda terminal: "next: ▶" in terminal.text())


def until(command: Sequence[str], true: Callable[[Terminal], bool]) -> float:
    started = time.perf_counter()
    with Terminal(command) as terminal:
        terminal.wait_until(lambda: true(terminal))
        return time.perf_counter() - started


def imported(command: Sequence[str]) -> float:
    """Seconds until the program prints its line (its end, which takes a while, not counted)."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return time.perf_counter() - started


if __name__ == "__main__":
    with own_home():
        main()
