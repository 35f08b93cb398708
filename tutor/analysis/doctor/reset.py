"""Gradients that are not reset, are reset too early, or are added up and not divided."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch.autograd.graph import Node

from tutor.analysis.doctor.rule import (
    BackwardPass,
    DoctorRule,
    ExaminedStep,
    Patient,
    extreme_of,
    held_by,
    nonzero_grad,
    number_at,
    place_of_extreme,
    tensor_norm,
)
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.inspections import CodeFix, DoctorFinding

MOST_NUMBERS = 2**23
"""The numbers of all parameters that are copied after each backward."""


@dataclass(frozen=True, slots=True)
class _BackwardResult:
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
    """The rule for a `backward()` that adds to a gradient which an update has used already.

    Backward passes that are added up on purpose come before one update; these go over it.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._results: dict[int, _BackwardResult] = {}
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

    def before_backward(self, backward: BackwardPass) -> None:
        """Note the gradients that are there."""
        self._before = {
            id(p): gradient.detach().clone()
            for p in self._leaves().values()
            if (gradient := nonzero_grad(p)) is not None
        }
        for key in [key for key in self._sums if key not in self._before]:
            del self._sums[key]  # it was reset before an update has used it

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """See which of the sums an optimizer uses."""
        for parameter in held_by(optimizer):
            gradient, key = parameter.grad, id(parameter)
            found = self._sums.pop(key, None)
            if gradient is None:
                continue
            if found and bool(gradient.any()):
                self._used.append((found, call.line))
            if key in self._results:  # clipping has changed the gradient that backward left
                value = self._results[key].value
                self._results[key] = _BackwardResult(gradient.detach().clone(), value)

    def after_backward(self, backward: BackwardPass) -> None:
        """See which gradients were added to those that an update has used."""
        for label, parameter in self._leaves().items():
            if parameter.grad is None:
                continue
            held, result = parameter.grad.detach().clone(), self._results.get(id(parameter))
            old = self._before.get(id(parameter))
            is_used = old is not None and result is not None and _is_used(result, old, parameter)
            if old is not None and is_used and bool((held != old).any()):
                found = _Sum(label, parameter, old, held, backward.call.line)
                self._sums.setdefault(id(parameter), found)
            self._results[id(parameter)] = _BackwardResult(held, parameter.detach().clone())

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """The finding, once an update has used such a sum."""
        if step.error is not None:
            return ()
        held = self.patient.held()
        for key, found in list(self._sums.items()):
            result, value = self._results.get(key), found.parameter.detach()
            if key not in held and result and not torch.equal(value, result.value):
                self._used.append((self._sums.pop(key), 0))
        used, self._used = self._used, []
        used = [(found, line) for found, line in used if found.line not in self._reported]
        self._reported.update(found.line for found, _ in used)
        return [self._finding(step, used)] if used else ()

    def _finding(self, step: ExaminedStep, used: list[tuple[_Sum, int]]) -> DoctorFinding:
        found = used[0][0]
        index = place_of_extreme(found.old)
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
            fix=self._fix(step, used),
        )

    # ── The missing line ────────────────────────────────────────────────────────────

    def _fix(self, step: ExaminedStep, used: list[tuple[_Sum, int]]) -> CodeFix | None:
        """A reset behind the line of the update."""
        source, lines = self.source, [line for _, line in used if line]
        if lines:
            statement = source.statement_at(max(lines))
            names = self.patient.optimizers()
            methods = [n for n in source.nodes_at(max(lines)) if isinstance(n, ast.Attribute)]
            receivers = [ast.unparse(n.value) for n in methods if n.attr == "step"]
            known = [name for name in receivers if name in names] or list(names)
            if statement is None or not known:
                return None
            return source.after(statement, f"{known[0]}.zero_grad()")
        targets: dict[str, ast.stmt] = {}
        for found, _ in used:
            for statement in source.statements(step.phase_name):
                if (target := _updated(statement, found.label)) is not None:
                    targets.setdefault(target, statement)
        if not targets:
            return None
        last = max(targets.values(), key=lambda statement: statement.lineno)
        return source.after(last, "\n".join(f"{target}.grad = None" for target in targets))


def _is_used(result: _BackwardResult, old: torch.Tensor, parameter: torch.Tensor) -> bool:
    """Whether the gradient is still as a backward left it, and the parameter is not."""
    return torch.equal(result.gradient, old) and not torch.equal(result.value, parameter.detach())


def _updated(statement: ast.stmt, label: str) -> str | None:
    """The name that a statement changes, if it is this label's parameter, or one of a loop's."""
    changed: ast.expr
    match statement:
        case ast.AugAssign(target=target):
            changed = target
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=changed, attr=name))) if (
            name.endswith("_")
        ):
            pass
        case _:
            return None
    text = ast.unparse(changed).removesuffix(".data")
    uses_gradient = f"{text}.grad" in ast.unparse(statement)
    return text if text == label or uses_gradient else None


