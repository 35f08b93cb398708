"""Statements of a script moved: as text to the left margin, or from a function to its only call."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias, TypeVar

from tutor.errors import ScriptError
from tutor.lesson.model import UPDATE, is_learning_rate
from tutor.python_syntax import (
    DEFINITIONS,
    argument_names,
    defaults_of,
    first_line,
    given_arguments,
    last_line,
    names_in,
    own_blocks,
    own_nodes,
)
from tutor.script.hand_changes import HandChange, candidates
from tutor.script.lesson import RATE_NAMES
from tutor.script.outline import ScriptPhase

StatementT = TypeVar("StatementT", bound=ast.stmt)
MADE = 0
"""The line of a statement that is not in the file."""
_COMMENT = re.compile(r"\s*#")


class CodePieces:
    """Takes statements out of a file, as text."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")

    def text_of(self, statement: ast.stmt) -> str:
        """A statement and the comments directly above it, at the left margin."""
        if statement.lineno == MADE:
            return ast.unparse(statement)
        if isinstance(statement, ast.With) and _is_part(statement):
            items = ", ".join(map(ast.unparse, statement.items))
            return f"with {items}:\n{indented(self.text_of(statement.body[0]))}"
        first, last = first_line(statement), last_line(statement)
        if not self._has_own_lines(statement, first, last):
            return ast.unparse(statement)
        top = first
        while top > 1 and _COMMENT.match(self._lines[top - 2]):
            top -= 1
        indent = statement.col_offset
        lines = self._lines[top - 1 : last]
        if not indent:
            return "\n".join(lines)
        if _has_long_string(statement):  # a blank taken away there would change the string
            return ast.unparse(statement)
        return textwrap.dedent("\n".join(_at_least(line, indent) for line in lines))

    def _has_own_lines(self, statement: ast.stmt, first: int, last: int) -> bool:
        """Whether no other statement stands on its first or last line."""
        before = self._lines[first - 1].encode()[: statement.col_offset]
        behind = self._lines[last - 1].encode()[statement.end_col_offset :].decode().strip()
        return not before.strip() and (not behind or behind.startswith("#"))


def _at_least(line: str, indent: int) -> str:
    """A line that is indented so far; a comment may stand at the left margin."""
    return " " * indent + line.lstrip() if _COMMENT.match(line) else line


def _is_part(statement: ast.With) -> bool:
    """Whether it was made of one statement in a `with`, and stands at that statement's place."""
    inner = statement.body[0]
    return (statement.lineno, statement.col_offset) == (inner.lineno, inner.col_offset)


def made(statement: StatementT) -> StatementT:
    """The statement, marked as not in the file: its text is made anew."""
    statement.lineno = MADE
    return statement


def _has_long_string(node: ast.AST) -> bool:
    """Whether a string in it goes over several lines."""
    kinds = (ast.Constant, ast.JoinedStr)
    strings = (n for n in ast.walk(node) if isinstance(n, kinds))
    return any(n.lineno != n.end_lineno for n in strings)


def indented(code: str) -> str:
    """Code as the body of an `if`."""
    if any(map(_has_long_string, ast.parse(code).body)):
        code = ast.unparse(ast.parse(code))
    return textwrap.indent(code, "    ")


def renamed(code: str, names: Mapping[str, str]) -> str:
    """The code with other names; everything else stays as it is written."""
    tree = ast.parse(code)
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
    own = {
        id(inner)
        for function in functions
        for inner in ast.walk(function)
        if isinstance(inner, ast.Name) and inner.id in argument_names(function)
    }
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in own]
    return with_expressions(code, tree, {n: names[n.id] for n in found if n.id in names})


def with_expressions(code: str, tree: ast.AST, new: Mapping[ast.expr, str]) -> str:
    """The code with other expressions in the places of these of its tree.

    Everything else stays as it is written, unless one of them goes over several lines, or stands in
    an f-string: Python 3.11 does not say where.
    """
    strings = (n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr))
    inside = {id(n) for string in strings for n in ast.walk(string)}
    if any(id(n) in inside or n.lineno != n.end_lineno for n in new):
        return ast.unparse(_WithExpressions(new).visit(tree))
    return replaced(code, [(*_extent(n), text) for n, text in new.items()])


def _extent(node: ast.expr) -> tuple[int, int, int]:
    """The line of an expression, and its first and last column."""
    return node.lineno, node.col_offset, node.end_col_offset or 0


class _WithExpressions(ast.NodeTransformer):
    def __init__(self, new: Mapping[ast.expr, str]) -> None:
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        """The new expression of a node; else the node, with new ones in it."""
        if isinstance(node, ast.expr) and node in self._new:
            return ast.parse(self._new[node], mode="eval").body
        return self.generic_visit(node)


