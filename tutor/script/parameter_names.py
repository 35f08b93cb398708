"""The names that a loop changes by hand: its parameters, their gradients and the rates.

They are named as the loop's own code names them, also where a function that it calls makes the
change under a name of its own. Where no expression of the loop names a gradient, one that is
returned or a local variable of a function, a hook at its place tells a run (`instrument.py`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from tutor.lesson.model import UPDATE
from tutor.python_syntax import (
    FunctionCode,
    LoopCode,
    argument_names,
    called_name,
    items_of,
    last_name,
    names_in,
    own_nodes,
    statements,
    substituted,
    targets_of,
)
from tutor.script.code_index import CodeIndex
from tutor.script.code_unit import CodeUnit
from tutor.script.data_flow import (
    named_text,
    text_of,
    variables,
    writes,
)
from tutor.script.hand_changes import HandChange, bare
from tutor.script.outline import GradientCall, GradientUse, LayerParameter, span_of
from tutor.script.plain_numbers import gradient_expression, rates_in
from tutor.script.training_signs import TrainingSigns

_DEEPEST = 5
"""Calls inside one another through which a name is followed."""
_LAYER = re.compile(r"(.+)\[(\d+)\]\.\w+")


class ParameterNames:
    """The names of the parameters that one loop changes by hand."""

    def __init__(self, signs: TrainingSigns, units: list[CodeUnit], loop: LoopCode) -> None:
        self.index, self.units, self.loop = signs.index, units, loop
        self._numbers = signs.numbers
        self._own = self.index.function_of(loop)
        self._code = self.index.reached_code(loop.body)

    def changes(self) -> list[HandChange]:
        """The changes by hand, in the file's order."""
        found = {(id(c.node), text_of(c.target)): c for u in self.units for c in u.changes}
        return sorted(found.values(), key=lambda c: (c.node.lineno, c.node.col_offset))

    def parameters(self) -> tuple[str, ...]:
        """The parameters."""
        named = [name for change in self.changes() for name in self._names(change)]
        whole = set(named)
        kept = [n for n in dict.fromkeys(named) if n.partition("[")[0] not in whole - {n}]
        return tuple(sorted(kept, key=lambda name: _place_of_layer(name, kept)))

    def gradients(self) -> Mapping[str, str]:
        """A parameter → the expression of its gradient."""
        found: dict[str, str] = {}
        entered = {unit.function for unit in self.units}
        for change in self.changes():
            function = self.index.function_of(change.node)
            gradient, names = self._gradient(change), self._names(change)
            if gradient is None or len(names) != 1:
                continue
            lifted = self._lifted(gradient, function)
            if lifted or function in entered:
                found.setdefault(names[0], text_of(lifted[0] if lifted else gradient))
        return found

    def _gradient(self, change: HandChange) -> ast.expr | None:
        """The expression of the gradient that a change uses; None if the code does not tell."""
        unit = next(u for u in self.units if any(c.node is change.node for c in u.changes))
        function = self.index.function_of(change.node)
        is_own = function is None or function in (unit.function, self._own)
        body = unit.body if is_own or function is None else function.body
        return gradient_expression(change, list(statements(body)), self._numbers)

    def gradient_uses(self) -> Iterator[GradientUse]:
        """The places where the changes by hand use their gradients."""
        seen = set[int]()
        for one in (c for unit in self.units for c in unit.changes):
            change = one.element or one
            if id(change.terms) in seen:
                continue
            seen.add(id(change.terms))
            gradient = self._gradient(change)
            if gradient is not None and (use := _use_in(self.index, change, gradient)) is not None:
                yield use

    def layers(self) -> tuple[LayerParameter, ...]:
        """The parameters that methods of classes change in their own objects: `self.W`."""
        found: list[LayerParameter] = []
        for change in self.changes():
            function = self.index.function_of(change.node)
            of = self.index.class_of(function) if function else None
            target = bare(change.target)
            if function is None or of is None or not _is_of_self(target, function):
                continue
            gradient = self._gradient(change)
            is_own = gradient is not None and _is_of_self(gradient, function)
            name = last_name(gradient) if gradient is not None and is_own else ""
            found.append(LayerParameter(of.name, last_name(target), name))
        return tuple(dict.fromkeys(found))

    def rates(self) -> tuple[str, ...]:
        """The learning rates that have a name."""
        found: list[str] = []
        for unit in self.units:
            steps = [n for n in statements(unit.body) if unit.kinds.get(n) == UPDATE]
            for node in dict.fromkeys([*(c.node for c in unit.changes), *steps]):
                own = [c.rate for c in unit.changes if c.node is node and c.rate is not None]
                for rate in own or rates_in(node) if unit.changes else ():
                    found += self._named(rate, self.index.function_of(node))
        return tuple(dict.fromkeys(found))

    # ── One parameter

    def _names(self, change: HandChange) -> list[str]:
        """The parameters that a change is one of: several in a loop over all of them."""
        target = bare(change.target)
        function = self.index.function_of(change.node)
        for loop in self.index.ancestors(change.node):
            if isinstance(loop, ast.For) and variables([target]) & variables(targets_of(loop)):
                if members := self._members(target, loop):
                    return members
                whole = self._whole(target, loop)
                return [] if whole is None else self._elements(whole, function)
        if isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Constant):
            target = target.value
        return [n for found in self._lifted(target, function) for n in self._of_items(found)] or [
            text_of(target)
        ]

    def _members(self, target: ast.expr, loop: ast.For) -> list[str]:
        """The attributes that a loop sets by their names, in `for name in ("W", "b")`."""
        match target, loop:
            case (
                ast.Subscript(value=thing, slice=ast.Name(id=key)),
                ast.For(target=ast.Name(id=name), iter=ast.Tuple(elts=keys) | ast.List(elts=keys)),
            ) if key == name:
                own = [
                    k.value
                    for k in keys
                    if isinstance(k, ast.Constant) and isinstance(k.value, str)
                ]
                set_in = [any(self._has_attribute(c, k) for c in self.index.classes) for k in own]
                if own and all(set_in):
                    members = [ast.Attribute(thing, k, ast.Load()) for k in own]
                    return [n for member in members for n in self._of_items(member)]
        return []

    def _of_items(self, node: ast.expr) -> list[str]:
        """The parameters of each layer, for a change of `layer.W` in a loop over layers."""
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attr):
                named = self._sources(name)
                lists = [
                    value
                    for n in named
                    for value in self.index.bindings.get(n.rpartition(".")[2], ())
                    if isinstance(value, ast.List)
                ]
                if len(set(map(id, lists))) == 1:
                    layers = [self.index.classes_of(e) for e in lists[0].elts]
                    own = {c for c in self.index.classes if self._has_attribute(c, attr)}
                    kept = [at for at, classes in enumerate(layers) if classes & own]
                    return [f"{named[0]}[{at}].{attr}" for at in kept]
        name = named_text(node)
        return [name] if name else []

    def _sources(self, name: str) -> list[str]:
        """The expressions that loops with this target go through, as the loop's code has them."""
        found: list[str] = []
        for loop in self._loops_over(name):
            source = _source_of(loop, name)
            if source is not None:
                lifted = self._lifted(source, self.index.function_of(loop))
                found += [text for node in lifted if (text := named_text(node))]
        return list(dict.fromkeys(found))

    def _loops_over(self, name: str) -> list[ast.For]:
        """The loops of the code whose target is a name."""
        loops = [n for n in own_nodes(self._code) if isinstance(n, ast.For)]
        return [n for n in loops if name in variables([n.target])]

    def _has_attribute(self, class_name: str, attr: str) -> bool:
        """Whether a class of the file assigns an attribute of `self`."""
        code = self.index.classes[class_name]
        return any(
            isinstance(n, ast.Attribute) and n.attr == attr and isinstance(n.ctx, ast.Store)
            for n in ast.walk(code)
        )

    def _whole(self, target: ast.expr, loop: ast.For) -> ast.expr | None:
        """The container that a loop goes through: `params`, for `p` and for `params[key]`."""
        own = variables(targets_of(loop))
        match target:
            case ast.Subscript(value=value) if not variables([value]) & own:
                return value
            case ast.Name(id=name) if loop is not self.loop:
                return _source_of(loop, name)
        return None

    def _elements(self, whole: ast.expr, function: FunctionCode | None) -> list[str]:
        """The elements of a list or dictionary of parameters, if the code tells; else itself."""
        if called_name(whole) in ("parameters", "named_parameters"):
            return []
        found = self._lifted(whole, function) or [whole]
        return list(dict.fromkeys(name for node in found for name in self._listed(node)))

    def _listed(self, node: ast.expr) -> list[str]:
        match node:
            case ast.List(elts=elts) | ast.Tuple(elts=elts):
                return [text_of(e) for e in elts]
        name = named_text(node)
        bound = self.index.bindings.get(name.rpartition(".")[2], [])
        made = [v for v in bound if isinstance(v, ast.List | ast.Tuple | ast.Dict)]
        if len(made) == 1 and name:
            match made[0]:
                case ast.List(elts=elts) | ast.Tuple(elts=elts) if elts and all(
                    map(named_text, elts)
                ):
                    return [text_of(e) for e in elts]
                case ast.Dict(keys=keys) if keys and all(isinstance(k, ast.Constant) for k in keys):
                    items = [ast.Subscript(node, key, ast.Load()) for key in keys if key]
                    return [text_of(item) for item in items]
        return [name] if name else []

    # ── A name as the loop's own code says it

    def _named(self, node: ast.expr, function: FunctionCode | None) -> list[str]:
        """The texts of an expression as the loop's own code says it; else its own text."""
        names = [named_text(found) for found in self._lifted(node, function)]
        return [name for name in dict.fromkeys(names) if name] or [text_of(node)]

    def _lifted(
        self, node: ast.expr, function: FunctionCode | None, depth: int = 0
    ) -> list[ast.expr]:
        """An expression of a function, in terms of the code that calls it; [] if it can't be."""
        if function is None or function is self._own or depth == _DEEPEST:
            return [node]
        node = substituted(node, _picked(node, function))
        names = names_in(node)
        arguments = argument_names(function) & names
        if names & _locals(function) - arguments:
            return []
        if not arguments:
            return [node]
        found: list[ast.expr] = []
        for call in own_nodes(self._code):
            if isinstance(call, ast.Call) and function in self.index.callees(call.func):
                given = self._given(function, call)
                if arguments <= set(given):
                    inner = substituted(node, given)
                    found += self._lifted(inner, self.index.function_of(call), depth + 1)
        return found

    def _given(self, function: FunctionCode, call: ast.Call) -> dict[str, ast.expr]:
        """The arguments of a call by the names of the function's parameters, `self` included."""
        given = self.index.arguments(function, call)
        arguments = function.args.args
        is_method = self.index.class_of(function) is not None and isinstance(
            call.func, ast.Attribute
        )
        if is_method and arguments and isinstance(call.func, ast.Attribute):
            given[arguments[0].arg] = call.func.value
        return given


