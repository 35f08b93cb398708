"""The words of inspections, one for every code; those on gradients are tested beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tutor
from tutor.protocol.frame import Remark
from tutor.wording import check_findings, engine_notes, inspections
from tutor.wording.inspections import remark_text

CODE = re.compile(
    r"\b(?:Remark|Refused|_never|_NotAskedError|trial\.finding|trial\.failure"
    r"|self\.finding|self\._remark)\(\s*\"(\w+)\""
)


def test_every_code_in_the_sources_has_words_and_all_words_a_code() -> None:
    text = "".join(p.read_text("utf-8") for p in Path(tutor.__file__).parent.rglob("*.py"))
    known = {*inspections._REMARKS, *inspections._COMPOSED, *inspections._MISTAKES}
    engine = {*engine_notes._TEMPLATES, *engine_notes._ABORTS}
    assert not known & engine
    check = {*check_findings._TEMPLATES}
    assert not (known | engine) & check
    known |= engine | check
    only_values_are_shown = {"another_loss"}
    assert set(CODE.findall(text)) - only_values_are_shown <= known
    assert not [code for code in known if text.count(f'"{code}"') < 2]


@pytest.mark.parametrize(
    ("remark", "text"),
    [
        (Remark("nodes_left_out", {"count": 203}), "203 more nodes further down are left out."),
        (Remark("backward_times", {"times": 2}),
         "Backward was called 2 times: the gradients are added up."),
        (Remark("phase_raised", {"phase": "Predict", "error": "ValueError: \x1b[31m{x}"}),
         "Predict raised ValueError: ^[[31m{x}"),
        (Remark("too_many_numbers", {"expression": "w * x", "count": 7, "most": 6}),
         "`w * x` holds 7 numbers: only up to 6 can be asked about."),
        (Remark("features_for_plane", {"count": 1}),
         "each sample has 1 input, and a plane takes two"),
        (Remark("features_for_plane", {"count": 3}),
         "each sample has 3 inputs, and a plane takes two"),
        (Remark("not_computed", {"phase": "Loss"}), "not computed yet: Loss binds it"),
        (Remark("held", {"parameters": ["b", "c"], "leader": "manual"}, ("model",)),
         "in model b and c are held at their values in Setup: manual has none"),
        (Remark("only", {"parameter": "b"}, ("optimizer", "model")),
         "only optimizer and model have b"),
    ],
)  # fmt: skip
def test_a_remark_in_words(remark: Remark, text: str) -> None:
    assert remark_text(remark) == text
