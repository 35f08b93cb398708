"""The names and figures of a training loop: its mode, loss, prediction, parameters and rates."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from tutor.script.code_index import (
    CodeIndex,
    FunctionCode,
    LoopCode,
    own_nodes,
)
from tutor.script.code_unit import LOSS, PREDICT, CodeUnit
from tutor.script.data_flow import (
    called_name,
    loss_rank,
    statements,
    targets_of,
    variable,
    variables,
    writes,
)
from tutor.script.hand_changes import HandChange, bare
from tutor.script.hand_gradient import gradient_of, rates_in
from tutor.script.statement_kinds import StatementKinds
from tutor.script.training_signs import UPDATE, TrainingSigns


class LoopFacts:
    """The names and figures of one training loop."""

    def __init__(
        self, index: CodeIndex, signs: TrainingSigns, kinds: StatementKinds, loop: LoopCode
    ) -> None:
        self.index, self.signs, self.kinds, self.loop = index, signs, kinds, loop
        self.units = kinds.units()
        functions = index.reached(loop.body)
        self.code = [*loop.body, *(s for f in functions for s in f.body)]

    # ── The loss and the prediction

    def loss(self) -> str:
        """The expression whose gradient is taken; in code by hand, the name of the error."""
        found = [loss for unit in self.units for loss in unit.losses]
        if found:
            return ast.unparse(found[0])
        named = self._named_losses()
        return named[0] if named else ""

    def _named_losses(self) -> list[str]:
        """The names that measure the error, the most telling first."""
        found = []
        for unit in self.units:
            for node in statements(unit.body):
                if unit.kinds.get(node) == LOSS:
                    found += [ast.unparse(bare(t)) for t in targets_of(node) if variable(t)]
        return sorted(dict.fromkeys(found), key=lambda name: loss_rank(name.rpartition(".")[2]))

    def prediction(self) -> str:
        """The name that the loss compares with the target."""
        for unit in self.units:
            for expression in self._loss_expressions(unit):
                if name := self._compared(expression, unit):
                    return self._without_target(name, unit) or name
        return ""

    def _loss_expressions(self, unit: CodeUnit) -> list[ast.expr]:
        nodes = [n for n in statements(unit.body) if unit.kinds.get(n) == LOSS]
        values = [getattr(n, "value", None) for n in nodes]
        return [v for v in [*values, *unit.losses] if v is not None]

    def _compared(self, expression: ast.expr, unit: CodeUnit) -> str:
        predicted = {
            name
            for node in statements(unit.body)
            if unit.kinds.get(node) == PREDICT
            for name in writes(node)
            if self._is_computed(node)
        }
        for node in _compared_names(expression):
            match node:
                case ast.BinOp(left=left, op=ast.Sub(), right=right):
                    for side in (left, right):
                        if variable(side) in predicted and (name := _name(side)):
                            return name
                case ast.Call(args=[first, *_]) if not isinstance(first, ast.BinOp):
                    if variable(first) in predicted and (name := _name(first)):
                        return name
        names = [n for n in _compared_names(expression) if isinstance(n, ast.Name | ast.Attribute)]
        return next((_name(n) for n in names if variable(n) in predicted), "")

    def _without_target(self, name: str, unit: CodeUnit) -> str:
        """The prediction in an error, `y_pred` of `error = y_pred - y`; "" if it has no name."""
        for node in statements(unit.body):
            value = getattr(node, "value", None)
            if unit.kinds.get(node) != PREDICT or name not in writes(node):
                continue
            if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub):
                return self._compared(value, unit)
        return ""

    def _is_computed(self, node: ast.stmt) -> bool:
        """Whether a statement computes, and does not only move or cut out the data."""
        value = getattr(node, "value", None)
        if isinstance(value, ast.Tuple):
            return False
        return isinstance(value, ast.Call | ast.BinOp | ast.ListComp) and not _MOVING.fullmatch(
            called_name(value)
        )

    # ── What the code changes by hand

    def changes(self) -> list[HandChange]:
        """The changes by hand in the loop, in the file's order."""
        found = {(id(c.node), ast.unparse(c.target)): c for u in self.units for c in u.changes}
        return sorted(found.values(), key=lambda c: (c.node.lineno, c.node.col_offset))

    def parameters(self) -> tuple[str, ...]:
        """The parameters that the code changes by hand, as expressions."""
        named = [name for c in self.changes() for name in self._parameters_of(c)]
        return tuple(dict.fromkeys(named))

    def _parameters_of(self, change: HandChange) -> list[str]:
        target = bare(change.target)
        function = self.index.function_of(change.node)
        loops = [n for n in self.index.ancestors(change.node) if isinstance(n, ast.For)]
        for loop in loops:
            own = variables(targets_of(loop))
            if variables([target]) & own:
                return self._iterated(target, loop, own, function)
        if isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Constant):
            target = target.value
        return self._as_called(target, function, frozenset())

    def _iterated(
        self, target: ast.expr, loop: ast.For, own: set[str], function: FunctionCode | None
    ) -> list[str]:
        """The parameters that a loop over them changes."""
        if loop is self.loop or not isinstance(target, ast.Name):
            whole = target.value if isinstance(target, ast.Subscript) else None
            if whole is None or variables([whole]) & own:
                return []
            return self._elements(whole, function)
        source = _source_of(loop, target.id)
        if source is None or called_name(source) in ("parameters", "named_parameters"):
            return []
        return self._elements(source, function)

    def _elements(self, whole: ast.expr, function: FunctionCode | None) -> list[str]:
        """The names of the elements of a list or dictionary of parameters, if the code tells."""
        if isinstance(whole, ast.List | ast.Tuple):
            return [ast.unparse(e) for e in whole.elts]
        names = self._as_called(whole, function, frozenset())
        if len(names) != 1:
            return names
        values = self.index.bindings.get(names[0].rpartition(".")[2], [])
        made = [v for v in values if isinstance(v, ast.List | ast.Tuple | ast.Dict)]
        if len(made) != 1:
            return names
        match made[0]:
            case ast.List(elts=elts) | ast.Tuple(elts=elts) if elts and all(map(_name, elts)):
                return [ast.unparse(e) for e in elts]
            case ast.Dict(keys=keys) if keys and all(isinstance(k, ast.Constant) for k in keys):
                return [f"{names[0]}[{_quoted(k)}]" for k in keys if k is not None]
        return names

    def _as_called(
        self, target: ast.expr, function: FunctionCode | None, seen: frozenset[str]
    ) -> list[str]:
        """The parameter as the loop's own code names it, where a function's parameter holds it."""
        own = self.index.function_of(self.loop)
        base = target
        while isinstance(base, ast.Subscript):
            base = base.value
        if function is None or function is own or not isinstance(base, ast.Name):
            return [_text(target)]
        names = {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
        if base.id not in names or function.name in seen:
            return [_text(target)]
        found: list[str] = []
        for call in self._calls_of(function):
            given = self.index.arguments(function, call).get(base.id)
            if given is None:
                continue
            inner = self.index.function_of(call)
            if isinstance(given, ast.List | ast.Tuple) and base is target:
                found += [ast.unparse(e) for e in given.elts]
            elif _name(given):
                names_there = self._as_called(given, inner, seen | {function.name})
                found += [n + _text(target)[len(base.id) :] for n in names_there]
        return list(dict.fromkeys(found)) or [_text(target)]

    def _calls_of(self, function: FunctionCode) -> Iterator[ast.Call]:
        """The calls of a function in the loop."""
        for call in own_nodes(self.code):
            if isinstance(call, ast.Call) and function in self.index.callees(call.func):
                yield call

    def gradients(self) -> Mapping[str, str]:
        """By parameter: the expression of its gradient computed by hand."""
        if self.kinds.has_backward:
            return {}
        found: dict[str, str] = {}
        for change in self.changes():
            names = self._parameters_of(change)
            unit = next(u for u in self.units if any(c.node is change.node for c in u.changes))
            if len(names) == 1 and (gradient := gradient_of(change, list(statements(unit.body)))):
                found.setdefault(names[0], gradient)
        return found

    def rates(self) -> tuple[str, ...]:
        """The names of the learning rate in the changes by hand."""
        found: list[str] = []
        for unit in self.units:
            steps = [n for n in statements(unit.body) if unit.kinds.get(n) == UPDATE]
            for node in dict.fromkeys([*(c.node for c in unit.changes), *steps]):
                for rate in rates_in(node) if unit.changes else ():
                    found += self._as_called(rate, self.index.function_of(node), frozenset())
        return tuple(dict.fromkeys(found))


_SHAPING = frozenset({"squeeze", "view", "flatten", "reshape", "ravel", "float"})
_MOVING = re.compile(
    r"to|cuda|cpu|float|long|double|view|reshape|unsqueeze|squeeze|tensor|zero_grad"
)


def _compared_names(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of an expression, without arguments of functions that may be models."""
    yield node
    is_model = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    if is_model and called_name(node) not in ("sum", "zip", "abs", "float", "enumerate", "max"):
        return
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        is_library = isinstance(node.func.value, ast.Name)
        children = iter([*([] if is_library else [node.func.value]), *node.args])
    elif isinstance(node, ast.Attribute):
        children = iter(())
    for child in children:
        yield from _compared_names(child)


def _name(node: ast.expr) -> str:
    """The text of a name, an attribute or an element of one; empty for anything else."""
    match node:
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return ast.unparse(node) if variable(node) and not _has_call(node) else ""
        case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _SHAPING:
            return _name(value)
    return ""


def _has_call(node: ast.expr) -> bool:
    return any(isinstance(n, ast.Call) for n in ast.walk(node))


def _text(node: ast.expr) -> str:
    """An expression as text, with double quotes around keys."""
    match node:
        case ast.Subscript(value=value, slice=ast.Constant() as key):
            return f"{_text(value)}[{_quoted(key)}]"
    return ast.unparse(node)


def _quoted(key: ast.expr) -> str:
    match key:
        case ast.Constant(value=str() as text) if text.isprintable() and not set('"\\') & set(text):
            return f'"{text}"'
    return ast.unparse(key)


def _source_of(loop: ast.For, name: str) -> ast.expr | None:
    """What a loop's target takes its values from: `params` of `for p, g in zip(params, grads)`."""
    iterated, target = loop.iter, loop.target
    while called_name(iterated) in ("enumerate", "list", "tuple", "reversed"):
        assert isinstance(iterated, ast.Call)
        if called_name(iterated) == "enumerate" and isinstance(target, ast.Tuple):
            target = target.elts[-1]
        if not iterated.args:
            return None
        iterated = iterated.args[0]
    if isinstance(target, ast.Tuple):
        at = next((i for i, t in enumerate(target.elts) if variable(t) == name), None)
        if at is None:
            return None
        if called_name(iterated) == "zip" and isinstance(iterated, ast.Call):
            return iterated.args[at] if at < len(iterated.args) else None
        return iterated.func.value if _is_items(iterated) else None  # type: ignore[attr-defined]
    return iterated


def _is_items(node: ast.expr) -> bool:
    return called_name(node) == "items" and isinstance(node, ast.Call)
