"""The functions, classes and names of a script, and the things that a name may stand for.

Read from the code alone, and not exact: names are told apart by their spelling, and an object's
class by the constructors that its name is bound to anywhere in the file.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from tutor.script.plain_spelling import plainly_spelled
from tutor.script.syntax_nodes import (
    DEFINITIONS,
    FUNCTIONS,
    FunctionCode,
    called_name,
    imported_by,
    is_of_self,
    last_name,
    own_nodes,
)

_TENSOR_METHODS = re.compile(
    r"train|eval|to|step|backward|zero_grad|parameters|append|fit|apply|update|forward|"
    r"item|copy|sum|mean|add|get|items|keys|values|reset|cuda|cpu|detach|sample|close|"
    r"write"
)
"""Methods of other libraries' objects: not looked up by their name alone."""
_WRAPPERS = frozenset({"partial", "compile", "jit", "no_grad", "vmap", "checkpoint", "script"})
"""Functions that give back a function which calls their first argument."""


class CodeIndex:
    """The functions and classes of a script by name, and the bindings of its names."""

    def __init__(self, source: str) -> None:
        self.tree = plainly_spelled(ast.parse(source))
        self.parents: dict[ast.AST, ast.AST] = {}
        self.functions: list[FunctionCode] = []
        self.classes: dict[str, ast.ClassDef] = {}
        self.bindings: dict[str, list[ast.expr]] = defaultdict(list)
        """The last part of a name (`model` of `self.model`) → all that is bound to it."""
        self.imports: dict[str, str] = {}
        """The name in the file → the dotted name of the imported thing."""
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            self._read(node)
            self.imports.update(imported_by(node))
            for name, value in bound_by(node):
                self.bindings[name].append(value)
        self._bound_to: dict[str, list[FunctionCode]] = {}
        self._objects_of: dict[str, set[str]] = {}
        self._references: dict[FunctionCode, list[FunctionCode]] = {}
        self._by_name: dict[str, list[FunctionCode]] = defaultdict(list)
        for function in self.functions:
            self._by_name[function.name].append(function)
        self._bind_arguments()

    def _read(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.functions.append(node)
            case ast.ClassDef():
                self.classes.setdefault(node.name, node)

    def _bind_arguments(self) -> None:
        """Bind the arguments of calls to the parameters of the file's functions."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                for name, value in self._fields(node):
                    self.bindings[name].append(value)
                for function in self._defined(node.func):
                    for name, value in self.arguments(function, node).items():
                        self.bindings[name].append(value)

    def _fields(self, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """The arguments of a dataclass of the file, by its fields' names."""
        of = self.classes.get(last_name(call.func))
        if of is None or self._own_methods(of.name, "__init__"):
            return
        names = [last_name(n.target) for n in of.body if isinstance(n, ast.AnnAssign)]
        yield from zip(names, call.args, strict=False)
        yield from ((word.arg, word.value) for word in call.keywords if word.arg)

    def _defined(self, func: ast.expr) -> list[FunctionCode]:
        """The functions that may be called, by their plain names."""
        match func:
            case ast.Name(id=name) if name in self.classes:
                return self.methods(name, "__init__")
            case ast.Name(id=name) | ast.Attribute(attr=name):
                named = self._by_name[name]
                is_method = isinstance(func, ast.Attribute)
                return [f for f in named if is_method == (self.class_of(f) is not None)]
        return []

    def arguments(self, function: FunctionCode, call: ast.Call) -> dict[str, ast.expr]:
        """The arguments of a call by the names of the function's parameters."""
        names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        is_bound = isinstance(call.func, ast.Attribute) or last_name(call.func) in self.classes
        is_static = any(last_name(d) == "staticmethod" for d in function.decorator_list)
        if self.class_of(function) is not None and is_bound and not is_static:
            names = names[1:]
        given: dict[str, ast.expr] = {}
        for name, value in zip(names, call.args, strict=False):
            if isinstance(value, ast.Starred):
                break
            given[name] = value
        return given | {word.arg: word.value for word in call.keywords if word.arg}

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
        match node:
            case ast.Name(id=name):
                return self.imports.get(name, name)
            case ast.Attribute(value=value, attr=attr):
                base = self.dotted(value)
                return f"{base}.{attr}" if base else ""
        return ""

    def classes_of(self, node: ast.expr, seen: set[str] | None = None) -> set[str]:
        """The names of the file's classes that an object may be of.

        Names in `seen` are looked up already.
        """
        seen = set() if seen is None else seen
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in self.classes:
                return {name}
            case (
                ast.Call(func=ast.Attribute(value=inner, attr="to" | "cuda" | "cpu" | "double"))
                | ast.ListComp(elt=inner)
                | ast.Call(func=ast.Name(id="list"), args=[inner])
            ):
                return self.classes_of(inner, seen)
            case ast.Call(func=func, args=[first, *_]) if last_name(func) in _WRAPPERS:
                return self.classes_of(first, seen)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Dict(values=items):
                return set().union(*(self.classes_of(item, seen) for item in items))
            case ast.Name(id="self" | "cls"):
                own = self.own_class(node)
                return {own.name} if own else set()
        return self._classes_bound(last_name(node), seen)

    def _classes_bound(self, name: str, seen: set[str]) -> set[str]:
        """The classes, by name, of the things that are bound to a name."""
        if not name or name in seen:
            return set()
        if not seen and name in self._objects_of:
            return self._objects_of[name]
        is_first = not seen
        seen.add(name)
        bound = self.bindings.get(name, ())
        found = set().union(*(self.classes_of(value, seen) for value in bound))
        if is_first:
            self._objects_of[name] = found
        return found

    def bases(self, name: str) -> list[str]:
        """The base classes of a class of the file, and their own base classes, as dotted names."""
        found, waiting = [], [name]
        while waiting:
            of = self.classes.get(waiting.pop())
            for base in of.bases if of else ():
                if (dotted := self.dotted(base)) and dotted not in found:
                    found.append(dotted)
                    waiting.append(dotted)
        return found

    def is_module(self, name: str) -> bool:
        """Whether a class of the file is an `nn.Module`."""
        return any(b.rpartition(".")[2].endswith("Module") for b in self.bases(name))

    def methods(self, class_name: str, method: str) -> list[FunctionCode]:
        """The method of a class: its own or a base class's; else its subclasses' methods."""
        for name in [class_name, *self.bases(class_name)]:
            if found := self._own_methods(name, method):
                return found
        heirs = (n for n in self.classes if class_name in self.bases(n))
        return [f for heir in heirs for f in self._own_methods(heir, method)]

    def _own_methods(self, class_name: str, method: str) -> list[FunctionCode]:
        of = self.classes.get(class_name)
        return [f for f in self._by_name[method] if of and self.class_of(f) is of]

    def callees(self, node: ast.expr) -> list[FunctionCode]:
        """The functions of the file that a name or an attribute may stand for."""
        match node:
            case ast.Name(id=name):
                return self._named(name, node, set())
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=attr):
                own = self.own_class(node)
                bases = self.bases(own.name) if own else []
                return [f for base in bases for f in self._own_methods(base, attr)][:1]
            case ast.Attribute(value=value, attr=attr):
                return self._methods_called(value, attr)
        return []

    def _methods_called(self, value: ast.expr, attr: str) -> list[FunctionCode]:
        if last_name(value) in self.classes:
            return self.methods(last_name(value), attr)
        if known := self.classes_of(value):
            found = [f for name in sorted(known) for f in self.methods(name, attr)]
            return found or self._bound(attr, set())
        if isinstance(value, ast.Name) and value.id in self.imports:
            return []
        if _TENSOR_METHODS.fullmatch(attr):
            return []
        return [f for f in self._by_name[attr] if self.class_of(f)]

    def _named(self, name: str, at: ast.AST, seen: set[str]) -> list[FunctionCode]:
        if name in self.classes:
            return self.methods(name, "__init__")
        scopes = [n for n in self.ancestors(at) if isinstance(n, FUNCTIONS)]
        for scope in [*scopes, None]:
            if (scope, name) in self._defined_in:
                return self._defined_in[scope, name]
        return self._bound(name, seen)

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

    def _bound(self, name: str, seen: set[str]) -> list[FunctionCode]:
        """The functions that a name is bound to: `step = make_step(model)`, `f = g`."""
        if name in seen:
            return []
        if not seen and name in self._bound_to:
            return self._bound_to[name]
        is_first = not seen
        seen.add(name)
        given = (f for value in self.bindings.get(name, ()) for f in self._given(value, seen))
        found = list(dict.fromkeys(given))
        if is_first:
            self._bound_to[name] = found
        return found

    def _given(self, value: ast.expr, seen: set[str]) -> list[FunctionCode]:
        match value:
            case ast.Name(id=name):
                return [] if name in self.classes else self._named(name, value, seen)
            case ast.Attribute():
                return self._bound(value.attr, seen)
            case ast.Call(func=func, args=[first, *_]) if last_name(func) in _WRAPPERS:
                return self._given(first, seen)
            case ast.Call(func=ast.Name(id=name)) if name not in self.classes:
                makers = self._named(name, value, seen)
                return [f for maker in makers for f in self._returned(maker)]
        return []

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

    def referred(self, nodes: Iterable[ast.AST]) -> list[FunctionCode]:
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

    def reached(self, nodes: Iterable[ast.AST]) -> list[FunctionCode]:
        """The functions that code calls or hands on, and those that these call, and so on."""
        found: list[FunctionCode] = []
        waiting = self.referred(nodes)
        while waiting:
            function = waiting.pop(0)
            if function not in found:
                found.append(function)
                if function not in self._references:
                    self._references[function] = self.referred(function.body)
                waiting += self._references[function]
        return found


