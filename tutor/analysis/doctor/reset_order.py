"""Gradients that are reset between `backward()` and the optimizer's step."""

from __future__ import annotations

import ast
from collections.abc import Iterable

import torch

from tutor.analysis.doctor.evidence import element_of, number_at
from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding


class ResetOrderRule(DoctorRule):
    """An optimizer's step that finds no gradient, although backward has left one."""

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._waiting: dict[int, float] = {}
        """The gradients that no step has used yet: of each the number farthest from 0."""
        self._found: list[DoctorFinding] = []

    def after_call(self, call: TorchCall) -> None:
        """Note the gradients that a backward has left."""
        if call.name != "backward":
            return
        for key, tensor in self.patient.held().items():
            self._waiting.pop(key, None)
            if tensor.grad is not None and bool(tensor.grad.any()):
                self._waiting[key] = number_at(tensor.grad, element_of(tensor.grad))

    def before_call(self, call: TorchCall) -> None:
        """See whether they are still there when the optimizer makes its step."""
        if call.name != "optimizer.step":
            return
        tensors = [t for group in call.arguments[0].param_groups for t in group["params"]]
        ready = {t: self._waiting.pop(id(t)) for t in tensors if id(t) in self._waiting}
        has_closure = call.argument(1, "closure") is not None  # it computes the gradients
        if (
            ready
            and not has_closure
            and all(t.grad is None or not bool(t.grad.any()) for t in ready)
        ):
            self._found.append(self._finding(call, ready))

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """The resets and updates that were seen in the step."""
        found, self._found = self._found, []
        return found

    def _finding(self, call: TorchCall, ready: dict[torch.Tensor, float]) -> DoctorFinding:
        source = self.patient.source
        tensor, gradient = next(iter(ready.items()))
        reset = _reset_before(source, call.line)
        return DoctorFinding(
            code="reset_before_update",
            line=reset.lineno if reset is not None else call.line,
            variable=self.patient.name_of(tensor) or "optimizer",
            numbers={
                "gradient": gradient,
                "used": "None" if tensor.grad is None else 0.0,
                "parameters": len(ready),
            },
            lesson="forgotten-zero",
            exercise="none-or-zero",
            fix=_swapped(source, reset, source.statement_at(call.line)),
        )


def _reset_before(source: SourceCode, line: int) -> ast.stmt | None:
    """The last statement before a line, of the same block if there is one, that resets."""
    statements = [source.statement_of(call) for call in source.calls("zero_grad")]
    found = [s for s in statements if s is not None]
    before = [s for s in found if s.lineno < line]
    return max(before or found, key=lambda s: s.lineno, default=None)


def _swapped(source: SourceCode, reset: ast.stmt | None, step: ast.stmt | None) -> CodeFix | None:
    """The two statements in the other order, where one follows the other."""
    if reset is None or step is None or reset.col_offset != step.col_offset:
        return None
    if (reset.end_lineno or reset.lineno) + 1 != step.lineno:
        return None
    code = f"{source.segment(step)}\n{source.segment(reset)}"
    return CodeFix(line=reset.lineno, end_line=step.end_lineno or step.lineno, code=code)
