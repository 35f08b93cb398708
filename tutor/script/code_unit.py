"""One function's code, or a loop's body, with the phase that each of its statements belongs to.

Where gradients are computed by hand, no name tells the phases: the loss is the name that measures
an error, and a gradient is what a change of a parameter is computed from, and the loss is not.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from tutor.lesson.model import GRADIENT, GRADIENT_CHANGES, LOSS, PREDICT, RESET, UPDATE
from tutor.python_syntax import (
    FunctionCode,
    LoopCode,
    argument_names,
    called_name,
    last_name,
    statements,
    targets_of,
)
from tutor.script.data_flow import (
    StatementFlow,
    dependences,
    is_gradient,
    is_loss,
    is_rate,
    loss_rank,
    reads,
    sources,
    variable,
    variables,
    writes,
)
from tutor.script.hand_changes import HandChange, factors_of

TRAINING = frozenset({RESET, GRADIENT, *GRADIENT_CHANGES, UPDATE})


@dataclass(slots=True)
class CodeUnit:
    """The code of one function, or of the chosen loop's body, with the kinds of its statements."""

    body: list[ast.stmt]
    function: FunctionCode | None
    """None for the loop's body."""
    kinds: dict[ast.stmt, str] = field(default_factory=dict)
    """A simple statement → its phase."""
    entered: dict[ast.stmt, list[FunctionCode]] = field(default_factory=dict)
    """A simple statement → the functions that it calls and that have phases in them."""
    losses: list[ast.expr] = field(default_factory=list)
    """The expressions whose gradient is taken."""
    changes: list[HandChange] = field(default_factory=list)

    def mark(self, flow: StatementFlow, node: ast.stmt, kind: str, reader: ast.stmt) -> None:
        """Give a statement its phase, for the sake of another statement that reads its value.

        A statement that has a phase keeps it. One outside the loop of the reader runs for many
        of its passes, and gets none.
        """
        inner = batch_loops(self, flow, reader)
        is_outside = flow.loops[node][: len(inner)] != inner
        if node not in self.kinds and node not in self.entered and not is_outside:
            self.kinds[node] = kind


def batch_loops(unit: CodeUnit, flow: StatementFlow, node: ast.stmt) -> tuple[LoopCode, ...]:
    """The loops around a statement, without those that go through the parameters."""
    loops = flow.loops[node]
    while loops and (is_over_parameters(loops[-1], unit) or _is_over_layers(loops[-1], node)):
        loops = loops[:-1]
    return loops


def _is_over_layers(loop: LoopCode, node: ast.stmt) -> bool:
    """Whether a statement calls a method of a loop's item: `layer.backward(gradient)`."""
    own = variables(targets_of(loop))
    calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
    return any(isinstance(f, ast.Attribute) and variable(f.value) in own for f in calls)


def is_over_parameters(node: LoopCode, unit: CodeUnit) -> bool:
    """Whether each pass of a loop changes another parameter: `for p in ps: p -= lr * p.grad`."""
    if isinstance(node, ast.While):
        return False
    own = variables(targets_of(node))
    inside = set(map(id, statements(node.body)))
    changes = [c for c in unit.changes if id(c.node) in inside]
    changed = {id(c.node) for c in changes}
    steps = [s for s in statements(node.body) if unit.kinds.get(s) == UPDATE]
    others = [s for s in steps if id(s) not in changed]
    return (
        bool(steps)
        and all(own & variables([c.target]) and not _is_path(c) for c in changes)
        and all(own & variables([s]) for s in others)
    )


def _is_path(change: HandChange) -> bool:
    """Whether a change makes the next of many values: `w[t + 1] = w[t] - lr * g`."""
    match change.node:
        case ast.Assign(targets=[ast.Subscript() as target], value=value):
            return ast.unparse(target) not in ast.unparse(value)
    return False


def join_parameter_loops(unit: CodeUnit) -> None:
    """Make a loop that updates and resets one parameter after the other an update."""
    for loop in statements(unit.body):
        if not isinstance(loop, ast.For):
            continue
        inside = [n for n in statements(loop.body) if n in unit.kinds]
        is_entered = any(n in unit.entered for n in statements(loop.body))
        kinds = {unit.kinds[n] for n in inside}
        if kinds == {UPDATE, RESET} and not is_entered and is_over_parameters(loop, unit):
            unit.kinds |= dict.fromkeys(inside, UPDATE)


