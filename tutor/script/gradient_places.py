"""The places in a loop's code that have gradients: calls that return them, changes that use them.

A hook at each of these places (`instrument.py`) tells a run the gradient of a parameter where no
expression of the loop does: one that is returned, or a local variable of a function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from tutor.python_syntax import LoopCode, own_nodes, statements
from tutor.script.code_index import CodeIndex
from tutor.script.code_unit import CodeUnit
from tutor.script.data_flow import text_of
from tutor.script.hand_changes import HandChange, bare
from tutor.script.outline import GradientCall, GradientUse, span_of
from tutor.script.parameter_names import gradient_expression
from tutor.script.plain_numbers import PlainNumbers
from tutor.script.training_signs import TrainingSigns

_LIBRARIES = ("numpy.", "torch.", "math.")
_PLAIN = frozenset({"len", "sum", "abs", "float", "int", "max", "min", "zip", "range"})
_METHODS = frozenset({"sum", "mean", "dot", "reshape", "transpose", "matmul", "mm", "t", "item",
    "copy", "clone", "detach", "outer", "squeeze", "astype", "view", "norm", "float"})  # fmt: skip


def gradient_calls(
    index: CodeIndex, signs: TrainingSigns, nodes: Iterable[ast.stmt]
) -> Iterator[GradientCall]:
    """The calls in code that return the gradients of one of their arguments."""
    for call in own_nodes(nodes):
        if isinstance(call, ast.Call) and signs.is_backward(call):
            maker = _maker_of(index, call)
            given = _differentiated(call, maker)
            if given is not None and not isinstance(given, ast.Starred):
                yield GradientCall(span_of(call), span_of(given), _is_first(index, maker))


def _maker_of(index: CodeIndex, call: ast.Call) -> ast.Call | None:
    """The call of `torch.func.grad` that has made the function; None of `torch.autograd.grad`."""
    made = [call.func]
    if isinstance(call.func, ast.Name):
        made += index.bindings.get(call.func.id, ())
    return next((m for m in made if isinstance(m, ast.Call)), None)


def _differentiated(call: ast.Call, maker: ast.Call | None) -> ast.expr | None:
    """The argument of a call that the returned gradients are of."""
    if maker is None:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "backward":
            return None
        given = [w.value for w in call.keywords if w.arg == "inputs"]
        return [*call.args[1:2], *given, None][0]
    told = next((w.value for w in maker.keywords if w.arg == "argnums"), ast.Constant(0))
    number = told.value if isinstance(told, ast.Constant) else None
    is_known = isinstance(number, int) and len(maker.args) == 1 and number in range(len(call.args))
    return call.args[number] if isinstance(number, int) and is_known else None


def _is_first(index: CodeIndex, maker: ast.Call | None) -> bool:
    """Whether a function that differentiates returns a value beside the gradients."""
    if maker is None:
        return False
    name = index.dotted(maker.func).rpartition(".")[2]
    return name == "grad_and_value" or any(w.arg == "has_aux" for w in maker.keywords)


def gradient_uses(
    index: CodeIndex, units: Sequence[CodeUnit], loop: LoopCode
) -> Iterator[GradientUse]:
    """The places where the changes by hand in a loop's code use their gradients."""
    seen, numbers = set[int](), PlainNumbers(index)
    for unit in units:
        for one in unit.changes:
            change = one.element or one
            if id(change.terms) in seen:
                continue
            seen.add(id(change.terms))
            function = index.function_of(change.node)
            is_own = function is None or function in (unit.function, index.function_of(loop))
            body = unit.body if is_own or function is None else function.body
            gradient = gradient_expression(change, list(statements(body)), numbers)
            if gradient is not None and (use := _use_in(index, change, gradient)) is not None:
                yield use


def _use_in(index: CodeIndex, change: HandChange, gradient: ast.expr) -> GradientUse | None:
    parameter = text_of(bare(change.target))
    own = [n for n in ast.walk(change.node) if isinstance(n, ast.expr)]
    is_negated = isinstance(gradient, ast.UnaryOp) and not any(n is gradient for n in own)
    inner = gradient.operand if is_negated and isinstance(gradient, ast.UnaryOp) else gradient
    if any(n is inner for n in own):
        return GradientUse(span_of(inner), parameter, "", is_negated)
    if not _can_run_twice(index, gradient):
        return None
    parts = [n for _, term in change.terms for n in ast.walk(term) if _is_read(n)]
    place = next((p for p in parts if any(n is p for n in own)), None)
    if place is None:
        return None
    assert isinstance(place, ast.expr)
    return GradientUse(span_of(place), parameter, text_of(gradient))


def _is_read(node: ast.AST) -> bool:
    return isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


def _can_run_twice(index: CodeIndex, node: ast.expr) -> bool:
    """Whether an expression only computes, so that to evaluate it once more changes nothing."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom | ast.Lambda):
            return False
        if isinstance(inner, ast.Call):
            name = index.dotted(inner.func)
            is_library = name.startswith(_LIBRARIES) and "rand" not in name
            is_method = isinstance(inner.func, ast.Attribute) and inner.func.attr in _METHODS
            if not (is_library or is_method or name in _PLAIN) or index.callees(inner.func):
                return False
    return True
