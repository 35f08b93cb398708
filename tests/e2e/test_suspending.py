"""Ctrl+Z, as users of a shell expect: the shell is back at once, `fg` brings the screen back."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.child_without_torch import TUTOR as WITHOUT_TORCH
from tests.far_machine import HOST, SIMULATED, pretend
from tests.terminal import IN_SHELL, Terminal, is_alive
from tests.training.conftest import lesson_text
from tests.waiting import wait_until
from tests.without_torch import COMMAND
from tutor.engine import supervisor

BASH = shutil.which("bash")
HAS_PROC = Path("/proc/self/task").exists()
pytestmark = pytest.mark.skipif(not BASH or not HAS_PROC, reason="tried in bash, on Linux")


@pytest.fixture
def shell() -> Iterator[Terminal]:
    """An interactive shell."""
    command = [str(BASH), "--norc", "--noprofile", "-i"]
    with Terminal(command, env={"PS1": "shell$ ", "HISTFILE": ""}) as terminal:
        terminal.wait_for("shell$")
        yield terminal
        kill_all(terminal.process.pid)


def type_line(terminal: Terminal, line: str) -> None:
    terminal.press(*line, "enter")


def kill_all(session: int) -> None:
    """What is stopped here must not outlive the test, whatever became of it."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == session:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def suspend(terminal: Terminal, process: int | None = None) -> None:
    """By Ctrl+Z, or by a signal to the tutor's process."""
    written = len(terminal.raw)
    if process is None:
        terminal.press("ctrl+z")
    else:
        os.kill(process, signal.SIGTSTP)
    wait_until_stopped(terminal, written)


def wait_until_stopped(terminal: Terminal, since: int) -> None:
    stopped = re.compile(rb"Stopped.*shell\$", re.DOTALL)
    terminal.wait_until(lambda: stopped.search(terminal.raw, since))


def resume(terminal: Terminal) -> None:
    """Have the tutor on the other screen again; what was on the screen before is gone."""
    written = len(terminal.raw)
    type_line(terminal, "clear; fg")
    terminal.wait_until(lambda: b"\x1b[?1049h" in terminal.raw[written:])


def test_the_shell_has_its_terminal_back_and_fg_brings_the_lesson_back(shell: Terminal) -> None:
    type_line(shell, f"{IN_SHELL} line-through-origin --mode autograd")
    shell.wait_for("next: ▶ Predict")
    shell.press("s")
    shell.wait_for("epoch 1 of 100")
    suspend(shell)
    type_line(shell, "clear; stty -a; echo ty''ped")
    shell.wait_for("typed")
    assert re.search(r"(?<!-)\bicanon\b", shell.text())
    assert re.search(r"(?<!-)\becho\b", shell.text())
    type_line(shell, "fg")
    shell.wait_for("tutor · A line through the origin", "epoch 1 of 100", "next: ▶ Predict")
    shell.wait_gone("typed")
    shell.press("s")
    shell.wait_for("epoch 2 of 100")
    shell.press("j")
    shell.wait_for("Jump to")
    shell.press(*"9000000", "enter")
    shell.wait_for("epochs/s")
    for process in (None, tutor_below(shell.process.pid)):
        suspend(shell, process)
        busy = processor_time(shell)
        time.sleep(1.0)
        assert processor_time(shell) - busy < 0.3
        resume(shell)
        shell.wait_for("tutor · A line through the origin", "epochs/s")
    suspend(shell)
    written = end_the_suspended(shell, "kill %1")
    assert b"\x1b[?1049" not in shell.raw[written:], "the terminal is the shell's"


def test_a_run_that_ctrl_z_stops_computes_nothing_until_fg(shell: Terminal, tmp_path: Path) -> None:
    long = {"Setup": "w = x = 1.0", "Predict": "y_pred = sum(range(5000))"}
    (tmp_path / "mine.md").write_text(lesson_text(**long))
    command = (*WITHOUT_TORCH, "run", str(tmp_path / "mine.md"), "--trust")
    type_line(shell, shlex.join((*command, "--epochs", "9000000", "--every", "1000")))
    shell.wait_until(lambda: b"epoch 1000" in shell.raw)
    it_computes_nothing_until_fg(shell, "")
    shell.wait_for("shell$")


def test_plain_mode_that_ctrl_z_stops_computes_nothing_until_fg(shell: Terminal) -> None:
    type_line(shell, f"{IN_SHELL} --plain line-through-origin")
    shell.wait_until(lambda: b"help for the rest" in shell.raw)
    it_computes_nothing_until_fg(shell, "jump 9000000")
    shell.wait_for("The run is at")


def it_computes_nothing_until_fg(shell: Terminal, typed: str) -> None:
    """From Ctrl+Z on, once it computes as it was told by what is typed; then Ctrl+C ends that."""
    wait_until_it_computes(shell, typed)
    suspend(shell)
    busy = processor_time(shell)
    time.sleep(1.0)
    assert processor_time(shell) - busy < 0.3
    wait_until_it_computes(shell, "clear; fg")
    shell.press("ctrl+c")


