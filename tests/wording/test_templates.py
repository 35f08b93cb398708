"""Templates and their parameters; and that a code stands for one thing."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from tutor.wording import (
    check_findings,
    doctor_findings,
    engine_remarks,
    feedback,
    inspections,
    lesson_faults,
    notices,
    number_format,
    script_faults,
)
from tutor.wording.templates import filled, modes_text

SAID_TWICE = {
    *("is_folder", "not_plain_file", "file_too_large", "no_file", "not_permitted", "unreadable"),
    *("is_empty", "phase_twice", "no_backward", "nested_too_deeply"),
    *("text", "stopped", "process_ended", "not_python", "unknown_name", "no_lesson_open"),
}
"""Codes for the same thing in two places: of a lesson's file and of a script, for example."""


def test_a_code_stands_for_one_thing() -> None:
    engine = {*engine_remarks._TEMPLATES, *engine_remarks._ABORTS}
    of_inspections = {*inspections._REMARKS, *inspections._COMPOSED, *inspections._MISTAKES}
    catalogues = [
        engine | of_inspections | {*check_findings._TEMPLATES},
        {*doctor_findings._TEXTS},
        {*lesson_faults._TEMPLATES},
        {*lesson_faults._FORMULA_ERRORS},
        {*script_faults._SENTENCES},
        {*notices._NOTICES, *notices._COMPOSED},
        {*notices._NOT_KEPT, *notices._PROGRESS_ERRORS},
        {*notices._UNREADABLE},
        {*number_format._REASONS},
        {*feedback._REPLIES},
    ]
    counts = Counter(code for catalogue in catalogues for code in catalogue)
    twice = {code for code, count in counts.items() if count > 1}
    assert twice == SAID_TWICE


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{a} of {b}", {"a": 0.25, "b": 3, "c": "not named"}, "0.25 of 3"),
        ("{a}", {"a": math.nan}, "NaN"),
        ("{names}", {"names": ["w", "b"]}, "w, b"),
        ("{is_so}", {"is_so": True}, "True"),
        ("{name!r}: {{{count:,}}}", {"name": "x", "count": 12_000}, "'x': {12,000}"),
        ("{byte:02x}", {"byte": 10}, "0a"),
        ("{x:half}", {"x": 8, "unit": "s"}, "4s"),
        ("{name}", {"name": "a\x1b\n{b}"}, "a^[ {b}"),
    ],
)
def test_a_template_is_filled_with_parameters(
    template: str, values: dict[str, Any], text: str
) -> None:
    words = {"half": lambda x, values: f"{x // 2}{values['unit']}"}
    assert filled(template, values, words) == text


def test_a_parameter_that_is_missing_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="place"):
        filled("{place}", {})


def test_one_mode_is_a_mode_and_two_are_modes() -> None:
    assert modes_text(["manual"]) == "mode manual"
    assert modes_text(("manual", "model")) == "modes manual, model"
