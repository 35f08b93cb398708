"""Gradients that vanish or explode from the last layer to the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch.autograd.graph import Node

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.tensors import leaves_of, nodes_below
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.protocol.findings import DoctorFinding

_USES = ("linear", "matmul", "mm", "mv", "addmm", "mul", "conv1d", "conv2d", "conv3d", "bmm")
"""The calls that multiply by a weight."""
_PRODUCTS = ("Addmm", "Mm", "Mv", "Mul", "Bmm", "Baddbmm", "Conv", "Linear", "Dot")
"""The names of their nodes begin so."""
_FEWEST = 4
"""Layers below which nothing is said of them."""
_RATIO = 1e-3
"""First layer to last: below this they vanish, above its reciprocal they explode."""
_FACTOR = 0.4
"""And from layer to layer: the median factor is at most this, or at least its reciprocal."""


@dataclass(slots=True)
class _Backward:
    """The sizes that one backward has left, first layer first."""

    weights: list[torch.Tensor]
    gradients: list[float]
    """Of each weight's gradient."""
    signals: list[float]
    """Of the gradient that came to each product with a weight: of the layer's output."""


class LayerGradientRule(DoctorRule):
    """A size is the root of the mean square of the elements that are not 0.

    Vanishing shows in the weights' gradients. Exploding shows in those of the layers' outputs:
    where the outputs explode, too, the weights' gradients are equally large in all layers.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._order: dict[int, torch.Tensor] = {}
        """The weights in the order in which the forward pass uses them."""
        self._backwards: list[_Backward] = []
        self._leaves: set[int] = set()
        self._signals: dict[int, float] = {}
        """By the number that PyTorch has given to a node."""
        self._hooks: list[Any] = []

    def before_call(self, call: TorchCall) -> None:
        """Watch the products with weights that a backward comes to."""
        loss = call.argument(0, "tensors")
        if call.name != "backward" or not isinstance(loss, torch.Tensor):
            return
        self._unhook()
        self._leaves = {id(leaf) for leaf in leaves_of(loss)}
        for node in nodes_below(loss):
            if node.name().startswith(_PRODUCTS) and any(map(_is_leaf, _operands(node))):
                self._hooks.append(node.register_prehook(self._watch(node._sequence_nr())))

    def _watch(self, number: int) -> Callable[[tuple[torch.Tensor, ...]], None]:
        def came(gradients: tuple[torch.Tensor, ...]) -> None:
            if gradients and gradients[0] is not None:
                self._signals[number] = _size(gradients[0])

        return came

    def after_call(self, call: TorchCall) -> None:
        """Take the hooks away."""
        if call.name == "backward":
            self._unhook()

    def _unhook(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """Note the order of the weights, and the sizes of the gradients after a backward."""
        self._unhook()
        for call in moment.calls_of(*_USES):
            for thing in call.arguments[:2]:  # and not the bias
                if isinstance(thing, torch.Tensor) and thing.is_leaf and thing.requires_grad:
                    self._order.setdefault(id(thing), thing)
        if self._leaves and moment.error is None and any(moment.calls_of("backward")):
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
        if deepest < _FEWEST or not whole:
            return
        if all(_vanishes(b.gradients) for b in whole):
            yield self._finding("gradients_vanish", whole[0], whole[0].gradients, "vanishing")
        elif all(_explodes(b.signals) for b in whole) and not self._is_clipped():
            sizes = whole[0].signals
            yield self._finding("gradients_explode", whole[0], sizes, "starting-weights")

    def _is_clipped(self) -> bool:
        """Whether the code clips the gradients: then it knows."""
        return "clip_grad" in self.patient.source.text or "clamp" in self.patient.source.text

    def _finding(
        self, code: str, backward: _Backward, sizes: list[float], lesson: str
    ) -> DoctorFinding:
        name = self.patient.name_of(backward.weights[0])
        return DoctorFinding(
            code=code,
            line=self.patient.source.line_of(name) or self.patient.source.line_of(_root(name)),
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
    if len(sizes) < _FEWEST or not all(0 < size < math.inf for size in sizes):
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


def _is_leaf(node: Node) -> bool:
    return hasattr(node, "variable")


def _size(gradient: torch.Tensor) -> float:
    """The root mean square of the elements that are not 0: of an embedding few rows are used."""
    numbers = gradient.detach().to_dense() if gradient.is_sparse else gradient.detach()
    used = numbers[numbers != 0].abs().cpu().double()
    return float(used.square().mean().sqrt()) if used.numel() else 0.0


def _root(name: str) -> str:
    """The name that a parameter's label begins with; `self.net` of `self.net[0].weight`."""
    parts = name.split("[")[0].split(".")
    return ".".join(parts[:2]) if parts[0] == "self" else parts[0]
