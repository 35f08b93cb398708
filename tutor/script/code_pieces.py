"""Statements of a script as pieces of text, at the left margin and with their comments."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

StatementT = TypeVar("StatementT", bound=ast.stmt)
MADE = 0
"""The line of a statement that is not in the file."""
_COMMENT = re.compile(r"\s*#")


class CodePieces:
    """Takes the statements of a file out of it, as text."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")

    def text_of(self, statement: ast.stmt) -> str:
        """A statement and the comments directly above it, at the left margin."""
        if statement.lineno == MADE:
            return ast.unparse(statement)
        if isinstance(statement, ast.With) and _is_part(statement):
            items = ", ".join(map(ast.unparse, statement.items))
            return f"with {items}:\n{indented(self.text_of(statement.body[0]))}"
        first, last = first_line(statement), statement.end_lineno or statement.lineno
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
    """The statement, marked as one that is not in the file: its text is made anew."""
    statement.lineno = MADE
    return statement


def first_line(statement: ast.stmt) -> int:
    """The line that a statement begins on, its decorators included."""
    decorators: Sequence[ast.expr] = getattr(statement, "decorator_list", ())
    return min([statement.lineno, *(node.lineno for node in decorators)])


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
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in names]
    if not found:
        return code
    if any(isinstance(node, ast.JoinedStr) for node in ast.walk(tree)):
        for node in found:  # Python 3.11 does not say where a name in an f-string stands
            node.id = names[node.id]
        return ast.unparse(tree)
    places = ((n.lineno, n.col_offset, n.end_col_offset or 0, names[n.id]) for n in found)
    return replaced(code, places)


def with_rate(code: str, calls: Sequence[ast.Call], rate: str) -> str:
    """The code with another learning rate in the calls that make its optimizers."""
    places = []
    for call in calls:
        value = rate_argument(call)
        assert value is not None
        assert value.end_col_offset is not None
        places.append((value.lineno, value.col_offset, value.end_col_offset, rate))
    return replaced(code, places)


def rate_argument(call: ast.Call) -> ast.expr | None:
    """The learning rate that an optimizer is made with, if it is a number on one line."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "lr"]
    value = given[0] if given else call.args[1] if len(call.args) > 1 else None
    is_number = isinstance(value, ast.Constant) and type(value.value) in (int, float)
    return value if is_number else None


def replaced(code: str, places: Iterable[tuple[int, int, int, str]]) -> str:
    """The code with texts in place of others: line, first and last column in bytes, new text."""
    lines = [line.encode() for line in code.split("\n")]
    for line, start, end, new in sorted(places, reverse=True):
        lines[line - 1] = lines[line - 1][:start] + new.encode() + lines[line - 1][end:]
    return b"\n".join(lines).decode()


def names_read(code: str) -> frozenset[str]:
    """The names that a piece of code reads or changes."""
    return frozenset(n.id for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Name))


def imported_names(statement: ast.stmt) -> Iterator[str]:
    """The names that an import binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            yield alias.asname or alias.name.partition(".")[0]
