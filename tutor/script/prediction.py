"""The prediction as a statement of its own: `loss = f(model(x), y)` in two lines."""

from __future__ import annotations

import ast
import copy

from tutor.script.code_pieces import made


def split_prediction(statement: ast.stmt, name: str) -> tuple[ast.stmt, ast.stmt] | None:
    """A statement's prediction and the rest of it; None if there is none to take out.

    The prediction is what Python computes first there, so that nothing changes its place.
    """
    if not isinstance(statement, ast.Assign):
        return None
    rest = copy.deepcopy(statement)
    owner, field = _place_of(rest.value)
    if owner is None or any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(rest)):
        return None
    prediction = owner.args[0] if isinstance(owner, ast.Call) else getattr(owner, field)
    read = ast.Name(name, ast.Load())
    if isinstance(owner, ast.Call):
        owner.args[0] = read
    else:
        setattr(owner, field, read)
    own = ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], prediction), statement)
    return made(own), made(rest)


def _place_of(node: ast.expr) -> tuple[ast.AST | None, str]:
    """Where the prediction stands: before a minus sign, or as the first of several arguments."""
    match node:
        case ast.BinOp(op=ast.Sub(), left=left) if _is_computed(left):
            return node, "left"
        case ast.BinOp(left=left):
            return _place_of(left)
        case ast.UnaryOp(operand=operand):
            return _place_of(operand)
        case ast.Call(func=ast.Name() | ast.Attribute() as function, args=[first, *others]):
            if not _is_chain(function):
                return _place_of(function)
            if others and _is_computed(first):
                return node, "args"
            return _place_of(first)
        case ast.Call(func=function):
            return _place_of(function)
        case ast.Attribute(value=value):
            return _place_of(value)
    return None, ""


def _is_computed(node: ast.expr) -> bool:
    return isinstance(node, ast.Call | ast.BinOp)


def _is_chain(node: ast.expr) -> bool:
    """Whether it is names with dots between them."""
    if isinstance(node, ast.Attribute):
        return _is_chain(node.value)
    return isinstance(node, ast.Name)
