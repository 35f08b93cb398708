"""The test set itself: each script runs as its expectations say, and prints something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.script.case_files import ALL, STEPPED, Case
from tests.script.plain_runs import run_plainly


@pytest.mark.parametrize("case", STEPPED, ids=lambda case: case.name)
def test_expected_epochs_are_those_of_a_plain_run(case: Case, tmp_path: Path) -> None:
    if case.missing:
        pytest.skip(f"needs {', '.join(case.missing)}")
    plain = run_plainly(case, tmp_path)
    assert [tuple(record.epochs) for record in plain.loops] == [loop.epochs for loop in case.loops]
    assert all(loop.parameters for loop in case.loops)
    assert plain.output.strip()


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_expected_phases_stand_in_the_file(case: Case) -> None:
    lines = case.path.read_text(encoding="utf-8").count("\n") + 1
    assert bool(case.refused) != bool(case.loops)
    for loop in case.loops:
        assert all(1 <= first <= last <= lines for _, first, last in loop.phases)
        assert sum(name == "Report" for name, _, _ in loop.phases) <= 1
