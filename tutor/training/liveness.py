"""The names that an epoch of a lesson's code needs, reads and changes, found in the code alone.

A name that every epoch writes before it reads it (`y_pred`, `loss`) is rewritten: a snapshot may
leave it out, which matters because such tensors hang on a graph that can't be copied.
A name that nothing looks at after Setup is idle: it need not be copied. In doubt a name is carried.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from tutor.lesson.code_checks import codes_in
from tutor.python_syntax import parts_of

KEPT = 4096
"""Pieces of code whose compilation and names are kept: enough for a few lessons.

Where a learner edits one phase, or changes the mode and back, the rest need not be compiled again.
"""

_MUTATORS = {
    *("sort", "fill", "resize", "put", "partition", "shuffle", "copyto", "place", "putmask"),
    *("fill_diagonal", "setflags", "byteswap"),
    *("all_reduce", "broadcast", "reduce", "all_gather", "gather", "scatter", "reduce_scatter"),
    *("all_gather_into_tensor", "reduce_scatter_tensor", "all_to_all", "recv", "irecv"),
}
"""NumPy's functions and methods that change an array in place, and torch.distributed's.

PyTorch's others end in `_`.
"""

_CONTAINERS = {
    *("append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault"),
    *("popitem", "add", "discard", "appendleft", "popleft", "reverse", "rotate"),
}
"""Methods that change a list, a dict, a set or a deque."""

_SEES_EVERYTHING = {"globals", "locals", "vars", "eval", "exec", "dir"}


class Liveness(msgspec.Struct, frozen=True):
    """The names of a namespace that an epoch needs, reads and changes."""

    rewritten: frozenset[str]
    """The names that every epoch writes before it reads them: their values need no copy."""
    used: frozenset[str] | None
    """The names in the epochs, the functions and the shown expressions; None is all names."""
    only_read: frozenset[str] = frozenset()
    """The names that the epochs surely only read: no code of theirs changes them in place."""
    changed: frozenset[str] = frozenset()
    """The names whose objects the epochs change in place."""

    def is_idle(self, name: str) -> bool:
        """Whether nothing after Setup looks at this name."""
        return self.used is not None and name not in self.used


@lru_cache(KEPT)
def liveness(
    setup: tuple[ast.stmt, ...], epoch: tuple[ast.stmt, ...], shown: tuple[str, ...]
) -> Liveness:
    """The liveness of names in a loop over the statements `epoch`, after the statements `setup`.

    `shown` are expressions evaluated after the epoch. Functions made in `setup` may be
    called at any time, so all that they read counts as needed. Where the code looks at
    its namespace as a whole, no name is rewritten and none idle.
    """
    if any(loads(node) & _SEES_EVERYTHING for node in (*setup, *epoch)):
        return Liveness(frozenset(), None)
    needed = set(_read_by_functions(setup))
    written: set[str] = set()
    for node in epoch:
        _walk(node, needed, written)
    expressions = [expression_tree(source) for source in shown]
    for expression in expressions:
        needed |= loads(expression) - written
    named = (_names_in(node, ast.expr_context) for node in epoch)
    used = needed.union(*named, *map(loads, expressions))
    may_change = [_changed_in(node, False) for node in setup]
    may_change += [_changed_in(node, True) for node in epoch]
    only_read = used.difference(*may_change)
    changed = changed_in_place(epoch) & used
    return Liveness(frozenset(written - needed), frozenset(used), frozenset(only_read), changed)


@lru_cache(KEPT)
def expression_tree(source: str) -> ast.expr:
    """The syntax tree of an expression."""
    return ast.parse(source.strip(), mode="eval").body


@lru_cache(KEPT)
def nodes_of(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes of a tree; kept, as each statement is searched several times."""
    return tuple(ast.walk(tree))


def changed_in_place(statements: Iterable[ast.stmt]) -> frozenset[str]:
    """The names whose things these statements change in place: `np.random.shuffle(order)`."""
    return frozenset[str]().union(*map(_changed_in_place_by, statements))


@lru_cache(KEPT)
def _changed_in_place_by(node: ast.stmt) -> frozenset[str]:
    return frozenset(name for part in nodes_of(node) for name in _changed_object(part))


def _walk(node: ast.stmt, needed: set[str], written: set[str]) -> None:
    """Take one statement, in order, into the account of names needed and written."""
    if isinstance(node, ast.With):
        for item in node.items:
            needed |= loads(item.context_expr) - written
        for inner in node.body:
            _walk(inner, needed, written)
        return
    needed |= loads(node) - written
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        needed |= {node.target.id} - written
    if isinstance(node, ast.Delete):
        written -= {n.id for n in nodes_of(node) if isinstance(n, ast.Name)}
    written |= _surely_bound(node)


