"""The statements that change a parameter by hand: `w -= lr * dw`, `w.data.add_(-lr * w.grad)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tutor.python_syntax import called_name, last_name, names_in, substituted
from tutor.script.data_flow import (
    base_variable,
    is_gradient,
    is_loss,
    is_rate,
    sources,
    variable,
    variables,
)

_ADDING = {"add_": 1, "sub_": -1, "subtract_": -1, "addcdiv_": 1, "addcmul_": 1, "assign_sub": -1}
_SETTING = frozenset({"copy_", "set_"})
_BUILT = (ast.BinOp, ast.Call, ast.ListComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class HandChange:
    """A parameter, and the term that a statement adds to it."""

    target: ast.expr
    """The parameter as it stands in the code."""
    terms: tuple[tuple[int, ast.expr], ...]
    """The signed terms that are added to it."""
    node: ast.stmt
    rate: ast.expr | None = None
    """A factor of the only term that is the learning rate, though not by its name."""
    element: HandChange | None = None
    """The change of one element, where all are changed in a comprehension."""

    @property
    def variable(self) -> str:
        """The variable of the parameter."""
        return base_variable(self.target)

    @property
    def added(self) -> list[ast.expr]:
        """The terms without their signs."""
        return [term for _, term in self.terms]

    @property
    def is_iterated(self) -> bool:
        """Whether it changes all elements in a comprehension."""
        value = getattr(self.node, "value", None)
        return isinstance(value, ast.ListComp | ast.DictComp) and variable(self.target) != ""


def candidates(node: ast.stmt) -> Iterator[HandChange]:
    """The changes that a training statement makes, by its form alone."""
    match node:
        case ast.AugAssign(target=target, op=ast.Sub() | ast.Add() as op, value=value):
            yield HandChange(target, tuple(_terms(value, _sign(op))), node)
        case ast.Assign(targets=[target], value=value):
            yield from _assigned_changes(target, value, node)
        case ast.Return(value=ast.expr() as value):
            for part in value.elts if isinstance(value, ast.Tuple) else [value]:
                yield from _from_value(None, part, node)
        case ast.Expr(value=ast.Call() as call):
            yield from _call_changes(call, node)


def renamed_later(node: ast.stmt) -> Iterator[HandChange]:
    """The change in `w2 = w - lr * dw`, if the parameter is given this value later."""
    match node:
        case ast.Assign(targets=[ast.Name() | ast.Subscript()], value=value):
            yield from _from_value(None, value, node)


def _assigned_changes(target: ast.expr, value: ast.expr, node: ast.stmt) -> Iterator[HandChange]:
    if isinstance(target, ast.Tuple | ast.List):
        if isinstance(value, ast.Tuple | ast.List):
            for one, part in zip(target.elts, value.elts, strict=False):
                yield from _assigned_changes(one, part, node)
    elif isinstance(value, ast.Tuple | ast.List):
        for part in value.elts:
            yield from _from_value(None, part, node, shown=target)
    else:
        yield from _from_value(target, value, node)


def _from_value(
    target: ast.expr | None, value: ast.expr, node: ast.stmt, shown: ast.expr | None = None
) -> Iterator[HandChange]:
    """The change in `w - lr * dw`, and in a comprehension of such values."""
    inner = _unwrapped(value)
    match inner:
        case (
            ast.ListComp(elt=elt, generators=[first, *_])
            | ast.GeneratorExp(elt=elt, generators=[first, *_])
        ):
            yield from _of_elements(target, elt, first, node)
        case ast.DictComp(value=elt, generators=[first, *_]):
            yield from _of_elements(target, elt, first, node)
        case ast.BinOp():
            terms = list(_terms(inner, 1))
            for index, (sign, term) in enumerate(terms):
                if sign > 0 and len(terms) > 1 and _may_be_old(term, target):
                    rest = (*terms[:index], *terms[index + 1 :])
                    yield HandChange(shown or target or term, rest, node)
                    return


def _of_elements(
    target: ast.expr | None, elt: ast.expr, first: ast.comprehension, node: ast.stmt
) -> Iterator[HandChange]:
    """The change of all elements in `params = [p - lr * g for p, g in zip(params, grads)]`."""
    if target is not None and variable(target) not in variables([first.iter, elt]):
        return
    over = first.iter.args if isinstance(first.iter, ast.Call) else [first.iter]
    whole = target or next((one for one in over if variable(one)), None)
    targets = list(first.target.elts) if isinstance(first.target, ast.Tuple) else [first.target]
    goes_through = {n: o for t, o in zip(targets, over, strict=False) for n in names_in(t)}
    for part in elt.elts if isinstance(elt, ast.Tuple) else [elt]:
        for change in _from_value(None, part, node):
            own = {n: o for n, o in goes_through.items() if n != variable(change.target)}
            terms = tuple((sign, substituted(term, own)) for sign, term in change.terms)
            yield HandChange(whole or change.target, terms, node, element=change)


def _may_be_old(term: ast.expr, target: ast.expr | None) -> bool:
    """Whether a term is the old value of the assigned variable (of any, if that is not known)."""
    match term:
        case ast.Call(func=ast.Attribute(value=value, attr="detach" | "clone" | "copy")):
            return _may_be_old(value, target)
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return target is None or _is_same(term, target)
    return False


def _is_same(one: ast.expr, other: ast.expr) -> bool:
    """Whether two expressions name the same thing; an element of a path may be the one before."""
    first, second = bare(one), bare(other)
    if ast.unparse(first) == ast.unparse(second):
        return True
    match first, second:
        case ast.Subscript(), ast.Subscript():
            return _is_next(first, second)
    return False


def _is_next(one: ast.Subscript, other: ast.Subscript) -> bool:
    """Whether they are `path[i]` and `path[i + 1]`."""
    plain = {ast.unparse(one.slice), ast.unparse(other.slice)}
    is_next = any({f"{p} + 1", p} == plain or {f"{p} - 1", p} == plain for p in plain)
    return is_next and ast.unparse(one.value) == ast.unparse(other.value)


def bare(node: ast.expr) -> ast.expr:
    """`w` of `w.data` and `w[:]`."""
    while True:
        match node:
            case ast.Attribute(value=value, attr="data"):
                node = value
            case ast.Subscript(value=value, slice=ast.Slice(lower=None, upper=None)):
                node = value
            case ast.Subscript(value=value, slice=ast.Constant(value=v)) if v is ...:
                node = value
            case _:
                return node


def _unwrapped(value: ast.expr) -> ast.expr:
    """`w - lr * g` of `(w - lr * g).detach().requires_grad_()` and `np.array(w - lr * g)`."""
    while isinstance(value, ast.Call):
        if isinstance(value.func, ast.Attribute) and not isinstance(value.func.value, ast.Name):
            value = value.func.value
        elif value.args and isinstance(value.args[0], _BUILT):
            value = value.args[0]
        else:
            break
    return value


def _call_changes(call: ast.Call, node: ast.stmt) -> Iterator[HandChange]:
    """`w.data.add_(-lr, w.grad)`, `w.copy_(w - lr * g)`, `np.subtract(w, lr * dw, out=w)`."""
    out = next((word.value for word in call.keywords if word.arg == "out"), None)
    match call:
        case ast.Call(func=ast.Attribute(value=value, attr=attr), args=[_, *_] as args):
            if attr in _ADDING:
                alpha = [word.value for word in call.keywords if word.arg in ("alpha", "value")]
                terms = _terms(_product([*alpha, *args]), _ADDING[attr])
                yield HandChange(bare(value), tuple(terms), node)
            elif attr == "mul_":
                yield HandChange(bare(value), ((1, args[0]),), node)  # weight decay
            elif attr in _SETTING:
                yield from _from_value(bare(value), args[0], node)
            elif attr in ("subtract", "add") and out is not None and len(args) > 1:
                yield HandChange(out, tuple(_terms(args[1], 1 if attr == "add" else -1)), node)
            elif attr == "append" and isinstance(args[0], ast.BinOp):
                yield from _appended(value, args[0], node)


def _appended(path: ast.expr, value: ast.BinOp, node: ast.stmt) -> Iterator[HandChange]:
    """The change in `path.append(path[-1] - lr * g)`."""
    for change in _from_value(None, value, node):
        if isinstance(change.target, ast.Subscript) and _is_same(change.target.value, path):
            yield change


def _product(factors: list[ast.expr]) -> ast.expr:
    product = factors[0]
    for factor in factors[1:]:
        product = ast.copy_location(ast.BinOp(product, ast.Mult(), factor), factor)
    return product


def _terms(value: ast.expr, sign: int) -> Iterator[tuple[int, ast.expr]]:
    """The signed terms of a sum."""
    match value:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            yield from _terms(left, sign)
            yield from _terms(right, sign * _sign(op))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield from _terms(operand, -sign)
        case ast.BinOp(left=ast.UnaryOp(op=ast.USub(), operand=operand), op=op, right=right):
            yield -sign, ast.copy_location(ast.BinOp(operand, op, right), value)
        case ast.BinOp(left=left, op=op, right=ast.UnaryOp(op=ast.USub(), operand=operand)):
            yield -sign, ast.copy_location(ast.BinOp(left, op, operand), value)
        case _:
            yield sign, value


def factors_of(term: ast.expr) -> Iterator[ast.expr]:
    """The factors of a product, without what it is divided by."""
    match term:
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            yield from factors_of(left)
            yield from factors_of(right)
        case ast.BinOp(left=left, op=ast.Div()):
            yield from factors_of(left)
        case ast.UnaryOp(operand=operand):
            yield from factors_of(operand)
        case _:
            yield term


def _sign(op: ast.operator) -> int:
    return 1 if isinstance(op, ast.Add) else -1


@dataclass(frozen=True, slots=True)
class ChangeContext:
    """The code around a change, as far as it tells whether it trains."""

    computed_from: Mapping[str, set[str]]
    """The dependences in the loop around it."""
    is_temporary: bool
    """Whether its variable is given another value there too, or is a function's parameter."""
    values: Mapping[str, Sequence[ast.expr]]
    """A variable that is added or tested → the expressions assigned to it."""
    tests: Sequence[ast.expr]
    """The conditions of the `if`s that it stands in."""
    is_beside: bool
    """Whether it stands beside a change that trains: the bias beside the weights."""


