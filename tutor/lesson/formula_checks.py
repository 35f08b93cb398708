"""Whether a formula parses, can be drawn, and has boxes that can be evaluated."""

from __future__ import annotations

from tutor import formula
from tutor.errors import FormulaError
from tutor.lesson import code_checks
from tutor.lesson.diagnostics import DiagnosticList


def check(latex: str, line: int, diagnostics: DiagnosticList) -> tuple[str, ...]:
    r"""The expressions in its `\boxed{…}`; what is wrong is added to `diagnostics`, on `line`."""
    try:
        parsed = formula.parse(latex)
    except FormulaError as error:
        diagnostics.add(line, f"the formula does not parse: {error}")
        return ()
    for piece in parsed.unsupported:
        diagnostics.remark(line, f"the formula's {piece} can't be drawn; write it another way")
    for expression in parsed.boxed:
        if reason := code_checks.why_not_expression(expression):
            diagnostics.add(
                line,
                f"`{expression}` in \\boxed is not a Python expression ({reason}); "
                "write one such as \\boxed{w}",
            )
    return tuple(parsed.boxed)
