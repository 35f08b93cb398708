"""The phase that each statement of a training loop belongs to, found by the flow of its data.

Two rounds: the statements that reset, take or use gradients are known by their names; those that
the loss and the gradients are computed from, by what these statements read.
"""

from __future__ import annotations

import ast

from tutor.lesson.model import (
    GRADIENT,
    GRADIENT_CHANGES,
    LOSS,
    PREDICT,
    RESET,
    SYNCHRONIZE,
    UPDATE,
)
from tutor.python_syntax import (
    BACKWARD_HELPERS,
    DEFINITIONS,
    FunctionCode,
    last_name,
    own_nodes,
    statements,
)
from tutor.script.code_index import CodeIndex
from tutor.script.code_unit import (
    TRAINING,
    CodeUnit,
    join_parameter_loops,
    mark_by_hand,
    take_as_one_update,
)
from tutor.script.data_flow import (
    StatementFlow,
    head_of,
    is_loss,
    reads,
    text_of,
    variable,
    variables,
    writes,
)
from tutor.script.outline import Span, span_of
from tutor.script.training_signs import (
    TrainingSigns,
    is_synchronizing,
)


class StatementKinds:
    """The kinds of the statements in a training loop and in the functions that it calls."""

    def __init__(self, index: CodeIndex, signs: TrainingSigns, body: list[ast.stmt]) -> None:
        self.index, self.signs = index, signs
        self._functions: dict[FunctionCode, CodeUnit] = {}
        calls = [c for c in own_nodes(index.reached_code(body)) if isinstance(c, ast.Call)]
        self.has_backward = any(signs.is_autograd(c) for c in calls)
        self.has_optimizer = any(
            signs.is_optimizer_step(c) and not index.callees(c.func) for c in calls
        )
        self._losses = [loss for c in calls if (loss := self._loss_of(c)) is not None]
        self.loop = self._unit(body, None)

    def losses_at(self, *, own: bool) -> tuple[Span, ...]:
        """The places of the expressions whose gradient is taken.

        `own`: of those that are the loop's loss, by their text; else of the others.
        """
        known = next((loss for unit in self.units() for loss in unit.losses), None)
        name = text_of(_base_of(known)) if known is not None else None
        return tuple(
            span_of(loss)
            for loss in self._losses
            if (name in (None, text_of(_base_of(loss)))) is own
        )

    def unit_of(self, function: FunctionCode) -> CodeUnit:
        """The kinds of a function's statements."""
        if function not in self._functions:
            self._functions[function] = CodeUnit(function.body, function)
            self._functions[function] = self._unit(function.body, function)
        return self._functions[function]

    def reach_of(self, function: FunctionCode) -> set[str]:
        """The phases in a function and in those that it enters."""
        found, waiting, seen = set[str](), [function], set[FunctionCode]()
        while waiting:
            if (one := waiting.pop()) not in seen:
                seen.add(one)
                unit = self.unit_of(one)
                found |= set(unit.kinds.values())
                waiting += [f for functions in unit.entered.values() for f in functions]
        return found

    def units(self) -> list[CodeUnit]:
        """The units of the loop and of the functions that are entered from it."""
        found: list[CodeUnit] = []
        waiting = [self.loop]
        while waiting:
            unit = waiting.pop(0)
            if all(unit is not one for one in found):
                found.append(unit)
                waiting += [self.unit_of(f) for many in unit.entered.values() for f in many]
        return found

    # ── One unit

    def _unit(self, body: list[ast.stmt], function: FunctionCode | None) -> CodeUnit:
        unit = CodeUnit(body, function)
        flow = StatementFlow(body)
        for node in flow.heads:
            self._by_name(unit, node)
        self._mark_synchronize(unit)
        self._mark_losses(unit, flow)
        if not self.has_optimizer:
            mark_by_hand(unit, flow, has_backward=self.has_backward)
        self._mark_arguments(unit, flow)
        join_parameter_loops(unit)
        if function is not None:
            take_as_one_update(unit, function)
        return unit

    def _by_name(self, unit: CodeUnit, node: ast.stmt) -> None:
        """Mark a statement by the names that it calls, and by the functions that it enters."""
        signs = self.signs.named(node)
        changes = [] if self.has_optimizer else self.signs.changes(node)
        if changes:
            signs.add(UPDATE)
            unit.changes += changes
        callees = self._training_callees(node)
        inside = set().union(*(self.reach_of(f) for f in callees)) if callees else set()
        mixed = [f for f in callees if _is_mixed(self.reach_of(f))]
        if mixed and any(self.signs.is_optimizer_step(c) and c.args for c in _own_calls(node)):
            signs.discard(UPDATE)
            self._mark_closures(mixed)
        if kind := _strongest(signs) or ("" if mixed else _strongest(inside & TRAINING)):
            unit.kinds[node] = kind
        if mixed:
            unit.entered[node] = mixed
        elif kind:
            unit.changes += [c for f in callees for c in self.unit_of(f).changes]
        unit.losses += [loss for c in _own_calls(node) if (loss := self._loss_of(c)) is not None]

    def _mark_closures(self, closures: list[FunctionCode]) -> None:
        """Mark where closures return to the step of an optimizer: that goes on with the update."""
        for closure in closures:
            returns = [s for s in statements(closure.body) if isinstance(s, ast.Return)]
            self.unit_of(closure).kinds.update(dict.fromkeys(returns, UPDATE))

    def _training_callees(self, node: ast.stmt) -> list[FunctionCode]:
        """The functions called by a statement that have statements of training in them."""
        if isinstance(node, DEFINITIONS):
            return []
        return [f for f in self.index.used_functions(head_of(node)) if self.signs.of_functions([f])]

    def _loss_of(self, call: ast.Call) -> ast.expr | None:
        """The expression whose gradient a call takes."""
        if not self.signs.is_autograd(call):
            return None
        match call:
            case ast.Call(func=ast.Attribute(value=value, attr="backward"), args=args):
                if not self._is_given_loss(call, value):
                    return _unscaled(value)
                lists = (a.elts for a in args if isinstance(a, ast.List | ast.Tuple))
                return _unscaled([*(elts[0] for elts in lists if elts), *args][0])
            case ast.Call(func=func, args=[first, *_]):
                if self.index.dotted(func) == "torch.autograd.grad":
                    return None if isinstance(first, ast.Starred) else first
        return None

    def _is_given_loss(self, call: ast.Call, receiver: ast.expr) -> bool:
        """Whether `backward` is the method of a library that is given the loss, not of the loss."""
        if not call.args or isinstance(call.args[0], ast.Starred) or self.index.callees(call.func):
            return False
        of, given = last_name(receiver), last_name(call.args[0])
        return of in {"self", *BACKWARD_HELPERS} or (is_loss(given) and not is_loss(of))

    def _mark_synchronize(self, unit: CodeUnit) -> None:
        """Make one phase of the statements that unite the ranks' gradients: sum and division."""
        gradients = [node for node, kind in unit.kinds.items() if kind == GRADIENT]
        sums = [n for n in gradients if any(map(is_synchronizing, _own_calls(n)))]
        taken = [n for n in gradients if any(map(self.signs.is_autograd, _own_calls(n)))]
        last = max((n.lineno for n in taken), default=0)
        if sums:
            found = [n for n in gradients if n in sums or n.lineno > last]
            unit.kinds |= dict.fromkeys(found, SYNCHRONIZE)

    # ── The loss whose gradient is taken, and the statements before it

    def _mark_losses(self, unit: CodeUnit, flow: StatementFlow) -> None:
        for node in flow.simple:
            for call in _own_calls(node):
                if (loss := self._loss_of(call)) is not None:
                    self._mark_loss(unit, flow, node, loss)

    def _mark_loss(
        self, unit: CodeUnit, flow: StatementFlow, node: ast.stmt, loss: ast.expr
    ) -> None:
        base = _base_of(loss)
        name = variable(base) if isinstance(base, ast.Name | ast.Attribute | ast.Subscript) else ""
        names = {name} if name else variables([loss])
        writers = flow.writers(node, names)
        if name and not any(name in writes(writer) for writer in writers):
            writers = flow.writers_behind(node, names)
        own = [writer for writer in writers if name and name in writes(writer)]
        values = {writer: getattr(writer, "value", None) for writer in own}
        starts = [writer for writer, value in values.items() if isinstance(value, ast.Constant)]
        for writer in writers:
            if writer not in starts or starts == own:
                unit.mark(flow, writer, LOSS if writer in own else PREDICT, node)

    # ── Arguments of functions that have phases in them

    def _mark_arguments(self, unit: CodeUnit, flow: StatementFlow) -> None:
        """Mark the values computed for a function that goes on with the loss or the gradient."""
        for node, functions in list(unit.entered.items()):
            inside = set().union(*(self.reach_of(f) for f in functions))
            local = [f for f in functions if self._is_local(f, unit)]
            names = variables(s for f in local for s in f.body)
            if PREDICT not in inside:
                names |= reads(node) - writes(node)
                kept = variables(s for f in functions for s in f.body)
                names |= {name for name in kept if name.startswith("self.")}
            for writer in flow.writers(node, names):
                unit.mark(flow, writer, PREDICT, node)

    def _is_local(self, function: FunctionCode, unit: CodeUnit) -> bool:
        """Whether a function is defined among the statements of a unit."""
        return any(function is node for node in statements(unit.body))