def _is_of_self(node: ast.expr, function: FunctionCode) -> bool:
    """Whether an expression is an attribute of a method's own object."""
    match node:
        case ast.Attribute(value=ast.Name(id=name)):
            return name in [a.arg for a in function.args.args[:1]]
    return False


def _place_of_layer(name: str, names: list[str]) -> tuple[int, int]:
    """The place of a parameter: in a list of layers, each layer's parameters stand together."""
    list_of = {n: found for n in names if (found := _LAYER.fullmatch(n))}
    if name not in list_of:
        return names.index(name), 0
    first = next(n for n in list_of if list_of[n][1] == list_of[name][1])
    return names.index(first), int(list_of[name][2])


def _picked(node: ast.expr, function: FunctionCode) -> dict[str, ast.expr]:
    """The locals in an expression that only name an element: `W1 = params["W1"]`."""
    wanted = names_in(node)
    found: dict[str, ast.expr] = {}
    for statement in statements(function.body):
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if name in wanted and name not in found and named_text(value):
                    found[name] = value
            case ast.Assign(targets=[ast.Tuple(elts=elts)], value=ast.Name() as whole):
                for at, target in enumerate(elts):
                    if isinstance(target, ast.Name) and target.id in wanted - set(found):
                        found[target.id] = ast.Subscript(whole, ast.Constant(at), ast.Load())
    return found