def is_training(change: HandChange, context: ChangeContext) -> bool:
    """Whether a change of this form is a step of training."""
    own, last = change.variable, last_name(change.target)
    if not own or own.endswith(".grad") or last == "grad" or is_gradient(last) or is_rate(last):
        return False
    names = variables(change.added)
    is_added = all(sign > 0 for sign, _ in change.terms)
    words = {word for term in change.added for word in _words(term)}
    if any(name.endswith(".grad") for name in names) and (not is_added or any(map(is_rate, words))):
        return True
    if is_added and is_loss(last):  # a penalty: `loss += alpha * (p ** 2).sum()`
        return False
    if any(map(is_rate, words)):
        grows = own in names and not _has_difference(change, names, context)  # by interest
        return len(words) > 1 and (not is_added or not (context.is_temporary or grows))
    if not is_added and any(map(is_gradient, words)):
        return True
    if context.is_temporary or (is_added and _counts(change)):
        return False
    return _is_scaled_before(names, context) or _depends(change, own, context)


def _counts(change: HandChange) -> bool:
    """Whether only whole numbers are added: `int(y != t)`, `len(x)`."""
    return all(
        isinstance(term, ast.Constant)
        or (isinstance(term, ast.Call) and last_name(term.func) in ("int", "len", "bool", "sum"))
        or any(isinstance(n, ast.Compare) for n in ast.walk(term))
        for term in change.added
    )


