"""Benchmarks have a home of their own: the user's progress and settings are not theirs."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import benchmarks
from benchmarks import keys
from benchmarks.home import PLACES, own_home

MODULES = sorted(
    path for path in Path(benchmarks.__path__[0]).glob("*.py") if "__main__" in path.read_text()
)


def test_what_is_kept_there_is_gone_afterwards_and_the_environment_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUTOR_PROGRESS", "/the/users/own")
    before = dict(os.environ)
    with own_home():
        home = os.environ["HOME"]
        assert {os.environ[name] for name in PLACES} == {home}
        assert "TUTOR_PROGRESS" not in os.environ
        (Path(home) / "kept").write_text("")
    assert not Path(home).exists()
    assert dict(os.environ) == before


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_every_benchmark_is_run_in_a_home_of_its_own(module: Path) -> None:
    last = ast.parse(module.read_text()).body[-1]
    assert isinstance(last, ast.If), "the part that runs it"
    (within,) = last.body
    assert isinstance(within, ast.With)
    assert ast.unparse(within.items[0]) == "own_home()"


def test_keys_are_measured_at_both_sizes_whatever_the_user_has_done(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["keys", "1"])
    keys.main()
    assert capsys.readouterr().out.count("back a phase") == 2
    assert not list(home.iterdir())
