"""The nodes of a script's syntax tree: their names, and the code that runs with them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeAlias

FunctionCode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
LoopCode: TypeAlias = ast.For | ast.AsyncFor | ast.While
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)


def last_name(node: ast.AST) -> str:
    """`model` of `self.model`, of `model` and of `model[0]`; empty for anything else."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return last_name(value)
    return ""


def called_name(node: ast.AST) -> str:
    """The last part of the name that a call calls: `mean` of `np.mean(x)`; empty for others."""
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def is_of_self(node: ast.expr) -> bool:
    """Whether it is an attribute of `self`."""
    return isinstance(node, ast.Attribute) and last_name(node.value) == "self"


def own_nodes(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of code that runs with it: those of functions and classes in it are left out."""
    waiting = list(nodes)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            waiting += node.decorator_list[::-1]
        else:
            waiting += list(ast.iter_child_nodes(node))[::-1]


def argument_names(function: FunctionCode) -> set[str]:
    """The names of a function's parameters."""
    return {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
