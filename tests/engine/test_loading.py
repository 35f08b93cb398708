"""What loads while the first lesson stands, and the lesson that would load some of it, too."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.training.conftest import lesson_text
from tutor.engine import open_runs, server
from tutor.lesson.document import parse
from tutor.protocol.messages import OpenLesson

SETUP = "w = torch.tensor(1.0, requires_grad=True)\nx = torch.ones(3)\n"


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
    capture: Any = SimpleNamespace(muted=nullcontext, renew=lambda: None, take=lambda: ("", 0))
    inbox: Any = SimpleNamespace(has_painted=True)
    clean: Any = SimpleNamespace(restore=lambda: "")
    end = threading.Event()
    loading = threading.Thread(target=end.wait, args=(5,))
    there = server.Server(inbox, io.BytesIO(), capture, clean=clean, optimizers=loading)
    loading.start()
    threading.Timer(0.2, end.set).start() if waits else None
    there.handle(OpenLesson(lesson=parse(lesson_text(Setup=code + SETUP), Path("test.md"))))
    assert loading.is_alive() is not waits
    assert there.runs is not None
    end.set()
