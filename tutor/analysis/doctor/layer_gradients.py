"""Gradients that are missing, always 0, or vanish or explode from layer to layer."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from msgspec.structs import replace
from torch.autograd.graph import Node

from tutor.analysis.doctor.rule import BackwardPass, DoctorRule, ExaminedStep, Patient, extreme_of
from tutor.analysis.doctor.source_code import SourceCode
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.analysis.graph_recorder import leaf_of
from tutor.lesson.model import LOSS, PREDICT
from tutor.protocol.inspections import CodeFix, DoctorFinding

_USES = ("linear", "matmul", "mm", "mv", "addmm", "mul", "conv1d", "conv2d", "conv3d", "bmm")
"""The calls that multiply by a weight."""
_PRODUCTS = ("Addmm", "Mm", "Mv", "Mul", "Bmm", "Baddbmm", "Conv", "Linear", "Dot")
"""The names of their nodes begin so."""
_FEWEST_LAYERS = 4
"""The fewest layers of a network that this rule judges."""
_RATIO = 1e-3
"""Gradients vanish if the first layer's is below this part of the last layer's, and explode if it
is above the reciprocal; the median factor from layer to layer has to agree (_FACTOR)."""
_FACTOR = 0.4
"""The largest median factor of gradients that vanish; its reciprocal is the smallest of those that
explode."""


@dataclass(slots=True)
class _Backward:
    """The sizes that one backward has left, first layer first."""

    weights: list[torch.Tensor]
    gradients: list[float]
    """The size of each weight's gradient."""
    signals: list[float]
    """The size of the gradient that came to each layer's output, a product with a weight."""


class LayerGradientRule(DoctorRule):
    """The rule for gradients that vanish or explode from the last layer to the first.

    The size of a gradient is the root of the mean square of its elements that are not 0.

    Vanishing shows in the weights' gradients. Exploding shows in the gradients of the layers'
    outputs: where the outputs explode, too, the weights' gradients are equally large in all layers.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._order: dict[int, torch.Tensor] = {}
        """The weights in the order in which the forward pass uses them."""
        self._backwards: list[_Backward] = []
        self._leaves: set[int] = set()
        self._signals: dict[int, float] = {}
        """The number that PyTorch has given to a node → the size of the gradient there."""

    def before_backward(self, backward: BackwardPass) -> None:
        """Watch the products with weights that a backward comes to."""
        if backward.loss is None:
            return
        self._leaves = set(map(id, backward.leaves))
        for node in backward.nodes:
            is_product = node.name().startswith(_PRODUCTS)
            if is_product and any(leaf_of(operand) is not None for operand in _operands(node)):
                backward.hooks.append(node.register_prehook(self._watch(node._sequence_nr())))

    def _watch(self, number: int) -> Callable[[tuple[torch.Tensor, ...]], None]:
        def came(gradients: tuple[torch.Tensor, ...]) -> None:
            if gradients and gradients[0] is not None:
                self._signals[number] = _size(gradients[0])

        return came

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """Note the order of the weights, and the sizes of the gradients after a backward."""
        for call in step.calls_of(*_USES):
            for thing in call.arguments[:2]:  # and not the bias
                if isinstance(thing, torch.Tensor) and thing.is_leaf and thing.requires_grad:
                    self._order.setdefault(id(thing), thing)
        if self._leaves and step.error is None and any(step.calls_of("backward")):
            layers = [t for key, t in self._order.items() if key in self._leaves]
            known = [(t, _size(t.grad)) for t in layers if t.grad is not None]
            signals = [size for _, size in sorted(self._signals.items())]
            weights, sizes = [t for t, _ in known], [size for _, size in known]
            self._backwards.append(_Backward(weights, sizes, signals))
            self._leaves, self._signals = set(), {}
        return ()

    def at_end(self) -> Iterable[DoctorFinding]:
        """The finding, if it was so after each backward that came to as many layers."""
        deepest = max((len(b.signals) for b in self._backwards), default=0)
        whole = [b for b in self._backwards if len(b.signals) == deepest and b.weights]
        if deepest < _FEWEST_LAYERS or not whole:
            return
        if all(_vanishes(b.gradients) for b in whole):
            yield self._finding("gradients_vanish", whole[0], whole[0].gradients, "vanishing")
        elif all(_explodes(b.signals) for b in whole) and not self._is_clipped():
            sizes = whole[0].signals
            yield self._finding("gradients_explode", whole[0], sizes, "starting-weights")

    def _is_clipped(self) -> bool:
        """Whether the code clips the gradients: then its author knows that they explode."""
        return "clip_grad" in self.source.text or "clamp" in self.source.text

    def _finding(
        self, code: str, backward: _Backward, sizes: list[float], lesson: str
    ) -> DoctorFinding:
        name = self.patient.name_of(backward.weights[0])
        return DoctorFinding(
            code=code,
            line=self.patient.line_of_parameter(name),
            variable=name,
            numbers={
                "first": sizes[0],
                "last": sizes[-1],
                "last_layer": self.patient.name_of(backward.weights[-1]),
                "layers": len(sizes),
            },
            lesson=lesson,
        )


def _vanishes(sizes: list[float]) -> bool:
    ratio, factor = _growth(sizes)
    return 0 < ratio < _RATIO and factor <= _FACTOR


def _explodes(sizes: list[float]) -> bool:
    ratio, factor = _growth(sizes)
    return ratio > 1 / _RATIO and factor >= 1 / _FACTOR


def _growth(sizes: list[float]) -> tuple[float, float]:
    """First size by last, and the median factor between two; (0, 0) if one is 0 or not finite."""
    if len(sizes) < _FEWEST_LAYERS or not all(0 < size < math.inf for size in sizes):
        return 0.0, 0.0
    return sizes[0] / sizes[-1], median(one / next_ for one, next_ in pairwise(sizes))


def _operands(node: Node) -> Iterator[Node]:
    """The tensor that a node's gradients go to; of a transposed matrix, the matrix."""
    for child, _ in node.next_functions:
        if child is None:
            continue
        yield child
        if child.name().startswith(("T", "Permute")):
            yield from (inner for inner, _ in child.next_functions if inner is not None)