def wait_until_it_computes(shell: Terminal, typed: str) -> None:
    busy = processor_time(shell)
    type_line(shell, typed)
    shell.wait_until(lambda: processor_time(shell) > busy + 0.1)


def tutor_below(shell: int) -> int:
    """The first process of those that the shell itself has started: `clear` may be another."""
    return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])


def engine_of(terminal: Terminal) -> list[int]:
    """The numbers of all processes below the tutor that is suspended."""
    written = len(terminal.raw)
    type_line(terminal, "clear; echo pid $(jobs -p)")
    whole = re.compile(rb"pid (\d+)\r\n")
    terminal.wait_until(lambda: whole.search(terminal.raw, written))
    found = whole.search(terminal.raw, written)
    assert found is not None
    return list(supervisor.descendants(int(found[1])))


def processor_time(terminal: Terminal) -> float:
    """Seconds that the engine of the shell's tutor has used so far."""
    ticks = 0
    for number in supervisor.descendants(tutor_below(terminal.process.pid)):
        with suppress(OSError):  # it has just ended
            fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


SIMULATED_ENGINE = shlex.join(COMMAND)
"""The tutor as a word of a shell's line, for what its engine has no part in."""


def begin_in_the_menu(shell: Terminal, command: str = IN_SHELL) -> None:
    type_line(shell, command)
    shell.wait_for("enter opens a lesson")


def begin_program(shell: Terminal, program: str, folder: Path) -> None:
    """Begin a program that is the tutor in its menu, with something changed."""
    path = folder / "program.py"
    path.write_text(program)
    begin_in_the_menu(shell, shlex.join([sys.executable, str(path), COMMAND[1]]))


SUSPENDED_INSIDE_A_QUEUE = """
import os, queue, runpy, signal, sys, threading

put = queue.Queue._put

def put_and_suspend(self, item):
    put(self, item)
    if threading.current_thread() is threading.main_thread() and os.path.exists({flag!r}):
        os.remove({flag!r})
        os.kill(os.getpid(), signal.SIGTSTP)

queue.Queue._put = put_and_suspend
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""The tutor; once that file is there, it suspends itself while it holds the lock of a queue.

What is written to the terminal goes through one, and so it is left.
"""


def test_a_signal_to_suspend_may_come_while_the_screen_is_written(
    shell: Terminal, tmp_path: Path
) -> None:
    flag = tmp_path / "suspend"
    begin_program(shell, SUSPENDED_INSIDE_A_QUEUE.format(flag=str(flag)), tmp_path)
    written = len(shell.raw)
    flag.touch()
    shell.press("down")
    wait_until_stopped(shell, written)
    resume(shell)
    shell.wait_for("enter opens a lesson")
    shell.press("q")
    shell.wait_for("shell$")
    type_line(shell, "clear; fg")
    shell.wait_for("no such job")


def test_a_tutor_halted_by_force_comes_back_and_leaves_the_terminal_as_it_was(
    shell: Terminal,
) -> None:
    """No program hears of SIGSTOP: the screen has not been left when the signal to go on comes."""
    type_line(shell, f"{SIMULATED_ENGINE} line-through-origin --mode autograd")
    shell.wait_for("next: ▶ Predict")
    written = len(shell.raw)
    os.kill(tutor_below(shell.process.pid), signal.SIGSTOP)
    wait_until_stopped(shell, written)
    resume(shell)
    shell.wait_for("next: ▶ Predict")
    for epoch in range(1, 8):  # each key is read once, by one reader
        shell.press("s")
        shell.wait_for(f"epoch {epoch} of 100")
    shell.press("q")
    shell.wait_for("shell$")
    type_line(shell, "clear; stty -a; echo ty''ped")
    shell.wait_for("typed")
    assert re.search(r"(?<!-)\bicanon\b", shell.text())
    assert re.search(r"(?<!-)\becho\b", shell.text())


def test_a_signal_to_go_on_changes_nothing_for_a_tutor_that_has_not_stopped(
    shell: Terminal,
) -> None:
    """To set the terminal up once more would drop the keys that wait to be read."""
    type_line(shell, f"{SIMULATED_ENGINE} line-through-origin --mode autograd")
    shell.wait_for("next: ▶ Predict")
    written = len(shell.raw)
    for epoch in range(1, 4):
        os.kill(tutor_below(shell.process.pid), signal.SIGCONT)
        shell.press("s")
        shell.wait_for(f"epoch {epoch} of 100")
    assert b"\x1b[?1049l" not in shell.raw[written:], "the screen is not left"


def test_a_suspended_tutor_can_be_killed(shell: Terminal) -> None:
    begin_in_the_menu(shell)
    suspend(shell)
    written = end_the_suspended(shell, "kill -9 %1")
    assert b"\x1b[?1049" not in shell.raw[written:], "the terminal is the shell's"


