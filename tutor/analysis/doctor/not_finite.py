"""The first operation that makes NaN or infinity, forward or backward."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import Node

from tutor.analysis.doctor.rule import (
    MOST_NODES,
    TO_THE_END,
    BackwardPass,
    DoctorRule,
    ExaminedStep,
    Patient,
)
from tutor.analysis.doctor.source_code import SourceCode, evaluated
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.analysis.graph_recorder import leaf_of, tensors_in
from tutor.lesson.model import SETUP, UPDATE
from tutor.protocol.inspections import DoctorFinding, Evidence
from tutor.python_syntax import flat_targets
from tutor.training.values import is_finite, to_numpy

_MAY_FAIL = re.compile(r"\b(log\w*|r?sqrt|pow|norm|exp|acos|asin)\(")
"""Functions that may make NaN or infinity in a late epoch: a lesson that has one is run on."""
_MOST_EPOCHS = 200
"""Epochs that a lesson is run on; a script is run to its end, if that does not take long."""
_MOST_STEPS = 300
"""Steps that are recorded there."""

_LONGEST = 40
"""Characters of a statement that is shown in place of a variable."""

_FAR = 1e6
"""Above this a parameter shows that its run diverges, which is another rule's matter."""


@dataclass(frozen=True, slots=True)
class _BackwardBirth:
    """A node of the graph that got a finite gradient and gave one that is not."""

    node: Node
    index: tuple[int, ...]
    got: float
    gave: float


