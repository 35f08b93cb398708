"""Arguments of a loss function: their order, type, range and shape, and an activation before it."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F

from tutor.analysis.doctor.rule import DoctorRule, ExaminedStep, Patient, grad_fn_of, nodes_below
from tutor.analysis.doctor.source_code import SourceCode, evaluated
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.lesson.model import LOSS
from tutor.protocol.inspections import CodeFix, DoctorFinding, Evidence
from tutor.python_syntax import called_name, last_line

_CLASS_LOSSES = ("cross_entropy", "nll_loss")
_BINARY_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_LOSSES: Mapping[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "nll_loss": F.nll_loss,
    "binary_cross_entropy": F.binary_cross_entropy,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
}
"""Losses in which prediction and target differ; the order of the mean squared error's is free."""

_EXERCISES = {
    "not_probabilities": "logits-in-the-wrong-place",
    "softmax_before_cross_entropy": "softmax-twice",
    "softmax_before_nll": "softmax-twice",
}

_OFF = 1e-3
"""The largest distance from 1 of a sum of probabilities in float32."""
_CLOSE = 1e-4
"""Rows of float32 probabilities add up to 1 but for this."""

_PASSING = ("View", "Squeeze", "Unsqueeze", "Reshape", "ToCopy", "Slice", "Select", "Transpose",
            "Permute", "T", "Alias", "Clone", "Index", "Expand")  # fmt: skip
"""Operations that leave numbers as they are, by the beginning of their nodes' names."""
_NODES = 64
"""Nodes of the graph that are searched for a logarithm."""


