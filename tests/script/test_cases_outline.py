"""The outline of each script of the test set: loops, phases, and reasons to refuse it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.script.case_files import ALL, CASES, REFUSED, STEPPED, Case, ExpectedLoop
from tutor.errors import ScriptError
from tutor.script.loops import outline_of
from tutor.script.outline import Outline, TrainingLoop
from tutor.script.source import read_script

AT_RUN_TIME = frozenset({"package_missing", "input_refused", "loop_not_reached"})
"""The refusals that only a run can find."""


def outline(case: Case) -> Outline:
    modules = [path.stem for path in CASES.glob("*_helpers.py")]
    return outline_of(read_script(case.path).text, modules)


def described(loop: TrainingLoop) -> dict[str, Any]:
    """What the code tells of a loop, in the words of the expectations."""
    return {
        "line": loop.line,
        "function": loop.function,
        "mode": loop.mode,
        "loss": loop.loss,
        "prediction": loop.prediction,
        "phases": tuple((phase.name, phase.line, phase.end_line) for phase in loop.phases),
    }


def expected(loop: ExpectedLoop) -> dict[str, Any]:
    names = ("line", "function", "mode", "loss", "prediction", "phases")
    return {name: getattr(loop, name) for name in names}


@pytest.mark.parametrize("case", STEPPED, ids=str)
def test_outline_is_as_a_reader_sees_the_script(case: Case) -> None:
    found = outline(case)
    assert found.refusal is None
    assert [described(loop) for loop in found.loops] == [expected(loop) for loop in case.loops]
    for loop, wanted in zip(found.loops, case.loops, strict=True):
        assert all(_is_named_in(p, wanted) for p in loop.parameters)
        assert len(wanted.epochs) > 1 or loop.epochs in (None, *wanted.epochs) or _may_stop(case)


def _is_named_in(parameter: str, wanted: ExpectedLoop) -> bool:
    """Whether a name is a parameter's, or that of a dict or list which holds parameters."""
    return any(
        label == parameter or label.startswith(f"{parameter}[")
        for label in (*wanted.parameters, *wanted.changed)
    )


def _may_stop(case: Case) -> bool:
    """Whether the script can leave its loop before the last epoch."""
    return bool(re.search(r"\b(break|raise|return .*, (it|epoch))\b", case.python()))


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refusal_has_the_true_reason(case: Case) -> None:
    assert case.refused is not None
    code, line = case.refused["code"], case.refused.get("line")
    if code == "syntax_error":
        with pytest.raises(ScriptError, match=rf"{case.path.name}:{line}: "):
            read_script(case.path)
        return
    refusal = outline(case).refusal
    if code in AT_RUN_TIME:
        assert refusal is None
    else:
        assert refusal is not None
        assert (refusal.code, refusal.line) == (code, line)


def test_set_is_large_enough() -> None:
    assert len(STEPPED) >= 60
    assert len(ALL) == len(STEPPED) + len(REFUSED)
    assert len(REFUSED) >= 10


@pytest.mark.parametrize("case", ALL, ids=str)
def test_expected_phases_stand_in_the_file(case: Case) -> None:
    lines = case.path.read_text(encoding="utf-8").count("\n") + 1
    assert bool(case.refused) != bool(case.loops)
    for loop in case.loops:
        assert all(1 <= first <= last <= lines for _, first, last in loop.phases)
        assert sum(name == "Report" for name, _, _ in loop.phases) <= 1
