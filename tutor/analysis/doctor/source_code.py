"""The code of a lesson in one mode, or of a script, as syntax trees with the file's lines."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutor.lesson.model import SETUP, UPDATE, Fence, Lesson
from tutor.protocol.inspections import CodeFix
from tutor.python_syntax import called_name, defaults_of, flat_targets, last_line


class SourceCode:
    """The code that a run executes. Lines are the file's."""

    def __init__(self, text: str, tree: list[ast.stmt], phases: Mapping[int, str]) -> None:
        self.text = text
        """The code, each line at its place in the file; a lesson's prose is left out."""
        self.tree = tree
        self._lines = text.split("\n")
        self._phases = phases
        """The phases by line."""
        self._parents = {
            id(child): node
            for statement in tree
            for node in ast.walk(statement)
            for child in ast.iter_child_nodes(node)
        }

    @classmethod
    def of(cls, lesson: Lesson, mode: str) -> SourceCode:
        """The code of a lesson in this mode, or of the script that it was made of."""
        return _of_script(lesson, mode) if lesson.script is not None else _of_lesson(lesson, mode)

    # ── Finding code ────────────────────────────────────────────────────────────────

    def nodes(self, phase: str | None = None) -> Iterator[ast.AST]:
        """All nodes of the syntax trees: of one phase, or of all code."""
        for statement in self.tree:
            for node in ast.walk(statement):
                if phase is None or self.phase_of(getattr(node, "lineno", 0)) == phase:
                    yield node

    def statements(self, phase: str | None = None) -> Iterator[ast.stmt]:
        """All statements, nested ones too: of one phase, or of all code."""
        return (node for node in self.nodes(phase) if isinstance(node, ast.stmt))

    def calls(self, name: str) -> Iterator[ast.Call]:
        """The calls of a function or method of this name, whatever stands before its last dot."""
        for node in self.nodes():
            if isinstance(node, ast.Call) and called_name(node) == name:
                yield node

    def statement_at(self, line: int) -> ast.stmt | None:
        """The innermost statement on a line."""
        found = None
        for statement in self.statements():
            if statement.lineno <= line <= last_line(statement) and (
                found is None or statement.lineno >= found.lineno
            ):
                found = statement
        return found

    def nodes_at(self, line: int) -> Iterator[ast.AST]:
        """All nodes of the innermost statement on a line."""
        statement = self.statement_at(line)
        return iter(()) if statement is None else ast.walk(statement)

    def statement_of(self, node: ast.AST) -> ast.stmt | None:
        """The statement that a node stands in; a statement is its own."""
        if isinstance(node, ast.stmt):
            return node
        return next((n for n in self.enclosing(node) if isinstance(n, ast.stmt)), None)

    def enclosing(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes that a node stands in, the innermost first."""
        while (parent := self._parents.get(id(node))) is not None:
            yield parent
            node = parent

    def function_around(self, line: int) -> ast.AST | None:
        """The innermost function that a line stands in; None at the top level."""
        functions = ast.FunctionDef | ast.AsyncFunctionDef
        return next((n for n in self._around(line) if isinstance(n, functions)), None)

    def loops_around(self, line: int) -> list[ast.For | ast.While]:
        """The loops that a line stands in, the outermost first."""
        return [n for n in self._around(line) if isinstance(n, ast.For | ast.While)][::-1]

    def conditions_around(self, line: int) -> list[ast.If]:
        """The `if` statements that a line stands in, the outermost first."""
        return [n for n in self._around(line) if isinstance(n, ast.If)][::-1]

    def _around(self, line: int) -> Iterator[ast.AST]:
        """The nodes that the statement on a line stands in, the innermost first."""
        statement = self.statement_at(line)
        return iter(()) if statement is None else self.enclosing(statement)

    def phase_of(self, line: int) -> str:
        """The phase that a line belongs to; "" if none does."""
        return self._phases.get(line, "")

    def assignments(self, target: str) -> Iterator[ast.stmt]:
        """The statements that bind a name, an attribute or an element that is written so."""
        for statement in self.statements():
            is_bound = target in map(ast.unparse, flat_targets(statement))
            if is_bound and not isinstance(statement, ast.Delete):
                yield statement

    def line_of(self, target: str) -> int:
        """The line of the first statement that binds it; 0 if none does."""
        return next((statement.lineno for statement in self.assignments(target)), 0)

    def segment(self, node: ast.AST) -> str:
        """The code of a node as it stands in the file."""
        return ast.get_source_segment(self.text, node) or ast.unparse(node)

    def before_dot(self, node: ast.expr) -> str:
        """The code of a node as it may stand before a dot: in parentheses where it needs them."""
        is_closed = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
        return self.segment(node) if is_closed else f"({self.segment(node)})"

    # ── Changing code ───────────────────────────────────────────────────────────────

    def replaced(self, node: ast.expr | ast.stmt, code: str) -> CodeFix:
        """The fix that writes other code in the place of a node."""
        first, last = node.lineno, last_line(node)
        before = self._lines[first - 1].encode()[: node.col_offset].decode()
        after = self._lines[last - 1].encode()[node.end_col_offset :].decode()
        indent = _indent(self._lines[first - 1])
        if isinstance(node, ast.stmt):
            code = code.replace("\n", f"\n{indent}")
        lines = f"{before}{code}{after}".split("\n")
        return CodeFix(
            line=first, end_line=last, code="\n".join(line.removeprefix(indent) for line in lines)
        )

    def called_with(
        self,
        call: ast.Call,
        arguments: Iterable[str] | None = None,
        *,
        name: str = "",
        more: Iterable[str] = (),
        without: str = "",
    ) -> CodeFix:
        """The fix that makes a call with other arguments, or by another name.

        Keywords stay, but for the one it is to be `without`, and there may be `more`.
        """
        given = map(self.segment, call.args) if arguments is None else arguments
        keywords = [
            f"{k.arg}={self.segment(k.value)}" if k.arg else f"**{self.segment(k.value)}"
            for k in call.keywords
            if k.arg != without
        ]
        function = name or self.segment(call.func)
        return self.replaced(call, f"{function}({', '.join([*given, *keywords, *more])})")

    def without_last(self, argument: ast.expr, name: str) -> CodeFix | None:
        """The fix that drops the last of several arguments of a call by this name; else None."""
        call = next(iter(self.enclosing(argument)), None)
        if not isinstance(call, ast.Call) or called_name(call) != name or call.keywords:
            return None
        if len(call.args) < 2 or call.args[-1] is not argument:
            return None
        first, last = argument.lineno, last_line(argument)
        own = "\n".join(self._lines[first - 1 : last]).strip().removesuffix(",")
        if own == self.segment(argument):  # the argument has its lines for itself
            return CodeFix(line=first, end_line=last, code="")
        return self.called_with(call, map(self.segment, call.args[:-1]))

    def swapped(self, first: ast.stmt | None, second: ast.stmt | None) -> CodeFix | None:
        """The fix that swaps two statements; None unless one follows directly on the other."""
        if first is None or second is None or first.col_offset != second.col_offset:
            return None
        if last_line(first) + 1 != second.lineno:
            return None
        code = f"{self.segment(second)}\n{self.segment(first)}"
        return CodeFix(line=first.lineno, end_line=last_line(second), code=code)

    def after(self, statement: ast.stmt, code: str) -> CodeFix:
        """The fix that puts code behind a statement."""
        first, last = statement.lineno, last_line(statement)
        return CodeFix(line=first, end_line=last, code=code, place="after")

    def before(self, statement: ast.stmt, code: str) -> CodeFix:
        """The fix that puts code before a statement."""
        first, last = statement.lineno, last_line(statement)
        return CodeFix(line=first, end_line=last, code=code, place="before")


# ── A fix made ──────────────────────────────────────────────────────────────────────


def with_fix(text: str, fix: CodeFix, first_line: int = 1) -> str | None:
    """The text, whose first line has this number, with a fix made; None if it lies elsewhere."""
    lines = text.split("\n")
    start, end = fix.line - first_line, fix.end_line - first_line
    if not 0 <= start <= end < len(lines):
        return None
    indent = _indent(lines[start])
    new = [indent + line if line else line for line in fix.code.split("\n")]
    if fix.place == "before":
        new = [*new, *lines[start : end + 1]]
    elif fix.place == "after":
        new = [*lines[start : end + 1], *new]
    return "\n".join([*lines[:start], *new, *lines[end + 1 :]])


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


# ── Code of lessons and scripts ─────────────────────────────────────────────────────


def _fences(lesson: Lesson, mode: str) -> Iterator[tuple[str, Fence]]:
    for section in lesson.sections:
        if section.phase:
            for fence in section.fences(mode):
                yield section.phase, fence


def _of_lesson(lesson: Lesson, mode: str) -> SourceCode:
    lines: dict[int, str] = {}
    phases: dict[int, str] = {}
    tree: list[ast.stmt] = []
    for phase, fence in _fences(lesson, mode):
        code = dict(enumerate(fence.code.split("\n"), fence.line))
        lines.update(code)
        phases.update(dict.fromkeys(code, phase))
        tree += ast.parse("\n" * (fence.line - 1) + fence.code).body
    text = "\n".join(lines.get(i, "") for i in range(1, max(lines, default=0) + 1))
    return SourceCode(text, tree, phases)


def _of_script(lesson: Lesson, mode: str) -> SourceCode:
    phases = dict.fromkeys(range(1, lesson.source.count("\n") + 2), SETUP)
    for phase, fence in _fences(lesson, mode):
        phases.update(
            dict.fromkeys(range(fence.line, fence.line + fence.code.count("\n") + 1), phase)
        )
    return SourceCode(lesson.source, ast.parse(lesson.source).body, phases)


# ── The value of an expression ──────────────────────────────────────────────────────

_PURE = (ast.Name, ast.Attribute, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Call, ast.Subscript,
         ast.Slice, ast.Tuple, ast.Compare, ast.keyword, ast.operator, ast.unaryop, ast.cmpop,
         ast.expr_context)  # fmt: skip
"""The nodes of an expression that can be computed again."""


def evaluated(node: ast.expr, namespace: Mapping[str, Any]) -> Any:
    """The value of an expression, or None where it is not safe to compute again, or fails."""
    if not all(isinstance(n, _PURE) and _is_safe(n, namespace) for n in ast.walk(node)):
        return None
    code = compile(ast.Expression(node), "<again>", "eval")
    try:
        with np.errstate(all="ignore"):
            # With Python's own names: NumPy imports modules when a method is called.
            return eval(code, {}, dict(namespace))
    except Exception:  # noqa: BLE001 - the namespace's own objects may raise anything
        return None


def _is_safe(node: ast.AST, namespace: Mapping[str, Any]) -> bool:
    """Whether a call is one of NumPy's functions that compute, or of an array's methods."""
    if not isinstance(node, ast.Call):
        return True
    if any(k.arg == "out" for k in node.keywords):
        return False
    match node.func:
        case ast.Name(id=name):
            return isinstance(namespace.get(name), np.ufunc) or (
                getattr(namespace.get(name), "__module__", "") == "numpy"
            )
        case ast.Attribute(value=ast.Name(id=name), attr=method) if namespace.get(name) is np:
            return isinstance(getattr(np, method, None), np.ufunc) or method in _METHODS
        case ast.Attribute(attr=method):
            return method in _METHODS
    return False


_METHODS = frozenset(
    {"sum", "mean", "dot", "reshape", "max", "min", "std", "var", "prod", "where", "clip", "astype"}
    | {"transpose", "squeeze", "expand_dims", "outer", "maximum", "minimum", "round", "copy"}
)


# ── The place of a learning rate ────────────────────────────────────────────────────

_RATE_NAMES = ("lr", "learning_rate", "rate", "eta", "alpha", "step_size")
_OPTIMIZERS = ("SGD", "ASGD")
"""Optimizers that have no scale for each element, and whose second argument is the rate."""
_CLOSE = 1e-4
"""A rate that was measured from a step in float32 is known so well."""


@dataclass(frozen=True, slots=True)
class RatePlace:
    """The place of a learning rate in the code."""

    line: int
    name: str
    """The rate's name in the code; the number itself where it has no name."""
    rate: float
    """The exact rate."""
    constant: ast.Constant | None = None
    """The rate's number in the code."""


def place_of_rate(source: SourceCode, namespace: Mapping[str, Any], rate: float) -> RatePlace:
    """The place of this rate: where it is set, else where it is used; line 0 if it is neither."""
    set_there = min(_places(source, rate), key=lambda place: place[0], default=None)
    if set_there is not None:
        return set_there[1]
    names = {n for n, thing in namespace.items() if _is_close(thing, rate)}
    used = [n for n in source.nodes() if isinstance(n, ast.Name) and n.id in names]
    if used:
        first = min(used, key=lambda n: (n.id not in _RATE_NAMES, n.lineno))
        return RatePlace(first.lineno, first.id, float(namespace[first.id]))
    return RatePlace(0, "", rate)


def _places(source: SourceCode, rate: float) -> Iterator[tuple[int, RatePlace]]:
    """The places where the number is written, the likelier ones with a smaller rank."""
    used = _names_of_updates(source)
    for node in source.nodes():
        match node:
            case ast.keyword(arg=str(name), value=constant) if name in _RATE_NAMES:
                yield from _found(0, constant, name, rate)
            case ast.Assign(targets=[target], value=constant):
                name = ast.unparse(target)
                is_rate = name.rpartition(".")[2].lower() in _RATE_NAMES
                yield from _found(1 if is_rate else 2 if name in used else 6, constant, name, rate)
            case ast.Call(args=[ast.Constant(value=str(name)), *_], keywords=keywords) if (
                name.strip("-").replace("-", "_") in _RATE_NAMES  # of an ArgumentParser
            ):
                for default in (k.value for k in keywords if k.arg == "default"):
                    yield from _found(1, default, name, rate)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                for name, default in defaults_of(node).items():
                    yield from _found(1 if name in _RATE_NAMES else 6, default, name, rate)
            case ast.Call(args=[_, constant, *_]) if called_name(node) in _OPTIMIZERS:
                yield from _found(3, constant, "lr", rate)
            case ast.BinOp(op=ast.Mult(), left=left, right=right):
                rank = 4 if source.phase_of(node.lineno) == UPDATE else 5
                for one in (left, right):
                    yield from _found(rank, one, ast.unparse(one), rate)


def _names_of_updates(source: SourceCode) -> set[str]:
    """The names in updates by hand, and in calls that make an optimizer."""
    nodes = list(source.nodes(UPDATE))
    for name in _OPTIMIZERS:
        nodes += [inner for call in source.calls(name) for inner in ast.walk(call)]
    return {ast.unparse(n) for n in nodes if isinstance(n, ast.Name | ast.Attribute)}


def _found(rank: int, node: ast.expr, name: str, rate: float) -> Iterator[tuple[int, RatePlace]]:
    """The place, if this is the number."""
    if isinstance(node, ast.Constant) and _is_close(node.value, rate):
        yield rank, RatePlace(node.lineno, name, float(str(node.value)), node)


def _is_close(number: object, rate: float) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and math.isclose(float(number), rate, rel_tol=_CLOSE)  # type: ignore[arg-type]
