"""Arguments of a loss function: in the wrong order, of the wrong type, or out of their range."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from tutor.analysis.doctor.rule import DoctorRule, Moment
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding, Evidence

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
    """A loss function that is called with what it does not expect."""

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """The mistakes in the calls of this step, and in the one that raised its error."""
        for call in moment.calls_of(*_LOSSES):
            yield from self._look(call)
        failed = moment.failed
        if failed is not None and failed.name in _LOSSES and moment.error is not None:
            yield from self._look_at_failed(failed)

    def _look(self, call: TorchCall) -> Iterator[DoctorFinding]:
        given, target = _arguments(call)
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
        given, target = _arguments(call)
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
            code = self.patient.source.segment
            arguments = [code(node.args[1]), code(node.args[0]), *map(code, node.args[2:])]
            fix = self._rewritten(node, arguments)
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
            code = self.patient.source.segment
            first = code(node.args[0])
            logarithm = f"torch.log({first})" if is_probability else f"{first}.log_softmax(dim=1)"
            fix = self._rewritten(node, [logarithm, *map(code, node.args[1:])])
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
            name = self.patient.source.segment(node.func)
            better = name.replace("cross_entropy", "binary_cross_entropy_with_logits")
            fix = self._rewritten(node, [*map(self.patient.source.segment, node.args)], better)
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
            name = self.patient.source.segment(node.func) + "_with_logits"
            fix = self._rewritten(node, [*map(self.patient.source.segment, node.args)], name)
        numbers: dict[str, Evidence] = {"given": outside, "least": 0, "most": 1}
        yield self._finding("not_probabilities", call, node, 0, numbers, fix)

    def _wrong_type(
        self, call: TorchCall, code: str, target: torch.Tensor, conversion: str
    ) -> DoctorFinding:
        node, fix = self._call_at(call), None
        if node is not None:
            arguments = [self.patient.source.segment(argument) for argument in node.args]
            bare = arguments[1].removesuffix(".float()").removesuffix(".long()")
            is_closed = isinstance(
                node.args[1], ast.Name | ast.Attribute | ast.Subscript | ast.Call
            )
            arguments[1] = (bare if is_closed else f"({bare})") + conversion
            fix = self._rewritten(node, arguments)
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
        name = self.patient.source.segment(node.args[position]) if node is not None else ""
        is_binary = call.name in _BINARY_LOSSES
        return DoctorFinding(
            code=code,
            line=call.line,
            variable=name or self.patient.name_of(_arguments(call)[position]),
            numbers={"function": call.name, **numbers},
            lesson="logistic" if is_binary or code == "one_class" else "cross-entropy",
            exercise="logits-in-the-wrong-place" if code == "not_probabilities" else "",
            fix=fix,
        )

    # ── The code ────────────────────────────────────────────────────────────────────

    def _call_at(self, call: TorchCall) -> ast.Call | None:
        """The call of the loss in the source, if its two first arguments stand there."""
        statement = self.patient.source.statement_at(call.line)
        if statement is None:
            return None
        found = [
            node
            for node in ast.walk(statement)
            if isinstance(node, ast.Call)
            and len(node.args) >= 2
            and not any(isinstance(argument, ast.Starred) for argument in node.args)
            and node.lineno <= call.line <= (node.end_lineno or node.lineno)
        ]
        named = [node for node in found if call.name in ast.unparse(node.func)]
        return next(iter(named or found), None)

    def _rewritten(self, node: ast.Call, arguments: list[str], name: str = "") -> CodeFix:
        """The call with other arguments, and the keywords as they are."""
        source = self.patient.source
        keywords = [
            f"{k.arg}={source.segment(k.value)}" if k.arg else f"**{source.segment(k.value)}"
            for k in node.keywords
        ]
        function = name or source.segment(node.func)
        return source.replaced(node, f"{function}({', '.join([*arguments, *keywords])})")

    def _loss(self, call: TorchCall, given: torch.Tensor, target: torch.Tensor) -> float | None:
        """The loss with these arguments; None if they can't be."""
        keywords = {k: v for k, v in call.keywords.items() if k not in ("input", "target")}
        try:
            with torch.no_grad():
                return _number(_LOSSES[call.name](given, target, *call.arguments[2:], **keywords))
        except (RuntimeError, TypeError, ValueError, IndexError):
            return None


def _arguments(call: TorchCall) -> tuple[Any, Any]:
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
    waiting, known = [tensor.grad_fn], set[Any]()
    while waiting and len(known) < _NODES:
        node = waiting.pop(0)
        if node is None or node in known:
            continue
        known.add(node)
        if "Log" in node.name():
            return True
        waiting += [child for child, _ in node.next_functions]
    return False
