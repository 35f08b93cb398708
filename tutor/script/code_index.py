"""The functions, classes and names of a script, and the things that a name may stand for.

Read from the code alone, and not exact: names are told apart by their spelling, and an object's
class by the constructors that its name is bound to anywhere in the file.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from tutor.python_syntax import (
    DEFINITIONS,
    FUNCTION_WRAPPERS,
    FUNCTIONS,
    LOOPS,
    FunctionCode,
    called_name,
    dotted_name,
    given_arguments,
    imported_by,
    is_of_self,
    items_of,
    last_name,
    made_thing,
    own_nodes,
    pairs_of,
)

_LIBRARY_METHODS = frozenset({"train", "eval", "to", "step", "backward", "zero_grad", "parameters",
    "append", "fit", "apply", "update", "forward", "item", "copy", "sum", "mean", "add", "get",
    "items", "keys", "values", "reset", "cuda", "cpu", "detach", "sample", "close",
    "write"})  # fmt: skip
"""Methods that objects of libraries have, too: not looked up by their name alone."""
_OF_TRAINING = frozenset({"backward", "step", "zero_grad", "forward", "parameters"})
"""Methods of training, which objects of Python and of the packages below do not have."""
WITHOUT_TRAINING = frozenset(
    {"cupy", "matplotlib", "numpy", "pandas", "scipy", "seaborn", "sklearn", "tqdm"}
)


class CodeIndex:
    """The functions and classes of a script by name, and the bindings of its names."""

    def __init__(self, source: str) -> None:
        self.tree = plainly_spelled(ast.parse(source))
        self.nodes = nodes = list(ast.walk(self.tree))
        self.parents = {child: node for node in nodes for child in ast.iter_child_nodes(node)}
        functions = [node for node in nodes if isinstance(node, FUNCTIONS)]
        self.functions = sorted(functions, key=lambda f: f.lineno)
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self.classes: dict[str, ast.ClassDef] = {}
        for node in classes:
            self.classes.setdefault(node.name, node)
        self.imports = {name: dotted for node in nodes for name, dotted in imported_by(node)}
        """The name in the file → the dotted name of the imported thing."""
        self._by_name: dict[str, list[FunctionCode]] = defaultdict(list)
        for function in self.functions:
            self._by_name[function.name].append(function)
        self.bindings: dict[str, list[ast.expr]] = defaultdict(list)
        """The last part of a name (`model` of `self.model`) → all that is bound to it."""
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        self.calls = sorted(calls, key=_start)
        """All calls, in the file's order."""
        self.loops = sorted((node for node in nodes if isinstance(node, LOOPS)), key=_start)
        for name, value in [p for n in nodes for p in bindings_in(n)]:
            self.bindings[name].append(value)
        for name, value in [p for call in calls for p in self._argument_bindings(call)]:
            self.bindings[name].append(value)
        self._functions_of_name: dict[str, list[FunctionCode]] = {}
        self._classes_of_name: dict[str, set[str]] = {}
        self._used_by: dict[FunctionCode, list[FunctionCode]] = {}

    # ── Arguments of calls

    def _argument_bindings(self, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """The parameters that a call gives values to, of functions and dataclasses of the file."""
        made = self.classes.get(last_name(call.func))
        if made is not None and not self._own_methods(made.name, "__init__"):
            fields = [last_name(n.target) for n in made.body if isinstance(n, ast.AnnAssign)]
            yield from zip(fields, call.args, strict=False)
            yield from ((word.arg, word.value) for word in call.keywords if word.arg)
        for function in self._functions_named(call.func):
            yield from self.arguments(function, call).items()

    def _functions_named(self, func: ast.expr) -> list[FunctionCode]:
        """The functions, or methods, that a call may run, told by its name alone."""
        match func:
            case ast.Name(id=name) if name in self.classes:
                return self.methods(name, "__init__")
            case ast.Name(id=name) | ast.Attribute(attr=name):
                is_method = isinstance(func, ast.Attribute)
                named = self._by_name[name]
                return [f for f in named if is_method == (self.class_of(f) is not None)]
        return []

    def arguments(self, function: FunctionCode, call: ast.Call) -> dict[str, ast.expr]:
        """The arguments of a call by the names of the function's parameters."""
        is_bound = isinstance(call.func, ast.Attribute) or last_name(call.func) in self.classes
        is_static = any(last_name(d) == "staticmethod" for d in function.decorator_list)
        is_method = self.class_of(function) is not None
        return given_arguments(function, call, is_bound=is_method and is_bound and not is_static)

    # ── Surroundings of a node

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, the nearest first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def function_of(self, node: ast.AST) -> FunctionCode | None:
        """The innermost function around a node; None at the file's top level."""
        return next((n for n in self.ancestors(node) if isinstance(n, FUNCTIONS)), None)

    def class_of(self, function: FunctionCode) -> ast.ClassDef | None:
        """The class that a function is a method of."""
        parent = self.parents[function]
        while isinstance(parent, ast.If | ast.Try | ast.With):
            parent = self.parents[parent]
        return parent if isinstance(parent, ast.ClassDef) else None

    def own_class(self, node: ast.AST) -> ast.ClassDef | None:
        """The class whose method a node stands in, closures of it included."""
        for function in self.ancestors(node):
            if isinstance(function, FUNCTIONS) and (found := self.class_of(function)):
                return found
        return None

    def full_name(self, function: FunctionCode) -> str:
        """`train`, `Trainer.fit`, `make_step.step`."""
        around = [n for n in self.ancestors(function) if isinstance(n, DEFINITIONS)]
        return ".".join([*(n.name for n in reversed(around)), function.name])

    # ── The things that a name stands for

    def dotted(self, node: ast.expr) -> str:
        """The dotted name of an expression, with imported names in full; empty if it has none."""
        return dotted_name(node, self.imports)

    def classes_of(self, node: ast.expr) -> set[str]:
        """The names of the file's classes that an object may be of."""
        is_self = isinstance(node, ast.Name) and node.id in ("self", "cls")
        name = "" if is_self else last_name(node)
        if name not in self._classes_of_name:
            found = self._search_classes(node)
            if not name:
                return found
            self._classes_of_name[name] = found
        return self._classes_of_name[name]

    def _search_classes(self, node: ast.expr) -> set[str]:
        """The names of classes that are found by following the bindings of names."""
        found, seen, waiting = set[str](), set[str](), [node]
        while waiting:
            match value := made_thing(waiting.pop()):
                case ast.Call(func=ast.Name(id=name)) if name in self.classes:
                    found.add(name)
                case ast.ListComp(elt=inner) | ast.Call(func=ast.Name(id="list"), args=[inner]):
                    waiting.append(inner)
                case ast.Call(func=func, args=[first, *_]) if last_name(func) in FUNCTION_WRAPPERS:
                    waiting.append(first)
                case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Dict(values=items):
                    waiting += items
                case ast.Name(id="self" | "cls"):
                    own = self.own_class(value)
                    found |= {own.name} if own else set()
                case _ if (name := last_name(value)) and name not in seen:
                    seen.add(name)
                    waiting += self.bindings.get(name, ())
        return found

    def bases(self, name: str) -> list[str]:
        """The base classes of a class of the file, and their own base classes, as dotted names."""
        found, waiting = [], [name]
        while waiting:
            known = self.classes.get(waiting.pop())
            for base in known.bases if known else ():
                if (dotted := self.dotted(base)) and dotted not in found:
                    found.append(dotted)
                    waiting.append(dotted)
        return found

    def is_module(self, name: str) -> bool:
        """Whether a class has a base class of a name like `nn.Module` or `LightningModule`."""
        return any(b.rpartition(".")[2].endswith("Module") for b in self.bases(name))

    def methods(self, class_name: str, method: str) -> list[FunctionCode]:
        """The methods of this name that an object of the class may have.

        Its own, else the nearest base class's; where there is none, those of its subclasses.
        """
        for name in [class_name, *self.bases(class_name)]:
            if found := self._own_methods(name, method):
                return found
        subclasses = (name for name in self.classes if class_name in self.bases(name))
        return [f for name in subclasses for f in self._own_methods(name, method)]

    def _own_methods(self, class_name: str, method: str) -> list[FunctionCode]:
        """The methods of all classes of a name: a notebook may define one anew."""
        named = [(f, self.class_of(f)) for f in self._by_name[method]]
        return [f for f, own in named if own and own.name == class_name]

    def callees(self, node: ast.expr) -> list[FunctionCode]:
        """The functions of the file that a name or an attribute may stand for."""
        match node:
            case ast.Name(id=name):
                if name in self.classes:
                    return self.methods(name, "__init__")
                found = self._defined_around(name, node) or self._functions_bound(name)
                return found or self._called_objects(node)
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=attr):
                own = self.own_class(node)
                bases = self.bases(own.name) if own else []
                return [f for base in bases for f in self._own_methods(base, attr)][:1]
            case ast.Attribute(value=value, attr=attr):
                return self._methods_called(value, attr) or self._called_objects(node)
        return []

    def _called_objects(self, node: ast.expr) -> list[FunctionCode]:
        """The `__call__` of the objects that a name or an attribute may stand for."""
        return [f for name in sorted(self.classes_of(node)) for f in self.methods(name, "__call__")]

    def _methods_called(self, value: ast.expr, attr: str) -> list[FunctionCode]:
        if last_name(value) in self.classes:
            return self.methods(last_name(value), attr)
        if known := self.classes_of(value):
            found = [f for name in sorted(known) for f in self.methods(name, attr)]
            return found or self._functions_bound(attr)
        if isinstance(value, ast.Name) and value.id in self.imports:
            return []
        if attr in _LIBRARY_METHODS and not (attr in _OF_TRAINING and self._trains_by_itself):
            return []
        return [f for f in self._by_name[attr] if self.class_of(f)]

    @cached_property
    def _trains_by_itself(self) -> bool:
        """Whether no imported library can have objects with methods of training."""
        packages = {dotted.partition(".")[0] for dotted in self.imports.values()}
        return packages <= WITHOUT_TRAINING | sys.stdlib_module_names

    def _defined_around(self, name: str, at: ast.AST) -> list[FunctionCode]:
        """The functions of this name in the innermost scope around a place that has some.

        Where a notebook defines a function anew, it is the one that is there when the place runs.
        """
        scopes = [n for n in self.ancestors(at) if isinstance(n, FUNCTIONS)]
        for scope in [*scopes, None]:
            if found := self._defined_in.get((scope, name)):
                body = (scope or self.tree).body
                is_replaced = len(found) > 1 and all(f in body for f in found)
                return self._last_before(found, at) if is_replaced else found
        return []

    def _last_before(self, found: list[FunctionCode], at: ast.AST) -> list[FunctionCode]:
        """Of definitions that replace each other, those that a place may find when it runs."""
        scope = self.function_of(found[0])
        lines = self._run_from(at, scope, set())
        there = [[f for f in found if f.lineno < line][-1:] for line in sorted(lines)]
        return list(dict.fromkeys(f for last in there for f in last)) or found

    def _run_from(self, at: ast.AST, scope: FunctionCode | None, seen: set[str]) -> set[int]:
        """The lines of a scope's own code from which a place may run: its own, or its callers'."""
        function = self.function_of(at)
        if function is scope:
            return {getattr(at, "lineno", 0)}
        if function is None or function.name in seen:
            return set()
        within = seen | {function.name}
        uses = self._uses[function.name]
        lines = {line for use in uses for line in self._run_from(use, scope, within)}
        named = self._defined_in.get((scope, function.name), [])
        later = [f.lineno for f in named if f.lineno > function.lineno]
        return {n for n in lines if function.lineno < n < min(later, default=n + 1)}

    @cached_property
    def _uses(self) -> dict[str, list[ast.expr]]:
        """A name → all places that read it, as a name or an attribute."""
        found: dict[str, list[ast.expr]] = defaultdict(list)
        for node in self.nodes:
            match node:
                case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name, ctx=ast.Load()):
                    found[name].append(node)
        return found

    @cached_property
    def _defined_in(self) -> dict[tuple[FunctionCode | None, str], list[FunctionCode]]:
        found: dict[tuple[FunctionCode | None, str], list[FunctionCode]] = defaultdict(list)
        for scope, functions in self._by_scope.items():
            for function in functions:
                found[scope, function.name].append(function)
        return dict(found)

    @cached_property
    def _by_scope(self) -> dict[FunctionCode | None, list[FunctionCode]]:
        found: dict[FunctionCode | None, list[FunctionCode]] = defaultdict(list)
        for function in self.functions:
            if self.class_of(function) is None:
                found[self.function_of(function)].append(function)
        return found

    def _functions_bound(self, name: str) -> list[FunctionCode]:
        """The functions that a name is bound to: `step = make_step(model)`, `f = g`."""
        if name not in self._functions_of_name:
            found = list(dict.fromkeys(self._search_functions(name)))
            self._functions_of_name[name] = found
        return self._functions_of_name[name]

    def _search_functions(self, name: str) -> Iterator[FunctionCode]:
        """The functions that are found by following the bindings of names."""
        seen = {name}
        waiting = [(value, 0) for value in reversed(self.bindings.get(name, ()))]
        while waiting:
            value, calls = waiting.pop()  # of so many calls, one after the other, the result
            match value:
                case ast.Call(func=func, args=[first, *_]) if last_name(func) in FUNCTION_WRAPPERS:
                    waiting.append((first, calls))
                case ast.Call(func=ast.Name() as maker):
                    waiting.append((maker, calls + 1))
                case ast.Name(id=name) if name in self.classes:
                    pass
                case ast.Name(id=name) if found := self._defined_around(name, value):
                    for _ in range(calls):
                        found = [inner for maker in found for inner in self._returned(maker)]
                    yield from found
                case ast.Name(id=name) | ast.Attribute(attr=name) if name not in seen:
                    seen.add(name)
                    bound = self.bindings.get(name, ())
                    waiting += [(value, calls) for value in reversed(bound)]

    def _returned(self, maker: FunctionCode) -> list[FunctionCode]:
        """The functions that a function defines and returns."""
        inner = {f.name: f for f in self._by_scope.get(maker, [])}
        if not inner:
            return []
        names = [
            n.id
            for r in own_nodes(maker.body)
            if isinstance(r, ast.Return) and r.value is not None
            for n in ast.walk(r.value)
            if isinstance(n, ast.Name)
        ]
        return [inner[name] for name in names if name in inner]

    # ── Code that calls other code

    def used_functions(self, nodes: Iterable[ast.AST]) -> list[FunctionCode]:
        """The functions of the file that code calls or hands on, each once."""
        found: list[FunctionCode] = []
        for node in own_nodes(nodes):
            match node:
                case ast.Name(ctx=ast.Load()):
                    if not isinstance(self.parents.get(node), ast.Attribute):
                        found += self.callees(node)
                case ast.Call(func=func, args=args, keywords=words):
                    given = [*args, *(word.value for word in words)]
                    own = [g for g in given if isinstance(g, ast.Attribute) and is_of_self(g)]
                    for one in [func, *own]:
                        found += self.callees(one) if isinstance(one, ast.Attribute) else []
        return list(dict.fromkeys(found))

    def reached_code(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Statements, and those of all functions that they call or hand on."""
        return [*body, *(s for f in self.reached_functions(body) for s in f.body)]

    def reached_functions(self, nodes: Iterable[ast.AST]) -> list[FunctionCode]:
        """The functions that code calls or hands on, and those that these call, and so on."""
        found: list[FunctionCode] = []
        waiting = self.used_functions(nodes)
        while waiting:
            function = waiting.pop(0)
            if function not in found:
                found.append(function)
                if function not in self._used_by:
                    self._used_by[function] = self.used_functions(function.body)
                waiting += self._used_by[function]
        return found


def _start(node: ast.expr | ast.stmt) -> tuple[int, int]:
    return node.lineno, node.col_offset


# ── The names that code binds ─────────────────────────────────────────────────────────


def bindings_in(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that one node of a syntax tree binds itself, and their values.

    A loop's target is bound to the thing that the loop goes through, and a list to its items.
    """
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _bound(target, value)
        case (
            ast.AnnAssign(target=target, value=ast.expr() as value)
            | ast.NamedExpr(target=target, value=value)
            | ast.withitem(optional_vars=ast.expr() as target, context_expr=value)
        ):
            yield from _bound(target, value)
        case ast.For(target=target, iter=iterated):
            for part, things in items_of(target, iterated):
                if isinstance(part, ast.Name) and not isinstance(things, ast.Call):
                    yield part.id, things
        case ast.Call(func=ast.Attribute(value=value, attr="append"), args=[item]):
            yield from _bound(value, item)


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    for part, of_part in pairs_of(target, value):
        if of_part is not None and (name := last_name(part)):
            yield name, of_part


# ── Calls that stand for plain statements ─────────────────────────────────────────────


def plainly_spelled(tree: ast.Module) -> ast.Module:
    """A script's code with such calls replaced; each node keeps its place in the file."""
    found: ast.Module = _PlainSpelling().visit(tree)
    return ast.fix_missing_locations(found)


class _PlainSpelling(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        self.generic_visit(node)
        match node.value:
            case ast.Call(func=ast.Name(id="setattr"), args=[thing, name, value]):
                target = _member(thing, name, ast.Store())
                return ast.copy_location(ast.Assign([target], value), node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if called_name(node.func) == "getattr":
            return node  # of a class or function by its name: `getattr(nn, kind)(3, 1)`
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[thing, name, *_]):
                return ast.copy_location(_member(thing, name, ast.Load()), node)
            case ast.Call(args=[ast.Lambda(args=arguments, body=body), *trees]) if _is_tree_map(
                node
            ):
                return ast.copy_location(_mapped(arguments, body, trees), node)
            case ast.Call(args=[params, updates]) if called_name(node) == "apply_updates":
                return ast.copy_location(ast.BinOp(params, ast.Add(), updates), node)
        return node


def _member(thing: ast.expr, name: ast.expr, context: ast.expr_context) -> ast.expr:
    """An attribute; where its name is computed, an element of that key."""
    match name:
        case ast.Constant(value=str() as text) if text.isidentifier():
            return ast.Attribute(thing, text, context)
    return ast.Subscript(thing, name, context)


def _is_tree_map(call: ast.Call) -> bool:
    """Whether a call changes the leaves of trees: `tree_map(…)`, `jax.tree.map(…)`."""
    func = call.func
    is_short = isinstance(func, ast.Attribute) and last_name(func.value) == "tree"
    return called_name(call) == "tree_map" or (is_short and called_name(call) == "map")


def _mapped(arguments: ast.arguments, body: ast.expr, trees: list[ast.expr]) -> ast.ListComp:
    """`[p - lr * g for p, g in zip(params, grads)]`."""
    targets: list[ast.expr] = [ast.Name(a.arg, ast.Store()) for a in arguments.args]
    is_one = len(trees) == 1 == len(targets)
    target = targets[0] if is_one else ast.Tuple(targets, ast.Store())
    zipped = ast.Call(ast.Name("zip", ast.Load()), trees, [])
    iterated = trees[0] if is_one else zipped
    return ast.ListComp(body, [ast.comprehension(target, iterated, [], 0)])
