"""A progress file from elsewhere is data: what it holds is shown, and runs only when agreed to."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.terminal import TUTOR, Terminal
from tutor.lesson import document, library
from tutor.progress.records import DraftRecord, Record, now
from tutor.progress.store import Store
from tutor.progress.transfer import lines_of

LESSON, EXERCISE = "cpu-and-gpu", "leaf-that-travelled"
"""A repair of Setup, which runs as soon as the exercise is begun."""


@pytest.fixture
def hacked(tmp_path: Path) -> Path:
    """A file that the code from elsewhere makes when it runs."""
    return tmp_path / "hacked"


@pytest.fixture
def elsewhere(tmp_path: Path, hacked: Path) -> list[Record]:
    code = f"import pathlib\npathlib.Path({str(hacked)!r}).touch()\n"
    return [DraftRecord(lesson=LESSON, exercise=EXERCISE, code=code, at=now())]


@pytest.fixture(params=["imported", "copied"])
def env(request: pytest.FixtureRequest, tmp_path: Path, elsewhere: list[Record]) -> dict[str, str]:
    """The environment of a tutor that has these drafts, by an import or as a whole database."""
    file = tmp_path / "progress.sqlite3"
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "TUTOR_PROGRESS": str(file)}
    if request.param == "copied":
        with closing(Store(file)) as store:
            store.add(elsewhere)
    else:
        lines = tmp_path / "theirs.jsonl"
        lines.write_text("".join(lines_of(elsewhere)))
        run = [str(TUTOR), "progress", "import", str(lines)]
        subprocess.run(run, env=env, check=True, capture_output=True, timeout=60)
    return env


def plain(env: dict[str, str], *lines: str) -> str:
    done = subprocess.run(
        [str(TUTOR), "--plain", LESSON],
        input="\n".join(lines),
        env=env,
        text=True,
        capture_output=True,
        timeout=120,
    )
    return done.stdout


def test_in_plain_mode_code_from_elsewhere_runs_when_it_is_agreed_to_and_then_unasked(
    env: dict[str, str], hacked: Path
) -> None:
    said = plain(env, f"exercise {EXERCISE}", "restart", "next", "code")
    assert "has not been run" in said
    assert "touch()" in said
    assert not hacked.exists()
    plain(env, f"exercise {EXERCISE}", "agree")
    assert hacked.exists()
    hacked.unlink()
    assert "has not been run" not in plain(env, f"exercise {EXERCISE}")
    assert hacked.exists(), "agreed to once, for this exact code"


def test_on_the_screen_code_from_elsewhere_runs_after_a_yes(
    env: dict[str, str], hacked: Path
) -> None:
    with Terminal([str(TUTOR), LESSON], env=env) as terminal:
        terminal.wait_for("next: ▶")
        terminal.press("A")
        terminal.wait_for("Exercises of this lesson")
        exercises = document.read(library.find(LESSON)).exercises
        ids = [exercise.id for exercise in exercises]
        terminal.press(*["down"] * ids.index(EXERCISE), "enter")
        terminal.wait_for("has not been run")
        terminal.press("o")
        terminal.wait_for("Your code of Setup", "touch()")
        terminal.press("\x13")
        terminal.wait_for("y run it")
        terminal.press("n")
        terminal.wait_gone("y run it")
        assert not hacked.exists()
        terminal.press("\x13")
        terminal.wait_for("y run it")
        terminal.press("y")
        terminal.wait_until(hacked.exists)
