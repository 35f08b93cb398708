"""A `while` loop that counts its passes, written as the `for` loop that runs the same passes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from tutor.script.data_flow import statements, writes
from tutor.script.syntax_nodes import own_nodes


def with_for_loop(text: str, line: int) -> str:
    """The text with `for n in range(0, 100):` for `while n < 100:` on a line; else as it is.

    All lines stay where they are. Before the loop `n` is given a whole number; the last line of
    the loop is `n += 1`, and nothing else in it changes `n` or what it is compared with.
    """
    for block in _blocks(ast.parse(text)):
        for at, loop in enumerate(block):
            if isinstance(loop, ast.While) and loop.lineno == line:
                start = _start(loop, block[:at])
                return text if start is None else _rewritten(text, loop, start)
    return text


def _blocks(tree: ast.Module) -> Iterator[Sequence[ast.stmt]]:
    """The rows of statements in a file."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block


def _start(loop: ast.While, before: Sequence[ast.stmt]) -> int | None:
    """The number that the counter starts with; None if the passes can't be counted so."""
    match loop.test, loop.body[-1]:
        case (
            ast.Compare(left=ast.Name(id=name), ops=[ast.Lt() | ast.LtE()], comparators=[end]),
            ast.AugAssign(target=ast.Name(id=counter), op=ast.Add(), value=ast.Constant(value=1)),
        ) if name == counter:
            pass
        case _:
            return None
    body = loop.body[:-1]
    is_plain = isinstance(end, ast.Constant | ast.Name | ast.Attribute)
    fixed = {name, ast.unparse(end)}
    is_changed = any(writes(statement) & fixed for statement in statements(body))
    is_left = any(isinstance(node, ast.Continue) for node in own_nodes(body))
    if not body or loop.orelse or not is_plain or is_changed or is_left:
        return None
    for statement in reversed(before):
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=target)], value=ast.Constant(value=int() as first)
            ):
                if target == name:
                    return first
            case _ if any(name in writes(inner) for inner in statements([statement])):
                return None
    return None


def _rewritten(text: str, loop: ast.While, start: int) -> str:
    """The text with another head of the loop, and without the line that counts."""
    assert isinstance(loop.test, ast.Compare)
    end = ast.unparse(loop.test.comparators[0])
    end += " + 1" if isinstance(loop.test.ops[0], ast.LtE) else ""
    bounds = f"{start}, {end}" if start else end
    lines = [row.encode() for row in text.split("\n")]
    head, last = f"for {ast.unparse(loop.test.left)} in range({bounds})", loop.body[-1]
    row = lines[loop.lineno - 1]
    if loop.test.end_lineno != loop.lineno or last.lineno == loop.body[-2].end_lineno:
        return text
    behind = row[loop.test.end_col_offset :].lstrip(b") ")
    lines[loop.lineno - 1] = row[: loop.col_offset] + head.encode() + behind
    lines[last.lineno - 1] = b""
    return b"\n".join(lines).decode()
