"""Arrays of N numbers that broadcast to N x N: in a loss, and in a gradient by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch

from tutor.analysis.doctor.array_operations import value_of
from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.lesson.model import GRADIENT, LOSS, PREDICT, UPDATE
from tutor.protocol.inspections import CodeFix, DoctorFinding, Evidence

Shape: TypeAlias = tuple[int, ...]
Operands: TypeAlias = tuple[ast.expr, ast.expr]

_BROADCASTING_LOSSES = frozenset({
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
            is_loss = call.name in _BROADCASTING_LOSSES
            in_loss = call.name == "sub" and self.source.phase_of(call.line) == LOSS
            if not (is_loss or in_loss) or not isinstance(one, torch.Tensor):
                continue
            if isinstance(other, torch.Tensor) and _is_square(one.shape, other.shape):
                operands = self._operands(call, one)
                yield self._finding(call.line, tuple(one.shape), tuple(other.shape), operands)

    def _written(self, moment: Moment) -> Iterator[DoctorFinding]:
        """NumPy's subtractions, which no hook sees, of their operands as they are now."""
        if moment.phase != LOSS:
            return
        for node in self.source.nodes(LOSS):
            if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
                continue
            left, right = (
                _named_object(side, self.patient.namespace) for side in (node.left, node.right)
            )
            if not (isinstance(left, np.ndarray) and isinstance(right, np.ndarray)):
                continue
            if _is_square(left.shape, right.shape):
                yield self._finding(node.lineno, left.shape, right.shape, (node.left, node.right))

    def _operands(self, call: TorchCall, one: torch.Tensor) -> Operands | None:
        """The two operands as they stand in the code; None where that does not tell."""
        nodes = self.source.nodes_at(call.line)
        pairs = [pair for node in nodes if (pair := _pair(node))]
        for left, right in pairs:
            values = [_named_object(side, self.patient.namespace) for side in (left, right)]
            if values[0] is one or values[1] is call.argument(1, "target"):
                return left, right
            if values[1] is one:  # `y - y_pred`, computed as the other's
                return right, left
        return pairs[0] if len(pairs) == 1 else None

    def _finding(
        self, line: int, one: Shape, other: Shape, operands: Operands | None
    ) -> DoctorFinding:
        variable, against = map(self.source.segment, operands) if operands else ("", "")
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
            fix=_reshaped(self.source, operands, one, other) if operands else None,
        )


class ReshapedParameterRule(DoctorRule):
    """A parameter that an update by hand gives a larger shape, as its gradient has that shape."""

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._shapes: dict[str, Shape] = {}
        """The shapes of the parameters before an update."""
        self._squares: list[tuple[ast.BinOp, Shape, Shape]] = []
        """The subtractions of this batch whose operands broadcast to a square, and their shapes."""

    def before(self, moment: Moment) -> None:
        """Note the shapes of the parameters."""
        if moment.phase == UPDATE:
            self._shapes = self._shapes_now()

    def after(self, moment: Moment) -> Iterator[DoctorFinding]:
        """Look at the shapes that an update has made."""
        if moment.error is not None or moment.epoch > 1 or moment.batch:
            return
        if moment.phase != UPDATE:
            self._squares += self._subtractions(moment.phase)
            return
        for name, shape in self._shapes_now().items():
            before = self._shapes.get(name, shape)
            if np.prod(before) > 1 and np.prod(shape) > np.prod(before):
                yield self._finding(name, before, shape)
                break
        self._squares.clear()

    def _shapes_now(self) -> dict[str, Shape]:
        found = self.patient.run.loop.parameters()
        return {name: thing.shape for name, thing in found.items() if isinstance(thing, np.ndarray)}

    def _subtractions(self, phase: str) -> Iterator[tuple[ast.BinOp, Shape, Shape]]:
        if phase not in (PREDICT, LOSS, GRADIENT):
            return
        for node in self.source.nodes(phase):
            if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)):
                continue
            left, right = (value_of(n, self.patient.namespace) for n in (node.left, node.right))
            are_arrays = isinstance(left, np.ndarray) and isinstance(right, np.ndarray)
            if are_arrays and _is_square(left.shape, right.shape):
                yield node, left.shape, right.shape

    def _finding(self, name: str, before: Shape, after: Shape) -> DoctorFinding:
        lines = [s.lineno for s in self.source.assignments(name)]
        line = max((at for at in lines if self.source.phase_of(at) == UPDATE), default=0)
        numbers: dict[str, Evidence] = {"before": before, "after": after}
        code, fix = "parameter_reshaped", None
        if self._squares:
            node, one, other = self._squares[0]
            line, code = node.lineno, "broadcast_in_gradient"
            fix = _reshaped(self.source, (node.left, node.right), one, other)
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


def _reshaped(source: SourceCode, operands: Operands, one: Shape, other: Shape) -> CodeFix | None:
    """The second operand, which is usually the target, in the shape of the first."""
    target = operands[1]
    if not isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
        return None
    text = source.segment(target)
    if len(other) < len(one):
        return source.replaced(target, f"{text}[:, None]")
    is_made = text.endswith("[:, None]")
    return source.replaced(target, text.removesuffix("[:, None]") if is_made else f"{text}[:, 0]")


def _is_square(one: Iterable[int], other: Iterable[int]) -> bool:
    """Whether the shapes are (N,) and (N, 1), with N above 1, in whatever order."""
    flat, column = sorted((tuple(one), tuple(other)), key=len)
    return len(flat) == 1 and flat[0] > 1 and column == (flat[0], 1)


def _pair(node: ast.AST) -> Operands | None:
    match node:
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return left, right
        case ast.Call(args=[left, right, *_]):
            return left, right
    return None


def _named_object(node: ast.expr, namespace: Mapping[str, Any]) -> Any:
    """The object that a name, an attribute or a plain element stands for; None otherwise."""
    match node:
        case ast.Name(id=name):
            return namespace.get(name)
        case ast.Attribute(value=inner, attr=name):
            owner = _named_object(inner, namespace)
            return getattr(owner, "__dict__", {}).get(name)
        case ast.Subscript(value=inner, slice=ast.Constant(value=key)):
            owner = _named_object(inner, namespace)
            if isinstance(owner, dict):
                return owner.get(key)
    return None
