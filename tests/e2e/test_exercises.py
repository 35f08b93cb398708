"""All five kinds of exercises, done in a pseudo-terminal at 80×24."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from benchmarks.curriculum_terminal import SELECT_ALL, play
from tests.shipped import lesson
from tests.terminal import Terminal
from tests.waiting import PATIENCE
from tests.without_torch import COMMAND
from tutor.lesson.exercise import EXERCISE_KINDS, kind_of


def test_every_kind_of_exercise_can_be_done_by_its_solution(tmp_path: Path) -> None:
    chain = lesson("chain-of-three")
    assert {kind_of(exercise) for exercise in chain.exercises} == set(EXERCISE_KINDS)
    assert play(chain, tmp_path) == []


PASTE = "if x:\n  y = [\n    1,\n  ]\nz = 1\n"
"""The editor itself would indent the lines after the first and the second one further."""


ALL_KEYS_ARE_FAST = f"""
import runpy, sys
from tutor.ui.screens import editor

editor.PASTE_SECONDS = {PATIENCE}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a tutor for which a paste is one, however slowly a busy machine takes it in."""


def test_pasted_code_keeps_its_own_indentation() -> None:
    """Also where the terminal does not say that it is a paste (no bracketed paste)."""
    exercises = lesson("forgotten-zero").exercises
    number = next(n for n, e in enumerate(exercises) if kind_of(e) == "repair")
    python, script = COMMAND
    command = [python, "-c", ALL_KEYS_ARE_FAST, script, "forgotten-zero"]
    with Terminal(command) as terminal:
        terminal.wait_for("next: ▶")
        terminal.press("A")
        terminal.wait_for("Exercises of this lesson")
        terminal.press(*["down"] * number, "enter")
        terminal.wait_for("edits the code")
        terminal.press("o")
        terminal.wait_for("Your code of")
        for count, (end, is_marked) in enumerate(product("\r\n", (False, True))):
            terminal.press(SELECT_ALL)
            terminal.settle()
            code = PASTE.replace("z = 1", f"z = {count}")
            text = code.replace("\n", end)
            terminal.press(f"\x1b[200~{text}\x1b[201~" if is_marked else text)
            terminal.wait_for(f"z = {count}")
            for row_number, row in enumerate(code.split("\n")[:-1], 1):
                shown = re.compile(rf"^ *{row_number}  {re.escape(row)}$", re.MULTILINE)
                terminal.wait_until(lambda shown=shown: shown.search(terminal.text()))
