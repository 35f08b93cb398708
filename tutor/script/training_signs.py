"""The signs of training in a statement: a gradient reset or taken, parameters updated.

A statement that calls a function of the file has the signs of that function too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import replace

from tutor.lesson.model import GRADIENT, RESET, UPDATE
from tutor.python_syntax import (
    BACKWARD_HELPERS,
    DEFINITIONS,
    FUNCTION_WRAPPERS,
    FUNCTIONS,
    LOOPS,
    FunctionCode,
    argument_names,
    blocks_of,
    called_name,
    is_gradient_function,
    last_name,
    own_nodes,
    parts_of,
    statements,
    targets_of,
)
from tutor.script.code_index import CodeIndex
from tutor.script.data_flow import (
    dependences,
    head_of,
    is_loss,
    is_whole,
    sources,
    variables,
    writes,
)
from tutor.script.hand_changes import (
    ChangeContext,
    HandChange,
    bare,
    candidates,
    is_training,
    renamed_later,
)
from tutor.script.plain_numbers import PlainNumbers

_OPTIMIZER = re.compile(r"opt|sgd|adam|rmsprop|lbfgs|scaler", re.IGNORECASE)
_NO_OPTIMIZER = re.compile(
    r"sched|warm|env|prof|pbar|bar$|sim|timer|writer|world|game|plateau|annealing|^lr|decay|"
    r"tracker|callback|progress|ema|option",
    re.IGNORECASE,
)
_SCHEDULERS = re.compile(r"lr_scheduler|Scheduler|scheduler|[a-z]LR$|ReduceLROnPlateau|Annealing")
_CLIPPING = frozenset({"clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "unscale_"})
_COLLECTIVE = frozenset({"all_reduce", "reduce", "all_gather", "reduce_scatter", "broadcast"})
_KEEP_GRADIENTS = FUNCTION_WRAPPERS - {"vmap"}
"""Wrappers that return a parameter's gradient as it is; vmap returns one for each example."""
_ZEROS = frozenset({"zeros", "zeros_like", "zero_"})


