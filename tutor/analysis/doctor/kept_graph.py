"""Graphs and gradients that nothing reads: a loss kept with its graph, data with a gradient."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from tutor.analysis.doctor.rule import (
    BackwardPass,
    DoctorRule,
    ExaminedStep,
    Patient,
    SeenLeaf,
    grad_fn_of,
    tensor_norm,
)
from tutor.analysis.doctor.torch_calls import LOSS_FUNCTIONS, TorchCall
from tutor.analysis.graph_words import with_contents
from tutor.protocol.inspections import CodeFix, DoctorFinding
from tutor.python_syntax import flat_targets

_MOST_WALKED = 2_000
"""Nodes of a graph that are looked at."""
_LONGEST = 2_000
"""Elements of a list that are looked at, from its end."""


class KeptGraphRule(DoctorRule):
    """A name, or a list, whose tensors still hold the graphs of losses that backward is done with.

    The graph of the last loss is held by the loss itself, which is no mistake.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._roots: dict[int, tuple[Any, tuple[int, int]]] = {}
        """The last node of each loss that backward was called on, with its epoch and batch."""
        self._fresh: list[Any] = []
        """The nodes of the present step."""
        self._reported: set[str] = set()

    def after_backward(self, backward: BackwardPass) -> None:
        """Note the loss. Its node is kept alive here, so that no other gets its identity."""
        if (node := grad_fn_of(backward.loss)) is not None:
            self._fresh.append(node)

    def after(self, step: ExaminedStep) -> Iterator[DoctorFinding]:
        """The names that hold more than one loss's graph: after any step, as they may be reset."""
        batch = (step.epoch, step.batch)
        self._roots.update({id(node): (node, batch) for node in self._fresh})
        self._fresh.clear()
        if len(self._roots) < 2 or step.error is not None:
            return
        parameters = set(map(id, self.patient.parameters().values()))
        for name, thing in self._things():
            if name in self._reported or id(thing) in parameters:
                continue
            kept = self._kept(thing)
            if len(kept) > 1 and not (self._reported and self._where(name)[0] is None):
                self._reported.add(name)  # `mean = total / 2` is no second mistake
                yield self._finding(name, thing, len(kept))

    def _things(self) -> Iterator[tuple[str, Any]]:
        """The tensors and lists that names stand for, and those in attributes and dicts."""
        for name, thing in list(self.patient.namespace.items()):
            if name.startswith("__"):
                continue
            if isinstance(thing, list | tuple):
                yield name, thing
            else:
                yield from with_contents(name, thing)

    def _kept(self, thing: Any) -> set[tuple[int, int]]:
        """The batches whose loss's graph a tensor, or a list's tensors, still hold."""
        things = thing[-_LONGEST:] if isinstance(thing, list | tuple) else [thing]
        starts = [grad_fn_of(one) for one in things if isinstance(one, torch.Tensor)]
        found, known = set[tuple[int, int]](), set[int]()
        waiting = [node for node in starts if node is not None]
        while waiting and len(known) < _MOST_WALKED:
            node = waiting.pop()
            if id(node) in known:
                continue
            known.add(id(node))
            root = self._roots.get(id(node))
            if root is not None:
                found.add(root[1])
                if len(starts) > 1:
                    continue  # below it there is its own graph only
            waiting += [function for function, _ in node.next_functions if function is not None]
        return found

    def _finding(self, name: str, thing: Any, kept: int) -> DoctorFinding:
        statement, fix = self._where(name)
        return DoctorFinding(
            code="loss_kept_with_graph",
            line=statement.lineno if statement is not None else self.source.line_of(name),
            variable=name,
            numbers={
                "kept": kept,
                "needed": 1,
                "epochs": self.patient.epoch,
                "in_list": isinstance(thing, list | tuple),
            },
            lesson="detach",
            fix=fix,
        )

    def _where(self, name: str) -> tuple[ast.stmt | None, CodeFix | None]:
        """The statement that adds a loss to the name, and the same with the loss's number."""
        for statement in self.source.statements():
            added = _added(statement, name)
            if added is not None:
                method = "detach" if self._is_used_as_tensor(name) else "item"
                better = f"{self.source.before_dot(added)}.{method}()"
                return statement, self.source.replaced(added, better)
        return None, None

    def _is_used_as_tensor(self, name: str) -> bool:
        """Whether code asks for more of the sum, or of the list's items, than a number has.

        `total.item()`, `torch.stack(losses)`, also under other names: `mean = total / 5`.
        """
        known, count = {name}, 0
        while count < len(known):
            count = len(known)
            for node in self.source.nodes():
                match node:
                    case ast.Assign(value=value) | ast.For(iter=value) if _reads(value, known):
                        known |= set(map(ast.unparse, flat_targets(node)))
                    case ast.comprehension(target=target, iter=value) if _reads(value, known):
                        known.add(ast.unparse(target))
        for node in self.source.nodes():
            match node:
                case ast.Attribute(value=value, attr=attr):
                    is_number = isinstance(value, ast.Call | ast.Tuple | ast.List)
                    if attr not in _OF_LISTS and not is_number and _reads(value, known):
                        return True
                case ast.Call(func=ast.Attribute(value=ast.Name(id="torch")), args=args):
                    if any(_reads(one, known) for one in args):
                        return True
        return False


