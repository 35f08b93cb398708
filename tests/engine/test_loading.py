"""What loads before the first paint."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tutor.protocol.commands import FramePainted
from tutor.protocol.messages import to_line


@pytest.mark.parametrize(
    ("before", "waits"),
    [
        ("child.FREE_CORE = 0.0", False),
        ("child.FREE_CORE = 2.0", True),
        ("child._QUICK = ('numpy',); child.import_module = lambda name: time.sleep(1.0)", True),
    ],
)
def test_torch_is_loaded_before_the_first_paint_where_a_core_is_free(
    before: str, *, waits: bool
) -> None:
    code = (
        "import sys, time, numpy; from tutor.engine import child\n"
        f"{before}\n"
        "def serve(inbox, out):\n"
        "    loaded = sorted({'numpy', 'torch', 'yaml'} & set(sys.modules))\n"
        "    out.write(f'{inbox.has_painted} {loaded}'.encode())\n"
        "    out.flush()\n"
        "child.main(serve)"
    )
    command = (sys.executable, "-c", code)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if waits:
            process.stdin.write(to_line(FramePainted()))
            process.stdin.flush()
        assert process.stdout.read() == f"{waits} ['numpy']".encode()