class LossArgumentsRule(DoctorRule):
    """A loss function that is called with arguments that it does not expect."""

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """The mistakes in the calls of this step, and in the one that raised its error."""
        for call in step.calls_of(*_LOSSES):
            yield from self._look(call)
        failed = step.failed
        if failed is not None and failed.name in _LOSSES and step.error is not None:
            yield from self._look_at_failed(failed)

    def _look(self, call: TorchCall) -> Iterator[DoctorFinding]:
        given, target = _input_and_target(call)
        if given is None or target is None or not given.numel():
            return
        if target.requires_grad and not given.requires_grad:
            yield self._swapped(call, given, target)
        elif call.name in _CLASS_LOSSES:
            if _are_probabilities(given):
                yield self._softmax(call, given)
            if call.name == "nll_loss":
                yield from self._not_log_probabilities(call, given)
            else:
                yield from self._one_class(call, given, target)
        elif call.name == "binary_cross_entropy_with_logits":
            if _node(given) == "Sigmoid":
                yield self._sigmoid(call, given)
            yield from self._beyond_one(call, target)

    def _look_at_failed(self, call: TorchCall) -> Iterator[DoctorFinding]:
        given, target = _input_and_target(call)
        if given is None or target is None:
            return
        if target.requires_grad and not given.requires_grad:
            yield self._swapped(call, given, target)
        elif call.name in _CLASS_LOSSES and _are_no_indices(given, target):
            yield self._wrong_type(call, "targets_not_indices", target, ".long()")
        elif call.name in _BINARY_LOSSES and not target.is_floating_point():
            yield self._wrong_type(call, "targets_not_float", target, ".float()")
        elif call.name == "binary_cross_entropy" and given.numel():
            yield from self._not_probabilities(call, given)

    # ── The findings ────────────────────────────────────────────────────────────────

    def _swapped(self, call: TorchCall, given: torch.Tensor, target: torch.Tensor) -> DoctorFinding:
        node = self._call_at(call)
        fix = None
        if node is not None:
            first, second, *rest = map(self.source.segment, node.args)
            fix = self.source.called_with(node, [second, first, *rest])
        numbers = {
            "loss": _loss_number(call.result),
            "loss_in_order": self._loss(call, target, given),
        }
        return self._finding("loss_arguments_swapped", call, numbers, fix)

    def _not_log_probabilities(
        self, call: TorchCall, given: torch.Tensor
    ) -> Iterator[DoctorFinding]:
        if given.grad_fn is None or given.ndim != 2 or _has_logarithm(given):
            return
        sums = given.detach().cpu().double().exp().sum(1)
        worst = float(sums[int((sums - 1).abs().argmax())])
        if abs(worst - 1) <= _OFF:
            return
        node, fix = self._call_at(call), None
        if node is not None:
            first, *rest = map(self.source.segment, node.args)
            logits = self.source.before_dot(node.args[0])
            is_probability = _are_probabilities(given)
            logarithm = f"torch.log({first})" if is_probability else f"{logits}.log_softmax(dim=1)"
            fix = self.source.called_with(node, [logarithm, *rest])
        numbers = {"sum": worst, "wanted": 1.0}
        yield self._finding("not_log_probabilities", call, numbers, fix)

    def _one_class(
        self, call: TorchCall, given: torch.Tensor, target: torch.Tensor
    ) -> Iterator[DoctorFinding]:
        """A finding if there is one class: its probability is always 1, whatever the prediction."""
        if given.ndim != 2 or given.shape[1] != 1 or target.shape != given.shape:
            return
        loss = _loss_number(call.result)
        if loss is None or abs(loss) > 1e-12:
            return
        node, fix = self._call_at(call), None
        if node is not None and "cross_entropy" in ast.unparse(node.func):
            name = self.source.segment(node.func)
            better = name.replace("cross_entropy", "binary_cross_entropy_with_logits")
            fix = self.source.called_with(node, name=better)
        yield self._finding("one_class", call, {"classes": 1, "loss": abs(loss)}, fix)

    def _beyond_one(self, call: TorchCall, target: torch.Tensor) -> Iterator[DoctorFinding]:
        """Targets that are no probabilities: the loss then has no lowest value."""
        outside = _outside(target)
        if outside is not None:
            numbers = {"target": outside, "least": 0, "most": 1}
            yield self._finding("targets_not_probabilities", call, numbers, None, position=1)

    def _not_probabilities(self, call: TorchCall, given: torch.Tensor) -> Iterator[DoctorFinding]:
        """Logits where probabilities belong."""
        outside = _outside(given)
        if outside is None:
            return
        node, fix = self._call_at(call), None
        if node is not None and ast.unparse(node.func).endswith("binary_cross_entropy"):
            name = self.source.segment(node.func) + "_with_logits"
            fix = self.source.called_with(node, name=name)
        numbers = {"given": outside, "least": 0, "most": 1}
        yield self._finding("not_probabilities", call, numbers, fix)

    def _wrong_type(
        self, call: TorchCall, code: str, target: torch.Tensor, conversion: str
    ) -> DoctorFinding:
        node, fix = self._call_at(call), None
        if node is not None:
            arguments = [self.source.segment(argument) for argument in node.args]
            closed = self.source.before_dot(node.args[1])
            bare = closed.removesuffix(".float()").removesuffix(".long()")
            arguments[1] = bare + conversion
            fix = self.source.called_with(node, arguments)
        numbers = {
            "dtype": str(target.dtype).removeprefix("torch."),
            "wanted": "int64" if code == "targets_not_indices" else "float32",
            "shape": tuple(target.shape),
        }
        return self._finding(code, call, numbers, fix, position=1)

    def _softmax(self, call: TorchCall, given: torch.Tensor) -> DoctorFinding:
        """The finding on probabilities where the loss takes their logits, or logarithms."""
        classes = int(given.shape[1 if given.ndim > 1 else 0])
        is_cross_entropy = call.name == "cross_entropy"
        numbers = {
            "row_sum": float(given.detach().sum(1 if given.ndim > 1 else 0).reshape(-1)[0]),
            "largest": float(given.detach().max()),
            "classes": classes,
            "lowest": math.log(math.e + classes - 1) - 1 if is_cross_entropy else -1.0,
        }
        code = "softmax_before_cross_entropy" if is_cross_entropy else "softmax_before_nll"
        fix = self._without("softmax", "Softmax", None if is_cross_entropy else "log_softmax")
        return self._finding(code, call, numbers, fix)

    def _sigmoid(self, call: TorchCall, given: torch.Tensor) -> DoctorFinding:
        """The finding on probabilities where the loss takes logits."""
        numbers = {
            "smallest": float(given.detach().min()),
            "largest": float(given.detach().max()),
            "lowest": math.log1p(math.exp(-1)),
        }
        fix = self._without("sigmoid", "Sigmoid", None)
        return self._finding("sigmoid_before_logits", call, numbers, fix)

    def _finding(
        self,
        code: str,
        call: TorchCall,
        numbers: Mapping[str, Evidence],
        fix: CodeFix | None,
        position: int = 0,
    ) -> DoctorFinding:
        """A finding on the argument at this position."""
        node = self._call_at(call)
        name = self.source.segment(node.args[position]) if node is not None else ""
        is_binary = call.name in _BINARY_LOSSES
        return DoctorFinding(
            code=code,
            line=call.line,
            variable=name or self.patient.name_of(_input_and_target(call)[position]) or "loss",
            numbers={"function": call.name, **numbers},
            lesson="logistic" if is_binary or code == "one_class" else "cross-entropy",
            exercise=_EXERCISES.get(code, ""),
            fix=fix,
        )

    # ── The code ────────────────────────────────────────────────────────────────────

    def _call_at(self, call: TorchCall) -> ast.Call | None:
        """The call of the loss in the source, if its two first arguments stand there."""
        found = [
            node
            for node in self.source.nodes_at(call.line)
            if isinstance(node, ast.Call)
            and len(node.args) >= 2
            and not any(isinstance(argument, ast.Starred) for argument in node.args)
            and node.lineno <= call.line <= last_line(node)
        ]
        named = [node for node in found if call.name in ast.unparse(node.func)]
        return next(iter(named or found), None)

    def _loss(self, call: TorchCall, given: torch.Tensor, target: torch.Tensor) -> float | None:
        """The loss with these arguments; None if they can't be."""
        keywords = {k: v for k, v in call.keywords.items() if k not in ("input", "target")}
        try:
            with torch.no_grad():
                return _loss_number(
                    _LOSSES[call.name](given, target, *call.arguments[2:], **keywords)
                )
        except (RuntimeError, TypeError, ValueError, IndexError):
            return None

    def _without(self, function: str, module: str, instead: str | None) -> CodeFix | None:
        """The code without the only call of the function, or with another in its place."""
        source = self.source
        found = [*source.calls(function), *source.calls(module)]
        if len(found) != 1:
            return None
        (call,) = found
        if called_name(call) == module:  # nn.Softmax(dim=1), among the layers
            library = source.segment(call.func).removesuffix(module)
            if instead:
                return source.replaced(call, f"{library}LogSoftmax(1)")
            return source.without_last(call, "Sequential") or source.replaced(
                call, f"{library}Identity()"
            )
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


