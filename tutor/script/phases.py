"""The phases that a training loop's code is cut into: the places of the hooks.

A block of statements is cut where the kind of its statements changes. A statement of no kind
belongs to the phase before it in its block; at a block's start, to the first phase.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tutor.lesson.model import GRADIENT, LOSS, PREDICT, REPORT, RESET, UPDATE
from tutor.python_syntax import (
    DEFINITIONS,
    LOOPS,
    FunctionCode,
    blocks_of,
    first_line,
    last_line,
    last_name,
    statements,
)
from tutor.script.code_unit import TRAINING, CodeUnit, is_over_parameters
from tutor.script.outline import ScriptPhase
from tutor.script.statement_kinds import StatementKinds

_OF_BATCH = frozenset({PREDICT, LOSS, GRADIENT, UPDATE})


@dataclass(slots=True)
class _Draft:
    """A phase while its end is not known yet."""

    name: str
    first: ast.stmt
    last: ast.stmt
    starts_batch: bool = False


class _BlockCut:
    """A block while its statements are read one after the other."""

    def __init__(self) -> None:
        self._current: _Draft | None = None
        self._waiting: ast.stmt | None = None
        """The statement of no kind that the block begins with."""
        self._is_begun = False

    @property
    def kind(self) -> str:
        """The phase that the next statement goes on with; "" if there is none."""
        return self._current.name if self._current else ""

    def add(self, node: ast.stmt, start: ast.stmt, kind: str, is_entered: bool) -> _Draft | None:
        """Add a statement; the phase that begins with it, if one does."""
        begun = None
        if kind and kind != self.kind:
            begun = self._current = _Draft(kind, self._waiting or start, node)
        elif self._current and (kind or not is_entered) and not _is_silent(node):
            self._current.last = node
        if is_entered and not kind:
            self._current = None
        if kind or is_entered:
            self._waiting, self._is_begun = None, True
        elif not self._is_begun and not _is_silent(node):
            self._waiting, self._is_begun = start, True
        return begun


class PhaseCutter:
    """Cuts a loop's body, and the functions that it enters, into phases."""

    def __init__(self, kinds: StatementKinds) -> None:
        self.kinds = kinds
        self._drafts: list[_Draft] = []
        self._entered: set[FunctionCode] = set()
        self.is_regular = True
        """Whether each phase found is one step of every epoch: none is in a loop or a condition."""
        self._batches = [id(block) for block in self._batch_blocks(kinds.loop.body, kinds.loop)]

    def phases(self) -> tuple[ScriptPhase, ...]:
        """The phases, in the order in which their statements run."""
        self._cut(self.kinds.loop.body, self.kinds.loop, is_epoch=True)
        found: dict[tuple[int, int], ScriptPhase] = {}
        for draft in self._drafts:
            line, column = first_line(draft.first), draft.first.col_offset
            end = last_line(draft.last)
            phase = ScriptPhase(draft.name, line, column, end, draft.starts_batch)
            found.setdefault((line, column), phase)
        return tuple(found.values())

    @property
    def batches_at(self) -> tuple[int, int] | None:
        """The place of the loop over batches, if each pass of it takes a gradient."""
        loop = self._batch_loop(self.kinds.loop.body, self.kinds.loop)
        return (loop.lineno, loop.col_offset) if loop else None

    # ── A block

    def _cut(self, block: list[ast.stmt], unit: CodeUnit, *, is_epoch: bool = False) -> None:
        begun = len(self._drafts)
        report = self._report(block, unit) if is_epoch else []
        cut = _BlockCut()
        for node, start in self._inlined(block[: len(block) - len(report)], unit):
            kind, is_entered = self._kind(node, unit)
            if (draft := cut.add(node, start, kind, is_entered)) is not None:
                self._drafts.append(draft)
            if is_entered:
                self._enter(node, unit)
        if report or (report := self._else_of(block, unit) if is_epoch else []):
            self._drafts.append(_Draft(REPORT, report[0], report[-1]))
        if id(block) in self._batches and len(self._drafts) > begun:
            self._drafts[begun].starts_batch = True

    def _inlined(
        self, block: list[ast.stmt], unit: CodeUnit
    ) -> Iterator[tuple[ast.stmt, ast.stmt]]:
        """The statements of a block, each with the statement at which its phase would begin.

        Statements in a `with` count like those around it; their first phase begins at the `with`.
        """
        for node in block:
            if isinstance(node, ast.With) and self._kind(node, unit)[1]:
                inner = list(self._inlined(node.body, unit))
                yield inner[0][0], node
                yield from inner[1:]
            else:
                yield node, node

    def _report(self, block: list[ast.stmt], unit: CodeUnit) -> list[ast.stmt]:
        """The statements of an epoch behind its last training statement."""
        known = [at for at, node in enumerate(block) if any(self._kind(node, unit))]
        return block[known[-1] + 1 :] if known else []

    def _else_of(self, block: list[ast.stmt], unit: CodeUnit) -> list[ast.stmt]:
        """The `else` of an epoch's last loop, where it does not train: it reports."""
        last = block[-1]
        orelse = last.orelse if isinstance(last, LOOPS) else []
        return [] if any(any(self._kind(node, unit)) for node in orelse) else orelse

    def _enter(self, node: ast.stmt, unit: CodeUnit) -> None:
        if isinstance(node, (*LOOPS, ast.If, ast.Match)):
            self.is_regular = False
        for function in unit.entered.get(node, ()):
            if function in self._entered or not _is_called_once(function, node):
                self.is_regular = False
            if function not in self._entered:
                self._entered.add(function)
                self._cut(function.body, self.kinds.unit_of(function))
        for inner in blocks_of(node):
            self._cut(inner, unit)

    # ── A statement

    def _kind(self, node: ast.stmt, unit: CodeUnit) -> tuple[str, bool]:
        """The phase that a statement belongs to, and whether there are phases inside it."""
        if not blocks_of(node):
            return unit.kinds.get(node, ""), node in unit.entered
        inside = [node, *statements(blocks_flat(node))]
        kinds = {unit.kinds[n] for n in inside if n in unit.kinds}
        if not kinds and not any(n in unit.entered for n in inside):
            return "", False
        is_entered = any(n in unit.entered for n in inside)
        if isinstance(node, LOOPS):
            return self._kind_of_loop(node, unit, kinds, is_entered)
        if len(kinds) == 1 and not is_entered:
            return next(iter(kinds)), False
        return "", True

    def _kind_of_loop(
        self, node: ast.For | ast.AsyncFor | ast.While, unit: CodeUnit, kinds: set[str], deep: bool
    ) -> tuple[str, bool]:
        if deep:
            return "", True
        if not kinds & TRAINING:
            return (LOSS if LOSS in kinds else PREDICT), False
        if UPDATE in kinds and kinds <= {UPDATE, RESET}:
            is_over = is_over_parameters(node, unit)
            return (UPDATE, False) if is_over else ("", True)
        if UPDATE not in kinds and (len(kinds) == 1 or not self.kinds.has_backward):
            return (GRADIENT if GRADIENT in kinds else next(iter(kinds))), False
        return "", True

    # ── Batches

    def _batch_blocks(
        self, block: list[ast.stmt], unit: CodeUnit, seen: frozenset[int] = frozenset()
    ) -> Iterator[list[ast.stmt]]:
        """The blocks that one batch runs: those with a gradient or an update of their own."""
        if id(block) in seen:
            return
        if any(self._is_direct(node, unit) for node in _same_level(block)):
            yield block
            return
        for node in _same_level(block):
            if isinstance(node, LOOPS):
                yield from self._batch_blocks(node.body, unit, seen | {id(block)})
            for function in unit.entered.get(node, ()):
                inner = self.kinds.unit_of(function)
                yield from self._batch_blocks(inner.body, inner, seen | {id(block)})

    def _batch_loop(self, block: list[ast.stmt], unit: CodeUnit) -> ast.For | None:
        """The only loop with phases in it that a block runs, once, and always to its end."""
        nodes = [node for node, _ in self._inlined(block, unit) if self._kind(node, unit)[1]]
        if len(nodes) != 1:
            return None
        (node,) = nodes
        for function in unit.entered.get(node, ()):
            if _is_called_once(function, node) and not blocks_of(node):
                return self._batch_loop(function.body, self.kinds.unit_of(function))
        exits = (ast.Break, ast.Continue, ast.Return)
        if not isinstance(node, ast.For) or any(isinstance(n, exits) for n in ast.walk(node)):
            return None
        return node if self._takes_gradient(node.body, unit) else None

    def _takes_gradient(
        self, block: list[ast.stmt], unit: CodeUnit, around: frozenset[FunctionCode] = frozenset()
    ) -> bool:
        """Whether a block takes a gradient, once, whatever holds where it runs."""
        for node, _ in self._inlined(block, unit):
            if unit.kinds.get(node) == GRADIENT:
                return True
            for function in set(unit.entered.get(node, ())) - around:
                inner = self.kinds.unit_of(function)
                is_once = _is_called_once(function, node) and not blocks_of(node)
                if is_once and self._takes_gradient(function.body, inner, around | {function}):
                    return True
        return False

    def _is_direct(self, node: ast.stmt, unit: CodeUnit) -> bool:
        if isinstance(node, LOOPS):
            return self._kind(node, unit)[0] in _OF_BATCH
        return unit.kinds.get(node) in _OF_BATCH


def _is_called_once(function: FunctionCode, node: ast.stmt) -> bool:
    """Whether a statement calls it, and once: it is no closure of an optimizer's step."""
    inside = list(ast.walk(node))
    if any(
        isinstance(n, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) for n in inside
    ):
        return False
    calls = [n for n in inside if isinstance(n, ast.Call) and last_name(n.func) == function.name]
    return len(calls) == 1


def blocks_flat(node: ast.stmt) -> list[ast.stmt]:
    """The statements directly in a compound statement."""
    return [inner for block in blocks_of(node) for inner in block]


def _same_level(block: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a block, and those in its ifs and withs: not those in its loops."""
    for node in block:
        yield node
        if not isinstance(node, LOOPS):
            yield from _same_level(blocks_flat(node))


def _is_silent(node: ast.stmt) -> bool:
    """Whether a statement does nothing that a learner steps: a docstring, `def`, `global`."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Global() | ast.Nonlocal() | ast.Pass():
            return True
    is_definition = isinstance(node, (*DEFINITIONS, ast.Import, ast.ImportFrom))
    return is_definition and last_name(node) == ""
