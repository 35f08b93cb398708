"""A person at a terminal: the installed program, its keys, and the figures on its screen."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.forked_commands import ROOT
from tests.terminal import TUTOR, Terminal, is_alive
from tests.waiting import wait_until
from tests.without_torch import COMMAND
from tutor.lesson import document, trust
from tutor.lesson.library import headlines
from tutor.ui.settings import Settings, SettingsFile

ENDLESS = """---
title: Round and round
summary: It never ends.
parameters: [w]
---
## Setup
```python
w = torch.tensor(1.0, requires_grad=True)
print("[bold]not bold[/bold] \\x1b[31mnot red")
```
## Predict
```python
y_pred = w * 2
```
## Loss
```python
loss = (y_pred - 3) ** 2
```
## Gradient
```python
loss.backward()
while True: pass
```
"""


def lesson(*arguments: str, columns: int = 80, rows: int = 24, **env: str) -> Terminal:
    return Terminal([str(TUTOR), *arguments], columns, rows, env)


def number(terminal: Terminal, row: str) -> float:
    """The `now` of a row among the numbers; NaN while it can't be seen."""
    found = re.search(rf"^ [┃|]? *{re.escape(row)} +([−\d]\S*)", terminal.text(), re.MULTILINE)
    return float(found[1].replace("−", "-")) if found else math.nan


def expect(terminal: Terminal, **rows: float) -> None:
    """Wait until these rows show these numbers: a screen is not painted in one stroke."""
    for row, value in rows.items():
        wanted = pytest.approx(value)
        terminal.wait_until(lambda row=row, wanted=wanted: number(terminal, row) == wanted)


