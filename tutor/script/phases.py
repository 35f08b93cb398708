"""The phases that a training loop's code is cut into: the places of the hooks.

First, the phase that each statement belongs to is found, in two rounds: the statements that reset,
take or use gradients are known by their names; those that the loss and the gradients are computed
from, by what these statements read. Then a block of statements is cut where the kind of its
statements changes. A statement of no kind belongs to the phase before it in its block; at a block's
start, to the first phase.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tutor.lesson.model import (
    GRADIENT,
    GRADIENT_CHANGES,
    LOSS,
    PREDICT,
    REPORT,
    RESET,
    SYNCHRONIZE,
    UPDATE,
)
from tutor.python_syntax import (
    DEFINITIONS,
    LOOPS,
    FunctionCode,
    blocks_of,
    first_line,
    last_line,
    last_name,
    own_nodes,
    statements,
)
from tutor.script.code_index import CodeIndex
from tutor.script.code_unit import (
    TRAINING,
    CodeUnit,
    is_over_parameters,
    join_parameter_loops,
    mark_by_hand,
    take_as_one_update,
)
from tutor.script.data_flow import (
    StatementFlow,
    head_of,
    is_loss,
    reads,
    text_of,
    variable,
    variables,
    writes,
)
from tutor.script.outline import ScriptPhase, Span, span_of
from tutor.script.training_signs import (
    TrainingSigns,
    is_synchronizing,
)


class StatementKinds:
    """The kinds of the statements in a training loop and in the functions that it calls."""

    def __init__(self, index: CodeIndex, signs: TrainingSigns, body: list[ast.stmt]) -> None:
        self.index, self.signs = index, signs
        self._functions: dict[FunctionCode, CodeUnit] = {}
        calls = [c for c in own_nodes(index.reached_code(body)) if isinstance(c, ast.Call)]
        self.has_backward = any(signs.is_autograd(c) for c in calls)
        self.has_optimizer = any(
            signs.is_optimizer_step(c) and not index.callees(c.func) for c in calls
        )
        self._losses = signs.losses_in(calls)
        self.loop = self._unit(body, None)

    def losses_at(self, *, own: bool) -> tuple[Span, ...]:
        """The places of the expressions whose gradient is taken.

        `own`: of those that are the loop's loss, by their text; else of the others.
        """
        known = next((loss for unit in self.units() for loss in unit.losses), None)
        name = text_of(_base_of(known)) if known is not None else None
        return tuple(
            span_of(loss)
            for loss in self._losses
            if (name in (None, text_of(_base_of(loss)))) is own
        )

    def unit_of(self, function: FunctionCode) -> CodeUnit:
        """The kinds of a function's statements."""
        if function not in self._functions:
            self._functions[function] = CodeUnit(function.body, function)
            self._functions[function] = self._unit(function.body, function)
        return self._functions[function]

    def reach_of(self, function: FunctionCode) -> set[str]:
        """The phases in a function and in those that it enters."""
        found, waiting, seen = set[str](), [function], set[FunctionCode]()
        while waiting:
            if (one := waiting.pop()) not in seen:
                seen.add(one)
                unit = self.unit_of(one)
                found |= set(unit.kinds.values())
                waiting += [f for functions in unit.entered.values() for f in functions]
        return found

    def units(self) -> list[CodeUnit]:
        """The units of the loop and of the functions that are entered from it."""
        found: list[CodeUnit] = []
        waiting = [self.loop]
        while waiting:
            unit = waiting.pop(0)
            if all(unit is not one for one in found):
                found.append(unit)
                waiting += [self.unit_of(f) for many in unit.entered.values() for f in many]
        return found

    # ── One unit

    def _unit(self, body: list[ast.stmt], function: FunctionCode | None) -> CodeUnit:
        unit = CodeUnit(body, function)
        flow = StatementFlow(body)
        for node in flow.heads:
            self._by_name(unit, node)
        self._mark_synchronize(unit)
        self._mark_losses(unit, flow)
        if not self.has_optimizer:
            mark_by_hand(unit, flow, has_backward=self.has_backward)
        self._mark_arguments(unit, flow)
        join_parameter_loops(unit)
        if function is not None:
            take_as_one_update(unit, function)
        return unit

    def _by_name(self, unit: CodeUnit, node: ast.stmt) -> None:
        """Mark a statement by the names that it calls, and by the functions that it enters."""
        signs = self.signs.named(node)
        changes = [] if self.has_optimizer else self.signs.changes(node)
        if changes:
            signs.add(UPDATE)
            unit.changes += changes
        callees = self._training_callees(node)
        inside = set().union(*(self.reach_of(f) for f in callees)) if callees else set()
        mixed = [f for f in callees if _is_mixed(self.reach_of(f))]
        if mixed and any(self.signs.is_optimizer_step(c) and c.args for c in _own_calls(node)):
            signs.discard(UPDATE)
            self._mark_closures(mixed)
        if kind := _strongest(signs) or ("" if mixed else _strongest(inside & TRAINING)):
            unit.kinds[node] = kind
        if mixed:
            unit.entered[node] = mixed
        elif kind:
            unit.changes += [c for f in callees for c in self.unit_of(f).changes]
        unit.losses += self.signs.losses_in(_own_calls(node))

    def _mark_closures(self, closures: list[FunctionCode]) -> None:
        """Mark where closures return to the step of an optimizer: that goes on with the update."""
        for closure in closures:
            returns = [s for s in statements(closure.body) if isinstance(s, ast.Return)]
            self.unit_of(closure).kinds.update(dict.fromkeys(returns, UPDATE))

    def _training_callees(self, node: ast.stmt) -> list[FunctionCode]:
        """The functions called by a statement that have statements of training in them."""
        if isinstance(node, DEFINITIONS):
            return []
        return [f for f in self.index.used_functions(head_of(node)) if self.signs.of_functions([f])]

    def _mark_synchronize(self, unit: CodeUnit) -> None:
        """Make one phase of the statements that unite the ranks' gradients: sum and division."""
        gradients = [node for node, kind in unit.kinds.items() if kind == GRADIENT]
        sums = [n for n in gradients if any(map(is_synchronizing, _own_calls(n)))]
        taken = [n for n in gradients if any(map(self.signs.is_autograd, _own_calls(n)))]
        last = max((n.lineno for n in taken), default=0)
        if sums:
            found = [n for n in gradients if n in sums or n.lineno > last]
            unit.kinds |= dict.fromkeys(found, SYNCHRONIZE)

    # ── The loss whose gradient is taken, and the statements before it

    def _mark_losses(self, unit: CodeUnit, flow: StatementFlow) -> None:
        for node in flow.simple:
            for loss in self.signs.losses_in(_own_calls(node)):
                self._mark_loss(unit, flow, node, loss)

    def _mark_loss(
        self, unit: CodeUnit, flow: StatementFlow, node: ast.stmt, loss: ast.expr
    ) -> None:
        base = _base_of(loss)
        name = variable(base) if isinstance(base, ast.Name | ast.Attribute | ast.Subscript) else ""
        names = {name} if name else variables([loss])
        writers = flow.writers(node, names)
        if name and not any(name in writes(writer) for writer in writers):
            writers = flow.writers_behind(node, names)
        own = [writer for writer in writers if name and name in writes(writer)]
        values = {writer: getattr(writer, "value", None) for writer in own}
        starts = [writer for writer, value in values.items() if isinstance(value, ast.Constant)]
        for writer in writers:
            if writer not in starts or starts == own:
                unit.mark(flow, writer, LOSS if writer in own else PREDICT, node)

    # ── Arguments of functions that have phases in them

    def _mark_arguments(self, unit: CodeUnit, flow: StatementFlow) -> None:
        """Mark the values computed for a function that goes on with the loss or the gradient."""
        for node, functions in list(unit.entered.items()):
            inside = set().union(*(self.reach_of(f) for f in functions))
            local = [f for f in functions if self._is_local(f, unit)]
            names = variables(s for f in local for s in f.body)
            if PREDICT not in inside:
                names |= reads(node) - writes(node)
                kept = variables(s for f in functions for s in f.body)
                names |= {name for name in kept if name.startswith("self.")}
            for writer in flow.writers(node, names):
                unit.mark(flow, writer, PREDICT, node)

    def _is_local(self, function: FunctionCode, unit: CodeUnit) -> bool:
        """Whether a function is defined among the statements of a unit."""
        return any(function is node for node in statements(unit.body))


