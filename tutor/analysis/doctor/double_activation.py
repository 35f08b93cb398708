"""Softmax before cross-entropy, and a sigmoid before a loss that takes logits."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

import torch

from tutor.analysis.doctor.rule import DoctorRule, Moment
from tutor.analysis.doctor.source_code import called_name
from tutor.analysis.doctor.tensors import grad_fn_of
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding

_CLOSE = 1e-4
"""Rows of float32 probabilities add up to 1 but for this."""

_PASSING = ("View", "Squeeze", "Unsqueeze", "Reshape", "ToCopy", "Slice", "Select", "Transpose",
            "Permute", "T", "Alias", "Clone", "Index", "Expand")  # fmt: skip
"""Operations that leave numbers as they are, by the beginning of their nodes' names."""


class DoubleActivationRule(DoctorRule):
    """A loss that takes logits, and is given probabilities."""

    def after(self, moment: Moment) -> Iterator[DoctorFinding]:
        """The losses of a step whose input is a probability already."""
        for call in moment.calls:
            given = call.argument(0, "input")
            if not isinstance(given, torch.Tensor) or not given.numel():
                continue
            if call.name in ("cross_entropy", "nll_loss") and _are_probabilities(given):
                yield self._softmax(call, given)
            elif call.name == "binary_cross_entropy_with_logits" and _node(given) == "Sigmoid":
                yield self._sigmoid(call, given)

    def _softmax(self, call: TorchCall, given: torch.Tensor) -> DoctorFinding:
        classes = int(given.shape[1 if given.ndim > 1 else 0])
        is_cross_entropy = call.name == "cross_entropy"
        lowest = math.log(math.e + classes - 1) - 1 if is_cross_entropy else -1.0
        return DoctorFinding(
            code="softmax_before_cross_entropy" if is_cross_entropy else "softmax_before_nll",
            line=call.line,
            variable=self._variable(call, given),
            numbers={
                "row_sum": float(given.detach().sum(1 if given.ndim > 1 else 0).reshape(-1)[0]),
                "largest": float(given.detach().max()),
                "classes": classes,
                "lowest": lowest,
            },
            lesson="cross-entropy",
            exercise="softmax-twice",
            fix=self._without("softmax", "Softmax", None if is_cross_entropy else "log_softmax"),
        )

    def _sigmoid(self, call: TorchCall, given: torch.Tensor) -> DoctorFinding:
        return DoctorFinding(
            code="sigmoid_before_logits",
            line=call.line,
            variable=self._variable(call, given),
            numbers={
                "smallest": float(given.detach().min()),
                "largest": float(given.detach().max()),
                "lowest": math.log1p(math.exp(-1)),
            },
            lesson="logistic",
            fix=self._without("sigmoid", "Sigmoid", None),
        )

    def _variable(self, call: TorchCall, given: torch.Tensor) -> str:
        """The first argument of the loss as the code has it; else the name it bears."""
        source = self.patient.source
        statement = source.statement_at(call.line)
        for node in ast.walk(statement) if statement is not None else ():
            if isinstance(node, ast.Call) and len(node.args) > 1:
                return source.segment(node.args[0])
        return self.patient.name_of(given) or "loss"

    def _without(self, function: str, module: str, instead: str | None) -> CodeFix | None:
        """The code without the only call of the function, or with another in its place."""
        source = self.patient.source
        found = [*source.calls(function), *source.calls(module)]
        if len(found) != 1:
            return None
        (call,) = found
        if called_name(call) == module:  # nn.Softmax(dim=1), among the layers
            nn = self.patient.nn()
            return source.replaced(call, f"{nn}.LogSoftmax(1)" if instead else f"{nn}.Identity()")
        if instead is not None and isinstance(call.func, ast.Attribute):
            text = source.segment(call)
            head = source.segment(call.func)
            return source.replaced(call, head[: -len(function)] + instead + text[len(head) :])
        if isinstance(call.func, ast.Attribute) and not _is_library(call.func.value):
            return source.replaced(call, source.segment(call.func.value))  # z.softmax(1)
        if not call.args:
            return None
        text, around = source.segment(call.args[0]), next(iter(source.enclosing(call)), None)
        is_operand = isinstance(around, ast.BinOp | ast.UnaryOp | ast.Attribute | ast.Subscript)
        return source.replaced(call, f"({text})" if is_operand else text)


def _is_library(node: ast.expr) -> bool:
    """Whether the function of a module is called: torch, F, torch.nn.functional …"""
    return ast.unparse(node) in ("torch", "F", "functional", "torch.nn.functional",
                                 "nn.functional", "torch.special")  # fmt: skip


def _are_probabilities(given: torch.Tensor) -> bool:
    """Whether every row of what asks for a gradient holds numbers from 0 to 1 that add up to 1."""
    if not given.requires_grad or not given.is_floating_point() or not given.ndim:
        return False
    numbers = given.detach()
    rows = numbers.sum(1 if numbers.ndim > 1 else 0)
    if rows.numel() == numbers.numel():  # a single class: its softmax is 1
        return False
    is_one = bool(((rows - 1).abs() < _CLOSE).all())
    return is_one and bool((numbers >= 0).all()) and bool((numbers <= 1).all())


def _node(given: torch.Tensor) -> str:
    """The operation that made a tensor: of a view of it, the one before; `Sigmoid`."""
    node = grad_fn_of(given)
    while node is not None:
        name = type(node).__name__.partition("Backward")[0].removeprefix("Unsafe")
        if not name.startswith(_PASSING) or name.startswith("Tanh"):
            return name
        node = node.next_functions[0][0] if node.next_functions else None
    return ""
