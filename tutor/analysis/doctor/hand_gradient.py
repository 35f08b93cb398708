"""A gradient by hand that is not the loss's, by finite differences."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.finite_differences import Array
from tutor.analysis.mode_comparison import GradientRow, ModeLockstep
from tutor.errors import RunError
from tutor.protocol.findings import CodeFix, DoctorFinding, Evidence
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import FINITE_DIFFERENCE

_SAME = 1e-5
"""Two factors that are equal but for this are one: both are computed in float64."""

_MOST = 4_096
"""Elements of a parameter, above which it takes too long."""


class HandGradientRule(DoctorRule):
    """A gradient that the code computes itself, and that differs from the loss's slope.

    Of the first batch of two epochs. A script's phases can't be run again elsewhere: there the
    rule keeps silent, as it does where the lesson means its gradient to be another.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._lockstep: ModeLockstep | None = None
        self._found: dict[str, DoctorFinding] = {}
        """What the first epoch has shown, by parameter: the second has to show it, too."""
        self._seen: set[str] = set()

    def after(self, moment: Moment) -> Iterator[DoctorFinding]:
        """Compare, once the gradient is there."""
        lesson, mode = self.patient.lesson, self.patient.recipe.mode
        program = self.patient.programs[mode]
        is_there = moment.code is program.loop[program.gradient_at] and moment.batch == 0
        if moment.error is not None or not is_there or not 1 <= moment.epoch <= 2:
            return
        if lesson.script is not None or mode in lesson.own_gradient or not self._by_hand():
            return
        for name, row in self._rows(moment.epoch):
            before = self._found.pop(name, None)
            found = self._finding(name, row)
            if before is not None and found is not None:
                yield _agreed(before, found)
            elif found is not None and name not in self._seen:
                self._found[name] = found
            self._seen.add(name)

    def at_end(self) -> Iterator[DoctorFinding]:
        """What only one epoch has shown."""
        yield from self._found.values()

    def _by_hand(self) -> bool:
        """Whether all gradients are variables of the code, and none too large."""
        things = self.patient.run.loop.parameters().values()
        return all(not hasattr(one, "grad_fn") and np.size(one) <= _MOST for one in things)

    def _rows(self, epoch: int) -> list[tuple[str, GradientRow]]:
        patient, recipe = self.patient, self.patient.recipe
        if self._lockstep is None:
            self._lockstep = ModeLockstep(
                {recipe.mode: patient.programs[recipe.mode]},
                recipe.device, recipe.learning_rate, recipe.seed, patient.quiet,
            )  # fmt: skip
        try:
            found = self._lockstep.compare(patient.run.standpoint(), epoch, patient.until)
        except RunError:
            return []
        return [(row.diagnosis.parameter, row) for row in found.rows] if found is not None else []

    def _finding(self, name: str, row: GradientRow) -> DoctorFinding | None:
        mode, diagnosis = self.patient.recipe.mode, row.diagnosis
        if diagnosis.standing.get(mode) != "wrong":
            return None
        mine, right = row.gradients.get(mode), row.gradients.get(FINITE_DIFFERENCE)
        remark = next(iter(diagnosis.remarks), Remark(""))
        if mine is None or right is None or remark.code in ("raised", "not_finite", "shape"):
            return None
        index = _farthest(mine, right)
        numbers: dict[str, Evidence] = {
            "gradient": float(mine[index]) if mine.shape == right.shape else math.nan,
            "slope": float(right[index]),
            **({"index": index} if index else {}),
        }
        factor = remark.values.get("factor")
        if isinstance(factor, float):
            numbers["factor"] = factor
        if reason := remark.values.get("reason"):
            numbers["reason"] = str(reason)
        statement = self._statement(name)
        return DoctorFinding(
            code=_CODES.get(remark.code, "gradient_wrong"),
            line=statement.lineno if statement is not None else 0,
            variable=f"d{name}",
            numbers=numbers,
            lesson=_LESSONS.get(remark.code, "finite-differences"),
            fix=self._fix(statement, remark, factor),
        )

    def _statement(self, name: str) -> ast.stmt | None:
        """The last statement that assigns to the gradient's variable."""
        found = list(self.patient.source.assignments(f"d{name}"))
        return found[-1] if found else None

    def _fix(self, statement: ast.stmt | None, remark: Remark, factor: object) -> CodeFix | None:
        """The right-hand side with its sign, factor or axes put right, if that is the mistake."""
        value = getattr(statement, "value", None)
        if not isinstance(statement, ast.Assign) or not isinstance(value, ast.expr):
            return None
        source = self.patient.source
        text: str | None = source.segment(value)
        assert text is not None
        if remark.code == "opposite":
            text = _opposite(source, value)
        elif remark.code == "transposed":
            text = f"({text}).T"
        elif remark.code == "factor" and isinstance(factor, float) and factor:
            if text.endswith(".sum()") and remark.values.get("reason") == "sum":
                text = text.removesuffix(".sum()") + ".mean()"
            else:
                text = _scaled(_operand(text, value), factor)
        else:
            text = None
        return None if text is None else source.replaced(value, text)


_CODES = {
    "factor": "gradient_off_by_factor",
    "opposite": "gradient_of_wrong_sign",
    "transposed": "gradient_transposed",
}


_LESSONS = {
    "factor": "sum-or-mean",
    "opposite": "line-through-origin",
    "transposed": "layer-gradient",
}


def _agreed(first: DoctorFinding, second: DoctorFinding) -> DoctorFinding:
    """The finding of both epochs: of one number, any wrong gradient is some factor of the right."""
    factors = [one.numbers.get("factor") for one in (first, second)]
    are_numbers = all(isinstance(factor, float) for factor in factors)
    if first.code == second.code and (not are_numbers or _is_equal(*factors)):
        return first
    numbers = {k: v for k, v in first.numbers.items() if k not in ("factor", "reason")}
    return replace(
        first, code="gradient_wrong", numbers=numbers, lesson="finite-differences", fix=None
    )


def _is_equal(one: Any, other: Any) -> bool:
    return bool(abs(one - other) <= _SAME * abs(other))


def _operand(text: str, value: ast.expr) -> str:
    """An expression as it may stand before a `/` or `*`."""
    match value:
        case ast.Call() | ast.Name() | ast.Attribute() | ast.Subscript():
            return text
        case ast.BinOp(op=ast.Mult() | ast.Div() | ast.MatMult()):
            return text
    return f"({text})"


def _opposite(source: SourceCode, value: ast.expr) -> str:
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
        return source.segment(value.operand)
    return f"-{_operand(source.segment(value), value)}"


def _scaled(text: str, factor: float) -> str | None:
    """The expression divided or multiplied by a whole number; None for any other factor."""
    for number, sign in ((factor, "/"), (1 / factor, "*")):
        if round(number) and _is_equal(number, round(number)):
            return f"{text} {sign} {round(number)}"
    return None


def _farthest(mine: Array, right: Array) -> tuple[int, ...]:
    """The index of the element that differs most, or of the largest slope where shapes differ."""
    off = np.abs(mine - right) if mine.shape == right.shape else np.abs(right)
    at = int(np.nan_to_num(off).argmax())
    return tuple(int(i) for i in np.unravel_index(at, right.shape))
