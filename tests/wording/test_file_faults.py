"""The sentences about a learner's script."""

from __future__ import annotations

from pathlib import Path

from tutor.script.line_places import Cell
from tutor.script.outline import Refusal
from tutor.script.source import ScriptSource, SourceNote
from tutor.wording.file_faults import refusal_in_source, refusal_text, source_note_text

NOTEBOOK = ScriptSource(
    path=Path("n/fit.ipynb"), text="", digest="", cells=(Cell(1, "1"), Cell(5, "7"))
)


def test_a_refusal_names_the_file_the_line_and_what_it_speaks_of() -> None:
    refusal = Refusal("fit_of_library", 7, {"call": "model.fit"})
    assert refusal_text(refusal, "fit.py").startswith("fit.py:7: `model.fit` runs")
    assert refusal_in_source(refusal, NOTEBOOK).startswith("fit.ipynb [7]:2: `model.fit`")
    assert refusal_text(Refusal("no_loop"), "fit.py").startswith(
        "fit.py: there is no training loop"
    )


def test_text_of_a_script_is_data() -> None:
    refusal = Refusal("loop_in_module", 1, {"module": "{name}", "name": "\x1b[31mred"})
    assert "{name}" in refusal_text(refusal, "a\x1bb.py")
    assert "\x1b" not in refusal_text(refusal, "a\x1bb.py")
    note = SourceNote("shell", 6, "!echo {text} \x1b[0m")
    assert source_note_text(note, NOTEBOOK).startswith("[7]:1: the shell command `!echo {text}")
    assert "\x1b" not in source_note_text(note, NOTEBOOK)
