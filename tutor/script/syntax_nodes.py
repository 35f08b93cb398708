"""The nodes of a script's syntax tree: their names, and the code that runs with them."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

FunctionCode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
LoopCode: TypeAlias = ast.For | ast.AsyncFor | ast.While
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)


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
    """The nodes of code that runs at once: bodies of functions and classes are left out.

    Operators and contexts (`ast.Load`) are left out, too.
    """
    waiting = list(nodes)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, DEFINITIONS):
            waiting += node.decorator_list[::-1]
        else:
            waiting += [n for n in ast.iter_child_nodes(node) if n._fields or n._attributes][::-1]


def argument_names(function: FunctionCode) -> set[str]:
    """The names of a function's parameters."""
    return {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}


def defaults_of(function: FunctionCode) -> dict[str, ast.expr]:
    """The default values of a function's parameters."""
    of = function.args
    positional = [a.arg for a in (*of.posonlyargs, *of.args)]
    found = dict(zip(reversed(positional), reversed(of.defaults), strict=False))
    by_word = zip(of.kwonlyargs, of.kw_defaults, strict=True)
    return found | {a.arg: value for a, value in by_word if value is not None}


def names_in(*nodes: ast.AST) -> set[str]:
    """The plain names in some code."""
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def is_chain(node: ast.AST) -> bool:
    """Whether it is names with dots between them."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and is_chain(node.value))


def imported_by(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that an import binds, and the dotted names that they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (top, top)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            module = "." * node.level + (node.module or "")
            yield alias.asname or alias.name, f"{module}.{alias.name}"


def first_line(node: ast.stmt) -> int:
    """The line that a statement begins on, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def last_line(node: ast.stmt) -> int:
    """The line that a statement ends on."""
    return node.end_lineno or node.lineno


def parts_of(target: ast.expr) -> Iterator[ast.expr]:
    """The elements of a tuple or list, and of those in it; else the expression itself."""
    if isinstance(target, ast.Tuple | ast.List) and target.elts:
        for element in target.elts:
            yield from parts_of(element)
    else:
        yield target


# ── Blocks of statements ────────────────────────────────────────────────────────────────


def blocks_of(node: ast.AST) -> list[list[ast.stmt]]:
    """The lists of statements in a compound statement; none of a function or class."""
    return [] if isinstance(node, DEFINITIONS) else own_blocks(node)


def own_blocks(node: ast.AST) -> list[list[ast.stmt]]:
    """The lists of statements directly in a statement, function, class or file."""
    found = [getattr(node, part, None) for part in ("body", "orelse", "finalbody")]
    found += [handler.body for handler in getattr(node, "handlers", ())]
    found += [case.body for case in getattr(node, "cases", ())]
    return [block for block in found if isinstance(block, list) and block]


def all_blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """All lists of statements in a file."""
    for node in ast.walk(tree):
        yield from own_blocks(node)


def statements(block: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of a block and of the blocks in it, in the file's order."""
    for node in block:
        yield node
        for inner in sorted(blocks_of(node), key=lambda b: b[0].lineno):
            yield from statements(inner)


# ── Arguments of the command line ───────────────────────────────────────────────────────


def options_of(tree: ast.AST) -> Iterator[tuple[str, Mapping[str, ast.expr]]]:
    """The options that parsers are told of, as they are typed, and what is said of each."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and last_name(node.func) == "add_argument":
            said = {word.arg: word.value for word in node.keywords if word.arg}
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value), said


def default_options(tree: ast.AST) -> dict[str, ast.expr]:
    """The values of the options of parsers that are given no arguments: `parse_args([])`."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and last_name(n.func) in PARSING]
    given = [c.args for c in calls if isinstance(c.func, ast.Attribute)]
    if not given or any([*map(ast.unparse, of)] != ["[]"] for of in given):
        return {}
    return {
        option.lstrip("-").replace("-", "_"): said["default"]
        for option, said in options_of(tree)
        if "default" in said
    }


PARSING = ("parse_args", "parse_known_args")
"""The methods of a parser that read the arguments of the command line."""


# ── Names replaced ──────────────────────────────────────────────────────────────────────


def substituted(node: ast.expr, values: Mapping[str, ast.expr]) -> ast.expr:
    """A copy of an expression, with other expressions in the place of names."""
    found: ast.expr = _Substituted(values).visit(copy.deepcopy(node))
    return found


class _Substituted(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self._values.get(node.id, node))
