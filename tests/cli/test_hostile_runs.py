"""`tutor run` of lessons that end, hold or multiply their process: real processes.

Where it does not matter how a lesson trains, `child_without_torch` runs it.
"""

from __future__ import annotations

import json
import os
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

from tests.engine.child_without_torch import TUTOR as WITHOUT_TORCH
from tests.terminal import TUTOR
from tests.training.conftest import lesson_text
from tests.waiting import PATIENCE, wait_until
from tutor.engine import lesson_commands
from tutor.engine.child import Capture
from tutor.engine.lesson_commands import run_lesson
from tutor.lesson import document
from tutor.lesson.model import Lesson
from tutor.protocol.commands import CheckLesson, TrainLesson
from tutor.protocol.events import Event, LessonPart, LessonStopped
from tutor.training.lesson_error import lesson_raised
from tutor.training.program import Program, programs_of
from tutor.training.run import Run
from tutor.validation import lesson_check

TENSORS = "w = torch.tensor(1.0, requires_grad=True)\nx = torch.ones(3)"
SETUP = f"""import ctypes, os, pathlib, signal, subprocess, time
there = pathlib.Path(os.environ.get("THERE", "there")).touch
{TENSORS}
n = 0
class Slow:
    def __del__(self):
        there(), time.sleep(0.5)
def too_much():
    z = np.ones(2**24)
    try:
        z = np.ones(2**27)
    except MemoryError:
        print("a GB is too much")"""
IS_LINUX = sys.platform == "linux"


WITHOUT_TENSORS = SETUP.replace(TENSORS, "w = x = 1.0")


def hostile(
    folder: Path, mischief: str, times: str = "== 3", setup: str = WITHOUT_TENSORS
) -> tuple[Path, int]:
    """A lesson that does it in its third epoch, and the line where that stands."""
    path = folder / "mine.md"
    path.write_text(
        lesson_text(Setup=setup, Predict=f"n += 1\nif n {times}:\n    {mischief}\ny_pred = w * x")
    )
    return path, path.read_text().splitlines().index(f"    {mischief}") + 1


def run(path: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, str(path), "--trust"],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def test_a_crash_is_told_with_the_line_after_whole_figures_and_all_that_was_printed(
    home: Path,
) -> None:
    """`tests/engine/test_command_client.py` tests the other ends.

    The memory limit is that of the app: a GB is too much.
    """
    limited = "print('\\x1b[31mred') or too_much() if n == 2 else ctypes.string_at(0)"
    path, line = hostile(home, limited, "in (2, 3)", SETUP)
    done = run(path, TUTOR, "run", "--format", "jsonl")
    assert done.returncode == 1
    assert [json.loads(row)["epoch"] for row in done.stdout.splitlines()] == [1, 2]
    assert done.stderr == (
        "^[[31mred\na GB is too much\n"
        f"tutor: {path}:{line}: mode autograd, Predict ended its process, "
        "which was ended by SIGSEGV\n"
    )


def test_closed_descriptors_cost_a_line_and_leave_no_half_table(home: Path) -> None:
    path, _ = hostile(home, "os.closerange(0, 99)")
    done = run(path, *WITHOUT_TORCH, "export", "-o", str(home / "a.csv"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tutor: {path}:")
    assert done.stderr.count("\n") == 1
    assert not (home / "a.csv").exists()


BUSY = "[signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; there(); sum(range(10**12))"
"""In C code, deaf to Ctrl+C."""


@pytest.mark.parametrize(
    "mischief",
    [BUSY, "Slow(); os.kill(os.getpid(), signal.SIGSTOP)"],
    ids=["busy", "stopped, and in a finalizer"],
)
def test_ctrl_c_ends_a_run_and_names_the_line(home: Path, mischief: str) -> None:
    path, line = hostile(home, mischief)
    status, rows, said = stopped(path, *WITHOUT_TORCH, "run", presses=1, rows=2)
    assert status == 130
    assert [row.split()[1] for row in rows.splitlines()] == ["1", "2"]
    assert said == f"tutor: stopped at {path}:{line}: mode autograd, Predict\n"


@pytest.mark.parametrize(
    ("mischief", "presses"),
    [
        (
            "[os.fork() for _ in range(3)]; subprocess.Popen(['sleep', '77'], "
            "start_new_session=True); there(); os.kill(os.getpid(), signal.SIGSTOP)",
            1,
        ),
        (BUSY, 2),
    ],
    ids=["stopped, with others", "deaf, pressed twice"],
)
def test_ctrl_c_ends_a_check_with_all_that_it_has_started(
    home: Path, mischief: str, presses: int
) -> None:
    path = home / "mine.md"
    path.write_text(lesson_text(Predict=f"{WITHOUT_TENSORS}\n{mischief}"))
    status, _, said = stopped(path, *WITHOUT_TORCH, "check", presses=presses)
    assert status == 130
    assert "Traceback" not in said


def stopped(path: Path, *command: str | Path, presses: int, rows: int = 0) -> tuple[int, str, str]:
    """Exit status, output and errors of a command stopped by Ctrl+C amid the mischief.

    That comes once so many rows are printed. Nothing that the lesson has started is left. The
    mischief takes longer than PATIENCE: what ends before that has been ended.
    """
    there, out = path.with_name("there"), path.with_name("out")
    child = subprocess.Popen(
        [*command, path, "--trust"],
        stdout=out.open("wb"),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TUTOR_TRIAL": str(path), "THERE": str(there)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    is_due = lambda: there.exists() and out.read_text().count("\n") >= rows  # noqa: E731
    wait_until(lambda: is_due() or child.poll() is not None, "the mischief")
    for press in range(presses):
        time.sleep(0.1 * press)  # or the second is one with the first
        child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=PATIENCE)[1]
    wait_until(lambda: not processes_with(str(path)), "the end of all that the lesson has started")
    return child.returncode, out.read_text(), said


def test_ctrl_c_that_meets_code_of_the_tutors_names_what_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = document.read(hostile(home, "pass")[0])
    monkeypatch.setattr(lesson_commands, "limit_memory", lambda _: None)

    def interrupted(program: Program) -> NoReturn:
        raise lesson_raised(program, KeyboardInterrupt())

    def checking(lesson: Lesson, on_part: Callable[[LessonPart], None], device: str) -> NoReturn:
        on_part(LessonPart(30, mode="autograd", phase="Loss"))
        interrupted(programs_of(lesson)["autograd"])

    monkeypatch.setattr(lesson_check, "findings", checking)
    monkeypatch.setattr(Run, "run_to_without_frame", lambda run, _: interrupted(run.program))
    events: list[Event] = []
    with closing(Capture()) as capture:
        run_lesson(CheckLesson(lesson=lesson), events.append, capture)
        assert events[-1] == LessonStopped(part=LessonPart(30, mode="autograd", phase="Loss"))
        run_lesson(TrainLesson(lesson=lesson), events.append, capture)
    first_line = lesson.phase("Predict").fences("autograd")[0].line
    assert events[-1] == LessonStopped(
        part=LessonPart(first_line, mode="autograd", phase="Predict")
    )


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


def test_a_reader_who_has_read_enough_ends_it_without_a_word(home: Path) -> None:
    path, _ = hostile(home, "pass")
    command = shlex.join([*WITHOUT_TORCH, "run", str(path), "--trust", "--epochs", "100000"])
    done = subprocess.run(
        f"set -o pipefail; {command} | head -1",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "epoch 1\n"
