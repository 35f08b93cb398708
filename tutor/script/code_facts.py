"""The facts of a script that its formulas depend on: imports, single numbers, single values."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tutor.python_syntax import (
    DEFINITIONS,
    counted_range,
    dotted_name,
    imported_by,
    items_of,
    iterated_things,
    made_thing,
    pairs_of,
    root_name,
)

SAME_NUMBERS = frozenset(["item", "detach", "clone", "numpy", "cpu", "cuda", "to",
    "float", "double", "contiguous", "requires_grad_", "astype"])  # fmt: skip
"""Methods of a tensor that give back its own numbers in the same shape."""
_DRAWN = frozenset(["random.random", "random.uniform", "random.gauss", "numpy.random.random"])
_DRAWN_BY_SHAPE = frozenset(["randn", "rand", "zeros", "ones"])
_NUMBERS = ("builtins.float", "builtins.int", "builtins.len", "numpy.float32", "numpy.float64")
_REDUCTIONS = frozenset(["sum", "mean", "norm"])
LOSS_MODULES = {
    "MSELoss": "mse_loss",
    "L1Loss": "l1_loss",
    "CrossEntropyLoss": "cross_entropy",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
}
"""A loss of torch.nn → its function; all of them make a single number unless told otherwise."""


class CodeFacts:
    """The names of a file: where each comes from, and which are single numbers."""

    def __init__(self, tree: ast.Module, rates: Sequence[str] = ()) -> None:
        self.rates = frozenset(rates)
        """The expressions of the learning rate."""
        nodes = list(ast.walk(tree))
        imports = (found for node in nodes for found in imported_by(node))
        self._imports = {name: dotted for name, dotted in imports if not dotted.startswith(".")}
        self._values: dict[str, list[ast.expr | None]] = defaultdict(list)
        for name, value in _bound_values(nodes):
            self._values[name].append(value)
        self.callables = {node.name for node in nodes if isinstance(node, DEFINITIONS)}
        """The names of all functions, methods and classes of the file."""
        self.iterated = {name for node in nodes for name in _iterated(node)}
        """The names whose items a loop takes one by one."""
        self.functions = _defined_once(tree, self._values)
        """The functions at the file's top level, without those whose name has another value."""
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self.methods = {s.name for c in classes for s in c.body if isinstance(s, ast.FunctionDef)}
        """The names of the methods that the file's classes define."""
        self.modules = {
            c.name: c for c in classes if [*map(self.dotted, c.bases)] == ["torch.nn.Module"]
        }
        """The classes of the file that are modules of torch."""
        self._scalars: set[str] = set()
        self._find_scalars()

    def dotted(self, node: ast.expr) -> str:
        """Where a function or module is from: `torch.nn.functional.relu`, `builtins.sum`.

        "" if it is the file's own, or if its name has several values.
        """
        name = root_name(node)
        if name in self._values:
            return ""
        if name in self._imports:
            return dotted_name(node, self._imports)
        is_builtin = isinstance(node, ast.Name) and hasattr(builtins, name)
        return f"builtins.{name}" if is_builtin else ""

    def only_value(self, node: ast.expr) -> ast.expr | None:
        """The value of a name or attribute that the file assigns exactly once."""
        values = self._values.get(ast.unparse(node), [])
        return values[0] if len(values) == 1 else None

    def values_of(self, name: str) -> Sequence[ast.expr | None]:
        """The values that the file gives a name; None for a value that is no expression."""
        return self._values.get(name, ())

    def call_of_module(self, node: ast.expr) -> tuple[str, ast.Call] | None:
        """The module of torch.nn that a name stands for: `("Linear", the call that made it)`."""
        value = self.only_value(node)
        if value is None and isinstance(node, ast.Attribute):
            value = self._attribute_of(node)
        return self.module_made_by(value) if value is not None else None

    def own_model(self, node: ast.expr) -> ast.ClassDef | None:
        """The class of the file, a torch.nn.Module, that the value of a name is made of."""
        value = self.only_value(node)
        match made_thing(value) if value is not None else None:
            case ast.Call(func=ast.Name(id=name)):
                return self.modules.get(name)
        return None

    def _attribute_of(self, node: ast.Attribute) -> ast.expr | None:
        """The value that the class of a model gives an attribute, if only once."""
        own = self.own_model(node.value)
        found = [
            statement.value
            for statement in ast.walk(own or ast.Pass())
            if isinstance(statement, ast.Assign)
            and [*map(ast.unparse, statement.targets)] == [f"self.{node.attr}"]
        ]
        return found[0] if len(found) == 1 else None

    def module_made_by(self, value: ast.expr) -> tuple[str, ast.Call] | None:
        """The module of torch.nn that an expression makes."""
        match made_thing(value):
            case ast.Call(func=function) as made:
                package, _, name = self.dotted(function).rpartition(".")
                return (name, made) if package == "torch.nn" else None
        return None

    def is_scalar(self, node: ast.expr) -> bool:
        """Whether the code says that this is a single number."""
        match node:
            case ast.Constant(value=value):
                return type(value) in (int, float)
            case ast.Name(id=name):
                return name in self._scalars or name in self.rates
            case ast.UnaryOp(operand=operand):
                return self.is_scalar(operand)
            case ast.BinOp(left=left, right=right):
                return self.is_scalar(left) and self.is_scalar(right)
            case ast.Attribute(value=value, attr="grad" | "data"):
                return self.is_scalar(value)
            case ast.Attribute():
                text = ast.unparse(node)
                is_constant = self.dotted(node).endswith((".pi", ".e"))
                return is_constant or text in self.rates or text in self._scalars
            case ast.Subscript(value=ast.Attribute(attr="shape")):
                return True
            case ast.Subscript(value=value):
                return self._lists_numbers(value)
            case ast.Call():
                return self._makes_scalar(node)
        return False

    def _lists_numbers(self, node: ast.expr) -> bool:
        """Whether it is a list of numbers that the code writes out."""
        value = node if isinstance(node, ast.List | ast.Tuple) else self.only_value(node)
        return isinstance(value, ast.List | ast.Tuple) and all(map(self.is_scalar, value.elts))

    def _makes_scalar(self, call: ast.Call) -> bool:
        name = self.dotted(call.func)
        package, _, last = name.rpartition(".")
        if not name:
            return self._method_makes_scalar(call)
        has_axis = any(k.arg in ("dim", "axis", "size", "reduction") for k in call.keywords)
        if package == "math" or name in _NUMBERS:
            return True
        if last in _REDUCTIONS and package != "builtins":
            return len(call.args) == 1 and not has_axis
        if last in LOSS_MODULES.values() or name in _DRAWN:
            return not has_axis
        if last in _DRAWN_BY_SHAPE and package in ("torch", "numpy", "numpy.random"):
            is_one = all(ast.unparse(argument) in ("1", "()") for argument in call.args)
            return is_one and not has_axis and (bool(call.args) or package == "numpy.random")
        if name in ("torch.tensor", "torch.nn.Parameter", "numpy.array", "torch.as_tensor"):
            return len(call.args) == 1 and self.is_scalar(_only_element(call.args[0]))
        return False

    def _method_makes_scalar(self, call: ast.Call) -> bool:
        if module := self.call_of_module(call.func):
            made = module[1]
            return module[0] in LOSS_MODULES and not any(
                k.arg == "reduction" for k in made.keywords
            )
        if not isinstance(call.func, ast.Attribute) or call.func.attr in self.methods:
            return False
        method, is_bare = call.func.attr, not call.args and not call.keywords
        if method in ("item", "numel") or (method in _REDUCTIONS and is_bare):
            return True
        return method in SAME_NUMBERS and self.is_scalar(call.func.value)

    def _find_scalars(self) -> None:
        """Find the names whose every value is a single number, if the others' are."""
        values = {
            n: [v for v in given if v] for n, given in self._values.items() if None not in given
        }
        self._scalars = set(values)
        while no_more := {n for n in self._scalars if not all(map(self.is_scalar, values[n]))}:
            self._scalars -= no_more