# ── Reset too early ─────────────────────────────────────────────────────────────────


class ResetOrderRule(DoctorRule):
    """An optimizer's step that finds no gradient, although backward has left one."""

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._waiting: dict[int, float] = {}
        """The gradients that no step has used yet: of each the number farthest from 0."""
        self._found: list[DoctorFinding] = []

    def after_backward(self, backward: BackwardPass) -> None:
        """Note the gradients that a backward has left."""
        for key, tensor in self.patient.held().items():
            self._waiting.pop(key, None)
            if (gradient := nonzero_grad(tensor)) is not None:
                self._waiting[key] = extreme_of(gradient)

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """See whether they are still there when the optimizer makes its step."""
        tensors = held_by(optimizer)
        ready = {t: self._waiting.pop(id(t)) for t in tensors if id(t) in self._waiting}
        has_closure = call.argument(1, "closure") is not None  # it computes the gradients
        is_empty = all(nonzero_grad(t) is None for t in ready)
        if ready and is_empty and not has_closure:
            self._found.append(self._finding(call, ready))

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """The resets and updates that were seen in the step."""
        found, self._found = self._found, []
        return found

    def _finding(self, call: TorchCall, ready: dict[torch.Tensor, float]) -> DoctorFinding:
        tensor, gradient = next(iter(ready.items()))
        reset = _reset_before(self.source, call.line)
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
            fix=self.source.swapped(reset, self.source.statement_at(call.line)),
        )


def _reset_before(source: SourceCode, line: int) -> ast.stmt | None:
    """The last statement before a line that resets gradients; the last of all if none is."""
    statements = [source.statement_of(call) for call in source.calls("zero_grad")]
    found = [s for s in statements if s is not None]
    before = [s for s in found if s.lineno < line]
    return max(before or found, key=lambda s: s.lineno, default=None)


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
    """The rule for k mean losses that go back before one update: the gradient is k times too large.

    Silent where the loss or the gradients are scaled by anything, and where several losses are
    added up that are not those of the batches of one loop.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._windows: dict[int, _Window] = {}
        self._ripe: list[tuple[_Window, int]] = []
        """The windows that an update has ended, with its line."""

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """Note the gradients that an optimizer uses."""
        for parameter in held_by(optimizer):
            self._used(parameter, call.line)

    def before_backward(self, backward: BackwardPass) -> None:
        """Count a backward for each leaf."""
        if backward.loss is None:
            return
        has_gradient = backward.call.argument(1, "gradient") is not None
        is_mean = _is_mean(backward.loss.grad_fn) and not has_gradient
        for leaf in backward.leaves:
            window = self._windows.get(id(leaf))
            if window is None or nonzero_grad(leaf) is None:
                window = self._windows[id(leaf)] = _Window(leaf)
            window.lines.append(backward.call.line)
            window.are_means &= is_mean
            window.changes = leaf._version

    def after_backward(self, backward: BackwardPass) -> None:
        """Note the sums."""
        for window in self._windows.values():
            if window.leaf.grad is not None:
                window.norm = tensor_norm(window.leaf.grad)

    def _used(self, leaf: torch.Tensor, line: int) -> None:
        window = self._windows.pop(id(leaf), None)
        if window is None or leaf.grad is None:
            return
        is_same = abs(tensor_norm(leaf.grad) - window.norm) <= _CLOSE * window.norm
        is_one_line = len(set(window.lines)) == 1
        if is_same and is_one_line and window.are_means and len(window.lines) > 1:
            self._ripe.append((window, line))

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """See updates by hand; the finding, if an update has used such a sum."""
        divisions = [call.line for call in step.calls_of("div")]
        for call in step.calls_of("sub", "add", "copy"):
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
        return [self._finding(found)] if found and step.error is None else ()

    def _adds_batches(self, backward: int, update: int) -> bool:
        """Whether the update stands under a condition of its own, or the backward in a loop."""
        mine = [id(node) for node in self.source.conditions_around(backward)]
        conditions = [c for c in self.source.conditions_around(update) if id(c) not in mine]
        if any(isinstance(n, ast.Mod | ast.Eq) for c in conditions for n in ast.walk(c.test)):
            return True
        outer = [id(loop) for loop in self.source.loops_around(update)]
        inner = [loop for loop in self.source.loops_around(backward) if id(loop) not in outer]
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
        statement = self.source.statement_at(line)
        moduli = [
            self.source.segment(node.right)
            for condition in self.source.conditions_around(update)
            for node in ast.walk(condition.test)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
        ]
        match statement:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=loss, attr="backward"))):
                divided = f"({self.source.segment(loss)} / {next(iter(moduli), count)})"
                return self.source.replaced(loss, divided)
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