def _is_scaled_before(names: set[str], context: ChangeContext) -> bool:
    """Whether a learning rate or a gradient goes into the added term: `v = 0.9 * v - lr * g`."""
    words = {w for name in names for value in context.values.get(name, ()) for w in _words(value)}
    return any(is_rate(word) or is_gradient(word) for word in words)


def _depends(change: HandChange, own: str, context: ChangeContext) -> bool:
    """Whether the added term is computed from the parameter, and not only scaled by it."""
    read = variables(change.added)
    others = {k: v for k, v in context.computed_from.items() if k != own}
    is_product = any(_multiplies(n) for t in change.added for n in ast.walk(t))
    if is_subtracted := any(sign < 0 for sign, _ in change.terms):
        values = [v for name in read & set(context.values) for v in context.values[name]]
        is_product |= any(_multiplies(n) for v in values for n in ast.walk(v))
    if own in sources(read - {own}, others) and is_product:
        words = {word for term in change.added for word in _words(term)}
        is_sure = is_subtracted or any(map(is_gradient, words))
        return is_sure or _has_difference(change, read, context)
    named = [v for n in variables(context.tests) for v in context.values.get(n, ())]
    is_tested = any(_uses(test, own) for test in [*context.tests, *named])
    if is_tested and (is_product or context.is_beside):
        return True  # a perceptron's step after a mistake
    is_scaled = any(isinstance(t, ast.BinOp) and isinstance(t.op, _SCALING) for t in change.added)
    return own in read and is_scaled and is_subtracted


def _multiplies(node: ast.AST) -> bool:
    """Whether a node of an expression is a product, or an operator of one."""
    return isinstance(node, _PRODUCTS) or called_name(node) in _PRODUCT_CALLS


def _has_difference(change: HandChange, read: set[str], context: ChangeContext) -> bool:
    """Whether an error, the difference of two values, goes into the added term."""
    values = [value for name in read for value in context.values.get(name, ())]
    nodes = (node for value in [*change.added, *values] for node in ast.walk(value))
    return any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub) for n in nodes)


def _uses(test: ast.expr, own: str) -> bool:
    """Whether a condition computes with a variable, and does not only compare it."""
    nodes = list(ast.walk(test))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    products = [n for n in nodes if isinstance(n, ast.BinOp) and isinstance(n.op, _PRODUCTS)]
    return own in variables([*calls, *products])


_PRODUCTS = (ast.Mult, ast.MatMult, ast.Div)
_PRODUCT_CALLS = frozenset({"dot", "matmul", "outer", "mm", "einsum", "multiply", "mul"})
_SCALING = (ast.Mult, ast.Div)


def _words(node: ast.expr) -> Iterator[str]:
    """The last parts of the names in an expression, text keys of elements included."""
    for inner in ast.walk(node):
        match inner:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.Subscript(slice=ast.Constant(value=str() as name)):
                yield name
