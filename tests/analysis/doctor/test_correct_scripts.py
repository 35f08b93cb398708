"""Correct scripts, each near to a mistake that a rule looks for: the doctor is silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.doctor.test_rules_scripts import found_in

SCRIPTS = sorted((Path(__file__).parent / "correct").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_no_rule_fires_on_a_correct_script(path: Path) -> None:
    assert not found_in(path.read_text(encoding="utf-8"))