# ── The names that code binds ─────────────────────────────────────────────────────────

_ITERATING = frozenset({"reversed", "list", "tuple", "enumerate", "tqdm"})


def bound_by(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that one node of a syntax tree binds itself."""
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
            yield from _bound_items(target, iterated)
        case ast.Call(func=ast.Attribute(value=value, attr="append"), args=[item]):
            yield from _bound(value, item)


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Tuple | ast.List):
        values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        for part, of_part in zip(target.elts, values, strict=False):
            yield from _bound(part, of_part)
    elif name := last_name(target):
        yield name, value


def _bound_items(target: ast.expr, iterated: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The bindings of a loop's target to the things that the loop goes through."""
    while called_name(iterated) in _ITERATING and isinstance(iterated, ast.Call):
        if not iterated.args:
            return
        if called_name(iterated) == "enumerate" and isinstance(target, ast.Tuple):
            target = target.elts[-1]
        iterated = iterated.args[0]
    match target, iterated:
        case ast.Tuple(elts=parts), ast.Call(func=ast.Name(id="zip"), args=args):
            for part, of_part in zip(parts, args, strict=False):
                yield from _bound(part, of_part)
        case ast.Name(), ast.List() | ast.Tuple() | ast.Name() | ast.Attribute():
            yield from _bound(target, iterated)
