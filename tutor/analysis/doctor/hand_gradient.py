"""A gradient by hand that is not the loss's, by finite differences, or of too large a shape.

Code may leave out a factor on purpose, as the 2 of a square's derivative: the learning rate makes
up for it. So one positive factor of all gradients is no mistake.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from msgspec.structs import replace

from tutor.analysis.doctor.loss_arguments import Shape, in_shape, square_subtractions
from tutor.analysis.doctor.rule import DoctorRule, ExaminedStep, Patient, place_of_extreme
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.finite_differences import (
    FiniteDifferences,
    ModeGradient,
    Slopes,
    gradients_by_program,
)
from tutor.analysis.gradient_diagnosis import diagnose, samples_in
from tutor.errors import RunError
from tutor.lesson.model import GRADIENT, LOSS, PREDICT, UPDATE
from tutor.protocol.frame import Remark
from tutor.protocol.inspections import CodeFix, DoctorFinding, Evidence
from tutor.training.probe import InspectionStopped, Probe
from tutor.training.values import is_near, real_pairs, to_numbers

_SAME = 1e-5
"""Two factors that are equal but for this are one: both are computed in float64."""

_USUAL = (2.0, 0.5)
"""Factors that courses often leave out, or put in, on purpose."""

_MOST = 4_096
"""Elements of a parameter, above which it takes too long."""


class HandGradientRule(DoctorRule):
    """A gradient that the code computes itself, and that differs from the loss's slope.

    Of the first batch of two epochs. The rule keeps silent where a script's phases can't be run
    apart from it, and where the lesson means its gradient to be another.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._epochs: list[dict[str, DoctorFinding | None]] = []
        """The findings of each epoch, by parameter; None where its gradient is right."""

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """Compare, once the gradient is there."""
        if step.error is not None or step.batch or not 1 <= step.epoch <= 2:
            return ()
        is_meant = self.patient.run.program.mode in self.patient.lesson.own_gradient
        if not is_meant and self._is_there(step) and self._by_hand():
            self._epochs.append(dict(self._compared()))
        return ()

    def at_end(self) -> Iterator[DoctorFinding]:
        """The findings that each epoch has shown."""
        found: dict[str, DoctorFinding | None] = {}
        for epoch in self._epochs:
            for name, now in epoch.items():
                before = found.get(name, now)
                found[name] = None if before is None or now is None else _agreed(before, now)
        factor = _common_factor([*found.values()], len(self._epochs))
        if factor is None:
            yield from (one for one in found.values() if one is not None)
        elif not any(_is_equal(factor, usual) for usual in _USUAL):
            first = next(one for one in found.values() if one is not None)
            fix = first.fix if len(found) == 1 else None  # a fix of one gradient alone is wrong
            numbers = {**first.numbers, "parameters": len(found)}
            yield replace(first, code="gradient_scaled", numbers=numbers, fix=fix)

    def _is_there(self, step: ExaminedStep) -> bool:
        """Whether the gradient is complete: of a script, not the part of one sample."""
        program, loop = self.patient.run.program, self.patient.run.loop
        if loop.gradients is None or step.compiled is not program.loop[program.gradient_at]:
            return False
        loss = to_numbers(loop.loss())
        if loss is not None and not np.isfinite(loss).all():
            return False  # there is no slope
        is_script = self.patient.lesson.script is not None
        goes_on = not loop.at_end and loop.next_phase_name() in (PREDICT, LOSS, GRADIENT)
        return not (is_script and goes_on)

    def _by_hand(self) -> bool:
        """Whether all gradients are variables of the code, and none too large."""
        things = self.patient.run.loop.parameters().values()
        return all(not hasattr(one, "grad_fn") and np.size(one) <= _MOST for one in things)

    def _compared(self) -> Iterator[tuple[str, DoctorFinding | None]]:
        """The finding on each parameter's gradient, if any, by finite differences.

        A gradient that is 0, and right, tells nothing of a factor: it is left out.
        """
        patient, run, recipe = self.patient, self.patient.run, self.patient.recipe
        at, is_script = run.standpoint(), patient.lesson.script is not None
        if is_script and at.start.names is None:
            return
        start = (run.program, run.device, recipe.learning_rate, recipe.seed)
        try:
            probe = Probe(*start, precise=True, quiet=patient.quiet)
            probe.stand(at)
            precise = gradients_by_program(probe)
            probe.stand(at)
            differences = FiniteDifferences(probe, at.start.values, patient.until)
            loss = to_numbers(run.loop.loss())
            is_same = loss is not None and is_near(loss, np.array(differences.loss))
            if is_script and not is_same:
                return  # the copy of its names does not compute what the script does
            for name in differences.values:
                shown = to_numbers((at.gradients or run.loop.gradients or {}).get(name))
                if shown is not None:
                    gradient, best = np.asarray(real_pairs(shown)), precise.get(name)
                    best = gradient if best is None or not is_near(best, gradient) else best
                    old = real_pairs(at.start.gradients.get(name))
                    mine = ModeGradient(recipe.mode, gradient, best, old, has_variable=True)
                    slopes = differences.slopes(name, best)
                    found = self._finding(name, mine, slopes)
                    if found is not None or slopes.sure_digits().any():
                        yield name, found
        except (RunError, InspectionStopped):
            return

    def _finding(self, name: str, found: ModeGradient, slopes: Slopes) -> DoctorFinding | None:
        samples = samples_in(self.patient.namespace, self.patient.run.program)
        diagnosis = diagnose(name, [found], slopes, samples=samples)
        mine, right = found.gradient, slopes.sure_digits()
        remark = next(iter(diagnosis.remarks), Remark(""))
        if diagnosis.standing.get(found.mode) != "wrong" or mine is None:
            return None
        if remark.code in ("raised", "not_finite", "shape"):
            return None
        # Where the shapes differ, the largest slope is named.
        off = mine - right if mine.shape == right.shape else right
        index = place_of_extreme(torch.as_tensor(off))
        numbers: dict[str, Evidence] = {
            "gradient": float(mine[index]) if mine.shape == right.shape else math.nan,
            "slope": float(right[index]),
            **({"index": index} if index else {}),
        }
        factor = remark.values.get("factor")
        variable, is_added = self._variable(name)
        if is_added:
            numbers["gradient"] = -float(str(numbers["gradient"]))
            if remark.code == "opposite" or (isinstance(factor, float) and factor < 0):
                return self._added(name, variable, numbers)
            numbers |= {"slope": -float(right[index]), "is_added": True}
        if isinstance(factor, float):
            numbers["factor"] = factor
        if reason := remark.values.get("reason"):
            numbers["reason"] = str(reason)
        statement = self._statement(variable)
        return DoctorFinding(
            code=_CODES.get(remark.code, "gradient_wrong"),
            line=statement.lineno if statement is not None else 0,
            variable=variable,
            numbers=numbers,
            lesson=_LESSONS.get(remark.code, "finite-differences"),
            fix=self._fix(statement, remark, factor),
        )

    def _variable(self, name: str) -> tuple[str, bool]:
        """The expression of a parameter's gradient, `dw`, and whether the update adds it.

        A script may call it as it likes.
        """
        outline = getattr(self.patient.run.loop, "outline", None)
        found = str(getattr(outline, "gradients", {}).get(name, f"d{name}"))
        match ast.parse(found, mode="eval").body:
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return ast.unparse(operand), True
        return found, False

    def _added(self, name: str, variable: str, numbers: dict[str, Evidence]) -> DoctorFinding:
        """The finding that an update adds a gradient that it should subtract."""
        update, code = next(_additions(self.source, name, variable), (None, ""))
        return DoctorFinding(
            code="gradient_added",
            line=update.lineno if update is not None else 0,
            variable=variable,
            numbers={**numbers, "parameter": name},
            lesson=_LESSONS["opposite"],
            fix=None if update is None else self.source.replaced(update, code),
        )

    def _statement(self, variable: str) -> ast.stmt | None:
        """The last statement that assigns to the gradient's variable."""
        found = list(self.source.assignments(variable))
        return found[-1] if found else None

    def _fix(self, statement: ast.stmt | None, remark: Remark, factor: object) -> CodeFix | None:
        """The right-hand side with its sign, factor or axes put right, if that is the mistake."""
        value = getattr(statement, "value", None)
        if not isinstance(statement, ast.Assign) or not isinstance(value, ast.expr):
            return None
        text, better = self.source.segment(value), None
        if remark.code == "opposite":
            better = _opposite(self.source, value)
        elif remark.code == "transposed":
            better = f"({text}).T"
        elif remark.code == "factor" and isinstance(factor, float) and factor:
            if text.endswith(".sum()") and remark.values.get("reason") == "sum":
                better = text.removesuffix(".sum()") + ".mean()"
            else:
                better = _scaled(_operand(self.source, value), factor)
        return None if better is None else self.source.replaced(value, better)


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