def _surely_bound(node: ast.stmt) -> set[str]:
    """Names that a simple statement binds whatever happens (branches and loops bind none)."""
    if isinstance(node, ast.Assign):
        return {name for target in node.targets for name in _targets(target)}
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return _targets(node.target)
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return set()


def _targets(target: ast.expr) -> set[str]:
    return {part.id for part in parts_of(target) if isinstance(part, ast.Name)}


def loads(tree: ast.AST) -> frozenset[str]:
    """The names that are read in a tree."""
    return _names_in(tree, ast.Load)


def names_bound_by(trees: Iterable[ast.AST]) -> frozenset[str]:
    """The names that trees bind."""
    return frozenset[str]().union(*(_names_in(tree, ast.Store) for tree in trees))


@lru_cache(KEPT)
def _names_in(tree: ast.AST, context: type[ast.expr_context]) -> frozenset[str]:
    """The names that stand in a tree to be read, to be bound, or for any reason."""
    names = (n for n in nodes_of(tree) if isinstance(n, ast.Name))
    return frozenset(n.id for n in names if isinstance(n.ctx, context))


@lru_cache(KEPT)
def _changed_in(node: ast.stmt, is_in_epoch: bool) -> frozenset[str]:
    """Names that a statement of the epoch, or a function, binds, changes or gives another name."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    parts = [node] if is_in_epoch else [n for n in nodes_of(node) if isinstance(n, inner)]
    insides = [inside for part in parts for inside in nodes_of(part)]
    return frozenset(name for inside in insides for name in _changed_by(inside))


def _changed_by(node: ast.AST) -> set[str]:
    """The names that a node binds, changes in place, or whose things it gives another name."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return {name}
        case ast.Assign(value=value) | ast.NamedExpr(value=value) | ast.AnnAssign(value=value):
            return _roots(value)
        case ast.For(iter=iterated) | ast.comprehension(iter=iterated):
            return _roots(iterated)
    return _changed_object(node)


def _changed_object(node: ast.AST) -> set[str]:
    """The names whose things a node changes in place."""
    match node:
        case (
            ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del())
        ):
            return _roots(node)
        case ast.AugAssign(target=target):
            return _roots(target)
        case ast.Call(func=ast.Attribute(attr=method) as func) if _changes_in_place(method):
            return _roots(func).union(*map(_roots, node.args))
        case ast.Call(func=ast.Attribute(attr=method) as func) if method in _CONTAINERS:
            return _roots(func)
        case ast.Call(args=arguments, keywords=keywords) if any(
            k.arg in ("out", "inplace") for k in keywords
        ):
            return set().union(*map(_roots, [*arguments, *(k.value for k in keywords)]))
    return set()


def _changes_in_place(method: str) -> bool:
    """Whether a method so called is known to change its object, or an argument."""
    return method in _MUTATORS or (method.endswith("_") and not method.endswith("__"))


def _roots(node: ast.AST | None) -> set[str]:
    """The names whose very things (or views of them) an expression may stand for."""
    match node:
        case ast.Name(id=name):
            return {name}
        case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
            return _roots(inner)
        case ast.Call(func=ast.Attribute() as func, args=arguments):
            return _roots(func).union(*map(_roots, arguments))
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return set[str]().union(*map(_roots, parts))
        case ast.IfExp(body=body, orelse=orelse):
            return _roots(body) | _roots(orelse)
    return set()


@lru_cache(KEPT)
def _read_by_functions(statements: tuple[ast.stmt, ...]) -> frozenset[str]:
    """The globals that functions and classes defined here may read (attributes' names too)."""
    tree = ast.Module(body=[*statements], type_ignores=[])
    code = compile(tree, "<setup>", "exec", dont_inherit=True)
    return frozenset(name for inner in [*codes_in(code)][1:] for name in inner.co_names)


@lru_cache(KEPT)
def may_draw(tree: ast.AST) -> bool:
    """Whether code mentions `random` or could get at it by an import: without, it can't draw."""
    ways = (ast.Import, ast.ImportFrom)
    words = {"random", "eval", "exec", "getattr", "__import__"}
    return any(
        isinstance(n, ways)
        or (isinstance(n, ast.Name) and n.id in words)
        or (isinstance(n, ast.Attribute) and n.attr in words)
        for n in nodes_of(tree)
    )
