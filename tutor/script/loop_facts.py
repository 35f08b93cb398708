"""The facts of a training loop besides its phases: gradient mode, loss, prediction, epochs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tutor.lesson.model import AUTOGRAD, GRADIENT, LOSS, MANUAL, MODEL, OPTIMIZER, PREDICT, UPDATE
from tutor.python_syntax import (
    LOOPS,
    SAME_ITEMS,
    FunctionCode,
    LoopCode,
    behind_bar,
    called_name,
    counted_range,
    flat_targets,
    last_name,
    made_thing,
    own_nodes,
    statements,
)
from tutor.script.code_index import CodeIndex
from tutor.script.code_unit import CodeUnit
from tutor.script.data_flow import (
    is_gradient,
    is_loss,
    is_whole,
    loss_rank,
    named_text,
    reads,
    text_of,
    variable,
    writes,
)
from tutor.script.hand_changes import bare
from tutor.script.phases import StatementKinds
from tutor.script.plain_numbers import PlainNumbers
from tutor.script.training_signs import TrainingSigns

_NO_MODEL = ("torch.nn.functional", "torch.nn.utils", "torch.nn.init", "torch.nn.Parameter")
_MODEL_LIBRARIES = ("torchvision.models", "transformers", "timm")
_MODEL_WRAPPERS = frozenset(
    {"compile", "DataParallel", "DDP", "DistributedDataParallel", "prepare"}
)
"""Functions and classes that give back their first argument, a model, as another model."""
_OF_MODULES = frozenset({"parameters", "train", "eval", "state_dict", "named_parameters"})
"""Methods by which a module of torch is known, wherever it comes from."""


def gradient_mode(index: CodeIndex, signs: TrainingSigns, kinds: StatementKinds) -> str:
    """The gradient mode of the loop whose statements have these kinds."""
    if not kinds.has_backward:
        return MANUAL
    if _uses_model(index, kinds.loop.body):
        return MODEL
    return OPTIMIZER if kinds.has_optimizer else AUTOGRAD


def _uses_model(index: CodeIndex, body: list[ast.stmt]) -> bool:
    """Whether the loop uses a module of torch that has parameters."""
    if not any(n.partition(".")[0] == "torch" for n in index.imports.values()):
        return False
    nodes = list(own_nodes(index.reached_code(body)))
    models = _Models(index)
    names = {last_name(n) for n in nodes if isinstance(n, ast.Name | ast.Attribute)}
    if any(models.is_model(name) for name in names):
        return True
    called = {last_name(n.func) for n in nodes if isinstance(n, ast.Call)}
    called -= {*(f.name for f in index.functions), *index.classes}
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in _OF_MODULES
        and last_name(node.value) in called
        and not index.classes_of(node.value)
        for node in index.nodes
    )


class _Models:
    """Tells which names of a file are bound to modules of torch."""

    def __init__(self, index: CodeIndex) -> None:
        self.index = index
        self._known: dict[str, bool] = {}
        self._made_by: dict[FunctionCode, bool] = {}

    def is_model(self, name: str) -> bool:
        """Whether a name is bound to a module of torch with parameters."""
        if name not in self._known:
            self._known[name] = False  # while it is looked up
            bound = self.index.bindings.get(name, ())
            self._known[name] = any(self._makes(value) for value in bound)
        return self._known[name]

    def _makes(self, value: ast.expr) -> bool:
        """Whether an expression makes, or names, a module of torch with parameters."""
        match value := made_thing(value):
            case ast.Call(func=ast.Name(id=name)) if name in self.index.classes:
                return self.index.is_module(name)
            case ast.Call(func=func, args=args):
                dotted = self.index.dotted(func)
                if dotted.startswith(("torch.nn.", "nn.")):
                    is_wrapper = called_name(value) in _MODEL_WRAPPERS and bool(args)
                    return self._makes(args[0]) if is_wrapper else _is_layer(dotted)
                if dotted.startswith(_MODEL_LIBRARIES):
                    return dotted.rpartition(".")[2][:1] != "get" and "okenizer" not in dotted
                if called_name(value) in _MODEL_WRAPPERS and args:
                    return self._makes(args[0])
                return self._is_made_by(value)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return self.is_model(name)
        return False

    def _is_made_by(self, call: ast.Call) -> bool:
        """Whether a function of the file returns a model."""
        return any(map(self._returns_model, self.index.callees(call.func)))

    def _returns_model(self, function: FunctionCode) -> bool:
        if function not in self._made_by:
            self._made_by[function] = False  # while it is looked up: functions may call each other
            returned = (
                node.value
                for node in own_nodes(function.body)
                if isinstance(node, ast.Return) and node.value is not None
            )
            parts = (p for v in returned for p in (v.elts if isinstance(v, ast.Tuple) else [v]))
            self._made_by[function] = any(map(self._makes, parts))
        return self._made_by[function]


def _is_layer(dotted: str) -> bool:
    """Whether a name of `torch.nn` is a module with layers, not a loss or a helper."""
    dotted = dotted if dotted.startswith("torch.") else f"torch.{dotted}"
    name = dotted.rpartition(".")[2]
    return not dotted.startswith(_NO_MODEL) and name[:1].isupper() and not name.endswith("Loss")


# ── The loss, and the prediction that it compares with the target ─────────────────────────

_DEEPEST = 3
_MOVING = re.compile(
    r"to|cuda|cpu|float|long|double|view|reshape|unsqueeze|squeeze|tensor|as_tensor|from_numpy|"
    r"Variable|FloatTensor|LongTensor"
)
_NUMBER_LIBRARIES = frozenset({"F", "torch", "np", "functional", "jnp"})
_THROUGH = frozenset({"sum", "zip", "abs", "float", "enumerate", "max", "min", "pow", "len", "int"})
"""Functions of Python whose arguments are looked at: others may be models."""


def loss_expression(units: list[CodeUnit]) -> str:
    """The expression whose gradient is taken; in code by hand, the name of the error."""
    taken = [loss for unit in units for loss in unit.losses]
    if taken:
        return text_of(taken[0])
    named = [name for unit in units for name in _named_losses(unit)]
    return min(named, key=lambda name: loss_rank(name.rpartition(".")[2]), default="")


def is_sum_of_batches(units: list[CodeUnit], loss: str) -> bool:
    """Whether an epoch's loss is a sum over its batches: each adds to it, and none sets it."""
    for unit in units:
        for loop in (n for n in statements(unit.body) if isinstance(n, LOOPS)):
            inside = list(statements(loop.body))
            adds = any(isinstance(s, ast.AugAssign) and text_of(s.target) == loss for s in inside)
            updates = any(unit.kinds.get(s) == UPDATE or s in unit.entered for s in inside)
            if adds and updates and not any(is_whole(s, loss) for s in inside):
                return True
    return False


