"""Names that stand in the source code."""

from __future__ import annotations

import ast

from tutor.analysis.doctor.source_code import SourceCode, targets_of


def variable_at(source: SourceCode, line: int) -> str:
    """The target of the assignment on a line; of another statement its code, if it is short."""
    statement = source.statement_at(line)
    if statement is None:
        return ""
    targets = targets_of(statement)
    if targets and not isinstance(statement, ast.For):
        return ast.unparse(targets[0])
    if isinstance(statement, ast.Return | ast.Expr) and statement.value is not None:
        code = ast.unparse(statement.value)
        return code if len(code) <= _LONGEST else ""
    return ""


_LONGEST = 40


def function_around(source: SourceCode, line: int) -> ast.AST | None:
    """The innermost function that a line stands in; None at the top level."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    found = [n for n in _around(source, line) if isinstance(n, functions)]
    return found[-1] if found else None


def loops_around(source: SourceCode, line: int) -> list[ast.For | ast.While]:
    """The loops that a line stands in, the outermost first."""
    return [n for n in _around(source, line) if isinstance(n, ast.For | ast.While)]


def conditions_around(source: SourceCode, line: int) -> list[ast.If]:
    """The `if` statements that a line stands in, the outermost first."""
    return [n for n in _around(source, line) if isinstance(n, ast.If)]


def _around(source: SourceCode, line: int) -> list[ast.AST]:
    """The nodes that the statement on a line stands in, the outermost first."""
    statement = source.statement_at(line)
    return [] if statement is None else list(source.enclosing(statement))[::-1]
