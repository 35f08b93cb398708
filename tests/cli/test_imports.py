"""Plain mode, exported scripts and `tutor why` need nothing that loads slowly."""

import subprocess
import sys

IN_TURN = """
import io, sys, tutor.cli.opening, tutor.plain_mode.command_reader
from contextlib import redirect_stdout
print(*sys.modules)
import tutor.export, tutor.cli.writing
with redirect_stdout(io.StringIO()):
    tutor.cli.main(['why', 'Target 5 is out of bounds.'])
print(*sys.modules)
"""


def test_commands_without_a_run_load_neither_torch_nor_the_screen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN], capture_output=True, text=True, check=True
    )
    plain_mode, in_all = (set(line.split()) for line in done.stdout.splitlines())
    assert "tutor.plain_mode.command_reader" in plain_mode
    assert not plain_mode & {"numpy", "rich", "sqlite3", "tutor.formula.commands"}
    assert {"tutor.export.formats", "tutor.cli.why"} <= in_all
    assert not in_all & {"torch", "numpy", "textual"}
