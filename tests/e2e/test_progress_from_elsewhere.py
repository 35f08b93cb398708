"""A progress file from elsewhere is data: what it holds is shown, and runs only when agreed to."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.forked_commands import ROOT
from tests.terminal import TUTOR, Terminal
from tests.without_torch import COMMAND
from tutor.lesson import document, library
from tutor.progress import DraftRecord, now
from tutor.progress.store import Store, lines_of
from tutor.protocol.frame import Position
from tutor.protocol.frame import RunRecipe as Recipe
from tutor.session.bookmark import Bookmark, UnfinishedAttempt, packed

LESSON, MODE, EXERCISE = "starting-weights", "deep", "root-forgotten"
"""A repair of Setup, which runs as soon as the exercise is begun."""
EVIL = "# \x1b]0;gone\x07\x9b2J shown\n"


RUNS_SETUP = f"""
import runpy, sys
from contextlib import suppress

sys.path.insert(0, {str(ROOT)!r})
from tests.ui.fake_engine import FakeEngine
from tutor.protocol.commands import OpenLesson

apply = FakeEngine._apply

def apply_and_run(engine, number, command):
    if isinstance(command, OpenLesson):
        with suppress(Exception):  # the lesson's own Setup needs PyTorch
            exec(command.lesson.phase("Setup").fences("{MODE}")[0].code, {{}})
    return apply(engine, number, command)

FakeEngine._apply = apply_and_run
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TUTOR_THAT_RUNS_SETUP = (sys.executable, "-c", RUNS_SETUP, COMMAND[1])
"""The tutor, whose simulated engine runs the Setup of each lesson that it opens."""


@pytest.fixture
def hacked(tmp_path: Path) -> Path:
    """A file that the code from elsewhere makes when it runs."""
    return tmp_path / "hacked"


@pytest.fixture
def env(tmp_path: Path, hacked: Path) -> dict[str, str]:
    """The environment of a tutor into which a draft from elsewhere has been imported."""
    # A long path is wrapped in the editor, at any place: what is looked for stands on its own row.
    code = f"{EVIL}import pathlib\nhacked = pathlib.Path(\n{str(hacked)!r})\nhacked.touch()\n"
    draft = DraftRecord(lesson=LESSON, exercise=EXERCISE, code=code, at=now())
    file, lines = tmp_path / "progress.sqlite3", tmp_path / "theirs.jsonl"
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "TUTOR_PROGRESS": str(file)}
    lines.write_text("".join(lines_of([draft])))
    run = [str(TUTOR), "progress", "import", str(lines)]
    subprocess.run(run, env=env, check=True, capture_output=True, timeout=300)
    return env


def test_code_from_elsewhere_is_harmless_and_runs_after_a_yes_and_then_unasked(
    env: dict[str, str], hacked: Path
) -> None:
    with Terminal([*TUTOR_THAT_RUNS_SETUP, LESSON], env=env) as terminal:
        terminal.wait_for("next: ▶")
        terminal.press("A")
        terminal.wait_for("Exercises of this lesson")
        exercises = document.read(library.find(LESSON)).exercises
        ids = [exercise.id for exercise in exercises]
        terminal.press(*["down"] * ids.index(EXERCISE), "enter")
        terminal.wait_for("has not been run")
        terminal.press("o")
        terminal.wait_for("Your code of Setup", "shown", "touch()")
        terminal.press("\x13")
        terminal.wait_for("y run it")
        terminal.press("n")
        terminal.wait_gone("y run it")
        assert not hacked.exists()
        terminal.press("\x13")
        terminal.wait_for("y run it")
        terminal.press("y")
        terminal.wait_until(hacked.exists)
        assert b"gone\x07" not in terminal.raw
        assert b"\x1b]0;gone" not in terminal.raw
        assert b"\x9b2J" not in terminal.raw
        terminal.press("\x11")  # Ctrl+Q, which writes down what was agreed to
        terminal.wait_ended()
    hacked.unlink()
    done = subprocess.run(
        [*TUTOR_THAT_RUNS_SETUP, "--plain", LESSON],
        input=f"exercise {EXERCISE}\n",
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "has not been run" not in done.stdout
    assert hacked.exists(), "agreed to once, for this exact code"


def test_what_somebody_else_had_typed_half_is_no_escape_sequence(tmp_path: Path) -> None:
    lesson = document.read(library.find("one-weight"))
    evil = "\x1b]0;gone\x07\x9b2J\n\ttyped"
    left = Bookmark(
        slug=lesson.slug,
        path=str(lesson.path),
        fingerprint=lesson.fingerprint(),
        language="en",
        recipe=Recipe("manual", "cpu", 0.25, 0),
        at=Position(1, 2),
        exercise=lesson.exercises[0].id,
        unfinished=(UnfinishedAttempt(exercise=lesson.exercises[0].id, typed=evil),),
    )
    file = tmp_path / "theirs.sqlite3"
    with closing(Store(file)) as store:
        store.add([packed(left, now())])
    with Terminal(COMMAND, env={"TUTOR_PROGRESS": str(file)}) as terminal:
        terminal.wait_for("▶ Go on: ")
        terminal.press("enter")
        terminal.wait_for("Exercise 1 of", "Your answer:")
        terminal.settle()
        assert b"gone\x07" not in terminal.raw
        assert b"\x9b2J" not in terminal.raw
        assert "\x9b2J".encode() not in terminal.raw