def _additions(source: SourceCode, name: str, variable: str) -> Iterator[tuple[ast.stmt, str]]:
    """The updates that add a gradient to a parameter, and their code with a minus instead."""
    for statement in source.statements(UPDATE):
        if not any(ast.unparse(node) == variable for node in ast.walk(statement)):
            continue
        match statement:
            case ast.AugAssign(target=target, op=ast.Add(), value=value):
                code = f"{source.segment(target)} -= {source.segment(value)}"
            case ast.Assign(targets=[target], value=ast.BinOp(left, ast.Add(), right)):
                old, term = (left, right) if ast.unparse(left) == name else (right, left)
                code = f"{source.segment(target)} = {source.segment(old)} - {source.segment(term)}"
                if ast.unparse(old) != name:
                    continue
            case _:
                continue
        if ast.unparse(target) == name:
            yield statement, code


def _agreed(first: DoctorFinding, second: DoctorFinding) -> DoctorFinding:
    """The finding of both epochs, without a factor that differs between them.

    In a single epoch, a wrong gradient of one number is always some multiple of the right one.
    """
    factors = [one.numbers.get("factor") for one in (first, second)]
    are_numbers = all(isinstance(factor, float) for factor in factors)
    if first.code == second.code and (not are_numbers or _is_equal(*factors)):
        return first
    numbers = {k: v for k, v in first.numbers.items() if k not in ("factor", "reason")}
    return replace(
        first, code="gradient_wrong", numbers=numbers, lesson="finite-differences", fix=None
    )