def _only_element(node: ast.expr) -> ast.expr:
    """`2.0` of `[[2.0]]`: an array of one number multiplies as the number does."""
    while isinstance(node, ast.List) and len(node.elts) == 1:
        node = node.elts[0]
    return node


def _defined_once(
    tree: ast.Module, values: dict[str, list[ast.expr | None]]
) -> dict[str, ast.FunctionDef]:
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name: node for name, node in found.items() if values[name] == [None]}


def _bound_values(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, ast.expr | None]]:
    """Everything that a statement gives a value, with that value if it is an expression."""
    for node in nodes:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from _targets(target, value)
            case (
                ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.NamedExpr(target=target, value=value)
                | ast.AugAssign(target=target, value=value)
            ):
                yield from _targets(target, value)
            case (
                ast.For(target=target, iter=iterable)
                | ast.AsyncFor(target=target, iter=iterable)
                | ast.comprehension(target=target, iter=iterable)
            ):
                yield from _loop_targets(target, iterable)
            case ast.withitem(optional_vars=ast.expr() as target):
                yield from _targets(target, None)
            case ast.arg(arg=name) | ast.ExceptHandler(name=str() as name):
                yield name, None
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, None


def _iterated(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.For | ast.comprehension):
        yield from map(ast.unparse, iterated_things(node.iter))


def _loop_targets(target: ast.expr, iterated: ast.expr) -> Iterator[tuple[str, ast.expr | None]]:
    """The names that a loop binds: to numbers, or to the items that it goes through."""
    for part, things in items_of(target, iterated):
        if counted_range(things) is not None:
            yield from _targets(part, ast.Constant(0))
        else:
            is_call = isinstance(things, ast.Call)
            yield from _targets(part, None if is_call else ast.Subscript(things, ast.Constant(0)))


def _targets(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Attribute):
        is_shape = value.attr == "shape"
        value = ast.Tuple([ast.Constant(0)] * len(target.elts)) if is_shape else None
    for part, of_part in pairs_of(target, value):
        if isinstance(part, ast.Name | ast.Attribute):
            yield ast.unparse(part), of_part
