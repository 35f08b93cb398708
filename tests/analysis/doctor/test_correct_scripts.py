"""Correct scripts, those of the test set and some near to a mistake: the doctor is silent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.analysis.doctor.faulty import examined, found_in_script, script_lesson
from tests.script.case_files import STEPPED
from tutor.script.loops import outline_of
from tutor.script.program import ScriptOpener
from tutor.training.devices import use_one_thread

SCRIPTS = sorted((Path(__file__).parent / "correct").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_no_rule_fires_on_a_correct_script(path: Path) -> None:
    assert not found_in_script(path.read_text(encoding="utf-8"))


def test_no_rule_fires_on_the_scripts_of_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_one_thread()
    monkeypatch.chdir(tmp_path)
    found, count = {}, 0
    for case in STEPPED:
        text = case.python()
        if case.missing or not (outline := outline_of(text)).loops:
            continue
        lesson, count = script_lesson(text, case.path, outline), count + 1
        loop = outline.loops[0]
        programs = {loop.mode: ScriptOpener(lesson, loop).program}
        monkeypatch.setattr(sys, "argv", [str(case.path), *case.arguments])
        report = examined(lesson, epochs=2, programs=programs)
        assert not report.failed, case.name
        assert report.epochs, case.name
        if codes := {finding.code for finding in report.findings}:
            found[case.name] = codes
    assert not found
    assert count > 50
