"""The expression that a model of the file computes: its `forward`, with what it is called with."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping

from tutor.script.known_functions import NotExact

_MOST_NODES = 150
"""In an expression; a longer one is no formula to read."""


def result_of_forward(model: ast.ClassDef, call: ast.Call) -> ast.expr:
    """The expression that a call of the model computes, of its arguments and its layers.

    Raises NotExact if `forward` does more than assign names and return an expression.
    """
    forward = [s for s in model.body if isinstance(s, ast.FunctionDef) and s.name == "forward"]
    if len(forward) != 1 or call.keywords or forward[0].decorator_list:
        raise NotExact
    parameters = forward[0].args
    names = [argument.arg for argument in parameters.args]
    is_plain = not (parameters.vararg or parameters.kwarg or parameters.kwonlyargs)
    if not is_plain or len(names) != len(call.args) + 1:
        raise NotExact
    values = dict(zip(names, [call.func, *call.args], strict=True))
    for statement in forward[0].body:
        match statement:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = _with(values, value)
            case ast.Return(value=ast.expr() as value):
                return _with(values, value)
            case _:
                raise NotExact
    raise NotExact


def _with(values: Mapping[str, ast.expr], node: ast.expr) -> ast.expr:
    """An expression with the values of names in their place. Raises NotExact if it is long."""
    found: ast.expr = _Values(values).visit(copy.deepcopy(node))
    if sum(1 for _ in ast.walk(found)) > _MOST_NODES:
        raise NotExact
    return found


class _Values(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The value of a name, if it has one."""
        return copy.deepcopy(self._values.get(node.id, node))

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        """Names in a function are its own. Raises NotExact."""
        raise NotExact
