"""Small lessons in one mode, made from phases, and scripts: what the doctor finds in them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from tutor.analysis.doctor.examination import EXAMINED_EPOCHS, examine
from tutor.engine.open_runs import programs_for
from tutor.engine.process_state import ProcessState
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson, ScriptOptions
from tutor.protocol.inspections import CodeFix, DoctorFinding, DoctorReport
from tutor.script.lesson import lesson_of_script
from tutor.script.loops import outline_of
from tutor.script.source import ScriptSource
from tutor.training.program import Program
from tutor.wording.doctor_findings import finding_text

FRONT = """---
title: A test
summary: A test.
parameters: [{parameters}]
modes: [{mode}]
learning_rate: {rate}
epochs: 20
---
"""

AUTOGRAD = {
    "Setup": "x = torch.tensor([1.0, 2.0, 3.0])\nw = torch.tensor(0.5, requires_grad=True)",
    "Predict": "y_pred = w * x",
    "Loss": "loss = ((y_pred - 2 * x) ** 2).mean()",
    "Gradient": "loss.backward()",
    "Update": "with torch.no_grad():\n    w -= learning_rate * w.grad",
    "Reset": "w.grad = None",
}
"""A lesson in which all goes well."""

OPTIMIZER = {
    **AUTOGRAD,
    "Setup": AUTOGRAD["Setup"] + "\noptimizer = torch.optim.SGD([w], lr=learning_rate)",
    "Update": "optimizer.step()",
    "Reset": "optimizer.zero_grad()",
}

MANUAL = {
    "Setup": "x = np.array([1.0, 2.0, 3.0], dtype=np.float32)\nw = np.float32(0.5)",
    "Predict": "y_pred = w * x",
    "Loss": "loss = ((y_pred - 2 * x) ** 2).mean()",
    "Gradient": "dw = (2 * x * (y_pred - 2 * x)).mean()",
    "Update": "w -= learning_rate * dw",
    "Reset": "",
}


def lesson_of(
    phases: Mapping[str, str],
    parameters: str = "w",
    mode: str = "autograd",
    rate: float = 0.05,
    batches: int = 1,
) -> Lesson:
    """A lesson of these phases; one without code is left out."""
    front = FRONT.format(parameters=parameters, mode=mode, rate=rate)
    front = front.replace("epochs:", f"batches: {batches}\nepochs:") if batches > 1 else front
    text = "\n".join(
        f"## {name}\n```python {mode}\n{code}\n```" for name, code in phases.items() if code
    )
    return parse(front + text + "\n", Path("test.md"))


def script_lesson(text: str) -> Lesson:
    """The lesson of a script's first loop."""
    source = ScriptSource(path=Path("train.py"), text=text, digest="0" * 64)
    outline = outline_of(text)
    assert outline.why_no_loop is None
    return lesson_of_script(source, outline, ScriptOptions())


def report_on(
    code: Mapping[str, str] | str, epochs: int = EXAMINED_EPOCHS, **options: Any
) -> DoctorReport:
    """What the doctor says of a lesson of these phases, or of a script.

    No rule has failed, and each code has its words.
    """
    if isinstance(code, str):
        report = examined(script_lesson(code), epochs=epochs)
    else:
        report = examine(lesson_of(code, **options), epochs=epochs)
    assert not report.failed
    assert all(finding_text(finding) for finding in report.findings)
    return report


def found_in(code: Mapping[str, str] | str, **options: Any) -> dict[str, DoctorFinding]:
    """The findings by code; two of one code are a mistake of the test."""
    report = report_on(code, **options)
    found = {finding.code: finding for finding in report.findings}
    assert len(found) == len(report.findings), report.findings
    return found


def only_finding(
    code: Mapping[str, str] | str,
    what: str,
    variable: str | None = None,
    at: str = "",
    **options: Any,
) -> DoctorFinding:
    """The one mistake that is found: `what`, of this variable, on the line that holds `at`."""
    (finding,) = found_in(code, **options).values()
    assert finding.code == what
    assert variable in (None, finding.variable)
    assert not at or finding.line == line_of(code, at, **options)
    return finding


def fix_of(finding: DoctorFinding) -> CodeFix:
    """The fix that a finding has."""
    assert finding.fix is not None
    return finding.fix


def line_of(code: Mapping[str, str] | str, part: str, **options: Any) -> int:
    """The first line of a lesson's file, or of a script, that holds this part of the code."""
    text = code if isinstance(code, str) else lesson_of(code, **options).source
    return next(i for i, line in enumerate(text.splitlines(), 1) if part in line)


def examined(
    lesson: Lesson, epochs: int = EXAMINED_EPOCHS, programs: Mapping[str, Program] | None = None
) -> DoctorReport:
    """The report on a script, unheard; what it does to the process is undone."""
    before = ProcessState.now()
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return examine(lesson, compiled=programs_for, epochs=epochs, programs=programs)
    finally:
        before.restore()