class TrainingSigns:
    """The signs of training in the statements of a script."""

    def __init__(self, index: CodeIndex) -> None:
        self.index, self.numbers = index, PlainNumbers(index)
        self._of_function: dict[FunctionCode, frozenset[str]] = {}
        self._tensors: dict[ast.ClassDef, bool] = {}
        self._named: dict[ast.stmt, set[str]] = {}
        self._changes: dict[ast.stmt, list[HandChange]] = {}

    # ── One statement

    def named(self, node: ast.stmt) -> set[str]:
        """The signs of a simple statement, by the names that it calls and assigns."""
        if node not in self._named:
            calls = [n for n in own_nodes(head_of(node)) if isinstance(n, ast.Call)]
            found = set().union(*map(self._called, calls))
            if self._is_reset(node):
                found.add(RESET)
            elif _is_gradient_change(node):
                found.add(GRADIENT)
            self._named[node] = found
        return set(self._named[node])

    def _called(self, call: ast.Call) -> set[str]:
        name, func = called_name(call), call.func
        if name == "zero_grad":
            return {RESET}
        if name in _CLIPPING or is_synchronizing(call) or self.is_backward(call):
            return {GRADIENT}
        if name == "optimizer_step" or self.is_optimizer_step(call):
            return {UPDATE}
        if isinstance(func, ast.Attribute) and last_name(bare(func.value)) == "grad":
            if name == "zero_" or (name == "fill_" and _is_zero(call.args[:1])):
                return {RESET}
            if name.endswith("_") and not name.endswith("__"):
                return {GRADIENT}
        return set()

    def is_autograd(self, call: ast.Call) -> bool:
        """Whether a library, or a tensor class of the file, takes the gradients in a call."""
        own = self.index.callees(call.func)
        return self.is_backward(call) and (not own or any(map(self._is_of_tensor, own)))

    def _is_of_tensor(self, function: FunctionCode) -> bool:
        """Whether a function belongs to a tensor class of the file, as micrograd's `Value`."""
        owner = self.index.own_class(function) or self.index.class_of(function)
        if owner is None:
            return False
        if owner not in self._tensors:
            names = {n.name for n in ast.walk(owner) if isinstance(n, FUNCTIONS)}
            self._tensors[owner] = bool(names & {"__add__", "__mul__", "__matmul__"})
        return self._tensors[owner]

    def is_backward(self, call: ast.Call) -> bool:
        """Whether a call takes gradients: `loss.backward()`, `torch.autograd.grad(loss, ws)`."""
        match call.func:
            case ast.Attribute(attr="backward"):
                return not self.trains_whole(call)
        index = self.index
        if is_gradient_function(call.func, index.imports, index.bindings, _KEEP_GRADIENTS):
            return True
        is_kept = any(w.arg == "create_graph" and _is_true(w.value) for w in call.keywords)
        return index.dotted(call.func).endswith("autograd.grad") and not is_kept

    def trains_whole(self, call: ast.Call) -> bool:
        """Whether a call named like one operation runs a function of the file that does more."""
        signs = self.of_functions(self.index.callees(call.func))
        return len(signs - {RESET}) > 1 or (called_name(call) == "backward" and UPDATE in signs)

    def losses_in(self, calls: Iterable[ast.Call]) -> list[ast.expr]:
        """The expressions whose gradients calls take."""
        return [loss for call in calls if (loss := self._loss_of(call)) is not None]

    def _loss_of(self, call: ast.Call) -> ast.expr | None:
        """The expression whose gradient a call takes."""
        if not self.is_autograd(call):
            return None
        match call:
            case ast.Call(func=ast.Attribute(value=value, attr="backward"), args=args):
                if not self._is_given_loss(call, value):
                    return _unscaled(value)
                lists = (a.elts for a in args if isinstance(a, ast.List | ast.Tuple))
                return _unscaled([*(elts[0] for elts in lists if elts), *args][0])
            case ast.Call(func=func, args=[first, *_]):
                if self.index.dotted(func) == "torch.autograd.grad":
                    return None if isinstance(first, ast.Starred) else first
        return None

    def _is_given_loss(self, call: ast.Call, receiver: ast.expr) -> bool:
        """Whether `backward` is the method of a library that is given the loss, not of the loss."""
        if not call.args or isinstance(call.args[0], ast.Starred) or self.index.callees(call.func):
            return False
        of, given = last_name(receiver), last_name(call.args[0])
        return of in {"self", *BACKWARD_HELPERS} or (is_loss(given) and not is_loss(of))

    def is_optimizer_step(self, call: ast.Call) -> bool:
        """Whether a call is an optimizer's step, or a gradient scaler's."""
        func = call.func
        if not isinstance(func, ast.Attribute) or func.attr not in ("step", "update"):
            return False
        name = last_name(func.value) or called_name(func.value)
        if func.attr == "update":
            return "scaler" in name.lower() and not call.args
        own = self.index.callees(func)
        if own:
            return self.of_functions(own) == {UPDATE}
        made = [v for v in self.index.bindings.get(name, ()) if isinstance(v, ast.Call)]
        dotted = [self.index.dotted(v.func) for v in made]
        if any(_SCHEDULERS.search(d) for d in dotted):
            return False
        if any(self.is_optimizer(v) for v in made):
            return True
        if self.index.classes_of(func.value):
            return False
        return bool(_OPTIMIZER.search(name)) or (not _NO_OPTIMIZER.search(name) and not call.args)

    def is_optimizer(self, value: ast.expr) -> bool:
        """Whether an expression makes an optimizer of torch."""
        if not isinstance(value, ast.Call):
            return False
        dotted = self.index.dotted(value.func)
        is_torch = "optim." in dotted and "lr_scheduler" not in dotted
        takes_parameters = any(called_name(a) in _PARAMETERS for a in value.args[:1])
        return is_torch or (takes_parameters and bool(_OPTIMIZER_CLASS.search(dotted)))

    def _is_reset(self, node: ast.stmt) -> bool:
        """Whether a statement sets a gradient to nothing: `w.grad = None`, `dw = 0`."""
        match node:
            case ast.Delete(targets=targets):
                return all(last_name(t) == "grad" for t in targets)
            case ast.AugAssign(target=target, op=ast.Mult(), value=value):
                return last_name(target) == "grad" and _is_zero([value])
            case ast.Assign(targets=targets, value=value):
                names = [t for many in targets for t in parts_of(many)]
                values = list(parts_of(value))
                return all(_may_hold_gradient(t) for t in names) and all(
                    _is_nothing(v) for v in values
                )
        return False

    # ── Changes by hand

    def changes(self, node: ast.stmt) -> list[HandChange]:
        """The parameters that a simple statement changes by hand."""
        if node not in self._changes:
            found = list(candidates(node))
            found += [] if found else self._renamed(node)
            self._changes[node] = [self._with_rate(c) for c in found if self._is_change(c)]
        return self._changes[node]

    def _with_rate(self, change: HandChange) -> HandChange:
        if len(change.terms) != 1:
            return change
        element = self._with_rate(change.element) if change.element else None
        return replace(change, rate=self.numbers.rate_in(change.terms[0][1]), element=element)

    def _renamed(self, node: ast.stmt) -> list[HandChange]:
        """The change in `w2 = w - lr * dw`, where `w = w2` follows."""
        found = list(renamed_later(node))
        inside = list(statements(self._around(node))) if found else []
        return [c for c in found if any(self._takes(s, c) for s in inside)]

    def _takes(self, node: ast.stmt, change: HandChange) -> bool:
        """Whether a statement gives the parameter the value that a change has computed."""
        if not isinstance(node, ast.Assign) or change.variable not in writes(node):
            return False
        return bool(variables([node.value]) & writes(change.node))

    def _is_change(self, change: HandChange) -> bool:
        function = self.index.function_of(change.node)
        inside = list(statements(self._around(change.node)))
        own = change.variable
        names = argument_names(function) if function else set()
        others = [s for s in inside if s is not change.node and is_whole(s, own)]
        is_set = any(not self._is_renamed(s, change) for s in others)
        is_argument = own in names and isinstance(change.target, ast.Name)  # not a part of one
        is_returned = isinstance(change.node, ast.Return)
        if is_returned and own not in names and not change.is_iterated:
            return False
        tests = self._tests(change.node)
        added = variables([*change.added, *tests])
        values: dict[str, list[ast.expr]] = {}
        for node in inside:
            value = None if isinstance(node, ast.Expr) else getattr(node, "value", None)
            if isinstance(value, ast.expr):
                for name in writes(node) & added:
                    values.setdefault(name, []).append(value)
        flow = dependences(inside)
        if _is_listed(change) and own not in sources(added - {own}, flow):
            return False
        context = ChangeContext(
            computed_from=flow,
            is_temporary=(is_set or is_argument) and not is_returned,
            values=values,
            tests=tests,
            is_beside=bool(tests) and self._is_beside_change(change.node),
        )
        return is_training(change, context)

    def _tests(self, node: ast.stmt) -> list[ast.expr]:
        """The conditions of the `if`s around a statement, in the loop that it stands in."""
        found: list[ast.expr] = []
        for parent in self.index.ancestors(node):
            if isinstance(parent, (*LOOPS, *FUNCTIONS)):
                break
            if isinstance(parent, ast.If):
                found.append(parent.test)
        return found

    def _is_beside_change(self, node: ast.stmt) -> bool:
        """Whether the statement before one changes a parameter by hand."""
        parent = self.index.parents[node]
        blocks = blocks_of(parent) if isinstance(parent, ast.stmt) else []
        before = [b[b.index(node) - 1] for b in blocks if node in b[1:]]
        return bool(before) and bool(self.changes(before[0]))

    def _is_renamed(self, node: ast.stmt, change: HandChange) -> bool:
        """Whether a statement gives the parameter the changed value that another name held."""
        assert isinstance(node, ast.Assign | ast.AnnAssign)
        return self._takes(node, change) or (
            node.value is not None and change.variable in variables([node.value])
        )

    def _around(self, node: ast.stmt) -> list[ast.stmt]:
        """The body of the outermost loop around a statement in its function; or the function's."""
        outermost: list[ast.stmt] = [node]
        for parent in self.index.ancestors(node):
            if isinstance(parent, LOOPS):
                outermost = parent.body
            elif isinstance(parent, FUNCTIONS):
                return parent.body if outermost == [node] else outermost
        return outermost

    # ── Code that calls other code

    def own(self, nodes: Iterable[ast.stmt]) -> set[str]:
        """The signs of statements and of the statements in them, but not of called functions."""
        found: set[str] = set()
        for node in statements(nodes):
            if not blocks_of(node) and not isinstance(node, DEFINITIONS):
                found |= self.named(node)
                if self.changes(node):
                    found.add(UPDATE)
            elif isinstance(node, ast.If | ast.While | ast.For):
                found |= self.named(node)
        return found

    def of_function(self, function: FunctionCode) -> frozenset[str]:
        """The signs of a function's own code."""
        if function not in self._of_function:
            self._of_function[function] = frozenset()  # while it is looked into
            if not self._is_of_tensor(function):
                self._of_function[function] = frozenset(self.own(function.body))
        return self._of_function[function]

    def of_functions(self, functions: Iterable[FunctionCode]) -> set[str]:
        """The signs of functions, and of the functions that they call."""
        functions = list(functions)
        every = [*functions, *(g for f in functions for g in self.index.reached_functions(f.body))]
        return {sign for f in dict.fromkeys(every) for sign in self.of_function(f)}

    def within(self, nodes: Iterable[ast.stmt]) -> set[str]:
        """The signs of statements, and of all functions that they call."""
        nodes = list(nodes)
        return self.own(nodes) | self.of_functions(self.index.reached_functions(nodes))