def take_as_one_update(unit: CodeUnit, function: FunctionCode) -> None:
    """Take a function that only updates as one update.

    It may give its gradients other names. It may also take them as arguments, as the step of an
    optimizer does, and keep sums of them, such as momentum.
    """
    rest = [node for node, kind in unit.kinds.items() if kind != UPDATE and not _is_pick(node)]
    is_only_update = UPDATE in unit.kinds.values() and not unit.entered
    if is_only_update and (not rest or _is_given_gradients(unit, function, rest)):
        unit.kinds = {node: kind for node, kind in unit.kinds.items() if kind == UPDATE}


def _is_given_gradients(unit: CodeUnit, function: FunctionCode, rest: list[ast.stmt]) -> bool:
    """Whether a function takes gradients as arguments, and otherwise at most adds them up."""
    flow = dependences(statements(unit.body))
    taking = [node for node in rest if any(map(is_gradient, reads(node)))]
    return (
        any(map(is_gradient, argument_names(function)))
        and {unit.kinds[node] for node in rest} <= {PREDICT, GRADIENT}
        and all(name in sources(flow[name], flow) for node in taking for name in writes(node))
    )


def _is_pick(node: ast.stmt) -> bool:
    """Whether a statement only names an element: `dW1 = grads["dW1"]`."""
    value = getattr(node, "value", None)
    return isinstance(node, ast.Assign) and isinstance(
        value, ast.Name | ast.Attribute | ast.Subscript
    )


# ── Gradients by hand, found by the flow of their data ────────────────────────────────────

_MEASURES = frozenset({"abs", "square", "log", "norm", "fabs", "pow", "log1p", "hypot"})


def mark_by_hand(unit: CodeUnit, flow: StatementFlow, *, has_backward: bool) -> None:
    """Mark the statements that the changes of parameters in a unit are computed from."""
    updates = [n for n in flow.simple if unit.kinds.get(n) == UPDATE]
    named = [n for n in flow.simple if unit.kinds.get(n) == GRADIENT and not has_backward]
    training = [n for n in flow.simple if n in unit.entered or n in updates]
    if training and not has_backward:
        _mark_loss(unit, flow, training)
    for node in [*updates, *named]:
        _Gradients(unit, flow, node, has_backward).mark()
    _mark_renames(unit, flow, updates)


def _mark_renames(unit: CodeUnit, flow: StatementFlow, updates: list[ast.stmt]) -> None:
    """Mark `w = w2` as a part of the update that has computed `w2`."""
    made = {name for node in updates for name in writes(node)}
    for node in flow.simple:
        if _is_rename(node) and reads(node) <= made and writes(node) & _changed_variables(unit):
            unit.kinds.setdefault(node, UPDATE)


