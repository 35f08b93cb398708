"""The phase that each statement of a training loop belongs to, found by the flow of its data.

Two rounds: the statements that reset, take or use gradients are known by their names; those that
the loss and the gradients are computed from, by what these statements read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tutor.script.code_index import FUNCTIONS, CodeIndex, FunctionCode, last_name, own_nodes
from tutor.script.data_flow import (
    blocks_of,
    called_name,
    is_compound,
    is_gradient,
    is_loss,
    is_rate,
    is_whole,
    reads,
    statements,
    targets_of,
    variable,
    variables,
    writes,
)
from tutor.script.hand_changes import HandChange
from tutor.script.training_signs import GRADIENT, RESET, UPDATE, TrainingSigns

PREDICT, LOSS = "Predict", "Loss"
TRAINING = frozenset({RESET, GRADIENT, UPDATE})


@dataclass(slots=True)
class CodeUnit:
    """The code of one function, or of the chosen loop's body, with the kinds of its statements."""

    body: list[ast.stmt]
    function: FunctionCode | None
    """None for the loop's body."""
    kinds: dict[ast.stmt, str] = field(default_factory=dict)
    """By simple statement: its phase."""
    entered: dict[ast.stmt, list[FunctionCode]] = field(default_factory=dict)
    """By simple statement: the functions that it calls and that have phases in them."""
    losses: list[ast.expr] = field(default_factory=list)
    """The expressions whose gradient is taken."""
    changes: list[HandChange] = field(default_factory=list)

    def all_kinds(self) -> set[str]:
        """The phases in it, those of the functions that it calls left out."""
        return set(self.kinds.values())


