"""Which names an epoch needs from the one before it, told from the code alone.

A name that every epoch writes before it reads it (`y_pred`, `loss`) is dead between
epochs: a snapshot may leave it out, which matters because such tensors hang on a graph
that can't be copied. A name that nothing looks at after Setup is idle: it need not be
copied. The answers err on the safe side: in doubt a name is carried.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType

_SEES_EVERYTHING = {"globals", "locals", "vars", "eval", "exec", "dir"}


@dataclass(frozen=True, slots=True)
class Liveness:
    """How the names of a namespace fare between two epochs."""

    dead: frozenset[str]
    """Every epoch surely writes these before anything reads them."""
    touched: frozenset[str] | None
    """All that the epochs, the functions or what is shown mention; None is everything."""

    def is_idle(self, name: str) -> bool:
        """Whether nothing after Setup looks at this name."""
        return self.touched is not None and name not in self.touched


def liveness(
    setup: Iterable[ast.stmt], epoch: Iterable[ast.stmt], shown: Iterable[str]
) -> Liveness:
    """How names fare in a loop over the statements of `epoch`, after those of `setup`.

    `shown` are expressions evaluated after the epoch. Functions made in `setup` may be
    called at any time, so all that they read counts as needed. Where the code looks at
    its namespace as a whole, no name is dead and none idle.
    """
    epoch, setup = list(epoch), list(setup)
    if any(_loads(node) & _SEES_EVERYTHING for node in [*setup, *epoch]):
        return Liveness(frozenset(), None)
    needed = _read_by_functions(setup)
    written: set[str] = set()
    for node in epoch:
        _walk(node, needed, written)
    expressions = [ast.parse(source.strip(), mode="eval") for source in shown]
    for expression in expressions:
        needed |= _loads(expression) - written
    named = {n.id for node in epoch for n in ast.walk(node) if isinstance(n, ast.Name)}
    touched = needed | named | {name for e in expressions for name in _loads(e)}
    return Liveness(frozenset(written - needed), frozenset(touched))


def _walk(node: ast.stmt, needed: set[str], written: set[str]) -> None:
    """Take one statement, in order, into the account of names needed and written."""
    if isinstance(node, ast.With):
        for item in node.items:
            needed |= _loads(item.context_expr) - written
        for inner in node.body:
            _walk(inner, needed, written)
        return
    needed |= _loads(node) - written
    if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        needed |= {node.target.id} - written
    if isinstance(node, ast.Delete):
        written -= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
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
    if isinstance(target, ast.Name):
        return {target.id}
    if isinstance(target, ast.Tuple | ast.List):
        return {name for element in target.elts for name in _targets(element)}
    if isinstance(target, ast.Starred):
        return _targets(target.value)
    return set()


def _loads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _read_by_functions(statements: list[ast.stmt]) -> set[str]:
    """The globals that functions and classes defined here may read (attributes' names too)."""
    code = compile(ast.Module(body=statements, type_ignores=[]), "<setup>", "exec")
    waiting = [c for c in code.co_consts if isinstance(c, CodeType)]
    found: set[str] = set()
    while waiting:
        inner = waiting.pop()
        found |= set(inner.co_names)
        waiting += [c for c in inner.co_consts if isinstance(c, CodeType)]
    return found
