"""`tutor export`: a lesson as a script, as a notebook, or its figures as a table.

A script or a notebook is made from the lesson's text, without torch; a table by a run.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from msgspec.structs import replace

from tutor.cli.lessons import trusted_lesson
from tutor.cli.output import print_exactly
from tutor.cli.running import train, train_command
from tutor.engine.command_client import CommandClient
from tutor.errors import UsageError
from tutor.export import new_file, write
from tutor.export.code import ExportSettings
from tutor.export.formats import notebook, script
from tutor.lesson.model import Lesson
from tutor.plain import one_line

_KINDS = {".py": script, ".ipynb": notebook}
_DEVICE = re.compile(r"(cpu|mps|(cuda|xpu)(:\d+)?)\Z")
"""As torch names them; a script may be for a machine that has another."""


def export_command(options: argparse.Namespace) -> int:
    """Write the file that was asked for, or the script to standard output.

    Raises FileThere for a file that exists, unless --force is given.
    """
    path: Path | None = options.output
    kind = path.suffix.lower() if path else ""
    if path is not None and kind not in (*_KINDS, ".csv"):
        raise UsageError(
            f"{one_line(str(path))}: the name must end in .py (a script), .ipynb (a notebook) "
            "or .csv (the figures)"
        )
    lesson = trusted_lesson(options.lesson, trust_now=options.trust, language=options.lang)
    mode = options.mode or lesson.modes[0]
    if path is None:
        print_exactly(script(lesson, mode, _settings(options)))
        return 0
    if kind == ".csv":
        _write_table(lesson, mode, options)
    else:
        write(_KINDS[kind](lesson, mode, _settings(options)), path, options.force)
    print(one_line(str(path)))
    return 0


def _settings(options: argparse.Namespace) -> ExportSettings:
    if not _DEVICE.match(options.device):
        raise UsageError(
            f"no device is called {options.device!r}; available: cpu, cuda, cuda:1, mps"
        )
    return ExportSettings(
        device=options.device,
        learning_rate=options.learning_rate,
        epochs=options.epochs,
        seed=options.seed,
        every=options.every,
    )


def _write_table(lesson: Lesson, mode: str, options: argparse.Namespace) -> None:
    """Train, and write the figures; what the lesson prints meanwhile is dropped."""
    command = replace(train_command(options, lesson), mode=mode)
    with new_file(options.output, options.force) as out, CommandClient() as client:
        train(client, command, out.write, quiet=True)