def _common_factor(found: Sequence[DoctorFinding | None], epochs: int) -> float | None:
    """The one positive factor of all gradients, each of a parameter; None if there is none.

    Of one number in one of the `epochs`, every gradient of the right sign has such a factor.
    """
    factors: list[float] = []
    for one in found:
        numbers = one.numbers if one is not None else {}
        factor = numbers.get("factor")
        if not isinstance(factor, float) or factor <= 0 or numbers.get("reason") == "added_up":
            return None
        factors.append(factor)
    is_proof = epochs > 1 or len(found) > 1 or any("index" in one.numbers for one in found if one)
    is_one = is_proof and all(_is_equal(factor, factors[0]) for factor in factors)
    return factors[0] if factors and is_one else None


def _is_equal(one: Any, other: Any) -> bool:
    return bool(abs(one - other) <= _SAME * abs(other))


def _operand(source: SourceCode, value: ast.expr) -> str:
    """An expression as it may stand before a `/` or `*`."""
    return source.segment(value) if _is_product(value) else source.before_dot(value)


def _is_product(value: ast.expr) -> TypeGuard[ast.BinOp]:
    products = ast.Mult | ast.Div | ast.MatMult
    return isinstance(value, ast.BinOp) and isinstance(value.op, products)


def _opposite(source: SourceCode, value: ast.expr) -> str:
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
        return source.segment(value.operand)
    first, text = value, source.segment(value)
    while _is_product(first):
        first = first.left
    if isinstance(first, ast.UnaryOp) and isinstance(first.op, ast.USub) and text[0] == "-":
        return text[1:].lstrip()  # -a * b
    return f"-{_operand(source, value)}"


def _scaled(text: str, factor: float) -> str | None:
    """The expression divided or multiplied by a whole number; None for any other factor."""
    for number, sign in ((factor, "/"), (1 / factor, "*")):
        if round(number) and _is_equal(number, round(number)):
            return f"{text} {sign} {round(number)}"
    return None


# ── A gradient that broadcasts ──────────────────────────────────────────────────────


class ReshapedParameterRule(DoctorRule):
    """A parameter that an update by hand gives a larger shape, as its gradient has that shape."""

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._shapes = self._shapes_now()
        """The shapes of the parameters before this step."""
        self._squares: list[tuple[ast.BinOp, Shape, Shape]] = []
        """The subtractions of this batch whose operands broadcast to a square, and their shapes."""

    def after(self, step: ExaminedStep) -> Iterator[DoctorFinding]:
        """Look at the shapes that an update has made."""
        shapes, self._shapes = self._shapes, self._shapes_now()
        if step.error is not None or step.epoch > 1 or step.batch:
            return
        if step.phase_name != UPDATE:
            if step.phase_name in (PREDICT, LOSS, GRADIENT):
                self._squares += square_subtractions(self.patient, step.phase_name)
            return
        for name, shape in self._shapes.items():
            before = shapes.get(name, shape)
            if np.prod(before) > 1 and np.prod(shape) > np.prod(before):
                yield self._finding(name, before, shape)
                break
        self._squares.clear()

    def _shapes_now(self) -> dict[str, Shape]:
        found = self.patient.run.loop.parameters()
        return {name: thing.shape for name, thing in found.items() if isinstance(thing, np.ndarray)}

    def _finding(self, name: str, before: Shape, after: Shape) -> DoctorFinding:
        lines = [s.lineno for s in self.source.assignments(name)]
        line = max((at for at in lines if self.source.phase_of(at) == UPDATE), default=0)
        numbers: dict[str, Evidence] = {"before": before, "after": after}
        code, fix = "parameter_reshaped", None
        if self._squares:
            node, one, other = self._squares[0]
            line, code = node.lineno, "broadcast_in_gradient"
            fix = in_shape(self.source, (node.left, node.right), one, other)
            numbers |= {
                "left": self.source.segment(node.left),
                "shape": one,
                "right": self.source.segment(node.right),
                "other_shape": other,
            }
        return DoctorFinding(
            code=code,
            line=line,
            variable=name,
            numbers=numbers,
            lesson="broadcasting",
            exercise="lost-dimension",
            fix=fix,
        )