@pytest.mark.parametrize("how", ["kill %1", "kill -9 %1"])
def test_a_tutor_halted_by_force_can_be_ended_and_leaves_the_screen(
    shell: Terminal, how: str
) -> None:
    begin_in_the_menu(shell)
    written = len(shell.raw)
    os.kill(tutor_below(shell.process.pid), signal.SIGSTOP)
    wait_until_stopped(shell, written)
    written = end_the_suspended(shell, how)
    assert shell.raw.rfind(b"\x1b[?1049l") >= written


PATIENT_IN_THE_BACKGROUND = """
import runpy, sys
from tutor.ui import terminal_watch

terminal_watch.END_DELAY = 600.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""The tutor, which waits there for a signal to end however late that comes."""


def test_what_is_typed_for_the_shell_does_not_keep_a_halted_tutor_from_its_end(
    shell: Terminal, tmp_path: Path
) -> None:
    """A thread that reads keys must not read in the background, which would stop the process."""
    begin_program(shell, PATIENT_IN_THE_BACKGROUND, tmp_path)
    written = len(shell.raw)
    pid = tutor_below(shell.process.pid)
    os.kill(pid, signal.SIGSTOP)
    wait_until_stopped(shell, written)
    type_line(shell, "clear; sle''ep 2; echo ty''ped")
    shell.settle()
    type_line(shell, "# left in the terminal for a while")
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.5)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)  # as a shell does: on a slow machine it has stopped again
    wait_until(lambda: not is_alive(pid), "the end of the tutor")


ASKS_FOR_A_PASSWORD = """
echo $$ >> {folder}/processes
if [ -e {folder}/asks ]; then
    printf Password: > /dev/tty
    read password < /dev/tty
fi
"""


def test_ctrl_z_while_ssh_asks_for_a_password_stops_it_and_fg_lets_it_be_answered(
    shell: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop stands still then."""
    before = ASKS_FOR_A_PASSWORD.format(folder=shlex.quote(str(tmp_path)))
    pretend(monkeypatch, tmp_path, *SIMULATED, before=before)
    for name in ("TUTOR_SSH", "TUTOR_REMOTE"):
        type_line(shell, f"export {name}={shlex.quote(os.environ[name])}")
    type_line(shell, f"clear; {IN_SHELL} --on {HOST} line-through-origin")
    shell.wait_for("next: ▶ Predict")
    shell.press("s")
    shell.wait_for("epoch 1 of")
    (tmp_path / "asks").touch()
    os.kill(int((tmp_path / "processes").read_text().split()[-1]), signal.SIGKILL)
    shell.wait_for("C reconnect")
    shell.press("C")
    shell.wait_for("Password:")
    suspend(shell)
    type_line(shell, "clear; fg")
    shell.wait_gone("Password:")
    shell.press(*"secret", "enter")
    shell.wait_for("back at epoch 1")
    shell.press("s")
    shell.wait_for("epoch 2 of")


def test_a_tutor_without_a_shell_does_not_stop_for_good() -> None:
    """As with `ssh -t HOST tutor`: nobody could continue it."""
    with Terminal([*COMMAND, "one-weight"]) as terminal:
        terminal.wait_for("next: ▶ Predict")
        terminal.press("ctrl+z")
        terminal.wait_for("no shell")
        os.kill(terminal.process.pid, signal.SIGTSTP)
        terminal.press("s")
        terminal.wait_for("epoch 1 of")
        terminal.press("q")
        assert terminal.wait_ended() == 0


def test_a_tutor_put_into_the_background_waits_there_for_the_terminal(shell: Terminal) -> None:
    begin_in_the_menu(shell, SIMULATED_ENGINE)
    suspend(shell)
    written = len(shell.raw)
    type_line(shell, "bg")
    stopped_again = re.compile(rb"&.*Stopped", re.DOTALL)

    def is_stopped() -> bool:
        type_line(shell, "")  # bash tells of its jobs before a prompt
        shell.read(0.2)
        return bool(stopped_again.search(shell.raw, written))

    shell.wait_until(is_stopped)
    assert b"\x1b[?1049" not in shell.raw[written:], "the terminal is the shell's"
    resume(shell)
    shell.wait_for("enter opens a lesson")


def end_the_suspended(shell: Terminal, how: str) -> int:
    """Returns how much had been written before."""
    engine = engine_of(shell)
    written = len(shell.raw)
    type_line(shell, how)
    shell.wait_until(lambda: ended(shell, written))
    type_line(shell, "clear; fg")
    shell.wait_for("no such job")
    wait_until(lambda: not any(map(is_alive, engine)), "the end of the engine")
    shell.settle()
    return written


def ended(terminal: Terminal, since: int) -> bool:
    """Whether Bash has said so, with one of its prompts; on the screen it may have scrolled off."""
    type_line(terminal, "")
    terminal.read(0.2)
    said = bytes(terminal.raw[since:])
    return any(word in said for word in (b"Exit", b"Terminated", b"Hangup", b"Killed"))