def _input_and_target(call: TorchCall) -> tuple[Any, Any]:
    found = (call.argument(0, "input"), call.argument(1, "target"))
    return found if all(isinstance(one, torch.Tensor) for one in found) else (None, None)


def _are_no_indices(given: torch.Tensor, target: torch.Tensor) -> bool:
    """Whether the targets are one number for each sample, of a type that no index has."""
    is_one_each = target.ndim == given.ndim - 1 or target.numel() == given.shape[0]
    return is_one_each and target.dtype not in (torch.int64, torch.uint8)


def _outside(tensor: torch.Tensor) -> float | None:
    """A number that lies below 0 or above 1; None if none does."""
    low, high = (float(end) for end in tensor.detach().aminmax())
    return high if high > 1 else low if low < 0 else None


def _loss_number(result: Any) -> float | None:
    is_single = isinstance(result, torch.Tensor) and result.numel() == 1
    return float(result.detach()) if is_single else None


def _has_logarithm(tensor: torch.Tensor) -> bool:
    """Whether a logarithm is among the operations that computed the tensor."""
    return any("Log" in node.name() for node in islice(nodes_below(tensor), _NODES))


def _is_library(node: ast.expr) -> bool:
    """Whether the function of a module is called: torch, F, torch.nn.functional …"""
    return ast.unparse(node) in ("torch", "F", "functional", "torch.nn.functional",
                                 "nn.functional", "torch.special")  # fmt: skip