def _own_calls(node: ast.stmt) -> list[ast.Call]:
    if isinstance(node, DEFINITIONS):
        return []
    return [call for call in own_nodes(head_of(node)) if isinstance(call, ast.Call)]


def _is_mixed(kinds: set[str]) -> bool:
    return len(kinds) > 1 and bool(kinds & TRAINING)


def _strongest(signs: set[str]) -> str:
    order = (UPDATE, GRADIENT, *GRADIENT_CHANGES, RESET)
    return next((sign for sign in order if sign in signs), "")


def _unscaled(loss: ast.expr) -> ast.expr:
    """`loss` of `scaler.scale(loss)`."""
    match loss:
        case ast.Call(func=ast.Attribute(attr="scale"), args=[first]):
            return first
    return loss


def _base_of(loss: ast.expr) -> ast.expr:
    """`loss` of `(loss / 4)` and of `loss.mean()`."""
    while True:
        match loss:
            case ast.BinOp(left=left, op=ast.Div() | ast.Mult(), right=right):
                if variable(right) and not isinstance(right, ast.Call | ast.BinOp):
                    return left if variable(left) else loss
                loss = left
            case ast.Call(func=ast.Attribute(value=value, attr="mean" | "sum")):
                if not is_loss(variable(value).rpartition(".")[2]):
                    return loss
                loss = value
            case _:
                return loss