def test_a_learner_steps_reads_the_published_figures_and_changes_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80×24 and 120×36; and looks into the gradient, and exports the lesson."""
    monkeypatch.chdir(tmp_path)
    with lesson("line-through-origin", CUDA_VISIBLE_DEVICES="") as terminal:
        terminal.wait_for("A line through the origin", "next: ▶ Predict")
        terminal.press("g")
        terminal.wait_for("autograd · cpu")
        terminal.press("s")
        terminal.wait_for("epoch 1 of 100", "−30")
        expect(terminal, loss=30, w=0.3, gradient=-30)
        terminal.press("s", "s", "b")
        terminal.wait_for("Update has run", "epoch 3 of 100")
        expect(terminal, w=0.77175)
        terminal.press("B", "B")
        terminal.wait_for("epoch 1 of 100")
        expect(terminal, loss=30)
        terminal.resize(120, 36)
        terminal.wait_until(lambda: len(terminal.lines[0]) > 80)
        terminal.press("s")
        terminal.wait_for("epoch 2 of 100")
        expect(terminal, w=0.555)
        terminal.press("d")
        terminal.wait_for("only one device here: cpu")
        terminal.press("r")
        terminal.wait_for("epoch 100 of 100")
        terminal.wait_until(lambda: number(terminal, "f(5)") == pytest.approx(10, abs=1e-3))
        moves_during_a_run_and_shrinks(terminal)
        terminal.press("R")
        terminal.wait_for("epoch 0 of", "next: ▶ Predict")
        terminal.press("s")
        terminal.wait_for("epoch 1 of")
        terminal.press("s")
        terminal.wait_for("epoch 2 of", "0.555000")
        terminal.press("B")
        terminal.wait_for("epoch 1 of")
        terminal.press("]")
        terminal.wait_for("lr 0.02", "kept as A")
        terminal.press("s")
        terminal.wait_for("epoch 2 of", "A then", "0.810000")
        beside = re.compile(r"w +0\.555000 +0\.810000")
        terminal.wait_until(lambda: beside.search(terminal.text()) is not None)
        terminal.press("4")
        terminal.wait_for("A = autograd lr 0.01")
        terminal.press(" ")
        terminal.wait_for("Predict has run")
        terminal.press(" ")
        terminal.wait_for("Loss has run")
        terminal.press("7")
        terminal.wait_for("loss = mean(…)")
        for nth in range(1, 6):
            terminal.press("i")
            terminal.wait_for(f"({nth} of 5)")
        terminal.wait_for("0 + (−17.850) = −17.850")
        terminal.press("c")
        terminal.wait_for("agree", "finite difference", "−17.850")
        terminal.press("c")
        terminal.press("e")
        terminal.wait_for("Write this lesson", "line-through-origin-autograd.py")
        terminal.press("\x15", *"mine.py")
        terminal.wait_for("mine.py")
        terminal.press("enter")
        terminal.wait_for("Written to")
        assert "loss.backward()" in (tmp_path / "mine.py").read_text()
        terminal.press("q")
        assert terminal.wait_ended() == 0


def test_the_menu_opens_a_lesson_with_the_mouse_left_to_the_terminal(tmp_path: Path) -> None:
    """As is wished, and a size that none has is not believed.

    `tests/cli` tests which setting and option leave the mouse, and which sizes those are.
    """
    SettingsFile(tmp_path / "gradient-tutor" / "settings.json").keep(Settings(mouse=False))
    env = {"XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "99999999", "LINES": "-3"}
    with Terminal(COMMAND, env=env) as terminal:
        terminal.wait_for("One weight", "A line through the origin", "Sum or mean?")
        terminal.wait_until(lambda: "q quit" in terminal.lines[23])
        place = [headline.slug for headline in headlines()].index("sum-or-mean")
        terminal.press(*["down"] * place, "enter")
        terminal.wait_for("Sum or mean?", "next: ▶")
        terminal.press("m")
        terminal.wait_for("One weight", "A line through the origin")
        assert b"\x1b[?1000h" not in terminal.raw


def test_a_lesson_from_outside_asks_once_begins_as_asked_for_and_x_stops_it(home: Path) -> None:
    """It asks for its content. `test_going_on` begins in a mode."""
    path = home / "outside.md"
    path.write_text(ENDLESS)
    start = ("--learning-rate", "0.002", "--device", "cuda:6")
    with lesson(str(path), *start, columns=120, rows=36) as terminal:
        terminal.wait_for("This lesson did not come with the tutor")
        assert not trust.is_trusted(document.read(path))
        terminal.press("y")
        terminal.wait_for("Round and round", "cpu · lr 0.002", "no device 'cuda:6'")
        terminal.wait_for("[bold]not bold[/bold] not red")
        assert b"\x1b[31mnot red" not in terminal.raw, "what it prints is data"
        terminal.press("space")
        terminal.wait_for("next: ▶ Loss")
        terminal.press("space")
        terminal.wait_for("next: ▶ Gradient")
        terminal.press("space")
        terminal.wait_for("still running")
        terminal.press("x")
        # On a machine that leaves it no time to give way, its process is ended instead.
        gave_way, was_ended = "was still running; its changes were undone", "its process was ended"
        terminal.wait_until(lambda: gave_way in terminal.text() or was_ended in terminal.text())
        terminal.press("b")
        terminal.wait_for("next: ▶ Loss")
    assert trust.is_trusted(document.read(path)), "nobody asks again"
    path.write_text(ENDLESS.replace("* 2", "* 3"))
    assert not trust.is_trusted(document.read(path))


def moves_during_a_run_and_shrinks(terminal: Terminal) -> None:
    terminal.press("j")
    terminal.wait_for("Jump to")
    terminal.press(*"9000000", "enter")
    seen: set[str] = set()

    def moves() -> bool:
        seen.add(terminal.lines[0])
        return len(seen) > 5

    terminal.wait_until(moves)
    terminal.resize(60, 20)
    terminal.wait_for("80×22", "60×20")
    terminal.resize(80, 24)
    terminal.wait_for("epochs/s")
    terminal.press("x")
    terminal.wait_gone("epochs/s")


def test_a_lesson_is_shown_in_ascii_and_without_colour_in_a_plain_xterm() -> None:
    plain = {"NO_COLOR": "1", "TERM": "xterm", "COLORTERM": ""}
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Terminal([*COMMAND, "xor"], env={**plain, **ascii_locale}) as terminal:
        terminal.wait_for("XOR", "- cpu -", "next: > Predict")
        for epoch in ("1", "2"):
            terminal.press("s")
            terminal.wait_for(f"epoch {epoch} of")
        for key in "246?":
            before = terminal.text()
            terminal.press(key)
            terminal.wait_until(lambda before=before: terminal.text() != before)
            terminal.settle()
        assert terminal.raw.isascii()
        styles = re.findall(rb"\x1b\[([0-9;]*)m", bytes(terminal.raw))
        coloured = [s for s in styles if {b"38", b"48"} & set(s.split(b";"))]
        greys = [s for s in coloured if len(set(s.split(b";")[-3:])) > 1]
        assert not greys, "NO_COLOR leaves shades of grey at most"


ON_AND_OFF = ("?1049", "?1000", "?1003", "?1006", "?2004", "?1004")
"""The other screen, the mouse, pastes and focus: `h` switches them on, `l` off."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_terminal_is_as_before_however_the_app_is_ended(number: signal.Signals) -> None:
    with lesson() as terminal:  # the engine has hardly begun to load torch
        terminal.wait_for("enter opens a lesson")
        assert not terminal.takes_lines
        wait_until(lambda: children(terminal.process.pid), "the start of the engine")
        (child,) = children(terminal.process.pid)
        wait_until(lambda: runs_the_supervisor(child), "its first line")
        os.kill(terminal.process.pid, number)
        terminal.wait_ended()
        wait_until(lambda: not is_alive(child), "the end of the engine")
        terminal.settle(0.05)
        assert terminal.takes_lines
        for mode in ON_AND_OFF:
            on, off = (terminal.raw.rfind(f"\x1b[{mode}{end}".encode()) for end in "hl")
            assert on < off, mode
        assert terminal.raw.rfind(b"\x1b[?25l") < terminal.raw.rfind(b"\x1b[?25h")