def _locals(function: FunctionCode) -> set[str]:
    """The names that a function assigns itself."""
    outer = {
        name
        for node in own_nodes(function.body)
        if isinstance(node, ast.Global | ast.Nonlocal)
        for name in node.names
    }
    return {variable for node in statements(function.body) for variable in writes(node)} - outer


def _source_of(loop: ast.For, name: str) -> ast.expr | None:
    """The source of the values of a loop's target: `params` of `for p, g in zip(params, grads)`."""
    for part, things in items_of(loop.target, loop.iter):
        if name in variables([part]):
            match part, things:
                case ast.Tuple(), ast.Call(func=ast.Attribute(value=value, attr="items")):
                    return value
                case ast.Tuple(), _:
                    return None
            return things
    return None


# ── The places in the code that have gradients, where hooks note them ─────────────────────

_LIBRARIES = ("numpy.", "torch.", "math.")
_PLAIN = frozenset({"len", "sum", "abs", "float", "int", "max", "min", "zip", "range"})
_METHODS = frozenset({"sum", "mean", "dot", "reshape", "transpose", "matmul", "mm", "t", "item",
    "copy", "clone", "detach", "outer", "squeeze", "astype", "view", "norm", "float"})  # fmt: skip


def gradient_calls(signs: TrainingSigns, nodes: Iterable[ast.stmt]) -> Iterator[GradientCall]:
    """The calls in code that return the gradients of one of their arguments."""
    index = signs.index
    for call in own_nodes(nodes):
        if isinstance(call, ast.Call) and signs.is_backward(call):
            maker = _maker_of(index, call)
            given = _differentiated(call, maker)
            if given is not None and not isinstance(given, ast.Starred):
                yield GradientCall(span_of(call), span_of(given), _is_first(index, maker))


