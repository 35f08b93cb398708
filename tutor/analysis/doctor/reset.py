"""Gradients that are not reset: an update uses the sum of this and earlier gradients."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from tutor.analysis.doctor.evidence import element_of, number_at
from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding

MOST_NUMBERS = 2**23
"""The numbers of all parameters that are copied after each backward."""


@dataclass(frozen=True, slots=True)
class _Left:
    """A parameter as a backward left it."""

    gradient: torch.Tensor
    value: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Sum:
    """A gradient that holds an older one, which an update has used already."""

    label: str
    parameter: torch.Tensor
    old: torch.Tensor
    held: torch.Tensor
    line: int


class MissingResetRule(DoctorRule):
    """`backward()` adds to a gradient that has been used by an update and was not reset.

    Backward passes that are added up on purpose come before one update; these go over it.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._left: dict[int, _Left] = {}
        self._before: dict[int, torch.Tensor] = {}
        self._sums: dict[int, _Sum] = {}
        self._used: list[tuple[_Sum, int]] = []
        """The sums that an update has used, with the line of an optimizer's step or 0."""
        self._reported: set[int] = set()

    def _leaves(self) -> dict[str, torch.Tensor]:
        """The parameters that are followed: of a very large model the smallest ones."""
        parameters = self.patient.parameters()
        found = {n: t for n, t in parameters.items() if t.is_leaf and t.requires_grad}
        if sum(t.numel() for t in found.values()) > MOST_NUMBERS:
            found = {n: t for n, t in found.items() if t.numel() <= MOST_NUMBERS // len(found)}
        return found

    def before_call(self, call: TorchCall) -> None:
        """Note the gradients that are there; see which of them an optimizer uses."""
        if call.name == "backward":
            self._before = {
                id(p): p.grad.detach().clone()
                for p in self._leaves().values()
                if p.grad is not None and bool(p.grad.any())
            }
            for key in [key for key in self._sums if key not in self._before]:
                del self._sums[key]  # it was reset before an update has used it
        else:
            self._see_step(call)

    def _see_step(self, call: TorchCall) -> None:
        for group in call.arguments[0].param_groups:
            for parameter in group["params"]:
                gradient, key = parameter.grad, id(parameter)
                found = self._sums.pop(key, None)
                if gradient is None:
                    continue
                if found and bool(gradient.any()):
                    self._used.append((found, call.line))
                if key in self._left:  # clipping has changed what backward left
                    value = self._left[key].value
                    self._left[key] = _Left(gradient.detach().clone(), value)

    def after_call(self, call: TorchCall) -> None:
        """See which gradients were added to those that an update has used."""
        if call.name != "backward":
            return
        for label, parameter in self._leaves().items():
            if parameter.grad is None:
                continue
            held, left = parameter.grad.detach().clone(), self._left.get(id(parameter))
            old = self._before.get(id(parameter))
            if (
                old is not None
                and left is not None
                and _is_used(left, old, parameter)
                and (bool(old.any()) and bool((held != old).any()))
            ):
                found = _Sum(label, parameter, old, held, call.line)
                self._sums.setdefault(id(parameter), found)
            self._left[id(parameter)] = _Left(held, parameter.detach().clone())

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """The finding, once an update has used such a sum."""
        if moment.error is not None:
            return ()
        held = {
            id(p)
            for optimizer in self.patient.optimizers().values()
            for group in optimizer.param_groups
            for p in group["params"]
        }
        for key, found in list(self._sums.items()):
            left = self._left.get(key)
            if key not in held and left and not torch.equal(found.parameter.detach(), left.value):
                self._used.append((self._sums.pop(key), 0))
        used, self._used = self._used, []
        used = [(found, line) for found, line in used if found.line not in self._reported]
        self._reported.update(found.line for found, _ in used)
        return [self._finding(moment, used)] if used else ()

    def _finding(self, moment: Moment, used: list[tuple[_Sum, int]]) -> DoctorFinding:
        found = used[0][0]
        index = element_of(found.old)
        old, held = number_at(found.old, index), number_at(found.held, index)
        return DoctorFinding(
            code="gradients_not_reset",
            line=found.line,
            variable=found.label,
            numbers={
                "own": held - old,
                "old": old,
                "used": held,
                "parameters": len(used),
                **({"index": index} if index else {}),
            },
            lesson="forgotten-zero",
            exercise="the-missing-line",
            fix=self._fix(moment, used),
        )

    # ── The missing line ────────────────────────────────────────────────────────────

    def _fix(self, moment: Moment, used: list[tuple[_Sum, int]]) -> CodeFix | None:
        """A reset behind the line of the update."""
        source, lines = self.patient.source, [line for _, line in used if line]
        if lines:
            statement = source.statement_at(max(lines))
            names = self.patient.optimizers()
            called = [n for n in ast.walk(statement) if _is_step(n)] if statement else []
            receivers = [ast.unparse(call.func.value) for call in called]  # type: ignore[attr-defined]
            known = [name for name in receivers if name in names] or list(names)
            if statement is None or not known:
                return None
            return source.after(statement, f"{known[0]}.zero_grad()")
        targets: dict[str, ast.stmt] = {}
        for found, _ in used:
            for statement in source.statements(moment.phase):
                if (target := _updated(statement, found.label)) is not None:
                    targets.setdefault(target, statement)
        if not targets:
            return None
        last = max(targets.values(), key=lambda statement: statement.lineno)
        return source.after(last, "\n".join(f"{target}.grad = None" for target in targets))


def _is_used(left: _Left, old: torch.Tensor, parameter: torch.Tensor) -> bool:
    """Whether the gradient is still what a backward left, and the parameter no longer."""
    return torch.equal(left.gradient, old) and not torch.equal(left.value, parameter.detach())


def _is_step(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "step"
    )


def _updated(statement: ast.stmt, label: str) -> str | None:
    """The name that a statement changes, if it is this label's parameter, or one of a loop's."""
    match statement:
        case ast.AugAssign(target=ast.Attribute(value=inner, attr="data")):
            target = inner
        case ast.AugAssign(target=inner):
            target = inner
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=inner, attr=name))) if name.endswith(
            "_"
        ):
            is_data = isinstance(inner, ast.Attribute) and inner.attr == "data"
            target = inner.value if is_data else inner  # type: ignore[attr-defined]
        case _:
            return None
    text = ast.unparse(target)
    uses_gradient = f"{text}.grad" in ast.unparse(statement)
    return text if text == label or uses_gradient else None
