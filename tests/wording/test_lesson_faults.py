"""The sentences on a lesson's file; `test_broken_lessons.py` compares most of them whole."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.wording.sources import calls, fields, source_of, words_named
from tutor.wording import lesson_faults
from tutor.wording.lesson_faults import fault_message, lesson_fault_text

REPORTS = re.compile(r"(?:diagnostics\.(?:add|warn)|report|_diagnostic|Fault|LessonFileError)$")
"""The functions that are given a code, after all other strings, and its parameters."""


def test_every_fault_has_a_sentence_of_its_parameters() -> None:
    sentences, source = lesson_faults._TEMPLATES, source_of("lesson")
    for code, given in calls("lesson", REPORTS):
        assert fields(sentences[code]) <= given | {"name"}, code
    codes = (code.removesuffix("_in_front_matter") for code in sentences)
    assert not [code for code in codes if f'"{code}"' not in source]


def test_every_error_of_a_formula_has_a_sentence_of_its_parameters() -> None:
    sentences, source = lesson_faults._FORMULA_ERRORS, source_of("formula")
    for code, given in calls("formula", re.compile("FormulaError$")):
        assert fields(sentences[code]) == given, code
    assert not [code for code in sentences if f'"{code}"' not in source]


@pytest.mark.parametrize(
    ("code", "values", "text"),
    [
        ("key_is_no_word", {"name": "x"}, "a key must be one word; write `key: value`"),
        ("no_modes_below", {"name": "epochs"}, "`epochs` is empty; write a value for each mode"),
        ("synchronize_on_one_rank", {},
         "only a lesson on several ranks has the phase Synchronize; write `workers: 2` in the "
         "front matter, or give the section another heading"),
        ("phases_out_of_order", {"first": "Loss", "then": "Predict"},
         "Predict is below Loss here, and phases run in the order of the file; move "
         "## Predict above ## Loss"),
        ("formula_not_drawable", {"piece": r"\foo{q}"},
         r"the formula's \foo{q} can't be drawn; write it another way"),
        ("formula_does_not_parse", {"error": ["no_width", {"command": r"\kern", "width": "{x}"}]},
         r"the formula does not parse: \kern{{x}} is not a width; write \kern{1em}"),
        ("formula_does_not_parse", {"error": ["two_subscripts", {}]},
         "the formula does not parse: two subscripts on one base; write x_{ij} instead of x_i_j"),
        ("unknown_prerequisite", {"slug": "one-wait", "lessons": ["one-weight"]},
         "it builds on `one-wait`, which is not a lesson; did you mean `one-weight`?"),
        ("unknown_prerequisite", {"slug": "zzz", "lessons": []},
         "it builds on `zzz`, which is not a lesson; `tutor list` shows the lessons"),
        ("builds_on_itself", {"cycle": ["a", "b", "a"]},
         "it builds on itself: a → b → a; take one of these out of `builds_on`"),
        ("no_original", {"language": "zh", "original": "a.md"},
         "this file, in zh/, is a translation, but its original a.md is not there; write that "
         "lesson, or give this file the name of its original"),
        ("original_is_wrong", {"original": "a.md"},
         "a.md can't be read as a lesson, so it can't be compared with this one; fix it first"),
        ("not_translated", {"text": "So it is.", "original": "a.md"},
         "this is not translated: “So it is.” is word for word that of a.md"),
        ("part_missing", {"part": ["fence", 2, "Loss"], "there": "a.md:7"},
         "fence 2 of Loss is missing; copy it from a.md:7 below this line"),
        ("part_missing", {"part": ["boxed", 1, "Loss"], "there": "a.md:7"},
         r"\boxed 1 of Loss is missing; copy it from a.md:7 below this line"),
        ("part_differs", {"part": ["boxed outside", 1, ""], "there": "a.md:7"},
         r"\boxed 1 outside the phases is not as in a.md:7; make it the same"),
        ("part_differs", {"part": ["number of", "hints", "first"], "there": "a.md:7"},
         "the number of `hints` of `first` is not as in a.md:7; make it the same"),
        ("part_differs", {"part": ["field", "set", "first"], "there": "a.md:7"},
         "`set` of `first` is not as in a.md:7; make it the same"),
        ("part_is_new", {"part": ["key", "batches"], "there": "a.md"},
         "`batches` is not in a.md; delete it here"),
        ("part_elsewhere",
         {"part": ["phase", "Loss"], "there": "a.md", "instead": ["exercise", "first"]},
         "the phase Loss is where a.md has the exercise `first`"),
    ],
)  # fmt: skip
def test_a_fault_in_words(code: str, values: dict[str, Any], text: str) -> None:
    assert fault_message(code, values) == text


def test_text_of_a_lesson_is_data() -> None:
    values = {"path": "a\x1b.md", "line": 3, "character": "\x1b", "name": "{first}"}
    assert lesson_fault_text("no_label", values) == (
        "a^[.md:3: `{first}` is not a label; write a word or two"
    )
    assert "\x1b" not in lesson_fault_text("character_is_no_text", values)


def test_every_word_that_a_sentence_names_is_there_and_used() -> None:
    templates = (*lesson_faults._TEMPLATES.values(), *lesson_faults._FORMULA_ERRORS.values())
    named = {word for template in templates for word in words_named(template)}
    assert named == set(lesson_faults._WORDS)
