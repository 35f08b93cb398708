"""Small lessons in one mode, made from phases, and what the doctor finds in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tutor.analysis.doctor.examination import EPOCHS, examine
from tutor.lesson.document import parse
from tutor.lesson.model import Lesson
from tutor.protocol.inspections import DoctorFinding, DoctorReport
from tutor.wording.findings import finding_text

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


def report_on(phases: Mapping[str, str], epochs: int = EPOCHS, **options: object) -> DoctorReport:
    """What the doctor says of a lesson of these phases."""
    report = examine(lesson_of(phases, **options), epochs=epochs)  # type: ignore[arg-type]
    assert not report.failed
    assert all(finding_text(finding) for finding in report.findings)  # each code has its words
    return report


def found_in(phases: Mapping[str, str], **options: object) -> dict[str, DoctorFinding]:
    """The findings by code; two of one code are a mistake of the test."""
    findings = report_on(phases, **options).findings  # type: ignore[arg-type]
    found = {finding.code: finding for finding in findings}
    assert len(found) == len(findings), findings
    return found


def line_of(phases: Mapping[str, str], code: str, **options: object) -> int:
    """The line of the lesson's file that holds this code."""
    lines = lesson_of(phases, **options).source.splitlines()  # type: ignore[arg-type]
    return next(i for i, line in enumerate(lines, 1) if code in line)
