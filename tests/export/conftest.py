"""Exported programs, run in one interpreter of their own that can't import the tutor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

_RUNNER = """
import contextlib, io, json, sys
from tutor.training.set_up import spare_compiler
spare_compiler()  # to load that for an optimizer takes as long as to load torch
for name in [name for name in sys.modules if name.partition(".")[0] == "tutor"]:
    sys.modules[name] = None
printed = {}
for name, pieces in json.load(sys.stdin).items():
    out, namespace = io.StringIO(), {"__name__": "__main__"}
    with contextlib.redirect_stdout(out):
        for piece in pieces:
            exec(compile(piece, name, "exec"), namespace)
    printed[name] = out.getvalue()
json.dump(printed, sys.stdout)
"""


def printed_by(programs: Mapping[str, list[str]]) -> dict[str, str]:
    """What each program, given in pieces that run one after the other, prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", _RUNNER],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, str] = json.loads(done.stdout)
    return printed
