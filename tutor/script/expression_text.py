"""Expressions of a script as text: `model[0].weight`, `params["W1"]`."""

from __future__ import annotations

import ast

from tutor.script.data_flow import variable

_SHAPING = frozenset({"squeeze", "view", "flatten", "reshape", "ravel", "float"})
"""Methods whose result has the same numbers."""


def text_of(node: ast.expr) -> str:
    """An expression as text, with double quotes around the keys of names."""
    match node:
        case ast.Subscript(value=value, slice=ast.Constant(value=str() as key)):
            quotes = '"' if key.isprintable() and not set('"\\') & set(key) else ""
            return f"{text_of(value)}[{f'{quotes}{key}{quotes}' if quotes else repr(key)}]"
        case ast.Subscript(value=value, slice=index):
            return f"{text_of(value)}[{ast.unparse(index)}]"
        case ast.Attribute(value=ast.Name() | ast.Attribute() | ast.Subscript() as value):
            return f"{text_of(value)}.{node.attr}"
    return ast.unparse(node)


def named_text(node: ast.AST) -> str:
    """The text of a name, an attribute or an element; of `out.squeeze()` that of `out`; else ""."""
    match node:
        case ast.Name() | ast.Attribute() | ast.Subscript():
            has_call = any(isinstance(n, ast.Call) for n in ast.walk(node))
            return text_of(node) if variable(node) and not has_call else ""
        case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _SHAPING:
            return named_text(value)
    return ""
