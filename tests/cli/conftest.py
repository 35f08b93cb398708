"""The command line run in this process, with a home of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tutor.cli import main


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Tutor = Callable[..., Done]


@pytest.fixture
def tutor(capfd: pytest.CaptureFixture[str]) -> Tutor:
    """Runs a command line in this process, which has torch already."""

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        return Done(status, *capfd.readouterr())

    return run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("TUTOR_LESSONS", raising=False)
    monkeypatch.delenv("TUTOR_PROGRESS", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return tmp_path