def _size(gradient: torch.Tensor) -> float:
    """The root mean square of the elements that are not 0: of an embedding few rows are used."""
    numbers = gradient.detach().to_dense() if gradient.is_sparse else gradient.detach()
    used = numbers[numbers != 0].abs().cpu().double()
    return float(used.square().mean().sqrt()) if used.numel() else 0.0


_CUTS = frozenset({"detach", "item", "tolist", "numpy", "get data"})
"""Calls whose result is no part of the graph."""

_MAKERS = frozenset({"tensor", "zeros", "ones", "randn", "rand", "full", "empty"})
_FEWEST_PASSES = 2
"""Backward passes that a parameter has to be seen in."""


class GradientRule(DoctorRule):
    """Parameters whose gradient is None or 0 after every backward pass.

    Of parameters that an optimizer holds; where there is none, of those of the lesson.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._passes, self._none, self._zero = Counter[str](), Counter[str](), Counter[str]()
        self._uses: Counter[int] = Counter()
        self._without_graph: dict[int, int] = {}
        """The id of a parameter → the line that uses it outside of the graph."""
        self._cuts: list[TorchCall] = []
        self._is_dead = False
        self._loss = 0.0

    def _watched(self) -> dict[str, torch.Tensor]:
        parameters, held = self.patient.parameters(), self.patient.held()
        if held:
            return {name: tensor for name, tensor in parameters.items() if id(tensor) in held}
        own = {id(thing) for thing in self.patient.run.loop.parameters().values()}
        return {n: t for n, t in parameters.items() if id(t) in own and t.requires_grad}

    def after_backward(self, backward: BackwardPass) -> None:
        """Count the gradients that a backward has left."""
        loss = backward.loss
        if loss is not None and loss.numel():
            self._loss = max(self._loss, abs(extreme_of(loss)))
        for name, parameter in self._watched().items():
            if parameter.is_leaf:
                gradient = parameter.grad
                self._passes[name] += 1
                self._none[name] += gradient is None
                self._zero[name] += gradient is not None and not bool(gradient.any())

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """Note where the parameters are used."""
        watched = {id(tensor) for tensor in self._watched().values()}
        for call in step.calls:
            if call.name.startswith(("get ", "set ", "optimizer")) and call.name != "get data":
                continue
            for argument in call.tensors():
                if id(argument) in watched and call.name not in ("backward", "zero"):
                    self._note_use(call, argument, step)
            if call.name in _CUTS and step.phase_name in (PREDICT, LOSS) and _needs(call):
                self._cuts.append(call)
            if call.name == "relu" and isinstance(call.result, torch.Tensor):
                self._is_dead |= not bool(call.result.any())
        return ()

    def _note_use(self, call: TorchCall, argument: torch.Tensor, step: ExaminedStep) -> None:
        if step.phase_name not in (PREDICT, LOSS):
            return
        self._uses[id(argument)] += 1
        result = call.result
        if isinstance(result, torch.Tensor) and not result.requires_grad:
            self._without_graph.setdefault(id(argument), call.line)

    def at_end(self) -> Iterator[DoctorFinding]:
        """The parameters that never had a gradient other than 0: the first of each line."""
        groups: dict[tuple[str, int], list[DoctorFinding]] = {}
        for finding in self._all():
            groups.setdefault((finding.code, finding.line), []).append(finding)
        for group in groups.values():
            numbers = {**group[0].numbers, "parameters": len(group)}
            yield replace(group[0], numbers=numbers)

    def _all(self) -> Iterator[DoctorFinding]:
        """A finding for each of them."""
        for name, parameter in self._watched().items():
            passes = self._passes[name]
            if passes < _FEWEST_PASSES:
                continue
            if not parameter.requires_grad:
                if not _freezes(self.source):
                    yield self._frozen(name, passes)
            elif self._none[name] == passes:
                yield self._without_gradient(name, parameter, passes)
            elif self._none[name] + self._zero[name] == passes and self._loss > 0:
                yield self._always_zero(name, passes)

    # ── The findings ────────────────────────────────────────────────────────────────

    def _without_gradient(self, name: str, parameter: torch.Tensor, passes: int) -> DoctorFinding:
        uses = self._uses[id(parameter)]
        line, fix = self._without_graph.get(id(parameter), 0), None
        if uses and not line and self._cuts:
            line, fix = self._cuts[0].line, _joined(self.source, self._cuts[0])
        return DoctorFinding(
            code="parameter_cut_off" if uses else "parameter_unused",
            line=line or self.patient.line_of_parameter(name),
            variable=name,
            numbers={"passes": passes, "gradients": 0, "uses": uses},
            lesson="detach" if uses else "registered",
            fix=fix,
        )

    def _always_zero(self, name: str, passes: int) -> DoctorFinding:
        return DoctorFinding(
            code="gradient_always_zero",
            line=self.patient.line_of_parameter(name),
            variable=name,
            numbers={"passes": passes, "gradient": 0.0, "loss": self._loss},
            lesson="dead-relu" if self._is_dead else "starting-weights",
        )

    def _frozen(self, name: str, passes: int) -> DoctorFinding:
        return DoctorFinding(
            code="frozen_in_optimizer",
            line=self.patient.line_of_parameter(name),
            variable=name,
            numbers={"requires_grad": False, "passes": passes, "gradient": "None"},
            lesson="before-backward",
            fix=_asking(self.source, name),
        )


def _needs(call: TorchCall) -> bool:
    """Whether the tensor that is cut off would have asked for a gradient."""
    return any(tensor.requires_grad for tensor in call.tensors())


def _freezes(source: SourceCode) -> bool:
    """Whether the code freezes parameters on purpose."""
    for node in source.nodes():
        match node:
            case ast.Assign(targets=[ast.Attribute(attr="requires_grad")]):
                return True
            case ast.Call(func=ast.Attribute(attr="requires_grad_"), args=[_, *_]):
                return True
    return False


def _joined(source: SourceCode, cut: TorchCall) -> CodeFix | None:
    """`y` for `y.detach()` on the line of a cut."""
    for node in source.nodes_at(cut.line):
        match node:
            case ast.Call(func=ast.Attribute(value=inner, attr=attr), args=[]) if attr == cut.name:
                return source.replaced(node, source.segment(inner))
            case ast.Attribute(value=inner, attr="data") if cut.name == "get data":
                return source.replaced(node, source.segment(inner))
    return None


def _asking(source: SourceCode, name: str) -> CodeFix | None:
    """`requires_grad=True` in the call that makes a tensor."""
    for statement in source.assignments(name):
        value = getattr(statement, "value", None)
        match value:
            case ast.Call(func=ast.Attribute(attr=attr), keywords=keywords) if attr in _MAKERS:
                if all(keyword.arg != "requires_grad" for keyword in keywords):
                    return source.called_with(value, more=["requires_grad=True"])
    return None
