"""All five kinds of exercises, done in a pseudo-terminal at 80×24."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.curriculum_terminal import play
from tests.shipped import lesson
from tests.terminal import TUTOR, Terminal
from tutor.lesson.exercise import KINDS, kind_of


def test_every_kind_of_exercise_can_be_done_by_its_solution(tmp_path: Path) -> None:
    chain = lesson("chain-of-three")
    assert {kind_of(exercise) for exercise in chain.exercises} == set(KINDS)
    assert play(chain, tmp_path) == []


PASTE = "def f(x):\n    if x:\n        y = [\n            1,\n        ]\n    return x\nz = 1\n"


@pytest.mark.parametrize("end", ["\r", "\n"])
@pytest.mark.parametrize("is_marked", [False, True])
def test_pasted_code_keeps_its_own_indentation(end: str, is_marked: bool) -> None:
    """Also where the terminal does not say that it is a paste (no bracketed paste)."""
    text = PASTE.replace("\n", end)
    exercises = lesson("forgotten-zero").exercises
    number = next(n for n, e in enumerate(exercises) if kind_of(e) == "repair")
    with Terminal([str(TUTOR), "forgotten-zero"], rows=45) as terminal:
        terminal.wait_for("next: ▶")
        terminal.press("A")
        terminal.wait_for("Exercises of this lesson")
        terminal.press(*["down"] * number, "enter")
        terminal.wait_for("edits the code")
        terminal.press("o")
        terminal.wait_for("Your code of")
        terminal.press(f"\x1b[200~{text}\x1b[201~" if is_marked else text)
        terminal.wait_for("z = 1")
        for number, row in enumerate(PASTE.split("\n")[:-1], 1):
            shown = re.compile(rf"^ *{number}  {re.escape(row)}$", re.MULTILINE)
            terminal.wait_until(lambda shown=shown: shown.search(terminal.text()))