def _maker_of(index: CodeIndex, call: ast.Call) -> ast.Call | None:
    """The call of `torch.func.grad` that has made the function; None of `torch.autograd.grad`."""
    made = [call.func]
    if isinstance(call.func, ast.Name):
        made += index.bindings.get(call.func.id, ())
    return next((m for m in made if isinstance(m, ast.Call)), None)


def _differentiated(call: ast.Call, maker: ast.Call | None) -> ast.expr | None:
    """The argument of a call that the returned gradients are of."""
    if maker is None:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "backward":
            return None
        given = [w.value for w in call.keywords if w.arg == "inputs"]
        return [*call.args[1:2], *given, None][0]
    told = next((w.value for w in maker.keywords if w.arg == "argnums"), ast.Constant(0))
    number = told.value if isinstance(told, ast.Constant) else None
    is_known = isinstance(number, int) and len(maker.args) == 1 and number in range(len(call.args))
    return call.args[number] if isinstance(number, int) and is_known else None


def _is_first(index: CodeIndex, maker: ast.Call | None) -> bool:
    """Whether a function that differentiates returns a value beside the gradients."""
    if maker is None:
        return False
    name = index.dotted(maker.func).rpartition(".")[2]
    return name == "grad_and_value" or any(w.arg == "has_aux" for w in maker.keywords)


def _use_in(index: CodeIndex, change: HandChange, gradient: ast.expr) -> GradientUse | None:
    parameter = text_of(bare(change.target))
    own = [n for n in ast.walk(change.node) if isinstance(n, ast.expr)]
    is_negated = isinstance(gradient, ast.UnaryOp) and not any(n is gradient for n in own)
    inner = gradient.operand if is_negated and isinstance(gradient, ast.UnaryOp) else gradient
    if any(n is inner for n in own):
        return GradientUse(span_of(inner), parameter, "", is_negated)
    if not _can_run_twice(index, gradient):
        return None
    parts = [n for _, term in change.terms for n in ast.walk(term) if _is_read(n)]
    place = next((p for p in parts if any(n is p for n in own)), None)
    if place is None:
        return None
    assert isinstance(place, ast.expr)
    return GradientUse(span_of(place), parameter, text_of(gradient))


def _is_read(node: ast.AST) -> bool:
    return isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


def _can_run_twice(index: CodeIndex, node: ast.expr) -> bool:
    """Whether an expression only computes, so that to evaluate it once more changes nothing."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom | ast.Lambda):
            return False
        if isinstance(inner, ast.Call):
            name = index.dotted(inner.func)
            is_library = name.startswith(_LIBRARIES) and "rand" not in name
            is_method = isinstance(inner.func, ast.Attribute) and inner.func.attr in _METHODS
            if not (is_library or is_method or name in _PLAIN) or index.callees(inner.func):
                return False
    return True
