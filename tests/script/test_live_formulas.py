"""The numbers in a script's formulas, as they are after each phase."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tutor.lesson.model import ScriptOptions
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.program import script_programs

TEXT = """\
import torch
w = torch.tensor(0.0, requires_grad=True)
v = torch.tensor(0.0, requires_grad=True)
for epoch in range(20):
    loss = (w - 3) ** 2
    loss.backward()
    with torch.no_grad():
        w -= 0.5 * w.grad
    w.grad = None
    other = (v - w) ** 2
    other.backward()
    with torch.no_grad():
        v -= 0.25 * v.grad
    v.grad = None
"""


@dataclass(frozen=True)
class Script:
    text: str = TEXT
    path: Path = Path("train.py")
    digest: str = hashlib.sha256(TEXT.encode()).hexdigest()


def test_a_number_stands_in_a_formula_from_when_its_statement_has_run() -> None:
    lesson = lesson_of_script(Script(), outline_of(TEXT), ScriptOptions())
    assert lesson.boxed_by_phase()["Update"] == {"w": 8, "v": 13}
    (program,) = script_programs(lesson).values()
    assert program.open_loop is not None
    loop = program.open_loop("cpu", 0.0, 0)
    loop.begin_epoch()
    seen = []
    while not loop.at_end:
        loop.run_step()
        values = loop.boxed_values()
        numbers = {e: value.data for of in values.values() for e, value in of.items() if value.data}
        if loop.last_phase_name() == "Update":
            seen.append((loop.line, numbers["loss"], numbers["w"], numbers.get("v")))
    assert seen == [(7, (9.0,), (3.0,), None), (12, (9.0,), (3.0,), (1.5,))]