class StatementKinds:
    """The kinds of the statements in a training loop and in the functions that it calls."""

    def __init__(self, index: CodeIndex, signs: TrainingSigns, body: list[ast.stmt]) -> None:
        self.index, self.signs = index, signs
        self._functions: dict[FunctionCode, CodeUnit] = {}
        reached = [*body, *(s for f in index.reached(body) for s in f.body)]
        calls = [c for c in own_nodes(reached) if isinstance(c, ast.Call)]
        self.has_backward = any(signs.is_autograd(c) for c in calls)
        self.has_optimizer = any(
            signs.is_optimizer_step(c) and not index.callees(c.func) for c in calls
        )
        self.loop = self._unit(body, None)

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
                found |= unit.all_kinds()
                waiting += [f for functions in unit.entered.values() for f in functions]
        return found

    def units(self) -> list[CodeUnit]:
        """The loop's unit, and those of the functions that are entered from it."""
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
        flow = _Flow(body)
        for node in flow.simple:
            self._by_name(unit, node)
        self._mark_losses(unit, flow)
        if not self.has_optimizer:
            self._mark_by_hand(unit, flow)
        self._mark_arguments(unit, flow)
        self._join_parameter_loops(unit)
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
        if kind := _strongest(signs):
            unit.kinds[node] = kind
        elif not mixed and (kind := _strongest(inside & TRAINING)):
            unit.kinds[node] = kind
            unit.changes += [c for f in callees for c in self._changes_in(f)]
        if mixed:
            unit.entered[node] = mixed
        unit.losses += [loss for c in _calls(node) if (loss := self._loss_of(c)) is not None]

    def _training_callees(self, node: ast.stmt) -> list[FunctionCode]:
        """The functions called by a statement that have statements of training in them."""
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            return []
        called = self.index.referred([node])
        return [f for f in called if self.signs.of_functions([f]) and not _is_operator(f)]

    def _changes_in(self, function: FunctionCode) -> list[HandChange]:
        return self.unit_of(function).changes

    def _loss_of(self, call: ast.Call) -> ast.expr | None:
        """The expression whose gradient a call takes."""
        if not self.signs.is_autograd(call):
            return None
        match call:
            case ast.Call(func=ast.Attribute(value=value, attr="backward"), args=args):
                is_helper = self._is_helper(value)
                return _unscaled(args[0] if is_helper and args else value)
            case ast.Call(func=ast.Attribute(attr="grad"), args=[first, *_]):
                return _unscaled(first)
        return None

    def _is_helper(self, value: ast.expr) -> bool:
        """Whether `backward` is called on a library that is given the loss, or on a network."""
        name = last_name(value)
        known = {"accelerator", "fabric", "autograd", "engine", "model_engine"}
        return name in known and not self.index.classes_of(value)

    # ── The loss, and what it is computed from

    def _mark_losses(self, unit: CodeUnit, flow: _Flow) -> None:
        """Mark what the losses whose gradient is taken are computed from."""
        for node in flow.simple:
            for call in _calls(node):
                if (loss := self._loss_of(call)) is not None:
                    self._mark_loss(unit, flow, node, loss)

    def _mark_loss(self, unit: CodeUnit, flow: _Flow, node: ast.stmt, loss: ast.expr) -> None:
        name = variable(loss) if isinstance(loss, ast.Name | ast.Attribute | ast.Subscript) else ""
        names = {name} if name else variables([loss])
        for writer in flow.writers(node, names, is_carried=bool(name)):
            if writer in unit.kinds or writer in unit.entered:
                continue
            is_own = bool(name) and name in writes(writer)
            unit.kinds[writer] = LOSS if is_own or self._is_loss(writer) else PREDICT
            if is_own and _is_number(writer):
                del unit.kinds[writer]

    def _is_loss(self, node: ast.stmt) -> bool:
        """Whether a statement that the loss is computed from measures an error itself."""
        return any(is_loss(name.rpartition(".")[2]) for name in writes(node))

    # ── Gradients computed by hand

    def _mark_by_hand(self, unit: CodeUnit, flow: _Flow) -> None:
        """Mark what the changes of parameters are computed from."""
        updates = [n for n in flow.simple if unit.kinds.get(n) == UPDATE]
        training = [n for n in flow.simple if n in unit.entered or n in updates]
        if not training:
            return
        if not self.has_backward:
            self._mark_measured_loss(unit, flow, training)
        for node in updates:
            self._mark_gradient(unit, flow, node)

    def _mark_measured_loss(self, unit: CodeUnit, flow: _Flow, updates: list[ast.stmt]) -> None:
        """Mark the statement that measures the error, and what the error is computed from."""
        named = [n for n in flow.simple if n not in unit.kinds and n not in unit.entered]
        named = [n for n in named if self._is_loss(n) and not _is_number(n)]
        before = [n for n in named if flow.position[n] < flow.position[updates[-1]]]
        paths = {flow.paths[self._around_parameters(unit, n)] for n in updates}
        before = [n for n in before if any(flow.paths[n][: len(p)] == p for p in paths)]
        top = [n for n in named if flow.paths[n] in paths]
        for node in before or top:
            unit.kinds[node] = LOSS
        for node in before or top:
            for writer in flow.writers(node, reads(node) - writes(node)):
                if writer not in unit.kinds and writer not in unit.entered:
                    unit.kinds[writer] = PREDICT

    def _around_parameters(self, unit: CodeUnit, node: ast.stmt) -> ast.stmt:
        """The loop over parameters that a statement stands in; else the statement."""
        for parent in self.index.ancestors(node):
            if isinstance(parent, ast.For) and parent in list(statements(unit.body)):
                return parent if is_over_parameters(parent, unit) else node
        return node

    def _mark_gradient(self, unit: CodeUnit, flow: _Flow, update: ast.stmt) -> None:
        names = reads(update) - writes(update)
        near = {n for n in names if not is_rate(n.rpartition(".")[2])}
        direct = {n for c in unit.changes if c.node is update for n in gradient_names(c)} or {
            n for n in near if is_gradient(n.rpartition(".")[2])
        }
        losses = [flow.position[n] for n, kind in unit.kinds.items() if kind == LOSS]
        writers = [w for w in flow.writers(update, near) if w not in unit.entered]
        known: set[str] = set()
        for writer in sorted(writers, key=flow.position.__getitem__):
            if writer in unit.kinds:
                known |= writes(writer) if unit.kinds[writer] == GRADIENT else set()
                continue
            made = writes(writer)
            named = any(is_gradient(n.rpartition(".")[2]) for n in made)
            late = losses and flow.position[writer] > max(losses)
            if made & reads(writer) and not _is_accumulated(writer, named):
                unit.kinds[writer] = UPDATE  # momentum
            elif self.has_backward or named or made & direct or late or known & reads(writer):
                unit.kinds[writer] = GRADIENT
                known |= made
            else:
                unit.kinds[writer] = PREDICT

    def _join_parameter_loops(self, unit: CodeUnit) -> None:
        """Make a loop that updates and resets one parameter after the other an update."""
        for loop in statements(unit.body):
            if not isinstance(loop, ast.For):
                continue
            inside = [n for n in statements(loop.body) if n in unit.kinds]
            kinds = {unit.kinds[n] for n in inside}
            is_entered = any(n in unit.entered for n in statements(loop.body))
            if kinds == {UPDATE, RESET} and not is_entered and is_over_parameters(loop, unit):
                unit.kinds |= dict.fromkeys(inside, UPDATE)

    # ── Arguments of functions that have phases in them

    def _mark_arguments(self, unit: CodeUnit, flow: _Flow) -> None:
        """Mark what is computed for a function that goes on with the loss or the gradient."""
        for node, functions in list(unit.entered.items()):
            inside = set().union(*(self.reach_of(f) for f in functions))
            local = [f for f in functions if self._is_local(f, unit)]
            names = variables(s for f in local for s in f.body)
            names |= set() if PREDICT in inside else reads(node) - writes(node)
            for writer in flow.writers(node, names):
                if writer not in unit.kinds and writer not in unit.entered:
                    unit.kinds[writer] = PREDICT

    def _is_local(self, function: FunctionCode, unit: CodeUnit) -> bool:
        """Whether a function is defined among the statements of a unit."""
        return any(function is node for node in statements(unit.body))


