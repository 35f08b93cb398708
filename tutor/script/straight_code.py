"""A script's training loop as a lesson runs it: Setup, then the phases of a batch, in a row.

A lesson's code stands in no function and in no loop. What stands there in the script is taken
out where that computes the same; elsewhere the script is refused, with the line.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import msgspec

from tutor.lesson.model import LOSS, PREDICT, REPORT, RESET
from tutor.python_syntax import called_name, first_line, is_chain, own_nodes
from tutor.script.code_pieces import (
    InlinedCalls,
    LineNamer,
    calls_name,
    made,
    refusal,
)
from tutor.script.outline import ScriptPhase, TrainingLoop

PhaseCode: TypeAlias = tuple[ScriptPhase, list[ast.stmt]]
"""A phase and its statements."""


@dataclass(frozen=True, slots=True)
class StraightCode:
    """The statements of a script in the order in which a lesson runs them."""

    setup: list[ast.stmt | str] = field(default_factory=list)
    """The statements before the loop; a text is an assignment of an argument."""
    loop: ast.For | None = None
    before_batches: list[ast.stmt] = field(default_factory=list)
    batch_loop: ast.For | None = None
    phases: list[PhaseCode] = field(default_factory=list)
    """The statements of a batch, each with the phase that it is part of or follows."""
    report: list[ast.stmt] = field(default_factory=list)
    """The statements behind the batches."""
    left_out: int = 0
    """The line of the first statement behind the loop; 0 if there is none."""
    stops: int = 0
    """The line of a report's statement that ends the script's loop early; 0 if there is none."""


class Straightener:
    """Takes a loop and all that runs before it out of the functions that they stand in."""

    def __init__(self, tree: ast.Module, loop: TrainingLoop, place: LineNamer) -> None:
        self._tree, self._outline = tree, loop
        self._refusal = partial(refusal, place)
        self._calls = InlinedCalls(tree, place)
        self._moved: dict[int, int] = {}
        """The line of a `with` that has been cut up → the line of its first statement."""
        self._left_out = self._stops = 0

    def straight(self) -> StraightCode:
        """The whole code. Raises ScriptError."""
        setup: list[ast.stmt | str] = []
        loop = self._descend(self._tree.body, setup)
        if loop is None:
            function = self._outline.function
            raise self._refusal(self._outline.line, "loop_in_function", function=function)
        if not isinstance(loop, ast.For):
            raise self._refusal(loop.lineno, "while_loop")
        return self._cut(loop, setup)

    def _is_inlined(self, statement: ast.stmt) -> bool:
        return isinstance(statement, ast.FunctionDef) and statement.name in self._calls.inlined

    # ── Down to the loop ────────────────────────────────────────────────────────────

    def _descend(
        self, body: Sequence[ast.stmt], setup: list[ast.stmt | str]
    ) -> ast.For | ast.While | None:
        """The loop below these statements; the code that runs before it is added to Setup."""
        for at, statement in enumerate(body):
            inner = self._way_into(statement)
            if inner is None:
                if not isinstance(statement, ast.Global):
                    setup.append(statement)
                continue
            if at + 1 < len(body):
                self._left_out = first_line(body[at + 1])
            if isinstance(inner, ast.For | ast.While):
                return inner
            if isinstance(inner, ast.Try):  # what it does after an error, or at the end, follows
                rest = [*(h.body[0] for h in inner.handlers), *inner.orelse, *inner.finalbody]
                self._left_out = first_line(rest[0])
            if isinstance(inner, ast.If | ast.Try):
                return self._descend(inner.body, setup)
            call, function = inner
            setup += self._calls.arguments(call, function)
            self._calls.inlined.add(function.name)
            self._calls.check_names(call, function, setup)
            return self._descend(function.body, setup)
        return None

    def _way_into(
        self, statement: ast.stmt
    ) -> ast.For | ast.While | ast.If | ast.Try | tuple[ast.Call, ast.FunctionDef] | None:
        """The block that a statement leads into on the way to the loop; None if it does not."""
        if not self._leads_to_loop(statement):
            return None
        match statement:
            case ast.For() | ast.While() if first_line(statement) == self._outline.line:
                return statement
            case ast.If(orelse=[], test=test) if "__name__" in ast.unparse(test):
                return statement
            case ast.Try(handlers=handlers):
                raised = [n for n in ast.walk(statement) if isinstance(n, ast.Raise)]
                if handlers and raised:
                    raise self._refusal(raised[0].lineno, "leaves_loop", word="raise")
                return statement
            case ast.Expr(value=ast.Call() as call) | ast.Assign(value=ast.Call() as call):
                function = self._calls.function_of(call)
                if function is not None and self._holds(function):
                    self._calls.check_is_only(call, function)
                    return call, function
            case ast.FunctionDef() | ast.ClassDef():
                return None
        codes = (code for kind, code in _AROUND.items() if isinstance(statement, kind))
        raise self._refusal(first_line(statement), next(codes, "loop_not_run_plainly"))

    def _leads_to_loop(self, statement: ast.stmt) -> bool:
        """Whether the loop stands in a statement, or in a function that it calls."""
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            return False
        line, column = self._outline.line, self._outline.column
        for node in ast.walk(statement):
            if isinstance(node, ast.For | ast.While) and (node.lineno, node.col_offset) == (
                line,
                column,
            ):
                return True
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                function = self._calls.functions.get(node.func.id)
                if function and function.name not in self._calls.inlined and self._holds(function):
                    return True
        return False

    def _holds(self, function: ast.FunctionDef, seen: frozenset[str] = frozenset()) -> bool:
        """Whether the loop stands in a function, or in a function that this one calls."""
        if function.lineno <= self._outline.line <= (function.end_lineno or 0):
            return True
        called = {n.func.id for n in ast.walk(function) if calls_name(n)}  # type: ignore[attr-defined]
        inner = [f for name, f in self._calls.functions.items() if name in called - seen]
        return any(self._holds(f, seen | {function.name}) for f in inner)

    # ── The loop's body ─────────────────────────────────────────────────────────────

    def _without_calls(
        self, loop: ast.For, body: Sequence[ast.stmt], setup: list[ast.stmt | str]
    ) -> list[ast.stmt]:
        """The statements; in the place of a call of a function with phases, its own."""
        found: list[ast.stmt] = []
        for statement in body:
            if isinstance(statement, ast.For):
                inner = self._without_calls(loop, statement.body, setup)
                if inner != statement.body:
                    whole = ast.For(statement.target, statement.iter, inner, statement.orelse)
                    statement = ast.copy_location(whole, statement)
                found.append(statement)
            elif (call := self._call_of_phases(statement)) is None:
                found.append(statement)
            else:
                of_function = self._calls.statements(statement, call, loop, setup)
                found += self._without_calls(loop, of_function, setup)
        return found

    def _call_of_phases(self, statement: ast.stmt) -> ast.Call | None:
        """The call of a function in which a phase begins."""
        match statement:
            case ast.Expr(value=ast.Call() as call) | ast.Assign(value=ast.Call() as call):
                function = self._calls.function_of(call)
                if function and any(_is_below(function, p.line) for p in self._outline.phases):
                    return call
        return None

    def _cut(self, loop: ast.For, setup: list[ast.stmt | str]) -> StraightCode:
        self._check_has_no_else(loop)
        body = self._without_contexts(self._without_calls(loop, loop.body, setup))
        batch_loop = self._batch_loop(body)
        before, behind = [], []
        if batch_loop:
            at = body.index(batch_loop)
            before, behind = body[:at], body[at + 1 :]
            body = self._without_contexts(batch_loop.body)
        found, report = self._phases(body)
        if batch_loop and report:  # of each batch: it goes with the last phase
            found[-1][1].extend(report)
            report = []
        self._check_is_straight([*before, *(s for _, block in found for s in block)])
        report = self._without_exits([*report, *behind])
        kept = [s for s in setup if not (isinstance(s, ast.stmt) and self._is_inlined(s))]
        ends = self._left_out, self._stops
        return StraightCode(kept, loop, before, batch_loop, found, report, *ends)

    def _without_exits(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The statements of a report, with an `else` behind what ends its pass early."""
        for at, statement in enumerate(body):
            exits = list(_leaving([statement]))
            if not exits:
                continue
            self._stops = self._stops or next(
                (e.lineno for e in exits if not isinstance(e, ast.Continue)), 0
            )
            before, rest = body[:at], self._without_exits(body[at + 1 :])
            match statement:
                case ast.Break() | ast.Continue() | ast.Return():
                    return [*before]
                case ast.If(body=[*own, last], orelse=[]) if exits == [last]:
                    return [*before, _condition(statement, own, rest)]
                case ast.If(body=own, orelse=other) if not rest:
                    parts = self._without_exits(own), self._without_exits(other)
                    return [*before, _condition(statement, *parts)]
            self._check_is_straight([statement])
        return [*body]

    def _without_contexts(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The statements; `with torch.no_grad():` around phases becomes one around each."""
        found: list[ast.stmt] = []
        for statement in body:
            begins = [p for p in self._outline.phases if _is_below(statement, p.line)]
            is_context = isinstance(statement, ast.With) and all(
                isinstance(item.context_expr, ast.Call)
                and ast.unparse(item.context_expr.func) in _CONTEXTS
                for item in statement.items
            )
            if not is_context or not begins:
                found.append(statement)
                continue
            assert isinstance(statement, ast.With)
            self._moved[statement.lineno] = first_line(statement.body[0])
            parts = (ast.With(statement.items, [inner]) for inner in statement.body)
            for part in parts:
                found.append(ast.copy_location(part, part.body[0]))
        return found

    def _batch_loop(self, body: Sequence[ast.stmt]) -> ast.For | None:
        """The loop over batches; None if the phases stand in the loop itself."""
        phases = [p for p in self._outline.phases if p.name != REPORT]
        inside = [p for p in phases if not self._begin_of(p, body)]
        if not inside:
            return None
        lost = inside[0]
        for at, statement in enumerate(body):
            if not isinstance(statement, ast.For):
                continue
            inner = self._without_contexts(statement.body)
            missing = [p for p in inside if not self._begin_of(p, inner)]
            if missing == inside:
                continue
            self._check_has_no_else(statement)
            self._check_is_straight(statement.body)
            late = next((p for p in phases if self._begin_of(p, body[at + 1 :])), None)
            if late:
                raise self._refusal(late.line, "phase_behind_batches", phase=late.name)
            if not missing:
                return statement
            lost = missing[0]
        function = next((f for f in self._inner_functions() if _is_below(f, lost.line)), None)
        if function:
            values = {"phase": lost.name, "function": function.name}
            code = "phase_in_closure" if self._is_closure(function) else "phase_in_function"
            raise self._refusal(function.lineno, code, **values)
        raise self._refusal(lost.line, "phase_in_inner_block", phase=lost.name)

    def _is_closure(self, function: ast.FunctionDef) -> bool:
        """Whether an optimizer's step is given the function."""
        return any(
            isinstance(node, ast.Call)
            and called_name(node) == "step"
            and any(ast.unparse(argument) == function.name for argument in node.args)
            for node in ast.walk(self._tree)
        )

    def _inner_functions(self) -> list[ast.FunctionDef]:
        """The functions that do not hold the loop, and have not taken their calls' places."""
        every = (node for node in ast.walk(self._tree) if isinstance(node, ast.FunctionDef))
        return [f for f in every if not self._is_inlined(f) and not self._holds(f)]

    def _begin_of(self, phase: ScriptPhase, body: Sequence[ast.stmt]) -> ast.stmt | None:
        """The statement of a block that a phase begins with."""
        return _statement_on(body, self._moved.get(phase.line, phase.line))

    def _check_has_no_else(self, loop: ast.For) -> None:
        if loop.orelse:
            raise self._refusal(loop.orelse[0].lineno, "loop_with_else")

    def _check_is_straight(self, body: Sequence[ast.stmt]) -> None:
        for node in _leaving(body):
            word = type(node).__name__.lower()
            raise self._refusal(node.lineno, "leaves_loop", word=word)

    def _phases(self, body: Sequence[ast.stmt]) -> tuple[list[PhaseCode], list[ast.stmt]]:
        """The statements by phase, and the statements of the report at the end."""
        begins: dict[int, ScriptPhase] = {}
        for phase in self._outline.phases:
            if (first := self._begin_of(phase, body)) is not None:
                begins.setdefault(first_line(first), phase)
        row = _PhaseRow()
        for statement in body:
            row.add(statement, begins.get(first_line(statement)))
        found = _with_prediction(_without_doubles(row.all()), self._outline)
        self._check_phases(found)
        return found, row.report

    def _check_phases(self, found: list[PhaseCode]) -> None:
        names = [phase.name for phase, _ in found]
        for at, (phase, _) in enumerate(found):
            if phase.name in names[:at]:
                raise self._refusal(phase.line, "phase_twice", phase=phase.name)
        if LOSS not in names:
            raise self._refusal(self._outline.line, "no_line_of_loss")


class _PhaseRow:
    """Statements put into phases, one after the other.

    What is no phase goes with the one before it, and so does a report that is not the end.
    """

    def __init__(self) -> None:
        self.report: list[ast.stmt] = []
        self._found: list[PhaseCode] = []
        self._waiting: list[ast.stmt] = []
        """The statements that go with the next phase."""

    def add(self, statement: ast.stmt, begins: ScriptPhase | None) -> None:
        """Add a statement, and the phase that begins with it."""
        is_plain = begins is None or begins.name == REPORT
        if is_plain and (self.report or begins is not None):
            self.report.append(statement)
        elif begins is None or is_plain:
            is_of_next = not self._found or self._waiting or _clips(statement)
            (self._waiting if is_of_next else self._found[-1][1]).append(statement)
        else:
            is_behind = self._found and not self._waiting
            (self._found[-1][1] if is_behind else self._waiting).extend(self.report)
            self.report = []
            if self._found and self._found[-1][0].name == begins.name:
                self._found[-1][1].extend([*self._waiting, statement])
            else:
                self._found.append((begins, [*self._waiting, statement]))
            self._waiting = []

    def all(self) -> list[PhaseCode]:
        """The phases, in the order in which they run."""
        if self._found:
            self._found[-1][1].extend(self._waiting)
            self._waiting = []
        return self._found


_AROUND: dict[type[ast.stmt] | tuple[type[ast.stmt], ...], str] = {
    ast.With: "loop_in_with",
    (ast.For, ast.While): "loop_in_loop",
    ast.If: "loop_in_condition",
}
"""The codes of statements that a lesson's loop can't stand in."""
_CONTEXTS = ("torch.no_grad", "no_grad", "torch.inference_mode", "torch.enable_grad", "autocast",
             "torch.autocast", "torch.amp.autocast", "torch.cuda.amp.autocast")  # fmt: skip
"""Contexts that do the same around each of several statements as around all of them."""


def _without_doubles(
    found: list[PhaseCode],
) -> list[PhaseCode]:
    """The phases, those that stand twice joined with the next one or the one before.

    Of several Predicts the last is kept, of several Resets the first.
    """
    kept: list[PhaseCode] = []
    waiting: list[ast.stmt] = []
    for at, (phase, statements) in enumerate(found):
        later = [other.name for other, _ in found[at + 1 :]]
        earlier = [other.name for other, _ in kept]
        if phase.name == PREDICT and PREDICT in later:
            waiting += statements
        elif phase.name == RESET and RESET in earlier:
            kept[-1][1].extend([*waiting, *statements])
            waiting = []
        else:
            kept.append((phase, [*waiting, *statements]))
            waiting = []
    return kept


def _with_prediction(found: list[PhaseCode], loop: TrainingLoop) -> list[PhaseCode]:
    """The phases; where none is Predict, the prediction is taken out of the loss."""
    names = [phase.name for phase, _ in found]
    if PREDICT in names or LOSS not in names:
        return found
    at = names.index(LOSS)
    phase, (first, *others) = found[at]
    parts = split_prediction(first, loop.prediction or "y_pred")
    if parts is None:
        return found
    prediction, loss = parts
    predict = msgspec.structs.replace(phase, name=PREDICT)
    both = [(predict, [prediction]), (phase, [loss, *others])]
    return [*found[:at], *both, *found[at + 1 :]]


def _condition(like: ast.If, own: list[ast.stmt], other: list[ast.stmt]) -> ast.If:
    """The same condition of other statements."""
    return made(ast.copy_location(ast.If(like.test, own or [ast.Pass()], other), like))


def _is_below(statement: ast.stmt, line: int) -> bool:
    """Whether a line is one of a statement's, but not its first."""
    return first_line(statement) < line <= (statement.end_lineno or 0)


def _statement_on(body: Sequence[ast.stmt], line: int) -> ast.stmt | None:
    """The statement that begins on a line, or the `if` around one that does."""
    found = (s for s in body if first_line(s) == line)
    return next(found, None) or next(
        (s for s in body if isinstance(s, ast.If) and _is_below(s, line)), None
    )


def _clips(statement: ast.stmt) -> bool:
    """Whether it changes gradients: it belongs to the update, not to the gradient before it."""
    return "clip_grad" in ast.unparse(statement)


def _leaving(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that leave a loop, or its pass, or the function around it."""
    for statement in body:
        for node in own_nodes([statement]):
            if isinstance(node, ast.Return) or (
                isinstance(node, ast.Break | ast.Continue) and not _is_of_inner(node, statement)
            ):
                yield node


def _is_of_inner(node: ast.AST, statement: ast.stmt) -> bool:
    """Whether a `break` belongs to a loop inside of the statement."""
    loops = (n for n in ast.walk(statement) if isinstance(n, ast.For | ast.While))
    return any(node in ast.walk(part) for loop in loops for part in loop.body)


# ── The prediction as a statement of its own ──────────────────────────────────────────


def split_prediction(statement: ast.stmt, name: str) -> tuple[ast.stmt, ast.stmt] | None:
    """A statement's prediction and the rest of it; None if there is none to take out.

    The prediction is what Python computes first there, so that nothing changes its place.
    """
    if not isinstance(statement, ast.Assign):
        return None
    rest = copy.deepcopy(statement)
    owner, field = _place_of(rest.value)
    if owner is None or any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(rest)):
        return None
    prediction = owner.args[0] if isinstance(owner, ast.Call) else getattr(owner, field)
    read = ast.Name(name, ast.Load())
    if isinstance(owner, ast.Call):
        owner.args[0] = read
    else:
        setattr(owner, field, read)
    own = ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], prediction), statement)
    return made(own), made(rest)


def _place_of(node: ast.expr) -> tuple[ast.AST | None, str]:
    """Where the prediction stands: before a minus sign, or as the first of several arguments."""
    match node:
        case ast.BinOp(op=ast.Sub(), left=left) if _is_calculation(left):
            return node, "left"
        case ast.BinOp(left=left):
            return _place_of(left)
        case ast.UnaryOp(operand=operand):
            return _place_of(operand)
        case ast.Call(func=ast.Name() | ast.Attribute() as function, args=[first, *others]):
            if not is_chain(function):
                return _place_of(function)
            if others and _is_calculation(first):
                return node, "args"
            return _place_of(first)
        case ast.Call(func=function):
            return _place_of(function)
        case ast.Attribute(value=value):
            return _place_of(value)
    return None, ""


def _is_calculation(node: ast.expr) -> bool:
    return isinstance(node, ast.Call | ast.BinOp)
