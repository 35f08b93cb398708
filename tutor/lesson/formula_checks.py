"""Whether a formula can be drawn and its boxes evaluated.

Knows nothing of where in a lesson it stands.
"""

from __future__ import annotations

from tutor import formula
from tutor.errors import FormulaError
from tutor.lesson import code_checks
from tutor.lesson.faults import FaultList


def check(latex: str, line: int, faults: FaultList) -> tuple[str, ...]:
    r"""The expressions in its `\boxed{…}`; what is wrong is added to `faults`, on `line`."""
    try:
        boxed = formula.parse(latex).boxed
    except FormulaError as error:
        faults.add(line, f"the formula does not parse: {error}")
        return ()
    for expression in boxed:
        if reason := code_checks.why_not_expression(expression):
            faults.add(
                line,
                f"`{expression}` in \\boxed is not a Python expression ({reason}); "
                "write one such as \\boxed{w}",
            )
    return tuple(boxed)
