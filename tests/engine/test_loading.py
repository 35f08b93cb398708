"""What loads while the first lesson stands, and the lesson that would load some of it, too."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.engine.conftest import server_here
from tests.training.conftest import lesson_text
from tests.waiting import PATIENCE
from tutor.engine import open_runs
from tutor.engine.server import OptimizerLoader
from tutor.lesson.document import parse
from tutor.protocol.messages import FramePainted, OpenLesson, to_line

SETUP = "w = torch.tensor(1.0, requires_grad=True)\nx = torch.ones(3)\n"


class Loading(OptimizerLoader):
    """A loader that is loading for as long as its target runs."""

    run = threading.Thread.run


@pytest.mark.parametrize(
    ("code", "waits"),
    [
        ("", False),
        ("import math\n", True),
        ("0 and torch.use_deterministic_algorithms(True)\n", True),
    ],
)
def test_a_lesson_that_may_import_waits_for_what_is_being_loaded(
    code: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_runs, "limit_memory", lambda _: None)
    end = threading.Event()
    loading = Loading(target=end.wait, args=(PATIENCE,))
    there, _ = server_here(optimizers=loading)
    loading.start()
    threading.Timer(0.2, end.set).start() if waits else None
    there.handle(OpenLesson(lesson=parse(lesson_text(Setup=code + SETUP), Path("test.md"))))
    assert loading.is_alive() is not waits
    assert there.runs is not None
    end.set()


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
