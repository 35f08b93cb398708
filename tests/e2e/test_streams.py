"""Standard streams that are closed or full cost a word at most, never a traceback."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.terminal import IN_SHELL
from tests.training.conftest import lesson_text

COMMANDS = (
    *("list", "list --json", "list --map", "progress", "progress export -", "new mine --force"),
    *("--plain one-weight", "--help", "one-weight", "no-such-lesson"),
)


def run(
    tmp_path: Path, command: str, redirection: str, unbuffered: bool = False, **env: str
) -> subprocess.CompletedProcess[str]:
    """The command as a shell runs it, in this folder."""
    return subprocess.run(
        f"(echo next; echo quit) | {IN_SHELL} {command} {redirection}",
        cwd=tmp_path,
        shell=True,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONUNBUFFERED": "1" if unbuffered else "", **env},
    )


@pytest.mark.parametrize(
    ("command", "redirection"),
    [
        *((command, closed) for command in COMMANDS for closed in (">&-", "<&- >&- 2>&-")),
        *((command, "<&-") for command in ("list", "one-weight")),
    ],
)
def test_a_closed_stream_reads_and_writes_nothing(
    tmp_path: Path, command: str, redirection: str
) -> None:
    needs_more = command in ("one-weight", "no-such-lesson")  # a terminal; a lesson
    done = run(tmp_path, command, redirection)
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if needs_more else 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize(
    ("command", "unbuffered"),
    [
        *((command, False) for command in COMMANDS if command not in ("--help", "one-weight")),
        *((command, True) for command in ("list", "progress")),
    ],
)
def test_a_full_disk_behind_standard_output_is_told_in_one_line(
    tmp_path: Path, command: str, unbuffered: bool
) -> None:
    done = run(tmp_path, command, ">/dev/full", unbuffered)
    assert done.returncode == 1
    assert done.stderr.startswith("tutor: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_where_nobody_can_be_told_the_status_says_it(tmp_path: Path, redirection: str) -> None:
    assert run(tmp_path, "no-such-lesson", redirection).returncode == 1
    assert run(tmp_path, "list", redirection).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
def test_check_devices_and_export_say_a_line_or_none(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text(lesson_text())
    (tmp_path / "bad.md").write_text(lesson_text(Predict="y_pred = = w"))
    nobody, full = ("<&- >&- 2>&-", 0, 0, ""), (">/dev/full", 1, 1, "")
    untold = "2>/dev/full"
    cases = {
        "check good.md --trust": (full,),
        "check bad.md": ((nobody[0], 1, 0, ""),),
        "devices": (full, nobody),
        "export one-weight": (full, (untold, 0, 0, "import numpy")),
    }
    for command, ends in cases.items():
        for redirection, status, lines, printed in ends:
            done = run(tmp_path, command, redirection)
            what = f"tutor {command} {redirection}: {done}"
            assert (done.returncode, done.stderr.count("\n")) == (status, lines), what
            assert done.stderr.startswith("tutor: " * lines), what
            assert printed in done.stdout, what


def plain_in_chinese(tmp_path: Path, encoding: str, progress: Path) -> str:
    """What plain mode writes to standard error where the output has no Chinese characters.

    It shows the lesson in English then, not in question marks.
    """
    env = {"PYTHONIOENCODING": encoding, "TUTOR_PROGRESS": str(progress)}
    done = run(tmp_path, "--plain one-weight --lang zh", "", **env)
    assert "???" not in done.stdout
    assert "One weight" in done.stdout
    assert "LC_ALL=C.UTF-8" in done.stderr
    return done.stderr


def test_plain_mode_reports_what_a_locked_progress_file_did_not_take(tmp_path: Path) -> None:
    file = tmp_path / "progress.sqlite3"
    assert run(tmp_path, "progress", "", TUTOR_PROGRESS=str(file)).returncode == 0  # makes it
    with closing(sqlite3.connect(file, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        errors = plain_in_chinese(tmp_path, "ascii", file)
    assert "another program is writing it" in errors
    (beside,) = tmp_path.glob("*.unsaved-*.jsonl")
    assert str(beside) in errors


def test_nothing_is_put_beside_what_is_no_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    assert "no ordinary file" in plain_in_chinese(tmp_path, "latin-1", tmp_path / "null")
    assert [path.name for path in tmp_path.iterdir()] == ["null"]
