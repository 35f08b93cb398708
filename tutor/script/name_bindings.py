"""The names that code binds, each with the expression that it is bound to.

A name is the last part (`model` of `self.model`); a list stands for each of its items.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tutor.script.syntax_nodes import called_name, last_name

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
    """The bindings of a loop's target to what the loop goes through."""
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
