"""Command lines of `tutor` with redirected streams, each in a fork of one process.

Python and the tutor are loaded once for all of them, and torch never: stubs stand in for what
needs it. A fork ends as a process of its own does; how it starts is tested elsewhere.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, NoReturn

import tutor.training
from tests.ui.fake_engine import FakeEngine
from tutor.cli import checking, main, opening, running
from tutor.cli.parsers import COMMANDS
from tutor.engine.command_client import CommandClient, OnEvent
from tutor.protocol.commands import CheckLesson, TrainLesson
from tutor.protocol.events import FiguresPrinted, OutputPrinted

ROOT = Path(__file__).parents[2]
TYPED = b"next\nquit\n"
PRINTED = "hello\n"
"""Printed by the lesson of a run."""
_REDIRECTION = re.compile(r"(\d?)([<>])(&-|\S+)")


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    stdout: str
    stderr: str


class StubClient(CommandClient):
    """Finds nothing wrong with a lesson, which prints a line and has a line of figures."""

    def start(self) -> None:
        """There is no process."""

    def do(
        self, command: CheckLesson | TrainLesson, on_event: OnEvent, seconds: float | None = None
    ) -> None:
        if isinstance(command, TrainLesson):
            on_event(OutputPrinted(text=PRINTED))
            on_event(FiguresPrinted(text="epoch 1\n"))


def ends(commands: Iterable[tuple[str, str]], folder: Path) -> dict[tuple[str, str], Ended]:
    """How commands end in a folder; each is words and a redirection, as a shell takes them."""
    wanted = list(commands)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tests.e2e.forked_commands"],
        input=json.dumps(wanted),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    ended = (Ended(*end) for end in json.loads(done.stdout))
    return dict(zip(wanted, ended, strict=True))


def _run_all() -> None:
    """Run the commands that standard input names, and print how each has ended."""
    wanted = json.load(sys.stdin)
    for command in COMMANDS.values():
        import_module(f"tutor.cli.{command.module}")
    opening.EngineClient = lambda terminal, host: FakeEngine()  # type: ignore[assignment,misc]
    for module in (checking, running):
        module.CommandClient = StubClient  # type: ignore[misc]
    tutor.training.devices = SimpleNamespace(  # type: ignore[attr-defined]
        available=lambda: ("cpu",), describe=lambda _: "a stub"
    )
    assert "torch" not in sys.modules
    gc.freeze()  # a fork neither looks through nor copies what all share
    print(json.dumps([_end(words, redirection) for words, redirection in wanted]))


def _end(words: str, redirection: str) -> Ended:
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        os.pwrite(files[0].fileno(), TYPED, 0)
        child = os.fork()
        if not child:
            for number, file in enumerate(files):
                os.dup2(file.fileno(), number)
            _run(words.split(), redirection)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out, errors = (os.pread(file.fileno(), 2**20, 0).decode() for file in files[1:])
        return Ended(status, out, errors)


def _run(arguments: list[str], redirection: str) -> NoReturn:
    """Run the command with its streams as Python has them where a process has just started."""
    for number, arrow, target in _REDIRECTION.findall(redirection):
        descriptor = int(number or "<>".index(arrow))
        if target == "&-":
            os.close(descriptor)
        else:
            os.dup2(os.open(target, os.O_WRONLY), descriptor)
    for number, (name, how) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            stream = open(number, how, closefd=False)  # noqa: SIM115 - to the end of the process
        except OSError:
            stream = None
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    status = main(arguments)
    assert "torch" not in sys.modules, "it needs none"
    sys.exit(status)


if __name__ == "__main__":
    _run_all()