def _is_rename(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    return isinstance(node, ast.Assign) and isinstance(value, ast.Name | ast.Tuple)


def _changed_variables(unit: CodeUnit) -> set[str]:
    return {change.variable for change in unit.changes}


def _mark_loss(unit: CodeUnit, flow: StatementFlow, training: list[ast.stmt]) -> None:
    """Mark the statements that measure the error, and those that it is computed from."""
    loops = {batch_loops(unit, flow, node) for node in training}
    free = [n for n in flow.simple if n not in unit.kinds and n not in unit.entered]
    last = flow.position[training[-1]]
    inside = [n for n in free if any(flow.loops[n][: len(around)] == around for around in loops)]
    before = [n for n in inside if flow.position[n] < last]
    behind = [n for n in inside if flow.position[n] > last and flow.loops[n] in loops]
    name = _measure(before) or _measure([n for n in behind if flow.is_sure(n)])
    makers = [n for n in inside if name and name in writes(n)]
    for node in makers:
        unit.kinds[node] = LOSS
    updates = [n for n, kind in unit.kinds.items() if kind == UPDATE]
    for node in makers:  # a loss behind the update is computed from its result, not from gradients
        for writer in flow.writers(node, reads(node) - {name}, updates):
            unit.mark(flow, writer, PREDICT, node)


def _measure(nodes: list[ast.stmt]) -> str:
    """The variable, written by one of the statements, that measures the error; "" if none does."""
    found: list[tuple[int, str]] = []
    for node in nodes:
        value = getattr(node, "value", None)
        for name in writes(node):
            last = name.rpartition(".")[2]
            is_number = isinstance(value, ast.Constant)
            if is_loss(last) and not is_number:
                found.append((loss_rank(last), name))
            elif isinstance(node, ast.AugAssign) and value is not None and _measures(value):
                found.append((_SUMMED, name))
    return min(found, key=lambda one: one[0])[1] if found else ""


_SUMMED = 15
"""The rank of a sum of squared errors, whatever its name: it comes before the error itself."""


def _measures(value: ast.expr) -> bool:
    """Whether an expression makes a number of an error: its square, its size."""
    return any(
        (isinstance(n, ast.BinOp) and isinstance(n.op, ast.Pow)) or called_name(n) in _MEASURES
        for n in ast.walk(value)
    )


class _Gradients:
    """Marks what one change of a parameter is computed from."""

    def __init__(
        self, unit: CodeUnit, flow: StatementFlow, update: ast.stmt, has_backward: bool
    ) -> None:
        self.unit, self.flow, self.update = unit, flow, update
        self.has_backward = has_backward
        read = reads(update) - (writes(update) if unit.kinds.get(update) == UPDATE else set())
        changes = [c for c in unit.changes if c.node is update]
        read -= {variable(c.rate) for c in changes if c.rate is not None}
        self.near = {n for n in read if not is_rate(_last(n))}
        self.direct = {n for c in changes for n in gradient_names(c)}
        self.direct = self.direct or {n for n in self.near if is_gradient(_last(n))}
        self.known: set[str] = set()
        """The gradients found so far."""
        self.running: set[str] = set()
        """The moving averages of gradients found so far."""

    def mark(self) -> None:
        """Mark the statements that write what the update reads.

        If no statement of this pass does, those of the pass before are marked.
        """
        writers = self.flow.writers(self.update, self.near)
        if self.direct and not any(self.direct & writes(writer) for writer in writers):
            writers += self.flow.writers_behind(self.update, self.direct)
        for writer in sorted(writers, key=self.flow.position.__getitem__):
            kind = self.unit.kinds.get(writer) or self._phase_of(writer)
            if kind:
                self.unit.mark(self.flow, writer, kind, self.update)
            if kind == GRADIENT:
                self.known |= writes(writer)
            elif kind == UPDATE:
                self.running |= writes(writer)

    def _phase_of(self, writer: ast.stmt) -> str:
        made = writes(writer)
        is_named = any(is_gradient(_last(n)) for n in made)
        if made & reads(writer) and not _is_accumulated(writer, is_named):
            return UPDATE  # momentum
        if self.running & reads(writer) and not is_named:
            return UPDATE
        if self._is_copy(writer):
            return UPDATE
        if self.has_backward:
            return GRADIENT if self._is_behind(writer, GRADIENT) else ""
        is_scaled = any(is_rate(_last(n)) for n in reads(writer))
        is_direct = is_named or is_scaled or bool(made & self.direct | self.known & reads(writer))
        return GRADIENT if is_direct or self._is_behind(writer, LOSS) else PREDICT

    def _is_copy(self, node: ast.stmt) -> bool:
        """Whether a statement keeps the old value of a parameter: `old = w.copy()`."""
        value = getattr(node, "value", None)
        is_copy = called_name(value) in ("copy", "clone", "deepcopy") if value else False
        return is_copy and bool(reads(node) & _changed_variables(self.unit))

    def _is_behind(self, node: ast.stmt, kind: str) -> bool:
        """Whether a statement stands behind all statements of a kind."""
        places = [self.flow.position[n] for n, other in self.unit.kinds.items() if other == kind]
        return bool(places) and self.flow.position[node] > max(places)


def gradient_names(change: HandChange) -> set[str]:
    """The variables that stand for the gradient in a change: `dw` of `lr * dw`."""
    found = set()
    for _, term in change.terms:
        factors = [f for f in factors_of(term) if f is not change.rate and not _is_scale(f)]
        if len(factors) == 1 and (name := variable(factors[0])):
            found.add(name)
    return found | {n for n in variables(change.added) if is_gradient(_last(n))}


def _is_scale(factor: ast.expr) -> bool:
    match factor:
        case ast.Constant():
            return True
        case ast.Subscript(slice=ast.Constant(value=str() as key)):
            return is_rate(key)
    return is_rate(last_name(factor))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _is_accumulated(node: ast.stmt, is_named: bool) -> bool:
    """Whether a statement adds to a gradient or scales it, and is no momentum."""
    if isinstance(node, ast.AugAssign):
        return is_named or isinstance(node.op, ast.Add | ast.Sub | ast.Div)
    calls = {called_name(n) for n in ast.walk(node)}
    if calls & {"mul_", "lerp_", "addcmul_"}:
        return False
    return is_named or bool(calls & {"append", "clip", "insert", "extend"}) or not targets_of(node)
