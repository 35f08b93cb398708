"""`tutor --plain` on its real engine, fed through a pipe."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_pipe_is_answered_line_by_line_and_ends_it(tmp_path: Path):
    environment = os.environ | {"TUTOR_PROGRESS": str(tmp_path / "progress.db")}
    run = subprocess.run(
        [Path(sys.executable).with_name("tutor"), "--plain", "one-weight"],
        input="s\nlr 0.5\nnext\nnonsense\nmode autograd\ns\nvalues",
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    told = [
        "x equals 1; y equals 2; w equals 1.",
        "w rose from 1 to 1.5.",
        "The learning rate went from 0.25 to 0.5.",
        "y hat equals 1.5 times 1, which equals 1.5.",
        "There is no command nonsense.",
        "The gradient mode is autograd, on cpu.",
        "The loss is 0.25.\nw is 2. Its gradient is -1. Now its gradient is 0.",
    ]
    places = [run.stdout.find(line) for line in told]
    assert -1 not in places, run.stdout
    assert places == sorted(places)
    assert "\x1b" not in run.stdout
