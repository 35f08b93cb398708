"""Gradients of several batches that are added up before one update, and not divided."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch.autograd.graph import Node

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.tensors import held_by, leaves_of, norm_of
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import CodeFix, DoctorFinding

_MEAN = 1
"""The `_saved_reduction` of a loss function's node for reduction="mean"."""
_PARTS = ("chunk", "split", "range(", "batch", "micro")
"""Words of a loop over parts of a batch."""
_CLOSE = 1e-5


@dataclass(slots=True, eq=False)
class _Window:
    """The backward passes that have added to one leaf's gradient since it was empty."""

    leaf: torch.Tensor
    lines: list[int] = field(default_factory=list)
    are_means: bool = True
    changes: int = 0
    """PyTorch's count of the changes of the leaf in place, at the last backward."""
    norm: float = 0.0
    """The norm of the gradient after the last backward."""


class AccumulationRule(DoctorRule):
    """k mean losses go back before one update: its gradient is k times the mean of all.

    Silent where the loss or the gradients are scaled by anything, and where several losses are
    added up that are not those of the batches of one loop.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._windows: dict[int, _Window] = {}
        self._ripe: list[tuple[_Window, int]] = []
        """The windows that an update has ended, with its line."""

    def before_call(self, call: TorchCall) -> None:
        """Count a backward for each leaf; see what an optimizer uses."""
        if call.name == "optimizer.step":
            for parameter in held_by(call.arguments[0]):
                self._used(parameter, call.line)
            return
        loss = call.argument(0, "tensors")
        if not isinstance(loss, torch.Tensor):
            return
        is_mean = _is_mean(loss.grad_fn) and call.argument(1, "gradient") is None
        for leaf in leaves_of(loss):
            window = self._windows.get(id(leaf))
            if window is None or leaf.grad is None or not bool(leaf.grad.any()):
                window = self._windows[id(leaf)] = _Window(leaf)
            window.lines.append(call.line)
            window.are_means &= is_mean
            window.changes = leaf._version

    def after_call(self, call: TorchCall) -> None:
        """Note the sums."""
        if call.name == "backward":
            for window in self._windows.values():
                if window.leaf.grad is not None:
                    window.norm = norm_of(window.leaf.grad)

    def _used(self, leaf: torch.Tensor, line: int) -> None:
        window = self._windows.pop(id(leaf), None)
        if window is None or leaf.grad is None:
            return
        is_same = abs(norm_of(leaf.grad) - window.norm) <= _CLOSE * window.norm
        is_one_line = len(set(window.lines)) == 1
        if is_same and is_one_line and window.are_means and len(window.lines) > 1:
            self._ripe.append((window, line))

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """See updates by hand; the finding, if an update has used such a sum."""
        divisions = [call.line for call in moment.calls_of("div")]
        for call in moment.calls_of("sub", "add", "copy"):
            first = call.arguments[0] if call.arguments else None
            window = self._windows.get(id(first))
            is_in_place = window is not None and first is call.result
            if window and is_in_place and window.leaf._version != window.changes:
                if call.line in divisions:
                    del self._windows[id(first)]
                else:
                    self._used(window.leaf, call.line)
        ripe, self._ripe = self._ripe, []
        found = [(w, line) for w, line in ripe if self._adds_batches(w.lines[0], line)]
        return [self._finding(found)] if found and moment.error is None else ()

    def _adds_batches(self, backward: int, update: int) -> bool:
        """Whether the update stands under a condition of its own, or the backward in a loop."""
        source = self.patient.source
        mine = [id(node) for node in source.conditions_around(backward)]
        conditions = [c for c in source.conditions_around(update) if id(c) not in mine]
        if any(isinstance(n, ast.Mod | ast.Eq) for c in conditions for n in ast.walk(c.test)):
            return True
        outer = [id(loop) for loop in source.loops_around(update)]
        inner = [loop for loop in source.loops_around(backward) if id(loop) not in outer]
        iterated = [ast.unparse(loop.iter) for loop in inner if isinstance(loop, ast.For)]
        return any(word in text for text in iterated for word in _PARTS)

    def _finding(self, found: list[tuple[_Window, int]]) -> DoctorFinding:
        window, update = max(found, key=lambda one: one[0].norm)
        count = len(window.lines)
        return DoctorFinding(
            code="accumulated_without_division",
            line=window.lines[0],
            variable=self.patient.name_of(window.leaf),
            numbers={
                "backwards": count,
                "used": window.norm,
                "mean": window.norm / count,
            },
            lesson="accumulate-and-clip",
            fix=self._fix(window.lines[0], update, count),
        )

    def _fix(self, line: int, update: int, count: int) -> CodeFix | None:
        """`(loss / 4).backward()`, with the code's own name of the number if it has one."""
        source = self.patient.source
        statement = source.statement_at(line)
        moduli = [
            source.segment(node.right)
            for condition in source.conditions_around(update)
            for node in ast.walk(condition.test)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
        ]
        match statement:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=loss, attr="backward"))):
                divided = f"({source.segment(loss)} / {next(iter(moduli), count)})"
                return source.replaced(loss, divided)
        return None


def _is_mean(node: Node | None, depth: int = 4) -> bool:
    """Whether a loss is a mean, or a sum with a mean in it, and nothing has scaled it."""
    if node is None or not depth:
        return False
    name = node.name()
    if name.startswith("Mean") or getattr(node, "_saved_reduction", None) == _MEAN:
        return True
    if name.startswith(("Add", "Squeeze", "View", "Reshape", "ToCopy")):
        return any(_is_mean(child, depth - 1) for child, _ in node.next_functions)
    return False
