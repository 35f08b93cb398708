"""The words for what the doctor finds."""

from __future__ import annotations

from collections.abc import Mapping

from tutor.plain import one_line
from tutor.protocol.findings import CodeFix, DoctorFinding, Evidence
from tutor.wording.number_format import number

_TEXTS: Mapping[str, str] = {
    "gradients_not_reset": (
        "The gradient of `{variable}` is not reset: the update uses {used}, the sum of this "
        "gradient, {own}, and an earlier one, {old}."
    ),
    "lost_leaf": (
        "`{variable}` stands for a new tensor after this line, which is no leaf with a gradient: "
        "`{variable}.grad` was {gradient_before}, and is {gradient} from now on."
    ),
}
"""By code: a sentence, into which the variable and the numbers are put."""


def finding_text(finding: DoctorFinding) -> str:
    """One to three lines: what is wrong, how to fix it, and where it is explained."""
    values = {name: _shown(value) for name, value in finding.numbers.items()}
    variable = one_line(finding.variable)
    text = _TEXTS[finding.code].format(**values, variable=variable)
    place = f"line {finding.line}: " if finding.line else ""
    lines = [f"{place}{text}"]
    if finding.fix is not None:
        lines.append(_fix_text(finding.fix))
    if finding.lesson:
        lines.append(_lesson_text(finding))
    return "\n".join(lines)


def _fix_text(fix: CodeFix) -> str:
    code = "`; `".join(one_line(line) for line in fix.code.split("\n"))
    where = {"instead": "Write", "before": "Put before", "after": "Put after"}[fix.place]
    line = fix.line if fix.place != "after" else fix.end_line
    text = f"{where} line {line}: `{code}`."
    if fix.place == "instead":
        text = f"Instead of line {line} write `{code}`."
    if fix.loss_with is None:
        return text
    without = "the code stops" if fix.loss_without is None else f"{number(fix.loss_without)}"
    return (
        f"{text} With it the loss after {fix.epochs} epochs is {number(fix.loss_with)}, "
        f"without it {without}."
    )


def _lesson_text(finding: DoctorFinding) -> str:
    exercise = f" --exercise {finding.exercise}" if finding.exercise else ""
    return f"The lesson {finding.lesson} explains it: tutor {finding.lesson}{exercise}"


def _shown(value: Evidence) -> str:
    if isinstance(value, bool | str):
        return one_line(str(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(str, value))}{',' if len(value) == 1 else ''})"
    return number(value)