def runs_the_supervisor(pid: int) -> bool:
    """Whether it does by now: before that, it is a copy of its parent and ends with its session."""
    return b"supervisor.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


KILLED_AS_THE_ENGINE_STARTS = """
import os, signal, subprocess, tty
from tutor.engine.process import Process

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

subprocess.Popen = Popen
tty.setraw(0)
os.write(1, b"on the other screen\x1b[?1049h")
Process(("sleep", "60"), os.ttyname(0))
"""


KILLED_AFTER_ITS_ENGINE = """
import os, pathlib, signal, time, tty
from tests.terminal import is_alive
from tutor.engine.process import Process

tty.setraw(0)
os.write(1, b"on the other screen\\x1b[?1049h")
Process(("sh", "-c", "echo $$ >engine; kill -9 $$"), os.ttyname(0))
engine = pathlib.Path("engine")
while not (engine.exists() and (number := engine.read_text().strip())):
    time.sleep(0.01)
while is_alive(int(number)):
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""As when both hear of the end of the terminal, and the engine is the first to be gone."""


@pytest.mark.parametrize(
    "script", [KILLED_AS_THE_ENGINE_STARTS, KILLED_AFTER_ITS_ENGINE], ids=["starts", "ends"]
)
def test_the_terminal_is_as_before_if_the_app_is_killed_as_its_engine_starts_or_ends(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with Terminal([sys.executable, "-c", script]) as terminal:
        terminal.wait_ended()
        wait_until(lambda: terminal.takes_lines, "a terminal as a shell leaves it")
        terminal.settle()
        assert b"\x1b[?1049l" in terminal.raw


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_a_terminal_that_takes_only_lines_is_told_of_plain_mode() -> None:
    with Terminal([str(TUTOR), "xor"], env={"TERM": "dumb"}) as terminal:
        assert terminal.wait_ended() == 1
        assert "tutor --plain LESSON" in terminal.text().replace("\n", "")
        assert b"\x1b" not in terminal.raw
