"""The number of epochs that a loop runs, where the code says it as a number."""

from __future__ import annotations

import ast

from tutor.script.code_index import CodeIndex
from tutor.script.data_flow import writes
from tutor.script.syntax_nodes import FUNCTIONS, FunctionCode, LoopCode, last_name

_WRAPPING = frozenset({"tqdm", "enumerate", "track", "list", "reversed", "progress_bar"})


def epochs_of(index: CodeIndex, loop: LoopCode) -> int | None:
    """The number of a loop's passes; None if the code does not say it as a number."""
    return None if isinstance(loop, ast.While) else _Numbers(index).length(loop.iter)


class _Numbers:
    """The whole numbers that the names of a file stand for."""

    def __init__(self, index: CodeIndex) -> None:
        self.index = index
        self._known: dict[str, int | None] = {}
        self._iterated: set[str] = set()
        nodes = (n for n in ast.walk(index.tree) if isinstance(n, ast.AugAssign))
        self.counted = {name for node in nodes for name in writes(node)}

    def length(self, iterated: ast.expr) -> int | None:
        """The number of elements of what a loop goes through."""
        match iterated:
            case ast.Call(func=func, args=[first, *rest]):
                if last_name(func) in ("range", "trange"):
                    bounds = [self.number(a) for a in (first, *rest)]
                    known = [b for b in bounds if b is not None]
                    is_known = len(known) == len(bounds) and all(known[2:])
                    return len(range(*known)) if is_known else None
                return self.length(first) if last_name(func) in _WRAPPING else None
            case ast.NamedExpr(value=value):
                return self.length(value)
            case ast.Name(id=name):
                bound = self.index.bindings.get(name, [])
                if len(bound) != 1 or name in self._iterated:
                    return None
                self._iterated.add(name)
                return self.length(bound[0])
            case ast.List(elts=elts) | ast.Tuple(elts=elts):
                return None if any(isinstance(e, ast.Starred) for e in elts) else len(elts)
        return None

    def number(self, node: ast.expr) -> int | None:
        """The whole number that an expression stands for."""
        match node:
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                return value
            case ast.Constant(value=float() as size) if size.is_integer():
                return int(size)
            case ast.Call(func=ast.Name(id="int"), args=[one]):
                return self.number(one)
            case ast.BinOp(left=left, op=op, right=right):
                first, second = self.number(left), self.number(right)
                return None if first is None or second is None else _computed(op, first, second)
            case ast.Attribute(value=ast.Name(id=holder)) if not self._is_known(node.value, holder):
                return None
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(), attr=name):
                if name not in self._known:
                    self._known[name] = None  # while it is looked up
                    self._known[name] = self._constant(name, node)
                return self._known[name]
        return None

    def _is_known(self, node: ast.expr, holder: str) -> bool:
        """Whether an object is of a class of the file, so that the file says all that is in it."""
        return holder in self.index.classes or bool(self.index.classes_of(node))

    def _constant(self, name: str, at: ast.expr) -> int | None:
        """The number that a name stands for, if the file gives it only one."""
        if name in self.counted or f"self.{name}" in self.counted:
            return None
        values = list(self.index.bindings.get(name, ()))
        scopes = [n for n in self.index.ancestors(at) if isinstance(n, FUNCTIONS)]
        if (own := self.index.own_class(at)) is not None:
            scopes += self.index.methods(own.name, "__init__")
        for scope in scopes:
            default = _default(scope, name)
            if default is not None and not self._is_always_given(scope, name):
                values.append(default)
        numbers = {self.number(value) for value in values if not _is_itself(value, name)}
        return numbers.pop() if len(numbers) == 1 else None

    def _is_always_given(self, function: FunctionCode, name: str) -> bool:
        """Whether each call of a function in the file gives this argument."""
        calls = [
            node
            for node in ast.walk(self.index.tree)
            if isinstance(node, ast.Call) and function in self.index.callees(node.func)
        ]
        return bool(calls) and all(name in self.index.arguments(function, c) for c in calls)


def _is_itself(value: ast.expr, name: str) -> bool:
    """Whether a name is bound to a name of its own spelling: `fit(epochs=epochs)`."""
    return last_name(value) == name and isinstance(value, ast.Name)


def _default(function: FunctionCode, name: str) -> ast.expr | None:
    """The default value of a function's parameter."""
    positional = [*function.args.posonlyargs, *function.args.args]
    pairs = zip(reversed(positional), reversed(function.args.defaults), strict=False)
    by_word = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return next((value for arg, value in [*pairs, *by_word] if arg.arg == name), None)


def _computed(op: ast.operator, one: int, other: int) -> int | None:
    match op:
        case ast.Add():
            return one + other
        case ast.Sub():
            return one - other
        case ast.Mult():
            return one * other
        case ast.FloorDiv() if other:
            return one // other
        case ast.Pow() if 0 <= other < 8 and abs(one) < 1000:
            return int(one**other)
    return None
