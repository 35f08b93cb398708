"""The words for what `tutor check` finds; `test_exercise_check.py` compares many of them whole."""

from __future__ import annotations

import re

import pytest

from tests.wording.sources import calls, fields, source_of, words_named
from tutor.protocol.events import CheckFinding
from tutor.protocol.frame import Remark
from tutor.wording import check_findings
from tutor.wording.check_findings import check_message

MADE = re.compile(r"(?:trial\.finding|self\.finding|Remark)$")
"""The functions that are given a code and its parameters."""


def test_every_finding_has_a_sentence_of_its_parameters() -> None:
    sentences, source = check_findings._TEMPLATES, source_of("validation") + source_of("engine")
    own_words = {"measure", "cause"}  # which the caller, or the sentence's maker, puts beside them
    for code, given in calls("validation", MADE):
        if code in sentences:
            assert fields(sentences[code]) <= given | own_words, code
    elsewhere = source_of("analysis") + source_of("lesson")
    assert not [code for code in sentences if f'"{code}"' not in source + elsewhere]


def test_every_word_that_a_sentence_names_is_there_and_used() -> None:
    templates = (*check_findings._TEMPLATES.values(), *check_findings._UNEXPECTED.values())
    named = {word for template in templates for word in words_named(template)}
    assert named == set(check_findings._WORDS)


@pytest.mark.parametrize(
    ("remark", "text"),
    [
        (Remark("loss_is_no_number", {}, ("manual",)), "mode manual: the loss is not a number"),
        (Remark("loss_is_no_number", {}, ("manual", "model")),
         "modes manual, model: the loss is not a number"),
        (Remark("no_truth", {"value": ["array", {"shape": [4]}]}),
         "this is an array of shape (4,); it must be True or False"),
        (Remark("no_truth", {"value": ["none", {"reason": "too_much_memory"}]}),
         "this has no value (it takes more memory than a lesson may); it must be True or False"),
        (Remark("gradient_shape",
                {"measure": "autograd", "name": "w", "found": [], "right": [2, 1]}),
         "the gradient differs from autograd's: for w its shape is (), not (2, 1)"),
        (Remark("working_terms", {"terms": 9, "most": 8, "again": True}),
         "asked again, this working can't be shown: a sum of 9 terms; write out 1 to 8"),
    ],
)  # fmt: skip
def test_a_finding_is_worded_with_its_modes_and_parameters(remark: Remark, text: str) -> None:
    assert check_message(CheckFinding(path="a.md", line=1, remark=remark)) == text


def test_the_error_that_a_finding_is_about_ends_its_sentence() -> None:
    cause = Remark("text", {"text": "NameError: v"})
    finding = CheckFinding(path="a.md", line=1, remark=Remark("cannot_begin"), cause=cause)
    assert check_message(finding).endswith(": NameError: v")