class _Flow:
    """The statements of a unit in the file's order, and who gives a variable its value."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self.paths: dict[ast.stmt, tuple[int, ...]] = {}
        self._add(body, ())
        self.position = {node: at for at, node in enumerate(self.paths)}
        self.simple = [n for n in self.paths if not is_compound(n)]

    def _add(self, block: Sequence[ast.stmt], path: tuple[int, ...]) -> None:
        for node in block:
            self.paths[node] = path
            for inner in sorted(blocks_of(node), key=lambda b: b[0].lineno):
                deeper = path if isinstance(node, ast.With | ast.Try) else (*path, id(inner))
                self._add(inner, deeper)

    def writers(
        self, node: ast.stmt, names: Iterable[str], *, is_carried: bool = False
    ) -> list[ast.stmt]:
        """The simple statements that values of variables come from, the nearest first.

        Those before a statement; if there are none and the values may be carried over from the
        pass before, those behind it.
        """
        wanted = set(names)
        order = list(self.paths)
        at = self.position[node]
        found: list[ast.stmt] = []
        self._collect(order[:at][::-1], wanted, found, node)
        if not found and is_carried:
            self._collect(order[at + 1 :][::-1], set(names), found, node)
        return found

    def _collect(
        self, order: list[ast.stmt], wanted: set[str], found: list[ast.stmt], node: ast.stmt
    ) -> None:
        for writer in order:
            made = writes(writer) & wanted
            if not made:
                continue
            if not is_compound(writer) and not isinstance(writer, (*FUNCTIONS, ast.ClassDef)):
                found.append(writer)
            if self._dominates(writer, node):
                wanted -= {name for name in made if is_whole(writer, name)}
            wanted |= reads(writer)

    def _dominates(self, writer: ast.stmt, node: ast.stmt) -> bool:
        path = self.paths[writer]
        return self.paths[node][: len(path)] == path


def is_over_parameters(node: ast.For | ast.AsyncFor | ast.While, unit: CodeUnit) -> bool:
    """Whether each pass of a loop changes another parameter: `for p in ps: p -= lr * p.grad`."""
    if isinstance(node, ast.While):
        return False
    own = variables(targets_of(node))
    inside = {id(s) for s in statements(node.body)}
    changes = [c for c in unit.changes if id(c.node) in inside]
    steps = [s for s in statements(node.body) if unit.kinds.get(s) == UPDATE]
    known = {id(c.node) for c in changes}
    return all(own & variables([c.target]) for c in changes) and all(
        own & variables([s]) for s in steps if id(s) not in known
    )


def gradient_names(change: HandChange) -> set[str]:
    """The variables that stand for the gradient in a change: `dw` of `lr * dw`."""
    found = set()
    for _, term in change.terms:
        factors = [f for f in _factors(term) if not _is_scale(f)]
        if len(factors) == 1 and (name := variable(factors[0])):
            found.add(name)
    words = {n for n in variables(change.added) if is_gradient(n.rpartition(".")[2])}
    return found | words


def _factors(term: ast.expr) -> Iterator[ast.expr]:
    match term:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield from _factors(left)
            yield from _factors(right)
        case ast.BinOp(left=left, op=ast.Div()):
            yield from _factors(left)
        case ast.UnaryOp(operand=operand):
            yield from _factors(operand)
        case _:
            yield term


def _is_scale(factor: ast.expr) -> bool:
    return isinstance(factor, ast.Constant) or is_rate(last_name(factor)) or is_rate(_key(factor))


def _key(node: ast.expr) -> str:
    match node:
        case ast.Subscript(slice=ast.Constant(value=str() as key)):
            return key
    return ""


def _calls(node: ast.stmt) -> list[ast.Call]:
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)) or is_compound(node):
        return []
    return [call for call in own_nodes([node]) if isinstance(call, ast.Call)]


def _is_mixed(kinds: set[str]) -> bool:
    return len(kinds) > 1 and bool(kinds & TRAINING)


def _strongest(signs: set[str]) -> str:
    return next((sign for sign in (UPDATE, GRADIENT, RESET) if sign in signs), "")


def _is_operator(function: FunctionCode) -> bool:
    """Whether a function is one of an own tensor class: `__add__`, `_backward`."""
    return function.name.startswith("__") and function.name not in ("__call__", "__init__")


def _unscaled(loss: ast.expr) -> ast.expr:
    """`loss` of `scaler.scale(loss)`."""
    match loss:
        case ast.Call(func=ast.Attribute(attr="scale"), args=[first]):
            return first
    return loss


def _is_number(node: ast.stmt) -> bool:
    """Whether a statement assigns a plain number: the start of a sum."""
    value = getattr(node, "value", None)
    return isinstance(node, ast.Assign) and isinstance(value, ast.Constant)


def _is_accumulated(node: ast.stmt, is_named: bool) -> bool:
    """Whether a statement adds to a gradient or scales it, and is no momentum."""
    if isinstance(node, ast.AugAssign):
        return is_named or isinstance(node.op, ast.Add | ast.Div)
    calls = {called_name(n) for n in ast.walk(node)}
    return is_named or bool(calls & {"append", "clip", "insert", "extend"}) or not targets_of(node)
