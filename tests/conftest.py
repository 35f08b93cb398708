"""Fixtures for every test: nobody's home is written to, and the long files begin first."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tutor.lesson import trust

os.environ["OMP_NUM_THREADS"] = "1"
"""Read when torch is loaded: as the engine computes. With workers on every core, threads that
wait for each other take ten times as long."""

sys.dont_write_bytecode = False
"""Each worker would compile all tests anew, which takes it three seconds."""

# A busy machine may hold any example up. The same examples are tried each time, so that what one
# run finds is there in the next.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")
# It also tries the constants of all modules that are loaded: which are depends on the tests before.
if providers := sys.modules.get("hypothesis.internal.conjecture.providers"):
    providers.is_local_module_file = lambda path: False  # versions before 6.130 have none

TESTS = Path(__file__).parent

LONGEST = (
    "lessons/test_lazy_ways.py",
    "lessons/test_lessons_pass_check.py",
    "training/test_ranks.py",
    "lessons/test_grading_on_other_machines.py",
    "analysis/doctor/test_correct_scripts.py",
    "script/test_cases.py",
    "e2e/test_suspending.py",
    "e2e/test_terminal.py",
    "script/test_ranked_scripts.py",
    "lessons/test_published_figures.py",
    "e2e/test_exercises.py",
    "engine/test_connection.py",
    "e2e/test_streams.py",
    "analysis/doctor/test_rules_scripts.py",
    "engine/test_process_state.py",
    "training/test_set_up.py",
    "cli/test_hostile_runs.py",
    "ui/test_lesson_screen.py",
    "training/test_changes.py",
    "analysis/doctor/test_shipped_lessons.py",
    "cli/test_new_from.py",
    "engine/test_restarts.py",
    "engine/test_command_client.py",
    "cli/test_scripts.py",
    "e2e/test_progress_from_elsewhere.py",
    "e2e/test_going_on.py",
    "lessons/test_curriculum.py",
    "script/test_script_loop.py",
    "engine/test_inspector.py",
    "e2e/test_benchmarks.py",
    "training/test_time_travel.py",
    "engine/test_ranks.py",
)
"""The files that take longest, longest first. A file is run by one worker: one that takes many
seconds and begins last lets the others wait. (`pytest --durations=0` says what takes long; the
order of the other files hardly matters.)"""

_RANK = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
_PLACES = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
_CURRENT_TEST = "PYTEST_CURRENT_TEST"
_homes = count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, the rest as it was: workers take files in the order of collection."""
    items.sort(key=lambda item: _RANK.get(item.path, len(_RANK)))


def pytest_configure() -> None:
    """Nothing that is collected becomes garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect no more what stays (torch, Textual, the tests), and the rest more seldom.

    It would take a tenth of the tests' processor time, and memory is not short.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def pytest_sessionfinish() -> None:
    """Let pytest, which collects five times more, find nothing left."""
    gc.collect()
    gc.freeze()


def _move_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Have this process and its children keep what they keep below `home`."""
    for name in _PLACES:
        patch.setenv(name, str(home))
    patch.setenv("TUTOR_PROGRESS", str(home / "progress.sqlite3"))
    for name in ("TUTOR_LESSONS", "TUTOR_MEMORY_MB"):
        patch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For what lives longer than a test, an engine say; and one locale and terminal for all."""
    home = tmp_path_factory.mktemp("nobodys-home")
    with pytest.MonkeyPatch.context() as patch:
        _move_home(patch, home)
        for name in ("LANG", "LC_CTYPE", "LC_MESSAGES", "NO_COLOR", "PYTHONWARNINGS"):
            patch.delenv(name, raising=False)
        patch.setenv("LC_ALL", "C.UTF-8")
        patch.setenv("TERM", "xterm-256color")
        # Dozens of processes are started: each would compile the tutor anew.
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield home


@pytest.fixture(scope="module", autouse=True)
def _settings_of_the_file(_nobodys_home: Path) -> Iterator[None]:
    """The process's settings, put back after each file: a worker takes files in no fixed order."""
    from tutor.engine.process_state import UNREADABLE, ProcessState  # it loads torch

    found = ProcessState.now().values
    yield
    environment = {**found["environment"], _CURRENT_TEST: os.environ[_CURRENT_TEST]}
    kept_by_others = dict.fromkeys(("modules", "callbacks"), UNREADABLE)  # pytest's, Hypothesis's
    ProcessState({**found, "environment": environment, **kept_by_others}).restore()


@pytest.fixture(autouse=True)
def _input_of_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty standard input for each test: a lesson's `exit()` closes the one that is there."""
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield


@pytest.fixture(autouse=True)
def _home_of_the_test(_nobodys_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home for each test, which is made when somebody writes there: no test finds another's."""
    _move_home(monkeypatch, _nobodys_home / str(next(_homes)))
    monkeypatch.setattr(trust, "_agreed", set())  # a session is a process, not so a test


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in the test's own folder, where it looks for what is kept."""
    _move_home(monkeypatch, tmp_path)
    return tmp_path
