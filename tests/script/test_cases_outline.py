"""The outline of each script of the test set: loops, phases, and reasons to refuse it."""

from __future__ import annotations

import re

import pytest

from tests.script.case_files import CASES, REFUSED, STEPPED, Case, ExpectedLoop
from tutor.errors import ScriptError
from tutor.script.loops import outline_of
from tutor.script.outline import Outline, loop_report
from tutor.script.source import read_script

AT_RUN_TIME = frozenset({"package_missing", "input_refused", "loop_not_reached"})
"""The refusals that only a run can find."""


def outline(case: Case) -> Outline:
    modules = [path.stem for path in CASES.glob("*_helpers.py")]
    return outline_of(read_script(case.path).text, modules)


@pytest.mark.parametrize("case", STEPPED, ids=str)
def test_outline_is_as_a_reader_sees_the_script(case: Case) -> None:
    found = outline(case)
    assert found.refusal is None
    for loop, wanted in zip(found.loops, case.loops, strict=True):
        told = loop_report(loop)
        names = ("line", "function", "mode", "loss", "prediction", "phases")
        assert [getattr(told, name) for name in names] == [getattr(wanted, name) for name in names]
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
        with pytest.raises(ScriptError, match="syntax_error") as raised:
            read_script(case.path)
        assert raised.value.values["place"] == f"{case.path}:{line}"
        return
    refusal = outline(case).refusal
    if code in AT_RUN_TIME:
        assert refusal is None
    else:
        assert refusal is not None
        assert (refusal.code, refusal.line) == (code, line)