def with_named_rate(
    text: str, phases: Iterable[ScriptPhase], rate: str
) -> tuple[str, tuple[int, ...]]:
    """The text with a named learning rate for the number in `w -= 0.1 * w.grad`, and its lines.

    The lines are those of the text before. It is left as it is unless all updates by hand have
    one and the same number, and nothing has the name.
    """
    tree = ast.parse(text)
    lines = tuple(range(1, text.count("\n") + 2))
    updates = [(p.line, p.end_line) for p in phases if p.name == UPDATE]
    found: list[ast.expr | None] = [
        _literal_rate(change)
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and any(a <= node.lineno <= b for a, b in updates)
        for change in candidates(node)
    ]
    numbers = {node.value if isinstance(node, ast.Constant) else None for node in found}
    number = next(iter(numbers)) if len(numbers) == 1 else None
    if not isinstance(number, float) or not is_learning_rate(number) or rate in names_in(tree):
        return text, lines
    rows = replaced(text, [(*_extent(n), rate) for n in found if n]).split("\n")
    at = next(first_line(s) for s in tree.body if not _comes_first(s)) - 1
    return "\n".join([*rows[:at], f"{rate} = {number!r}", *rows[at:]]), (
        *lines[:at],
        at,
        *lines[at:],
    )


def with_rate_alone(text: str, rates: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """The text with `lr, size = 0.1, 5` as two assignments, and the lines of the text before.

    Only where one of the names stands for a learning rate, and all values are numbers.
    """
    rows, lines = text.split("\n"), list(range(1, text.count("\n") + 2))
    for node in reversed(ast.parse(text).body):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if (
                len(names) == len(values)
                and node.lineno == node.end_lineno
                and all(isinstance(value, ast.Constant) for value in values)
                and {ast.unparse(name) for name in names} & set(rates)
            ):
                pairs = zip(names, values, strict=True)
                new = [f"{ast.unparse(name)} = {ast.unparse(value)}" for name, value in pairs]
                rows[node.lineno - 1 : node.lineno] = new
                lines[node.lineno - 1 : node.lineno] = [node.lineno] * len(new)
    return "\n".join(rows), tuple(lines)


def _comes_first(statement: ast.stmt) -> bool:
    """Whether no other statement may stand above it: a docstring, or an import from the future."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")


def _literal_rate(change: HandChange) -> ast.expr | None:
    """The number that a step begins with, `0.1` of `w -= 0.1 * w.grad`."""
    match change.terms:
        case ((-1, ast.BinOp(left=ast.Constant() as number, op=ast.Mult())),):
            return number
        case ((-1, ast.BinOp(op=ast.Mult(), right=ast.Constant() as number)),):
            return number
    return None


def rate_argument(call: ast.Call) -> ast.expr | None:
    """The learning rate that an optimizer is made with, if it is a number or a setting.

    A setting is an attribute with a usual name: `args.lr`. It stands on one line.
    """
    given = [keyword.value for keyword in call.keywords if keyword.arg == "lr"]
    value = given[0] if given else call.args[1] if len(call.args) > 1 else None
    is_number = isinstance(value, ast.Constant) and type(value.value) in (int, float)
    if isinstance(value, ast.Attribute) and value.lineno == value.end_lineno:
        return value if value.attr in RATE_NAMES else None
    return value if is_number else None


def replaced(code: str, places: Iterable[tuple[int, int, int, str]]) -> str:
    """The code with texts in place of others: line, first and last column in bytes, new text."""
    lines = [line.encode() for line in code.split("\n")]
    for line, start, end, new in sorted(places, reverse=True):
        lines[line - 1] = lines[line - 1][:start] + new.encode() + lines[line - 1][end:]
    return b"\n".join(lines).decode()


def one_statement_a_line(text: str) -> tuple[str, tuple[int, ...]]:
    """The text with each statement on lines of its own, and for each line the one that it is from.

    `y = f(x); loss = y - t` becomes two lines, and `for x in xs: total += x` two as well.
    """
    lines = text.split("\n")
    # A handler's block is also one of its `try`: the handler comes later, with its own margin.
    found = {(line, column): margin for line, column, margin in _cuts(ast.parse(text), lines)}
    origin = list(range(1, len(lines) + 1))
    for (line, column), margin in sorted(found.items(), reverse=True):
        row = lines[line - 1].encode()
        before = row[:column].decode().rstrip().removesuffix(";").rstrip()
        lines[line - 1 : line] = [before, margin + row[column:].decode()]
        origin.insert(line, origin[line - 1])
    return "\n".join(lines), tuple(origin)


def _cuts(tree: ast.Module, lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Where a new line begins: the line and its column in bytes, and the margin of the new line."""
    for node in ast.walk(tree):
        for block in own_blocks(node):
            first = block[0]
            margin = _margin(lines[first.lineno - 1])
            if lines[first.lineno - 1].encode()[: first.col_offset].strip():
                margin = _margin(lines[getattr(node, "lineno", first.lineno) - 1]) + "    "
                yield first.lineno, first.col_offset, margin
            for one, other in pairwise(block):
                if one.end_lineno == other.lineno:
                    yield other.lineno, other.col_offset, margin


def _margin(row: str) -> str:
    return row[: len(row) - len(row.lstrip())]


def names_read(code: str) -> frozenset[str]:
    """The names that a piece of code reads or changes."""
    return frozenset(names_in(ast.parse(code)))


# ── The body of a function in the place of its only call ──────────────────────────────────

LineNamer: TypeAlias = Callable[[int], str]
"""A line as people name it: `train.py:12`."""


def refusal(place: LineNamer, line: int, code: str, /, **values: object) -> ScriptError:
    """The error of a line that a lesson can't say."""
    return ScriptError(code, place=place(line), **values)


class InlinedCalls:
    """The functions of a file, and those whose bodies have taken the places of their calls."""

    def __init__(self, tree: ast.Module, place: LineNamer) -> None:
        self._tree, self._refusal = tree, partial(refusal, place)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        self.functions = {node.name: node for node in functions}
        self.inlined: set[str] = set()

    def function_of(self, call: ast.Call) -> ast.FunctionDef | None:
        """The function of the file that is called."""
        return self.functions.get(call.func.id) if isinstance(call.func, ast.Name) else None

    def check_is_only(self, call: ast.Call, function: ast.FunctionDef) -> None:
        """Refuse a function that is used elsewhere, too."""
        name = function.name
        uses = [n for n in ast.walk(self._tree) if isinstance(n, ast.Name) and n.id == name]
        if len(uses) > 1:
            raise self._refusal(max(n.lineno for n in uses), "function_used_twice", name=name)

    def arguments(self, call: ast.Call, function: ast.FunctionDef) -> Iterator[str]:
        """Assignments that give a function's parameters the arguments of a call."""
        settings = function.args
        is_plain = not (settings.vararg or settings.kwarg or function.decorator_list)
        starred = [a for a in call.args if isinstance(a, ast.Starred)]
        if not is_plain or starred or any(k.arg is None for k in call.keywords):
            raise self._refusal(call.lineno, "function_not_plain", name=function.name)
        values = defaults_of(function) | given_arguments(function, call)
        for argument in [*settings.posonlyargs, *settings.args, *settings.kwonlyargs]:
            if argument.arg not in values:
                raise self._refusal(call.lineno, "argument_without_value", name=argument.arg)
            text = ast.unparse(values[argument.arg])
            if text != argument.arg:
                yield f"{argument.arg} = {text}"

    def check_names(
        self, call: ast.Call, function: ast.FunctionDef, before: Sequence[ast.stmt | str]
    ) -> None:
        """Refuse a local name that the statements before use for something else."""
        stored = set(stored_in(function))
        passed = argument_names(function)
        own = stored | passed
        own -= {name for n in ast.walk(function) if isinstance(n, ast.Global) for name in n.names}
        given = {text.partition(" = ")[0] for text in self.arguments(call, function)}
        own -= {"_"} | passed - given - stored
        for statement in before:
            if isinstance(statement, (str, *DEFINITIONS)):
                continue
            for name in sorted(own.intersection(stored_in(statement))):
                values = {"name": name, "function": function.name}
                raise self._refusal(first_line(statement), "name_of_two_things", **values)

    def statements(
        self, statement: ast.stmt, call: ast.Call, loop: ast.For, setup: list[ast.stmt | str]
    ) -> list[ast.stmt]:
        """The statements that run where a statement of the loop is such a call.

        Arguments that no pass of the loop changes are given in Setup.
        """
        function = self.function_of(call)
        assert function is not None
        self.check_is_only(call, function)
        others = [s for s in loop.body if s is not statement]
        self.check_names(call, function, [*setup, *others])
        changing = {name for s in [*loop.body, loop] for name in stored_in(s)}
        changing |= set(stored_in(function))
        found: list[ast.stmt] = []
        for text in self.arguments(call, function):
            assignment = ast.parse(text).body[0]
            names = names_in(assignment)
            calls = any(isinstance(n, ast.Call) for n in ast.walk(assignment))
            if calls or names & changing:
                found.append(made(assignment))
            else:
                setup.append(text)
        self.inlined.add(function.name)
        return [*found, *_without_return(function, statement)]


def _without_return(function: ast.FunctionDef, statement: ast.stmt) -> Iterator[ast.stmt]:
    """A function's statements; its result is given to the names that take it."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    body = [inner for inner in body if not isinstance(inner, ast.Global)]
    last = body[-1] if body else None
    if not isinstance(last, ast.Return):
        yield from body
        return
    yield from body[:-1]
    if last.value is not None and isinstance(statement, ast.Assign):
        yield made(ast.copy_location(ast.Assign(statement.targets, last.value), last))
    elif isinstance(last.value, ast.Call):
        yield made(ast.copy_location(ast.Expr(last.value), last))


def calls_name(node: ast.AST) -> bool:
    """Whether it calls a plain name."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def stored_in(node: ast.AST) -> Iterator[str]:
    """The names that a function's own code, or a statement, gives a value."""
    children = ast.iter_child_nodes(node) if isinstance(node, ast.FunctionDef) else [node]
    for child in children:
        for inner in own_nodes([child]):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner.id
