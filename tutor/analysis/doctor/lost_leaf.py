"""`w = w - …`: the name stands for another tensor, which is no leaf and gets no gradient."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.tensors import extreme_of
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding


@dataclass(frozen=True, slots=True)
class _Lost:
    name: str
    gradient: float
    """The last gradient of the leaf (of an array: its element farthest from 0)."""
    now: torch.Tensor
    statement: ast.stmt


class LostLeafRule(DoctorRule):
    """A parameter's name that has come to stand for a tensor without a gradient of its own."""

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._leaves: dict[str, torch.Tensor] = {}
        self._lost: dict[str, _Lost] = {}
        self._is_confirmed = self._has_backward = False

    def before_call(self, call: TorchCall) -> None:
        """A name that is still lost at the next backward stays so."""
        if call.name == "backward":
            self._has_backward = True
            self._confirm()

    def before(self, moment: Moment) -> None:
        """Note the tensors that the names stand for."""
        for name, thing in self.patient.run.loop.parameters().items():
            if isinstance(thing, torch.Tensor) and thing.is_leaf and thing.requires_grad:
                self._leaves[name] = thing

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """The findings, once it is certain that no later line makes it a leaf again."""
        if moment.error is not None:
            self._is_confirmed = bool(self._lost)
        else:
            self._look(moment)
        if not self._is_confirmed:
            return ()
        lost, self._lost, self._is_confirmed = list(self._lost.values()), {}, False
        return [self._finding(one, lost) for one in lost]

    def at_end(self) -> Iterable[DoctorFinding]:
        """The same, where no backward came after it."""
        self._confirm()
        lost = list(self._lost.values())
        return [self._finding(one, lost) for one in lost]

    def _look(self, moment: Moment) -> None:
        for name, thing in self.patient.run.loop.parameters().items():
            before = self._leaves.get(name)
            if not isinstance(thing, torch.Tensor) or before is None or thing is before:
                continue
            if before.grad is None or not self._has_backward or name in self._lost:
                continue
            statement = self._statement(moment, name)
            if statement is not None and not (thing.is_leaf and thing.requires_grad):
                gradient = extreme_of(before.grad)
                self._lost[name] = _Lost(name, gradient, thing, statement)

    def _statement(self, moment: Moment, name: str) -> ast.stmt | None:
        found = [s for s in self.patient.source.assignments(name) if isinstance(s, ast.Assign)]
        mine = [s for s in found if self.patient.source.phase_of(s.lineno) == moment.phase]
        return mine[-1] if mine else None

    def _confirm(self) -> None:
        """Forget the names that stand for a leaf again."""
        now = self.patient.run.loop.parameters()
        for name in list(self._lost):
            thing = now.get(name)
            if isinstance(thing, torch.Tensor) and thing.is_leaf and thing.requires_grad:
                del self._lost[name]
        self._is_confirmed = bool(self._lost)

    def _finding(self, lost: _Lost, together: list[_Lost]) -> DoctorFinding:
        return DoctorFinding(
            code="lost_leaf",
            line=lost.statement.lineno,
            variable=lost.name,
            numbers={
                "gradient_before": lost.gradient,
                "gradient": "None",
                "was_leaf": True,
                "is_leaf": lost.now.is_leaf,
                "requires_grad": lost.now.requires_grad,
            },
            lesson="lost-leaf",
            exercise="a-new-w" if lost.now.requires_grad else "a-plain-w",
            fix=_fix(self.patient.source, [one.statement for one in together]),
        )


def _fix(source: SourceCode, statements: list[ast.stmt]) -> CodeFix | None:
    """The updates in place; None unless all are `w = w - …` on lines that follow each other."""
    statements = sorted(statements, key=lambda statement: statement.lineno)
    updates = [_in_place(source, statement) for statement in statements]
    ends = [(s.end_lineno or s.lineno) + 1 for s in statements]
    starts = [s.lineno for s in statements]
    if None in updates or starts[1:] != ends[:-1] or len({s.col_offset for s in statements}) > 1:
        return None
    code = [str(update) for update in updates]
    if not _is_without_grad(source, statements[0]):
        code = ["with torch.no_grad():", *(f"    {line}" for line in code)]
    if not _resets(source):
        names = [ast.unparse(s.targets[0]) for s in statements if isinstance(s, ast.Assign)]
        code += [f"{name}.grad = None" for name in names]
    whole = source.replaced(statements[0], "\n".join(code))
    return CodeFix(line=whole.line, end_line=ends[-1] - 1, code=whole.code)


def _in_place(source: SourceCode, statement: ast.stmt) -> str | None:
    """`w -= …` for `w = w - …`."""
    match statement:
        case ast.Assign(targets=[target], value=ast.BinOp(left=left, op=op, right=right)) if (
            ast.unparse(left) == ast.unparse(target) and isinstance(op, ast.Sub | ast.Add)
        ):
            sign = "-" if isinstance(op, ast.Sub) else "+"
            return f"{ast.unparse(target)} {sign}= {source.segment(right)}"
    return None


def _is_without_grad(source: SourceCode, statement: ast.stmt) -> bool:
    return any(
        "no_grad" in ast.unparse(item.context_expr)
        for node in source.enclosing(statement)
        if isinstance(node, ast.With)
        for item in node.items
    )


def _resets(source: SourceCode) -> bool:
    """Whether a line resets gradients in any way."""
    text = "\n".join(map(ast.unparse, source.tree))
    return any(word in text for word in ("zero_grad", ".grad = None", ".grad.zero_"))