class NotFiniteRule(DoctorRule):
    """NaN or infinity in the loss or in a gradient, though no parameter has grown large."""

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._births: dict[int, tuple[torch.Tensor, _BadOperation | None]] = {}
        """The id of a tensor that is not all finite → it, and the call that made it so, if any."""
        self._calls: dict[Node, TorchCall] = {}
        """A node → the call that it belongs to."""
        self._born: list[_BackwardBirth] = []
        self._bad_loss: torch.Tensor | None = None
        self._is_done = False
        if patient.lesson.script is not None:
            self.epochs = TO_THE_END
        elif _MAY_FAIL.search(patient.source.text):
            self.epochs = min(patient.run.program.epochs, _MOST_EPOCHS)

    # ── The way back ────────────────────────────────────────────────────────────────

    def before_backward(self, backward: BackwardPass) -> None:
        """Hook the nodes that a backward comes to."""
        loss = backward.loss
        if self._is_done or loss is None or not all(map(_is_small, backward.leaves)):
            return
        if not is_finite(loss):
            self._bad_loss = loss
            return
        for node in backward.nodes:
            backward.hooks.append(node.register_hook(self._watch(node)))

    def _watch(self, node: Node) -> Any:
        def went_through(inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
            if not self._born and not any(map(_is_bad, tensors_in(outputs))):
                for gradient in inputs:
                    if isinstance(gradient, torch.Tensor) and _is_bad(gradient):
                        self._born.append(_backward_birth(node, gradient, outputs))
                        return

        return went_through

    # ── After a step ────────────────────────────────────────────────────────────────

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """The finding, as soon as there is a loss or a gradient that is not finite."""
        if self._is_done:
            return ()
        for call in step.calls:
            self._note(call)
        finding = self._forward_finding() or self._backward_finding() or self._by_hand()
        self._is_done = finding is not None
        if step.phase_name == UPDATE or self._is_done or len(self._calls) > MOST_NODES:
            self._births, self._calls = {}, {}
        return (finding,) if finding is not None else ()

    def after_whole_epochs(self) -> Iterable[DoctorFinding]:
        """The finding in a later epoch: the run goes back to before it, and is recorded there."""
        run = self.patient.run
        epoch = run.history.losses.first_not_finite()
        if epoch is None or self._is_done:
            return
        run.seek(max(epoch - 2, 0), until=self.patient.until)
        for _ in range(_MOST_STEPS):
            loop = run.loop
            if self.patient.until() or (loop.at_end and loop.epoch >= epoch) or self._is_done:
                return
            with self.patient.recorder.recording() as calls:
                run.step_phase_without_frame()
            phase = run.loop.last_phase_name()
            yield from self.after(ExaminedStep(phase, None, calls, run.loop.epoch, run.loop.batch))

    def _note(self, call: TorchCall) -> None:
        """Note which node belongs to the call, and where its result first was not finite."""
        for tensor in tensors_in(call.result):
            if tensor.grad_fn is not None:
                self._claim(tensor.grad_fn, call)
            if id(tensor) not in self._births and _is_bad(tensor):
                self._births[id(tensor)] = (tensor, self._birth(call, tensor))

    def _claim(self, node: Node, call: TorchCall) -> None:
        """The nodes that a call has made are those below its result that are not known yet."""
        waiting = [node]
        while waiting:
            one = waiting.pop()
            if one not in self._calls and leaf_of(one) is None:
                self._calls[one] = call
                waiting += [child for child, _ in one.next_functions if child is not None]

    def _birth(self, call: TorchCall, result: torch.Tensor) -> _BadOperation | None:
        """The birth of a result's bad number: an argument's, or this call; None if given."""
        tensors = [t for t in call.tensors() if t.is_floating_point() and t is not result]
        is_in_place = any(t is result for t in call.tensors())
        bad = [t for t in tensors if _is_bad(t)]
        for tensor in bad:
            _, birth = self._births.get(id(tensor), (tensor, None))
            if birth is not None:
                return birth
        makes_nan = bool(result.isnan().any()) and not any(bool(t.isnan().any()) for t in tensors)
        is_made = not (tensors or is_in_place) or any(map(_is_bad_number, call.things))
        if (bad or is_made) and not (makes_nan and tensors):
            return None
        index = _first_bad(result)
        argument = next((_at(t, index, result) for t in tensors), None)
        return _BadOperation(call.name, call.line, argument, float(result.detach()[index]))

    # ── The findings ────────────────────────────────────────────────────────────────

    def _forward_finding(self) -> DoctorFinding | None:
        loss, self._bad_loss = self._bad_loss, None
        if loss is None:
            return None
        _, birth = self._births.get(id(loss), (loss, None))
        return self._given() if birth is None else self._of_operation(birth)

    def _given(self) -> DoctorFinding | None:
        """The data that hold NaN or infinity from the start."""
        for name, thing in self.patient.namespace.items():
            is_data = (
                isinstance(thing, torch.Tensor) and thing.is_floating_point() and thing.is_leaf
            )
            if is_data and not name.startswith("_") and not is_finite(thing):
                count = int((~thing.detach().isfinite()).sum())
                return DoctorFinding(
                    code="data_not_finite",
                    line=self.source.line_of(name),
                    variable=name,
                    numbers={"count": count, "size": thing.numel()},
                    lesson="where-nan-is-born",
                )
        return None

    def _backward_finding(self) -> DoctorFinding | None:
        if not self._born:
            return None
        birth, self._born = self._born[0], []
        call = self._calls.get(birth.node)
        if call is None or _is_swapped(call):
            return None
        argument = _argument_of(call, birth)
        numbers = _numbers(call.name, argument, got=birth.got, gave=birth.gave)
        return self._finding("first_gradient_not_finite", call.line, numbers)

    def _by_hand(self) -> DoctorFinding | None:
        """The finding about a NumPy operation: no recorder sees those, so they run once more."""
        loop = self.patient.run.loop
        values = loop.parameters().values()
        if any(value is None or isinstance(value, torch.Tensor) for value in values):
            return None
        watched = [loop.loss(), *loop.gradients_now().values()]
        if all(map(is_finite, watched)) or not all(_is_small(value) for value in values):
            return None
        source = self.source
        looped = [s for s in source.statements() if source.phase_of(s.lineno) not in ("", SETUP)]
        found = _first_not_finite(looped, loop.namespace)
        return None if found is None else self._of_operation(found)

    def _of_operation(self, found: _BadOperation) -> DoctorFinding:
        numbers = _numbers(found.operation, found.argument, result=found.result)
        return self._finding("first_not_finite", found.line, numbers)

    def _finding(self, code: str, line: int, numbers: dict[str, Evidence]) -> DoctorFinding:
        is_backward = code == "first_gradient_not_finite"
        is_logarithm = str(numbers["operation"]).startswith("log") and not is_backward
        return DoctorFinding(
            code=code,
            line=line,
            variable=_variable_at(self.source, line),
            numbers=numbers,
            lesson="logistic" if is_logarithm else "where-nan-is-born",
            exercise="log-of-zero" if is_logarithm else "mask-after" if is_backward else "",
        )


def _backward_birth(node: Node, gradient: torch.Tensor, outputs: tuple[Any, ...]) -> _BackwardBirth:
    index = _first_bad(gradient)
    came = next((g for g in outputs if isinstance(g, torch.Tensor)), gradient)
    got = _at(came, index, gradient)
    return _BackwardBirth(node, index, math.nan if got is None else got, float(gradient[index]))


def _argument_of(call: TorchCall, birth: _BackwardBirth) -> float | None:
    """The number that the operation was computed from, where its gradient is not finite."""
    for tensor in call.tensors():
        if len(birth.index) == tensor.ndim and tensor.requires_grad:
            try:
                return float(tensor.detach()[birth.index])
            except IndexError:
                continue
    return None


def _is_swapped(call: TorchCall) -> bool:
    """Whether target and prediction are swapped: the rule on arguments of losses says that."""
    tensors = list(tensors_in(call.arguments[:2]))
    first_is_data = len(tensors) == 2 and not tensors[0].requires_grad
    return call.name.startswith("binary_cross_entropy") and first_is_data


def _at(tensor: torch.Tensor, index: tuple[int, ...], like: torch.Tensor) -> float | None:
    """The element of a tensor that belongs to this index of another one, as `_element_like`."""
    numbers = None if tensor.dtype == torch.bool else to_numpy(tensor)
    if numbers is None or not numbers.size:
        return None
    return _element_like(numbers, index, tuple(like.shape))


def _first_bad(tensor: torch.Tensor) -> tuple[int, ...]:
    bad = (~tensor.detach().isfinite()).nonzero()
    return tuple(int(i) for i in bad[0])


def _is_small(thing: Any) -> bool:
    """Whether all numbers of a parameter are finite and none has grown without measure."""
    if isinstance(thing, torch.Tensor):
        return not thing.numel() or bool((thing.detach().abs() < _FAR).all())
    return bool((abs(thing) < _FAR).all()) if hasattr(thing, "all") else abs(thing) < _FAR


def _is_bad(tensor: torch.Tensor) -> bool:
    """Whether it is a dense tensor of floats that are not all finite."""
    is_plain = tensor.layout == torch.strided and tensor.is_floating_point()
    return is_plain and not bool(torch.isfinite(tensor.detach()).all())


def _is_bad_number(thing: Any) -> bool:
    return isinstance(thing, float) and not math.isfinite(thing)


def _numbers(operation: str, argument: float | None, **others: float) -> dict[str, Evidence]:
    """The evidence of an operation; its argument is None where it was changed in place."""
    return {
        "operation": operation,
        "argument": None if argument is None else _evidence(argument),
        **{name: _evidence(number) for name, number in others.items()},
    }


def _evidence(number: float) -> Evidence:
    """The number, as text where it is not finite: JSON has no such numbers."""
    return number if math.isfinite(number) else str(number)


def _variable_at(source: SourceCode, line: int) -> str:
    """The target of the assignment on a line; of another statement its code, if it is short."""
    statement = source.statement_at(line)
    if statement is None:
        return ""
    targets = flat_targets(statement)
    if targets and not isinstance(statement, ast.For | ast.With | ast.Delete):
        return ast.unparse(targets[0])
    if isinstance(statement, ast.Return | ast.Expr) and statement.value is not None:
        code = ast.unparse(statement.value)
        return code if len(code) <= _LONGEST else ""
    return ""


# ── NumPy's operations, repeated ────────────────────────────────────────────────────

_OPERATIONS: Mapping[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.MatMult: "matmul",
}


@dataclass(frozen=True, slots=True)
class _BadOperation:
    """An operation whose arguments are finite and whose result is not."""

    operation: str
    line: int
    argument: float | None
    """The number that it was computed from, if there is one."""
    result: float


def _first_not_finite(
    statements: Iterable[ast.stmt], namespace: Mapping[str, Any]
) -> _BadOperation | None:
    """The first operation in these statements that makes NaN or infinity of finite numbers.

    Each right-hand side is computed again, part by part, with the values that the names have now:
    only where it calls nothing but NumPy and methods of arrays.
    """
    for statement in sorted(statements, key=lambda statement: statement.lineno):
        if not isinstance(statement, ast.Assign | ast.AugAssign):
            continue
        for part in _parts(statement.value):
            found = _bad(part, namespace)
            if found is not None:
                return found
        found = _bad_statement(statement, namespace)
        if found is not None:
            return found
    return None


def _bad_statement(
    statement: ast.Assign | ast.AugAssign, namespace: Mapping[str, Any]
) -> _BadOperation | None:
    """The bad operation of a whole statement, whose functions can't be computed again."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    names = {n.id for n in ast.walk(statement.value) if isinstance(n, ast.Name)}
    if not isinstance(target, ast.Name) or target.id in names:
        return None
    result, known = namespace.get(target.id), _finite([namespace.get(n) for n in names])
    if not known or not _is_numeric(result) or is_finite(result):
        return None
    numbers = np.asarray(result, np.float64)
    largest = max((a.flat[int(np.abs(a).argmax())] for a in known), key=abs)
    code = ast.unparse(statement.value)
    name = _name_of(statement.value) if isinstance(statement.value, ast.Call) else code
    found = float(numbers[~np.isfinite(numbers)][0])
    return _BadOperation(name, statement.lineno, float(largest), found)


def _finite(things: Iterable[Any]) -> list[Any]:
    """The arrays and numbers among these as arrays; none if one of them is not all finite."""
    found = [np.asarray(thing, np.float64) for thing in things if _is_numeric(thing)]
    found = [array for array in found if array.size]
    return found if all(bool(np.isfinite(array).all()) for array in found) else []


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """The operations in an expression, those inside others first."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.keyword):
            yield from _parts(child.value)
        elif isinstance(child, ast.expr):
            yield from _parts(child)
    if isinstance(node, ast.BinOp | ast.Call):
        yield node


def _bad(part: ast.expr, namespace: Mapping[str, Any]) -> _BadOperation | None:
    result = evaluated(part, namespace)
    if not _is_numeric(result) or is_finite(result):
        return None
    known = _finite([evaluated(argument, namespace) for argument in _arguments(part)])
    if not known:
        return None
    numbers = np.asarray(result, np.float64)
    bad = tuple(np.argwhere(~np.isfinite(numbers))[0])
    argument = _element_like(known[0], bad, numbers.shape)
    return _BadOperation(_name_of(part), part.lineno, argument, float(numbers[bad]))


def _arguments(part: ast.expr) -> list[ast.expr]:
    if isinstance(part, ast.BinOp):
        return [part.right, part.left] if isinstance(part.op, ast.Div) else [part.left, part.right]
    assert isinstance(part, ast.Call)
    receiver = [part.func.value] if isinstance(part.func, ast.Attribute) else []
    return [*receiver, *part.args]


def _name_of(part: ast.expr) -> str:
    if isinstance(part, ast.BinOp):
        return _OPERATIONS.get(type(part.op), "")
    assert isinstance(part, ast.Call)
    return ast.unparse(part.func).rpartition(".")[2]


def _element_like(array: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> float:
    """The element of an array that belongs to this index of a result of that shape.

    Of an array that was reduced it is the element farthest from 0.
    """
    try:
        return float(np.broadcast_to(array, shape)[index])
    except ValueError:
        return float(array.flat[int(np.abs(array).argmax())])


def _is_numeric(thing: Any) -> bool:
    if isinstance(thing, bool | int | float):
        return True
    return isinstance(thing, np.ndarray | np.generic) and np.asarray(thing).dtype.kind in "biuf"
