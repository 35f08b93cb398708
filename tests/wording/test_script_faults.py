"""The sentences about a learner's script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.wording.sources import calls, fields, source_of
from tutor.errors import ScriptError
from tutor.script.line_places import Cell
from tutor.script.source import ScriptSource, SourceNote
from tutor.wording import script_faults
from tutor.wording.script_faults import script_error_text, source_note_text

NOTEBOOK = ScriptSource(
    path=Path("n/fit.ipynb"), text="", digest="", cells=(Cell(1, "1"), Cell(5, "7"))
)


def test_every_code_has_a_sentence_of_its_parameters() -> None:
    sentences = script_faults._SENTENCES
    source = source_of("script") + source_of("cli")
    for package in ("script", "cli"):
        for code, given in calls(package, re.compile("ScriptError$|_error$|[_.]?refusal$")):
            assert fields(sentences[code]) <= given, code
    for code, given in calls("script", re.compile("WhyNoLoop$")):
        assert fields(sentences[code]) <= given | {"loss"}, code
    assert not [code for code in sentences if f'"{code}"' not in source]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ScriptError("fit_of_library", place="fit.py:7", call="model.fit"),
         "fit.py:7: `model.fit` runs the training loop inside a library, where the tutor can't "
         "stop it. Write the loop yourself: a `for` loop with `loss.backward()` and "
         "`optimizer.step()`"),
        (ScriptError("not_encoded", place="a.py:4", byte=0xE9, encoding="utf-8"),
         "a.py:4: byte 0xe9 is not utf-8; save the file as UTF-8"),
        (ScriptError("lesson_not_right", place="a.py",
                     fault=["code_is_not_python", {"reason": "nested_too_deeply"}]),
         "a.py: the lesson made from it is not right (this is not Python (it is nested too "
         "deeply); correct it); make the script simpler"),
    ],
)  # fmt: skip
def test_an_error_names_its_place_and_what_it_speaks_of(error: ScriptError, text: str) -> None:
    assert script_error_text(error) == text


def test_text_of_a_script_is_data() -> None:
    error = ScriptError("loop_in_module", place="a\x1bb.py", module="{name}", name="\x1b[31mred")
    assert "{name}" in script_error_text(error)
    assert "\x1b" not in script_error_text(error)
    note = SourceNote("shell", 6, "!echo {text} \x1b[0m")
    assert source_note_text(note, NOTEBOOK).startswith("[7]:1: the shell command `!echo {text}")
    assert "\x1b" not in source_note_text(note, NOTEBOOK)
