"""Standard streams that are closed or full cost a word at most, never a traceback."""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.forked_commands import PRINTED, Ended, ends
from tests.engine.child_without_torch import TUTOR as WITHOUT_TORCH
from tests.terminal import IN_SHELL
from tests.training.conftest import lesson_text
from tests.without_torch import COMMAND

FULL, CLOSED, UNHEARD = ">/dev/full", "<&- >&- 2>&-", "2>/dev/full"
PLAIN = "--plain one-weight"
PRINTING = (
    *("list", "list --json", "list --map", "progress", "progress export -", "new mine --force"),
    *(PLAIN, "devices", "export one-weight", "check good.md --trust", "run good.md --trust"),
)
REFUSED = ("one-weight", "no-such-lesson", "check bad.md")
"""Commands with status 1: one needs a terminal, the others a lesson."""
NOTHING_WRONG = {
    *((command, closed) for command in (*PRINTING, "--help") for closed in (">&-", CLOSED)),
    *((command, UNHEARD) for command in ("list", "export one-weight", "run good.md --trust")),
    *(("list", redirection) for redirection in ("<&-", "2>&-")),
}
WRONG_UNHEARD = {
    *((command, CLOSED) for command in REFUSED),
    *(("no-such-lesson", redirection) for redirection in ("2>&-", UNHEARD)),
}
WRONG_IN_A_LINE = {
    *((command, ">&-") for command in ("one-weight", "no-such-lesson")),
    *((command, FULL) for command in (*PRINTING, "--help", "check --help", "no-such-lesson")),
    ("one-weight", "<&-"),
}
has_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")


@has_full
def test_a_closed_or_full_stream_costs_a_line_at_most(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text(lesson_text())
    (tmp_path / "bad.md").write_text(lesson_text(Predict="y_pred = = w"))
    found = ends({*NOTHING_WRONG, *WRONG_UNHEARD, *WRONG_IN_A_LINE}, tmp_path)
    for command, end in found.items():
        assert end.status == (command not in NOTHING_WRONG), (command, end)
        errors = end.stderr.removeprefix(PRINTED)
        assert errors.count("\n") == (command in WRONG_IN_A_LINE), (command, end)
        assert errors.startswith("tutor: " * (command in WRONG_IN_A_LINE)), (command, end)
    assert "import numpy" in found["export one-weight", UNHEARD].stdout


def run(
    folder: Path, command: str, redirection: str = "", program: str = IN_SHELL, **env: str
) -> Ended:
    """The command in a process of its own, as a shell runs it."""
    done = subprocess.run(
        f"(echo next; echo quit) | {program} {command} {redirection}",
        cwd=folder,
        shell=True,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **env},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("program", "command"),
    [
        (IN_SHELL, "devices"),
        (shlex.join(WITHOUT_TORCH), "run good.md --trust"),
    ],
    ids=["devices", "run"],
)
def test_a_process_that_starts_with_closed_streams_reads_and_writes_nothing(
    tmp_path: Path, program: str, command: str
) -> None:
    """Beside what it loads, torch, and a process of its own."""
    (tmp_path / "good.md").write_text(lesson_text(Setup="w = x = 1.0"))
    assert run(tmp_path, command, CLOSED, program) == (0, "", "")


@has_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told_in_one_line_by_a_process_of_its_own(
    tmp_path: Path, unbuffered: str
) -> None:
    done = run(tmp_path, "list", FULL, PYTHONUNBUFFERED=unbuffered)
    assert (done.status, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("tutor: ")


def plain_in_chinese(folder: Path, encoding: str, progress: Path) -> str:
    """What plain mode writes to standard error where the output has no Chinese characters.

    It shows the lesson in English then, not in question marks.
    """
    env = {"PYTHONIOENCODING": encoding, "TUTOR_PROGRESS": str(progress)}
    done = run(folder, f"{PLAIN} --lang zh", program=shlex.join(COMMAND), **env)
    assert "???" not in done.stdout
    assert "One weight" in done.stdout
    assert "LC_ALL=C.UTF-8" in done.stderr
    return done.stderr


def test_plain_mode_reports_what_a_locked_progress_file_did_not_take(tmp_path: Path) -> None:
    file = tmp_path / "progress.sqlite3"
    assert run(tmp_path, "progress", TUTOR_PROGRESS=str(file)).status == 0  # makes it
    with closing(sqlite3.connect(file, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        errors = plain_in_chinese(tmp_path, "ascii", file)
    assert "another program is writing it" in errors
    (beside,) = tmp_path.glob("*.unsaved-*.jsonl")
    assert str(beside) in errors


def test_nothing_is_put_beside_what_is_no_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    assert "ordinary file" in plain_in_chinese(tmp_path, "latin-1", tmp_path / "null")
    assert [path.name for path in tmp_path.iterdir()] == ["null"]