def is_synchronizing(call: ast.Call) -> bool:
    """Whether a call makes one of the gradients of all ranks: `dist.all_reduce(p.grad)`."""
    given = [*call.args, *(word.value for word in call.keywords)]
    return called_name(call) in _COLLECTIVE and any(
        isinstance(n, ast.Attribute) and n.attr == "grad" for part in given for n in ast.walk(part)
    )


def _unscaled(loss: ast.expr) -> ast.expr:
    """`loss` of `scaler.scale(loss)`."""
    match loss:
        case ast.Call(func=ast.Attribute(attr="scale"), args=[first]):
            return first
    return loss


_PARAMETERS = frozenset({"parameters", "chain", "list", "filter", "named_parameters"})
_OPTIMIZER_CLASS = re.compile(r"(?:^|\.)[A-Z]\w*$")


def _is_listed(change: HandChange) -> bool:
    """Whether a change is an item of a list: `params = [w - lr * dw, b - lr * db]`."""
    match change.node:
        case ast.Assign(targets=[ast.Name() | ast.Attribute()], value=ast.List() | ast.Tuple()):
            return True
    return False


def _is_gradient_change(node: ast.stmt) -> bool:
    """Whether a statement changes `.grad` by hand: clipping, scaling."""
    targets = [t for many in targets_of(node) for t in parts_of(many)]
    return any(isinstance(t, ast.Attribute) and t.attr == "grad" for t in targets) or (
        isinstance(node, ast.Assign | ast.AugAssign)
        and any(".grad.data" in ast.unparse(t) for t in targets_of(node))
    )


def _may_hold_gradient(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute | ast.Subscript) and last_name(node) == "grad"


def _is_nothing(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=value):
            return value is None or (isinstance(value, int | float) and value == 0)
        case ast.Call():
            is_zeros = called_name(node) in _ZEROS
            return is_zeros or (called_name(node) == "Value" and _is_zero(node.args))
        case ast.ListComp(elt=elt) | ast.DictComp(value=elt):
            return _is_nothing(elt)
        case ast.BinOp(left=ast.List(elts=[one]), op=ast.Mult()):
            return _is_nothing(one)
        case ast.List(elts=[_, *_] as elts):
            return all(map(_is_nothing, elts))
    return False


def _is_zero(nodes: list[ast.expr]) -> bool:
    return bool(nodes) and isinstance(nodes[0], ast.Constant) and nodes[0].value == 0


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
