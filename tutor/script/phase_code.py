"""The code of a script's phases by themselves, for a probe that runs them apart from the script.

Only phases that stand in one block, one after the other, can be run so: those of a batch. A phase
that leaves its block (`continue`, `return`) has no code of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tutor.script.instrument import first_line
from tutor.script.outline import ScriptPhase, TrainingLoop
from tutor.training.liveness import changed_in_place
from tutor.training.program import Phase

_NOTHING = compile("", "<phase>", "exec")


def phases_with_code(source: str, filename: str, loop: TrainingLoop) -> tuple[Phase, ...]:
    """The loop's phases; those that a probe can run, with their code."""
    statements = phase_statements(source, loop)
    return tuple(
        _phase(phase, statements.get(number, ()), filename)
        for number, phase in enumerate(loop.phases)
    )


def phase_statements(source: str, loop: TrainingLoop) -> dict[int, tuple[ast.stmt, ...]]:
    """By phase number, the statements of the batch's phases; empty if they are not in one block."""
    numbers = {(p.line, p.column): number for number, p in enumerate(loop.phases)}
    first = next((n for n, p in enumerate(loop.phases) if p.starts_batch), 0)
    for block in _blocks(ast.parse(source)):
        found = [numbers.get((first_line(stmt), stmt.col_offset)) for stmt in block]
        if first in found:
            return _grouped(block, found)
    return {}


def for_targets(source: str) -> frozenset[str]:
    """The names that the file's `for` loops and comprehensions bind, and nothing else does."""
    nodes = list(ast.walk(ast.parse(source)))
    loops = (n.target for n in nodes if isinstance(n, ast.For | ast.comprehension))
    inside = [n for target in loops for n in ast.walk(target) if isinstance(n, ast.Name)]
    bound = [n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return frozenset(n.id for n in inside) - frozenset(n.id for n in bound if n not in inside)


def _grouped(block: list[ast.stmt], found: list[int | None]) -> dict[int, tuple[ast.stmt, ...]]:
    groups: dict[int, tuple[ast.stmt, ...]] = {}
    now: int | None = None
    for stmt, number in zip(block, found, strict=True):
        now = number if number is not None else now
        if now is not None:
            groups[now] = (*groups.get(now, ()), stmt)
    return groups


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                yield block


def _phase(phase: ScriptPhase, statements: tuple[ast.stmt, ...], filename: str) -> Phase:
    lines = frozenset(range(phase.line, phase.end_line + 1))
    try:
        code = compile(ast.Module([*statements], []), filename, "exec", dont_inherit=True)
    except SyntaxError:  # `continue`, `break` or `return` outside of its loop
        return Phase(phase.name, _NOTHING, lines, frozenset(), frozenset())
    nodes = (node for stmt in statements for node in ast.walk(stmt))
    names = (n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    binds = frozenset(name.id for name in names)
    return Phase(phase.name, code, lines, binds, binds | changed_in_place(statements))