_OF_LISTS = frozenset({"append", "extend", "clear", "pop", "copy", "index", "insert", "count"})
"""Attributes that a list of numbers has, too."""


def _reads(node: ast.expr, names: set[str]) -> bool:
    """Whether an expression, without what its calls of functions give, reads one of some names."""
    if ast.unparse(node) in names:
        return True
    if isinstance(node, ast.Call) and not (
        isinstance(node.func, ast.Name) and node.func.id in ("sum", "zip", "enumerate", "reversed")
    ):
        return False
    return any(_reads(n, names) for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr))


def _added(statement: ast.stmt, name: str) -> ast.expr | None:
    """The value a statement adds to a name: of `total += loss` and of `losses.append(loss)`."""
    match statement:
        case ast.AugAssign(target=target, value=value) if ast.unparse(target) == name:
            return value
        case ast.Assign(
            targets=[target], value=ast.BinOp(left=left, op=ast.Add(), right=value)
        ) if ast.unparse(target) == ast.unparse(left) == name:
            return value
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=kept, attr="append"), args=[v])) if (
            ast.unparse(kept) == name
        ):
            return v
    return None


_WEIGHTS_AT: dict[str, int] = {"matmul": 1, "mm": 1, "mv": 1, "dot": 1, "linear": 1, "conv1d": 1,
                               "conv2d": 1, "conv3d": 1, "embedding": 1, "addmm": 2}  # fmt: skip
"""The position of the argument that is a weight, by call."""
_MEANT = ("autograd.grad", "checkpoint", "jacobian", "hessian", "register_hook", "retain_grad")
"""Words of code that uses the gradients of its data, in one way or another."""


