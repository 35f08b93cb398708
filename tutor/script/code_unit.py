"""One function's code, or a loop's body, with the phase that each of its statements belongs to."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from tutor.lesson.model import SYNCHRONIZE
from tutor.script.data_flow import StatementFlow, statements, targets_of, variable, variables
from tutor.script.hand_changes import HandChange
from tutor.script.syntax_nodes import FunctionCode, LoopCode
from tutor.script.training_signs import GRADIENT, RESET, UPDATE

PREDICT, LOSS = "Predict", "Loss"
TRAINING = frozenset({RESET, GRADIENT, SYNCHRONIZE, UPDATE})


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


def forget_picks(unit: CodeUnit) -> None:
    """Take a function that only updates as one update, also where it names its gradients anew."""
    picks = [node for node in unit.kinds if _is_pick(node)]
    others = {kind for node, kind in unit.kinds.items() if node not in picks}
    if others == {UPDATE} and not unit.entered:
        for node in picks:
            del unit.kinds[node]


def _is_pick(node: ast.stmt) -> bool:
    """Whether a statement only names an element: `dW1 = grads["dW1"]`."""
    value = getattr(node, "value", None)
    return isinstance(node, ast.Assign) and isinstance(
        value, ast.Name | ast.Attribute | ast.Subscript
    )
