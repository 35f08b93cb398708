"""`tutor run` of lessons that end, hold or multiply their process: real processes, as typed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from tests.terminal import IN_SHELL, TUTOR
from tests.training.conftest import lesson_text
from tests.waiting import PATIENCE, wait_until
from tutor.engine import lesson_commands
from tutor.engine.lesson_commands import run_lesson
from tutor.engine.streams import Capture
from tutor.lesson import document
from tutor.lesson.model import Lesson
from tutor.protocol.messages import CheckLesson, Event, LessonStopped, TrainLesson
from tutor.training.loop import lesson_raised
from tutor.training.program import Program, programs_of
from tutor.training.run import Run
from tutor.validation import lesson_check

SETUP = """import ctypes, os, pathlib, signal, subprocess, sys, time
there = pathlib.Path(os.environ.get("THERE", "there")).touch
w = torch.tensor(1.0, requires_grad=True)
x = torch.ones(3)
n = 0"""
IS_LINUX = sys.platform == "linux"


def hostile(folder: Path, mischief: str, times: str = "== 3") -> tuple[Path, int]:
    """A lesson that does it in its third epoch, and the line where that stands."""
    path = folder / "mine.md"
    path.write_text(
        lesson_text(Setup=SETUP, Predict=f"n += 1\nif n {times}:\n    {mischief}\ny_pred = w * x")
    )
    return path, path.read_text().splitlines().index(f"    {mischief}") + 1


def run(path: Path, *more: str, command: str = "run") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TUTOR, command, str(path), "--trust", *more],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def test_a_crash_is_told_with_the_line_after_whole_figures(home: Path) -> None:
    """`tests/engine/test_command_client.py` tests the other ends."""
    path, line = hostile(home, "ctypes.string_at(0)")
    done = run(path)
    assert done.returncode == 1
    assert [row.split()[1] for row in done.stdout.splitlines()] == ["1", "2"]
    assert done.stderr == (
        f"tutor: {path}:{line}: mode autograd, Predict ended its process, "
        "which was ended by SIGSEGV\n"
    )


def test_closed_descriptors_and_compare_cost_a_line(home: Path) -> None:
    path, _ = hostile(home, "os.closerange(0, 99)")
    done = run(path, "--compare")
    assert done.returncode == 1
    assert done.stderr.startswith(f"tutor: {path}:")
    assert done.stderr.count("\n") == 1


def test_an_export_leaves_no_half_table_and_says_why(home: Path) -> None:
    path, line = hostile(home, "input('name? ')")
    done = run(path, "-o", str(home / "a.csv"), command="export")
    assert done.returncode == 1
    assert f"{path}:{line}: " in done.stderr
    assert "can't ask" in done.stderr
    assert not (home / "a.csv").exists()


def test_the_memory_limit_is_that_of_the_app(home: Path) -> None:
    path, _ = hostile(home, "z = np.ones(2**(24 if n == 3 else 27))", times="in (3, 4)")
    done = run(path, "--epochs", "5")
    assert done.returncode == 1, "a GB where 1 GB is the limit"
    assert [row.split()[1] for row in done.stdout.splitlines()] == ["1", "2", "3"]


BUSY = "[signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; there(); sum(range(10**12))"
"""In C code, deaf to Ctrl+C."""


@pytest.mark.parametrize(
    "mischief",
    [
        BUSY,
        "there(); os.kill(os.getpid(), signal.SIGSTOP)",
        "[os.fork() for _ in range(3)]; subprocess.Popen(['sleep', '77'], "
        "start_new_session=True); there(); time.sleep(99)",
    ],
)
def test_ctrl_c_ends_it_with_all_that_it_has_started_and_names_the_line(
    home: Path, mischief: str
) -> None:
    path, line = hostile(home, mischief)
    status, rows, said = stopped(path, "run", presses=1)
    assert status == 130
    assert [row.split()[1] for row in rows.splitlines()] == ["1", "2"]
    assert said == f"tutor: stopped at {path}:{line}: mode autograd, Predict\n"


@pytest.mark.skipif(not IS_LINUX, reason="threads are listed in /proc")
def test_only_the_thread_that_runs_the_lesson_takes_the_interrupt(home: Path) -> None:
    """Else a lesson that was stopped runs on for some lines before it is interrupted."""
    masks = "[p.read_text() for p in pathlib.Path('/proc/self/task').glob('*/status')]"
    mask = "int(m.split('SigBlk:')[1].split()[0], 16)"
    blocked = f"[{mask} >> (signal.SIGINT - 1) & 1 for m in masks]"
    path, _ = hostile(home, f"masks = {masks}; print('blocked in', {blocked})")
    said = run(path, "--epochs", "3").stderr
    states = re.findall("[01]", said.split("blocked in")[1])
    assert len(states) > 2
    assert states.count("0") == 1


def test_ctrl_c_twice_ends_what_is_deaf_to_it(home: Path) -> None:
    path, _ = hostile(home, BUSY)
    status, _, said = stopped(path, "check", presses=2)
    assert status == 130
    assert "Traceback" not in said


def stopped(path: Path, command: str, presses: int) -> tuple[int, str, str]:
    """Exit status, output and errors of a command stopped by Ctrl+C amid the mischief.

    Nothing that the lesson has started is left. The mischief takes longer than PATIENCE: what
    ends before that has been ended.
    """
    there = path.with_name("there")
    child = subprocess.Popen(
        [TUTOR, command, str(path), "--trust"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TUTOR_TRIAL": str(path), "THERE": str(there)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_until(lambda: there.exists() or child.poll() is not None, "the mischief")
    for press in range(presses):
        time.sleep(0.1 * press)  # or the second is one with the first
        child.send_signal(signal.SIGINT)
    printed, said = child.communicate(timeout=PATIENCE)
    wait_until(lambda: not processes_with(str(path)), "the end of all that the lesson has started")
    return child.returncode, printed, said


def test_ctrl_c_that_meets_code_of_the_tutors_names_what_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = document.read(hostile(home, "pass")[0])
    monkeypatch.setattr(lesson_commands, "limit_memory", lambda _: None)

    def interrupted(program: Program) -> NoReturn:
        raise lesson_raised(program, KeyboardInterrupt())

    def checking(lesson: Lesson, on_part: Callable[[int, str], None]) -> NoReturn:
        on_part(30, "mode autograd, Loss")
        interrupted(programs_of(lesson)["autograd"])

    monkeypatch.setattr(lesson_check, "findings", checking)
    monkeypatch.setattr(Run, "run_to", lambda run, _: interrupted(run.program))
    events: list[Event] = []
    with closing(Capture()) as capture:
        run_lesson(CheckLesson(lesson=lesson), events.append, capture)
        assert events[-1] == LessonStopped(line=30, what="mode autograd, Loss")
        run_lesson(TrainLesson(lesson=lesson), events.append, capture)
    first_line = lesson.phase("Predict").fences("autograd")[0].line
    assert events[-1] == LessonStopped(line=first_line, what="mode autograd, Predict")


def processes_with(value: str) -> list[str]:
    """The commands of the processes whose environment has this value."""
    found = []
    for entry in Path("/proc").glob("[0-9]*") if IS_LINUX else ():
        try:
            if f"TUTOR_TRIAL={value}\0".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text())
        except OSError:  # it has ended, or is another user's
            continue
    return found


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize(
    ("redirection", "status", "lines"),
    [(">/dev/full", 1, 1), (">&- 2>&- <&-", 0, 0), ("| head -1", 0, 0)],
)
def test_figures_that_can_not_be_written_cost_a_line_at_most(
    home: Path, redirection: str, status: int, lines: int
) -> None:
    path, _ = hostile(home, "print('hello')")
    done = subprocess.run(
        f"set -o pipefail; {IN_SHELL} run {shlex.quote(str(path))} --trust {redirection}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == status
    told = [line for line in done.stderr.splitlines() if line.startswith("tutor: ")]
    assert len(told) == lines
