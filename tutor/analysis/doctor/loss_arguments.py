"""Arguments of a loss function: their order, type, range and shape, and an activation before it."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F

from tutor.analysis.doctor.rule import DoctorRule, Moment
from tutor.analysis.doctor.tensors import grad_fn_of, nodes_below
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.inspections import CodeFix, DoctorFinding, Evidence
from tutor.python_syntax import called_name

_CLASS_LOSSES = ("cross_entropy", "nll_loss")
_BINARY_LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_LOSSES: Mapping[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "nll_loss": F.nll_loss,
    "binary_cross_entropy": F.binary_cross_entropy,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
}
"""Losses in which prediction and target differ; the order of the mean squared error's is free."""

_NO_LOSS = "an error"
_OFF = 1e-3
"""The largest distance from 1 of a sum of probabilities in float32."""
_NODES = 64
"""Nodes of the graph that are searched for a logarithm."""


class LossArgumentsRule(DoctorRule):
    """A loss function that is called with arguments that it does not expect."""

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """The mistakes in the calls of this step, and in the one that raised its error."""
        for call in moment.calls_of(*_LOSSES):
            yield from self._look(call)
        failed = moment.failed
        if failed is not None and failed.name in _LOSSES and moment.error is not None:
            yield from self._look_at_failed(failed)

    def _look(self, call: TorchCall) -> Iterator[DoctorFinding]:
        given, target = _input_and_target(call)
        if given is None or target is None or not given.numel():
            return
        if target.requires_grad and not given.requires_grad:
            yield self._swapped(call, given, target)
        elif call.name == "nll_loss":
            yield from self._not_log_probabilities(call, given)
        elif call.name == "cross_entropy":
            yield from self._one_class(call, given, target)
        elif call.name == "binary_cross_entropy_with_logits":
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
        losses = (_number(call.result), self._loss(call, target, given))
        numbers: dict[str, Evidence] = {
            "loss": _NO_LOSS if losses[0] is None else losses[0],
            "loss_in_order": _NO_LOSS if losses[1] is None else losses[1],
        }
        fix = None
        if node is not None:
            code = self.source.segment
            arguments = [code(node.args[1]), code(node.args[0]), *map(code, node.args[2:])]
            fix = self.source.called_with(node, arguments)
        return self._finding("loss_arguments_swapped", call, node, 0, numbers, fix)

    def _not_log_probabilities(
        self, call: TorchCall, given: torch.Tensor
    ) -> Iterator[DoctorFinding]:
        if given.grad_fn is None or given.ndim != 2 or _has_logarithm(given):
            return
        values = given.detach().cpu().double()
        sums = values.exp().sum(1)
        worst = float(sums[int((sums - 1).abs().argmax())])
        if abs(worst - 1) <= _OFF:
            return
        node, fix = self._call_at(call), None
        is_probability = bool((values >= 0).all() and ((values.sum(1) - 1).abs() < _OFF).all())
        if node is not None:
            code = self.source.segment
            first = code(node.args[0])
            logarithm = f"torch.log({first})" if is_probability else f"{first}.log_softmax(dim=1)"
            fix = self.source.called_with(node, [logarithm, *map(code, node.args[1:])])
        numbers: dict[str, Evidence] = {"sum": worst, "wanted": 1.0}
        yield self._finding("not_log_probabilities", call, node, 0, numbers, fix)

    def _one_class(
        self, call: TorchCall, given: torch.Tensor, target: torch.Tensor
    ) -> Iterator[DoctorFinding]:
        """A finding if there is one class: its probability is always 1, whatever the prediction."""
        if given.ndim != 2 or given.shape[1] != 1 or target.shape != given.shape:
            return
        loss = _number(call.result)
        if loss is None or abs(loss) > 1e-12:
            return
        node, fix = self._call_at(call), None
        if node is not None and "cross_entropy" in ast.unparse(node.func):
            name = self.source.segment(node.func)
            better = name.replace("cross_entropy", "binary_cross_entropy_with_logits")
            fix = self.source.called_with(node, name=better)
        numbers: dict[str, Evidence] = {"classes": 1, "loss": abs(loss)}
        yield self._finding("one_class", call, node, 0, numbers, fix)

    def _beyond_one(self, call: TorchCall, target: torch.Tensor) -> Iterator[DoctorFinding]:
        """Targets that are no probabilities: the loss then has no lowest value."""
        outside = _outside(target)
        if outside is not None:
            numbers: dict[str, Evidence] = {"target": outside, "least": 0, "most": 1}
            node = self._call_at(call)
            yield self._finding("targets_not_probabilities", call, node, 1, numbers, None)

    def _not_probabilities(self, call: TorchCall, given: torch.Tensor) -> Iterator[DoctorFinding]:
        """Logits where probabilities belong."""
        outside = _outside(given)
        if outside is None:
            return
        node, fix = self._call_at(call), None
        if node is not None and ast.unparse(node.func).endswith("binary_cross_entropy"):
            name = self.source.segment(node.func) + "_with_logits"
            fix = self.source.called_with(node, name=name)
        numbers: dict[str, Evidence] = {"given": outside, "least": 0, "most": 1}
        yield self._finding("not_probabilities", call, node, 0, numbers, fix)

    def _wrong_type(
        self, call: TorchCall, code: str, target: torch.Tensor, conversion: str
    ) -> DoctorFinding:
        node, fix = self._call_at(call), None
        if node is not None:
            arguments = [self.source.segment(argument) for argument in node.args]
            bare = arguments[1].removesuffix(".float()").removesuffix(".long()")
            is_closed = isinstance(
                node.args[1], ast.Name | ast.Attribute | ast.Subscript | ast.Call
            )
            arguments[1] = (bare if is_closed else f"({bare})") + conversion
            fix = self.source.called_with(node, arguments)
        numbers: dict[str, Evidence] = {
            "dtype": str(target.dtype).removeprefix("torch."),
            "wanted": "int64" if code == "targets_not_indices" else "float32",
            "shape": tuple(target.shape),
        }
        return self._finding(code, call, node, 1, numbers, fix)

    def _finding(
        self,
        code: str,
        call: TorchCall,
        node: ast.Call | None,
        position: int,
        numbers: dict[str, Evidence],
        fix: CodeFix | None,
    ) -> DoctorFinding:
        name = self.source.segment(node.args[position]) if node is not None else ""
        is_binary = call.name in _BINARY_LOSSES
        return DoctorFinding(
            code=code,
            line=call.line,
            variable=name or self.patient.name_of(_input_and_target(call)[position]),
            numbers={"function": call.name, **numbers},
            lesson="logistic" if is_binary or code == "one_class" else "cross-entropy",
            exercise="logits-in-the-wrong-place" if code == "not_probabilities" else "",
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
            and node.lineno <= call.line <= (node.end_lineno or node.lineno)
        ]
        named = [node for node in found if call.name in ast.unparse(node.func)]
        return next(iter(named or found), None)

    def _loss(self, call: TorchCall, given: torch.Tensor, target: torch.Tensor) -> float | None:
        """The loss with these arguments; None if they can't be."""
        keywords = {k: v for k, v in call.keywords.items() if k not in ("input", "target")}
        try:
            with torch.no_grad():
                return _number(_LOSSES[call.name](given, target, *call.arguments[2:], **keywords))
        except (RuntimeError, TypeError, ValueError, IndexError):
            return None


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


def _number(result: Any) -> float | None:
    is_single = isinstance(result, torch.Tensor) and result.numel() == 1
    return float(result.detach()) if is_single else None


def _has_logarithm(tensor: torch.Tensor) -> bool:
    """Whether a logarithm is among the operations that computed the tensor."""
    return any("Log" in node.name() for node in islice(nodes_below(tensor), _NODES))


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
        for node in self.source.nodes_at(call.line):
            if isinstance(node, ast.Call) and len(node.args) > 1:
                return self.source.segment(node.args[0])
        return self.patient.name_of(given) or "loss"

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