def _named_losses(unit: CodeUnit) -> Iterator[str]:
    for node in statements(unit.body):
        if unit.kinds.get(node) == GRADIENT:  # `gradients, loss = grad_and_value(f)(w)`
            beside = [t for t in flat_targets(node) if variable(t) and is_loss(variable(t))]
            yield from (text_of(t) for t in beside if len(flat_targets(node)) > 1)
        elif unit.kinds.get(node) == LOSS:
            tested = ast.walk(node.test) if isinstance(node, ast.If) else ()
            targets = [t for t in flat_targets(node) if variable(t)]
            targets += [n.target for n in tested if isinstance(n, ast.NamedExpr)]
            named = [t for t in targets if is_loss(variable(t).rpartition(".")[2])]
            yield from (text_of(bare(t)) for t in named or targets)


def prediction_of(units: list[CodeUnit]) -> str:
    """The name that the loss compares with the target; "" if the code does not tell."""
    for unit in units:
        nodes = [n for n in statements(unit.body) if unit.kinds.get(n) == LOSS]
        values = [value for n in nodes for value in _values(n)]
        search = _PredictionSearch(unit)
        if beside := [name for n in nodes for name in _beside(n)]:
            return beside[0]
        for expression in [*values, *unit.losses]:
            if name := search.within(expression, _DEEPEST):
                return "" if _is_part_of_loss(name) else name
    return ""


def _is_part_of_loss(name: str) -> bool:
    """Whether a name stands for a loss of its own, and not for an error that is squared."""
    last = name.rpartition(".")[2]
    return "loss" in last.lower() or (is_loss(last) and "." in name)


def _beside(node: ast.stmt) -> list[str]:
    """The names that get a value together with the loss: `logits, loss = model(x, y)`."""
    targets = flat_targets(node)
    names = [text_of(t) for t in targets if len(targets) > 1 and variable(t)]
    passed = {"_", *reads(node)}  # a hidden state that is handed on: `loss, h = f(x, y, h)`
    return [n for n in names if n not in passed and not is_loss(n) and not is_gradient(n)]


