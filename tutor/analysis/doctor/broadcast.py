"""A prediction of shape (N, 1) against a target of shape (N,): the loss compares all with all."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from tutor.analysis.doctor.rule import DoctorRule, Moment
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding

Shape = tuple[int, ...]

_LOSSES = frozenset({
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss", "kl_div",
})  # fmt: skip
"""Loss functions of PyTorch that broadcast their two first arguments."""


class BroadcastRule(DoctorRule):
    """Two arrays of a loss, of N numbers each, that broadcast to N x N."""

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """The first such operation of a step."""
        if moment.error is not None:
            return ()
        found = [*self._called(moment), *self._written(moment)]
        return found[:1]

    def _called(self, moment: Moment) -> Iterator[DoctorFinding]:
        """Differences that PyTorch computes: loss functions, and subtractions where the loss is."""
        for call in moment.calls:
            one, other = call.argument(0, "input"), call.argument(1, "target")
            is_loss = call.name in _LOSSES
            in_loss = call.name == "sub" and self.patient.source.phase_of(call.line) == "Loss"
            if not (is_loss or in_loss) or not isinstance(one, torch.Tensor):
                continue
            if isinstance(other, torch.Tensor) and _is_square(one.shape, other.shape):
                operands = self._operands(call, one)
                yield self._finding(call.line, tuple(one.shape), tuple(other.shape), operands)

    def _written(self, moment: Moment) -> Iterator[DoctorFinding]:
        """NumPy's subtractions, which no hook sees, of their operands as they are now."""
        if moment.phase != "Loss":
            return
        for node in self.patient.source.nodes("Loss"):
            if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
                continue
            left, right = (_value(side, self.patient.namespace) for side in (node.left, node.right))
            if not (isinstance(left, np.ndarray) and isinstance(right, np.ndarray)):
                continue
            if _is_square(left.shape, right.shape):
                yield self._finding(node.lineno, left.shape, right.shape, (node.left, node.right))

    def _operands(self, call: TorchCall, one: torch.Tensor) -> tuple[ast.expr, ast.expr] | None:
        """The two operands as they stand in the code; None where that does not tell."""
        statement = self.patient.source.statement_at(call.line)
        pairs = [pair for node in ast.walk(statement) if (pair := _pair(node))] if statement else []
        for left, right in pairs:
            values = [_value(side, self.patient.namespace) for side in (left, right)]
            if values[0] is one or values[1] is call.argument(1, "target"):
                return left, right
            if values[1] is one:  # `y - y_pred`, computed as the other's
                return right, left
        return pairs[0] if len(pairs) == 1 else None

    def _finding(
        self, line: int, one: Shape, other: Shape, operands: tuple[ast.expr, ast.expr] | None
    ) -> DoctorFinding:
        source = self.patient.source
        variable, against = map(source.segment, operands) if operands else ("", "")
        samples = max(one)
        return DoctorFinding(
            code="broadcast_in_loss",
            line=line,
            variable=variable or "loss",
            numbers={
                "shape": one,
                "other_shape": other,
                **({"against": against} if against else {}),
                "samples": samples,
                "differences": samples * samples,
            },
            lesson="broadcasting",
            exercise="lost-dimension",
            fix=self._fix(operands, one, other) if operands else None,
        )

    def _fix(self, operands: tuple[ast.expr, ast.expr], one: Shape, other: Shape) -> CodeFix | None:
        """The second operand, which is usually the target, in the shape of the first."""
        source, target = self.patient.source, operands[1]
        if not isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
            return None
        text = source.segment(target)
        if len(other) < len(one):
            return source.replaced(target, f"{text}[:, None]")
        is_made = text.endswith("[:, None]")
        return source.replaced(
            target, text.removesuffix("[:, None]") if is_made else f"{text}[:, 0]"
        )


def _is_square(one: Iterable[int], other: Iterable[int]) -> bool:
    """Whether the shapes are (N,) and (N, 1), with N above 1, in whatever order."""
    flat, column = sorted((tuple(one), tuple(other)), key=len)
    return len(flat) == 1 and flat[0] > 1 and column == (flat[0], 1)


def _pair(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    match node:
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return left, right
        case ast.Call(args=[left, right, *_]):
            return left, right
    return None


def _value(node: ast.expr, namespace: Mapping[str, Any]) -> Any:
    """The object that a name, an attribute or a plain element stands for; None otherwise."""
    match node:
        case ast.Name(id=name):
            return namespace.get(name)
        case ast.Attribute(value=inner, attr=name):
            owner = _value(inner, namespace)
            return getattr(owner, "__dict__", {}).get(name)
        case ast.Subscript(value=inner, slice=ast.Constant(value=key)):
            owner = _value(inner, namespace)
            if isinstance(owner, dict):
                return owner.get(key)
    return None