class DataGradientRule(DoctorRule):
    """The rule for data that get a gradient in each backward: time and memory for nothing.

    Data are as long as a batch: as what the loss compares. What changes, is held by an optimizer
    or a module, or whose gradient is read, is no such tensor.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._first: dict[int, float] = {}
        """The id of a leaf as long as a batch → the norm of its first gradient."""
        self._lengths: set[int] = set()
        self._no_data: set[int] = set()
        """Ids of tensors that are weights, or whose `.grad` is read."""

    def after_backward(self, backward: BackwardPass) -> None:
        """Note the first gradients."""
        for key, leaf in self.patient.leaves.items():
            gradient = leaf.tensor.grad
            if key not in self._first and gradient is not None and _may_be_data(leaf.tensor):
                self._first[key] = tensor_norm(gradient)

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """See which tensors are weights, which gradients are read, and how long a batch is."""
        for call in step.calls:
            if call.name == "sub" or call.name in LOSS_FUNCTIONS:
                both = [t for t in call.arguments[:2] if isinstance(t, torch.Tensor) and t.ndim]
                self._lengths.update(t.shape[0] for t in both)
            elif call.name in _WEIGHTS_AT:
                weight = call.argument(_WEIGHTS_AT[call.name], "weight")
                if isinstance(weight, torch.Tensor):
                    self._no_data.add(id(weight))
            elif call.name in ("get grad", "set grad") and self._is_by_the_code(call):
                self._no_data.add(id(call.arguments[0]))
        return ()

    def _is_by_the_code(self, call: TorchCall) -> bool:
        """Whether the code itself asks for `.grad`: an optimizer and a module do so, too."""
        if id(call.arguments[0]) not in self.patient.leaves:
            return False
        statement = self.source.statement_at(call.line)
        return statement is not None and ".grad" in ast.unparse(statement)

    def at_end(self) -> Iterable[DoctorFinding]:
        """The tensors of data that got a gradient and still have the same numbers."""
        text = self.source.text
        if any(word in text for word in _MEANT):
            return
        self._no_data.update(self.patient.held())
        seen: set[str] = set()
        for key, first in self._first.items():
            leaf = self.patient.leaves[key]
            name = self.patient.name_of(leaf.tensor)
            is_used = key in self._no_data or f"{name}.grad" in text
            is_data = leaf.tensor.shape[0] in self._lengths
            if not name or name in seen or is_used or not is_data or not leaf.is_unchanged():
                continue
            if leaf.tensor.grad is not None:
                seen.add(name)
                yield self._finding(name, leaf, first, leaf.tensor.grad)

    def _finding(
        self, name: str, data: SeenLeaf, first: float, gradient: torch.Tensor
    ) -> DoctorFinding:
        places = [n for n in self.source.nodes() if _asks_for_gradient(n, name)]
        return DoctorFinding(
            code="data_require_gradient",
            line=getattr(places[0], "lineno", data.line) if places else data.line,
            variable=name,
            numbers={
                "size": data.tensor.numel(),
                "first": first,
                "last": tensor_norm(gradient),
            },
            lesson="before-backward",
            fix=self._fix(places[0]) if places else None,
        )

    def _fix(self, place: ast.AST) -> CodeFix | None:
        match place:
            case ast.Assign(
                value=ast.Call(func=ast.Attribute(value=made, attr="requires_grad_")) as call
            ):
                return self.source.replaced(call, self.source.segment(made))
            case ast.Assign(value=ast.Call() as call):
                return self.source.called_with(call, without="requires_grad")
            case ast.Assign(value=value):
                return self.source.replaced(value, "False")
            case ast.Expr(value=ast.Call(func=func)):
                return self.source.replaced(place, f"{self.source.segment(func)}(False)")
        return None


def _may_be_data(tensor: torch.Tensor) -> bool:
    """Whether a leaf holds several samples' numbers, and is no parameter by its type."""
    is_long = tensor.ndim > 0 and tensor.shape[0] > 1
    return is_long and not isinstance(tensor, torch.nn.Parameter) and not tensor.is_complex()


def _asks_for_gradient(node: ast.AST, name: str) -> bool:
    """Whether a statement makes the tensor of this name require a gradient."""
    match node:
        case ast.Assign(targets=[target], value=ast.Call(func=func, keywords=keywords)) if (
            ast.unparse(target) == name
        ):
            is_method = isinstance(func, ast.Attribute) and func.attr == "requires_grad_"
            return is_method or any(k.arg == "requires_grad" for k in keywords)
        case ast.Assign(targets=[ast.Attribute(value=inner, attr="requires_grad")]):
            return ast.unparse(inner) == name
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=inner, attr="requires_grad_"))):
            return ast.unparse(inner) == name
    return False