def _are_probabilities(given: torch.Tensor) -> bool:
    """Whether every row of a trained tensor holds numbers from 0 to 1 that add up to 1."""
    if not given.requires_grad or not given.is_floating_point() or not given.ndim:
        return False
    numbers = given.detach()
    rows = numbers.sum(1 if numbers.ndim > 1 else 0)
    if rows.numel() == numbers.numel():  # a single class: its softmax is 1
        return False
    is_one = bool(((rows - 1).abs() < _CLOSE).all())
    return is_one and bool((numbers >= 0).all()) and bool((numbers <= 1).all())


def _node(given: torch.Tensor) -> str:
    """The operation that made a tensor, `Sigmoid`; views of its output are passed over."""
    node = grad_fn_of(given)
    while node is not None:
        name = type(node).__name__.partition("Backward")[0].removeprefix("Unsafe")
        if not name.startswith(_PASSING) or name.startswith("Tanh"):
            return name
        node = node.next_functions[0][0] if node.next_functions else None
    return ""


# ── Shapes ──────────────────────────────────────────────────────────────────────────

Shape: TypeAlias = tuple[int, ...]
Operands: TypeAlias = tuple[ast.expr, ast.expr]

_BROADCASTING_LOSSES = frozenset({
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss", "kl_div",
})  # fmt: skip
"""Loss functions of PyTorch that broadcast their two first arguments."""


class BroadcastRule(DoctorRule):
    """Two arrays of a loss, of N numbers each, that broadcast to N x N."""

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """The first such operation of a step."""
        if step.error is not None:
            return ()
        found = [*self._called(step), *self._written(step)]
        return found[:1]

    def _called(self, step: ExaminedStep) -> Iterator[DoctorFinding]:
        """Differences that PyTorch computes: loss functions, and subtractions where the loss is."""
        for call in step.calls:
            one, other = call.argument(0, "input"), call.argument(1, "target")
            is_loss = call.name in _BROADCASTING_LOSSES
            in_loss = call.name == "sub" and self.source.phase_of(call.line) == LOSS
            if not (is_loss or in_loss) or not isinstance(one, torch.Tensor):
                continue
            if isinstance(other, torch.Tensor) and _is_square(one.shape, other.shape):
                operands = self._operands(call, one)
                yield self._finding(call.line, tuple(one.shape), tuple(other.shape), operands)

    def _written(self, step: ExaminedStep) -> Iterator[DoctorFinding]:
        """NumPy's subtractions, which no hook sees, of their operands as they are now."""
        if step.phase_name == LOSS:
            for node, one, other in square_subtractions(self.patient, LOSS):
                yield self._finding(node.lineno, one, other, (node.left, node.right))

    def _operands(self, call: TorchCall, one: torch.Tensor) -> Operands | None:
        """The two operands as they stand in the code; None where that does not tell."""
        nodes = self.source.nodes_at(call.line)
        pairs = [pair for node in nodes if (pair := _pair(node))]
        for left, right in pairs:
            values = [evaluated(side, self.patient.namespace) for side in (left, right)]
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
            fix=in_shape(self.source, operands, one, other) if operands else None,
        )


def square_subtractions(patient: Patient, phase: str) -> Iterator[tuple[ast.BinOp, Shape, Shape]]:
    """The subtractions of two of NumPy's arrays that broadcast to N x N, and the arrays' shapes."""
    for node in patient.source.nodes(phase):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            left, right = (evaluated(n, patient.namespace) for n in (node.left, node.right))
            are_arrays = isinstance(left, np.ndarray) and isinstance(right, np.ndarray)
            if are_arrays and _is_square(left.shape, right.shape):
                yield node, left.shape, right.shape


def in_shape(source: SourceCode, operands: Operands, one: Shape, other: Shape) -> CodeFix | None:
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
