"""Names, folders and machines that are not as one expects: told in a line, or no matter at all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.terminal import TUTOR, Terminal
from tutor.lesson import document

LESSON = Path(document.__file__).with_name("new_lesson.md").read_bytes().replace(b"TITLE", b"Mine")


def tutor(
    *arguments: str, lines: str = "", env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TUTOR), *arguments],
        input=lines,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A lesson whose path is not UTF-8, neither folder nor file, and has blanks in it."""
    path = os.path.join(os.fsencode(tmp_path), b"a folder\xff/b \xfe.md")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(LESSON)
    except OSError:
        pytest.skip("this file system takes no such name")
    return os.fsdecode(path)


def test_a_lesson_is_checked_read_and_gone_on_with_whatever_its_path(mine: str) -> None:
    checked = tutor("check", "--trust", mine)
    assert (checked.returncode, checked.stderr) == (0, "")
    read = tutor("--plain", mine, lines="next\nnext\n")
    assert (read.returncode, read.stderr) == (0, "")
    progress = tutor("progress")
    assert "epoch 1, manual" in progress.stdout
    assert (tutor("progress", "--json").returncode, progress.stderr) == (0, "")
    with Terminal([str(TUTOR)]) as terminal:
        terminal.wait_for("▶ Go on: ")
        terminal.press("enter")
        terminal.wait_for("epoch 1 of", "You are back where you left")


def test_no_name_of_a_file_reaches_the_terminal_as_an_escape_sequence(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b]0;gone\x07b\x9b2Jc.md"
    path.write_bytes(LESSON)
    tutor("--plain", str(path), "--trust", lines="next\n")
    env = {"TUTOR_LESSONS": str(tmp_path)}
    commands = ("list", "list --map", "list --json", "progress", "progress --json", "a\x1b[31m")
    for command in commands:
        done = tutor(*command.split(), env=env)
        told = (done.stdout + done.stderr).replace("\n", "")
        assert told.isprintable(), command


def test_a_size_that_no_terminal_has_is_not_believed() -> None:
    """`tests/cli` tests which sizes those are."""
    with Terminal([str(TUTOR)], env={"COLUMNS": "99999999", "LINES": "-3"}) as terminal:
        terminal.wait_for("One weight", "enter opens a lesson")
        terminal.wait_until(lambda: "q quit" in terminal.lines[23])