def _own_calls(node: ast.stmt) -> list[ast.Call]:
    if isinstance(node, DEFINITIONS):
        return []
    return [call for call in own_nodes(head_of(node)) if isinstance(call, ast.Call)]


def _is_mixed(kinds: set[str]) -> bool:
    return len(kinds) > 1 and bool(kinds & TRAINING)


def _strongest(signs: set[str]) -> str:
    order = (UPDATE, GRADIENT, *GRADIENT_CHANGES, RESET)
    return next((sign for sign in order if sign in signs), "")


def _base_of(loss: ast.expr) -> ast.expr:
    """`loss` of `(loss / 4)` and of `loss.mean()`."""
    while True:
        match loss:
            case ast.BinOp(left=left, op=ast.Div() | ast.Mult(), right=right):
                if variable(right) and not isinstance(right, ast.Call | ast.BinOp):
                    return left if variable(left) else loss
                loss = left
            case ast.Call(func=ast.Attribute(value=value, attr="mean" | "sum")):
                if not is_loss(variable(value).rpartition(".")[2]):
                    return loss
                loss = value
            case _:
                return loss


# ── The places where the loop's code is cut into phases ───────────────────────────────

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
            kind, is_entered = self._phase_of(node, unit)
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
            if isinstance(node, ast.With) and self._phase_of(node, unit)[1]:
                inner = list(self._inlined(node.body, unit))
                yield inner[0][0], node
                yield from inner[1:]
            else:
                yield node, node

    def _report(self, block: list[ast.stmt], unit: CodeUnit) -> list[ast.stmt]:
        """The statements of an epoch behind its last training statement."""
        known = [at for at, node in enumerate(block) if any(self._phase_of(node, unit))]
        return block[known[-1] + 1 :] if known else []

    def _else_of(self, block: list[ast.stmt], unit: CodeUnit) -> list[ast.stmt]:
        """The `else` of an epoch's last loop, where it does not train: it reports."""
        last = block[-1]
        orelse = last.orelse if isinstance(last, LOOPS) else []
        return [] if any(any(self._phase_of(node, unit)) for node in orelse) else orelse

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

    def _phase_of(self, node: ast.stmt, unit: CodeUnit) -> tuple[str, bool]:
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
        nodes = [node for node, _ in self._inlined(block, unit) if self._phase_of(node, unit)[1]]
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
            return self._phase_of(node, unit)[0] in _OF_BATCH
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
