"""Names, folders and machines that are not as one expects: told in a line, or no matter at all."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.forked_commands import ends
from tests.terminal import Terminal
from tests.without_torch import COMMAND
from tutor.lesson import document

LESSON = Path(document.__file__).with_name("new_lesson.md").read_bytes().replace(b"TITLE", b"Mine")


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


def read_plainly(path: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--plain", path, "--trust"],
        input="next\nnext\n",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_lesson_is_read_and_gone_on_with_whatever_its_path(mine: str, tmp_path: Path) -> None:
    """`tests/cli` and `tests/engine` test that it is checked."""
    read_plainly(mine)
    for command, end in ends([("progress", ""), ("progress --json", "")], tmp_path).items():
        assert (end.status, end.stderr) == (0, ""), command
        assert "epoch 1, manual" in end.stdout or "json" in command[0]
    with Terminal(COMMAND) as terminal:
        terminal.wait_for("▶ Go on: ")
        terminal.press("enter")
        terminal.wait_for("epoch 1 of", "You are back where you left off")


def test_no_name_of_a_file_reaches_the_terminal_as_an_escape_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tests/cli/test_progress.py` tests names in the progress."""
    (tmp_path / "a\x1b]0;gone\x07b\x9b2Jc.md").write_bytes(LESSON)
    monkeypatch.setenv("TUTOR_LESSONS", str(tmp_path))
    commands = ("list", "list --map", "list --json", "a\x1b[31m")
    for command, end in ends([(words, "") for words in commands], tmp_path).items():
        told = (end.stdout + end.stderr).replace("\n", "")
        assert told.isprintable(), command
        assert "gone" in told or "31m" in told