class _PredictionSearch:
    """Finds the prediction in the expression of a loss."""

    def __init__(self, unit: CodeUnit) -> None:
        nodes = [n for n in statements(unit.body) if unit.kinds.get(n) == PREDICT]
        self._values = {
            name: value
            for node in nodes
            if (value := getattr(node, "value", None)) is not None and _is_computed(value)
            for name in writes(node)
        }
        """A variable → the expression that computes it, if that does more than move data."""

    def within(self, expression: ast.expr, deepest: int) -> str:
        """The name of the prediction in an expression."""
        nodes = list(ast.walk(expression))
        if any("log_prob" in (called_name(n), last_name(n)) for n in nodes):
            return ""  # of a policy: an action is compared with nothing
        if any(_is_call_compared(n) for n in nodes):
            return ""
        node = self._compared(expression)
        if node is None and not (node := self._only_name(expression)):
            return ""
        value = self._values[variable(node)]
        if deepest and (_is_error(value) or is_loss(variable(node))):
            return self.within(value, deepest - 1) or named_text(node)
        return named_text(node)

    def _compared(self, expression: ast.expr) -> ast.expr | None:
        """A side of a difference, or an argument of a function that compares."""
        for node in _nodes(expression):
            match node:
                case ast.BinOp(left=left, op=ast.Sub(), right=right):
                    sides = [left, right]
                case ast.Call(args=[ast.Call(func=func, args=[first, *_]), *args]) if _is_library(
                    func
                ):
                    plain = first.left if isinstance(first, ast.BinOp) else first
                    sides = [plain, *args]  # F.kl_div(F.log_softmax(logits), targets)
                case ast.Call(func=func, args=args) if len(args) > 1 or _is_library(func):
                    is_named = bool(args) and named_text(args[0]) != ""
                    sides = args[: 2 if is_named else 1]
                case _:
                    continue
            if found := [s for s in sides if self._is_known(s)]:
                return found[0]
        return None

    def _is_known(self, node: ast.expr) -> bool:
        """Whether an expression names a computed value."""
        return variable(node) in self._values and named_text(node) != ""

    def _only_name(self, expression: ast.expr) -> ast.expr | None:
        """The one computed name in an expression; of several, a part of the loss."""
        nodes = list(_nodes(expression))
        if any(isinstance(n, ast.Call) and _may_be_model(n) for n in nodes):
            return None
        names = [n for n in nodes if isinstance(n, ast.Name | ast.Attribute)]
        known = {
            variable(n): n
            for n in names
            if variable(n) in self._values and named_text(n) and not is_gradient(variable(n))
        }
        parts = [node for name, node in known.items() if is_loss(name)]
        return next(iter(parts or known.values())) if parts or len(known) == 1 else None


def _is_error(value: ast.expr) -> bool:
    """Whether an expression is a difference, or a list of differences."""
    value = value.elt if isinstance(value, ast.ListComp) else value
    return isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub)


def _is_call_compared(node: ast.AST) -> bool:
    """Whether it is the difference to a prediction without a name: `net(x, t) - noise`."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Sub):
        return False
    calls = [s for s in (node.left, node.right) if isinstance(s, ast.Call) and s.args]
    return any(
        not named_text(call) and not _is_library(call.func) and called_name(call) not in _THROUGH
        for call in calls
    )


def _may_be_model(call: ast.Call) -> bool:
    """Whether a call is of a plain name that may be a model: its arguments are its own."""
    return isinstance(call.func, ast.Name) and call.func.id not in _THROUGH


def _is_library(func: ast.expr) -> bool:
    """Whether a function belongs to a library for numbers: `F.mse_loss`, `np.square`."""
    return isinstance(func, ast.Attribute) and last_name(func.value) in _NUMBER_LIBRARIES


def _is_computed(value: ast.expr) -> bool:
    """Whether an expression computes, and does not only move or cut out the data."""
    if isinstance(value, ast.Call) and _MOVING.fullmatch(called_name(value)):
        return isinstance(value.func, ast.Attribute) and _is_computed(value.func.value)
    if isinstance(value, ast.Subscript):
        return isinstance(value.value, ast.Call)
    return isinstance(value, ast.Call | ast.BinOp | ast.ListComp)


def _values(node: ast.stmt) -> list[ast.expr]:
    """The targets that a statement, or the condition of an `if`, assigns."""
    if isinstance(node, ast.If):
        return [n.value for n in ast.walk(node.test) if isinstance(n, ast.NamedExpr)]
    value = getattr(node, "value", None)
    return [value] if isinstance(value, ast.expr) else []


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of an expression, without arguments of functions that may be models."""
    yield node
    children = ast.iter_child_nodes(node)
    match node:
        case ast.Call() if _may_be_model(node):
            return
        case ast.Call(func=ast.Attribute(value=value), args=args):
            children = iter([*([] if isinstance(value, ast.Name) else [value]), *args])
            if isinstance(value, ast.Name) and not args:
                children = iter([value])
        case ast.Attribute():
            return
    for child in children:
        yield from _nodes(child)


# ── The number of epochs, where the code says it ──────────────────────────────────────────


def epochs_of(numbers: PlainNumbers, loop: LoopCode) -> int | None:
    """The number of a loop's passes; None if the code does not say it as a number."""
    return None if isinstance(loop, ast.While) else _length(numbers, loop.iter, set())


def _length(numbers: PlainNumbers, iterated: ast.expr, seen: set[str]) -> int | None:
    """The number of elements that a loop goes through. Names in `seen` are looked up already."""
    if arguments := counted_range(iterated):
        known = [b for b in map(numbers.whole, arguments) if b is not None]
        is_known = len(known) == len(arguments) and all(known[2:])
        return len(range(*known)) if is_known else None
    match behind_bar(iterated):
        case ast.Call(func=func, args=[first, *_]):
            has_same_length = last_name(func) in SAME_ITEMS or last_name(func) == "enumerate"
            return _length(numbers, first, seen) if has_same_length else None
        case ast.NamedExpr(value=value):
            return _length(numbers, value, seen)
        case ast.Name(id=name):
            bound = numbers.index.bindings.get(name, [])
            if len(bound) != 1 or name in seen:
                return None
            return _length(numbers, bound[0], {*seen, name})
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            return None if any(isinstance(e, ast.Starred) for e in elts) else len(elts)
    return None
