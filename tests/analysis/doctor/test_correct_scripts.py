"""Correct scripts, those of the test set and some near to a mistake: the doctor is silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.doctor.faulty import examined, found_in
from tests.script.case_files import STEPPED, Case
from tutor.training.devices import use_one_thread

SCRIPTS = sorted((Path(__file__).parent / "correct").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_no_rule_fires_on_a_correct_script(path: Path) -> None:
    assert not found_in(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", STEPPED, ids=str)
def test_no_rule_fires_on_a_script_of_the_test_set(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.missing:
        pytest.skip(f"needs {', '.join(case.missing)}")
    use_one_thread()
    monkeypatch.chdir(tmp_path)
    lesson, programs = case.opened()
    report = examined(lesson, epochs=2, programs=programs)
    assert not report.failed
    assert report.epochs
    assert not report.findings
