"""The names that a loop changes by hand: its parameters, their gradients and the rates.

They are named as the loop's own code names them, also where a function that it calls makes the
change under a name of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

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
    is_gradient,
    is_rate,
    named_text,
    reads,
    text_of,
    variables,
    writes,
)
from tutor.script.hand_changes import HandChange, bare
from tutor.script.outline import LayerParameter
from tutor.script.plain_numbers import PlainNumbers
from tutor.script.training_signs import is_iterated

_DEEPEST = 5
"""Calls inside one another through which a name is followed."""
_LAYER = re.compile(r"(.+)\[(\d+)\]\.\w+")


class ParameterNames:
    """The names of the parameters that one loop changes by hand."""

    def __init__(self, index: CodeIndex, units: list[CodeUnit], loop: LoopCode) -> None:
        self.index, self.units, self.loop = index, units, loop
        self._numbers = PlainNumbers(index)
        self._own = index.function_of(loop)
        self._code = [*loop.body, *(s for f in index.reached_functions(loop.body) for s in f.body)]

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
            unit = next(u for u in self.units if any(c.node is change.node for c in u.changes))
            function = self.index.function_of(change.node)
            is_own = function in (unit.function, self._own)
            body = unit.body if is_own else function.body if function else []
            gradient = gradient_expression(change, list(statements(body)), self._numbers)
            names = self._names(change)
            if gradient is None or len(names) != 1:
                continue
            lifted = self._lifted(gradient, function)
            if lifted or function in entered:
                found.setdefault(names[0], text_of(lifted[0] if lifted else gradient))
        return found

    def layers(self) -> tuple[LayerParameter, ...]:
        """The parameters that methods of classes change in their own objects: `self.W`."""
        found: list[LayerParameter] = []
        for change in self.changes():
            function = self.index.function_of(change.node)
            of = self.index.class_of(function) if function else None
            target = bare(change.target)
            if function is None or of is None or not _is_of_self(target, function):
                continue
            gradient = gradient_expression(change, list(statements(function.body)), self._numbers)
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


# ── Changes by hand ───────────────────────────────────────────────────────────────────


def rates_in(node: ast.stmt) -> Iterator[ast.expr]:
    """The learning rates that a statement reads, as they stand in the code."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name | ast.Attribute | ast.Subscript) and _is_rate(inner):
            yield inner


def _is_rate(node: ast.expr) -> bool:
    match node:
        case ast.Subscript(slice=ast.Constant(value=str() as key)):
            return is_rate(key)
        case ast.Name() | ast.Attribute():
            return is_rate(last_name(node))
    return False


def gradient_expression(
    change: HandChange, code: Sequence[ast.stmt], numbers: PlainNumbers
) -> ast.expr | None:
    """The expression g of a change `w -= lr * g`; None if the code does not tell it exactly.

    Of momentum, the gradient that goes into it. `code` is the code around the change.
    """
    if len(change.terms) != 1:
        return None
    sign, term = change.terms[0]
    rate = change.rate
    rest = _without_rate(term) if rate is None else _without(term, lambda node: node is rate)
    near = _sources(term, code)
    own = set() if is_iterated(change) else {change.variable}
    if any(_is_running(name, code) for name in near - own):
        return _inside(term, code)
    if rest is None:
        is_scaled = any(is_rate(name.rpartition(".")[2]) for name in near) or any(
            _is_scaled(s, numbers) for s in code if writes(s) & variables([term])
        )
        rest = None if is_scaled else term
    if rest is None:
        return None
    return rest if sign < 0 else ast.UnaryOp(ast.USub(), rest)


def _is_scaled(node: ast.stmt, numbers: PlainNumbers) -> bool:
    """Whether a statement computes a step, and no gradient: `step = L * dw`."""
    value = getattr(node, "value", None)
    is_named = any(is_gradient(name.rpartition(".")[2]) for name in writes(node))
    return isinstance(value, ast.expr) and not is_named and numbers.rate_in(value) is not None


def _sources(node: ast.expr, code: Sequence[ast.stmt]) -> set[str]:
    """The variables that an expression reads, and those that these are computed from directly."""
    near = variables([node])
    return near | {n for s in code if writes(s) & near for n in reads(s)}


def _without_rate(term: ast.expr) -> ast.expr | None:
    """A product without its learning rate: a named rate, else a number that it begins with."""
    found = _without(term, _is_rate)
    if found is None and not any(_is_rate(n) for n in ast.walk(term) if isinstance(n, ast.expr)):
        found = _without(term, lambda node: isinstance(node, ast.Constant))
    return found


def _without(term: ast.expr, is_dropped: Callable[[ast.expr], bool]) -> ast.expr | None:
    """A product without its first factor of a kind; None if it has none."""
    match term:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            if is_dropped(left):
                return right
            if (rest := _without(left, is_dropped)) is not None:
                return ast.BinOp(rest, ast.Mult(), right)
            if is_dropped(right):
                return left
            if (rest := _without(right, is_dropped)) is not None:
                return ast.BinOp(left, ast.Mult(), rest)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            if (rest := _without(left, is_dropped)) is not None:
                return ast.BinOp(rest, ast.Div(), right)
    return None


def _is_running(name: str, code: Sequence[ast.stmt]) -> bool:
    """Whether a variable carries its value on from pass to pass: a velocity, a mean."""
    makers = [n for n in code if name in writes(n) and not isinstance(n, ast.For)]
    return any(name in reads(n) for n in makers if not isinstance(n, ast.AugAssign)) or any(
        isinstance(n, ast.AugAssign) and isinstance(n.op, ast.Mult) for n in makers
    )


def _inside(node: ast.expr, code: Sequence[ast.stmt]) -> ast.expr | None:
    """The one gradient by name that an expression is computed from."""
    names, found = variables([node]), set[str]()
    for _ in range(3):
        found = {n for n in names if is_gradient(n.rpartition(".")[2])}
        if found:
            break
        names = {n for s in code if writes(s) & names for n in reads(s)}
    return ast.parse(found.pop(), mode="eval").body if len(found) == 1 else None
