"""What loads before the first paint."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tutor.protocol.commands import FramePainted
from tutor.protocol.messages import to_line


@pytest.mark.parametrize(("cores", "waits"), [(3, True), (4, False)])
def test_torch_is_loaded_before_the_first_paint_where_there_are_cores_for_both(
    cores: int, waits: bool
) -> None:
    code = (
        f"import sys; from tutor.engine import child; child.cores = lambda: {cores}\n"
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
