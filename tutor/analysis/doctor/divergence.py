"""A learning rate above 2 / curvature along the gradient, and a loss that grows.

The curvature, and the place in the code where a learning rate is written.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient, leaves_of
from tutor.analysis.doctor.source_code import SourceCode, called_name
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.digits import rounded
from tutor.errors import RunError
from tutor.lesson.model import GRADIENT, UPDATE
from tutor.protocol.inspections import CodeFix, DoctorFinding
from tutor.training.loop import Loop
from tutor.training.probe import Probe
from tutor.training.values import to_numpy

_EPOCHS = 12
"""Epochs after which a loss that diverges has surely grown."""
_GROWTH = 4
"""A loss diverges that has grown by this factor, and still grows."""
_RISING = 4
"""Losses in a row that rise."""
_MOST_MEASURED = 4
"""Slopes that are measured in an epoch; each costs two backward passes."""
_MOST_NUMBERS = 2**22
"""Numbers in all parameters; the copies of more would take too much memory."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One update, and what the loss allowed there."""

    loss: float
    rate: float
    bound: float
    """The rate above which the loss grows."""


class DivergenceRule(DoctorRule):
    """A run that diverges because its steps are longer than the loss's curvature allows.

    Plain gradient descent lowers a parabola if its rate is below 2 / curvature, with momentum m
    below 2 (1 + m) / curvature. Source: Polyak, Some methods of speeding up the convergence of
    iteration methods, 1964. Optimizers that scale each element (Adam) have no such bound.
    """

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._steps: list[_Step] = []
        self._last: tuple[Slope, list[torch.Tensor]] | None = None
        self._by_hand: Slope | None = None
        self._measured: Counter[int] = Counter()
        self._gradients: Counter[int] = Counter()
        """The gradients by hand that were seen, by epoch."""
        self._losses: dict[int, float] = {}
        """The loss of each batch when it was first seen. Batch 0 gives the run's first loss."""
        self._momentum, self._rate = 0.0, 0.0
        self._is_scaled = False

    # ── By autograd ─────────────────────────────────────────────────────────────────

    def before_backward(self, call: TorchCall, loss: torch.Tensor | None) -> None:
        """Measure the slope, and the rate of the step since the last one."""
        self._end_step()
        if loss is not None and loss.numel() == 1:
            self._begin_step(loss)

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """Note the optimizer's rate and momentum."""
        self._is_scaled |= not isinstance(optimizer, torch.optim.SGD)
        groups = optimizer.param_groups
        self._momentum = max(float(group.get("momentum", 0)) for group in groups)
        rates = {float(group["lr"]) for group in groups}
        self._rate = rates.pop() if len(rates) == 1 else 0.0

    def _begin_step(self, loss: torch.Tensor) -> None:
        leaves = leaves_of(loss)
        is_small = sum(leaf.numel() for leaf in leaves) <= _MOST_NUMBERS
        is_real = not any(leaf.is_complex() for leaf in leaves)
        if not leaves or not is_small or not is_real or self._is_scaled:
            return
        if self._measured[self.patient.epoch] < _MOST_MEASURED and bool(loss.isfinite().all()):
            self._measured[self.patient.epoch] += 1
            slope = slope_of(loss, leaves)
            if slope is not None and len(slope.parameters) == len(leaves):
                self._last = (slope, leaves)

    def _end_step(self) -> None:
        if self._last is not None:
            slope, leaves = self._last
            plain = rate_of_step(slope, leaves)
            rate = self._rate if self._momentum else plain
            self._keep(slope, rate, slope.curvature)
        self._last = None

    # ── By hand ─────────────────────────────────────────────────────────────────────

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """Compare a gradient by hand with the one of the epoch before."""
        loop = self.patient.run.loop
        if moment.phase == GRADIENT and moment.error is None:
            before, self._by_hand = self._by_hand, self._slope_by_hand(loop)
            batch = self._gradients[moment.epoch]
            self._gradients[moment.epoch] += 1
            if before and self._by_hand:
                self._compare(before, self._by_hand, batch, moment.epoch)
        return ()

    def _compare(self, before: Slope, now: Slope, batch: int, epoch: int) -> None:
        """Measure a step by hand; where batches alternate, only once a batch's loss has grown."""
        if not self._losses:
            self._losses[batch - 1] = before.loss
        rate, first = rate_of_step(before, now.parameters), self._losses.setdefault(batch, now.loss)
        if max(self._gradients.values()) == 1:
            self._keep(before, rate, curvature_between(before, now))
        elif now.loss > first and self._measured[epoch] < _MOST_MEASURED:
            self._measured[epoch] += 1
            curvature = curvature_by_probe(self.patient, now)
            self._keep(now, rate, curvature)

    def _slope_by_hand(self, loop: Loop) -> Slope | None:
        """The gradients that the code has computed by hand, and where; None by autograd."""
        loss, values = to_numpy(loop.loss()), loop.parameters()
        if any(isinstance(v, torch.Tensor) and v.requires_grad for v in values.values()):
            return None
        gradients = {name: to_numpy(g) for name, g in loop.gradients_now().items()}
        places, slopes = list[torch.Tensor](), list[torch.Tensor]()
        for name, thing in values.items():
            value, gradient = to_numpy(thing), gradients.get(name)
            if value is None or gradient is None or gradient.size != value.size:
                return None
            places.append(torch.from_numpy(value.astype(np.float64)))
            slopes.append(torch.from_numpy(gradient.astype(np.float64)).reshape(value.shape))
        if not places or loss is None or loss.size != 1:
            return None
        return Slope(float(loss.reshape(())), tuple(places), tuple(slopes), None)

    def _keep(self, slope: Slope, rate: float | None, curvature: float | None) -> None:
        if rate and curvature is not None and curvature > 0:
            bound = 2 * (1 + self._momentum) / curvature
            if math.isfinite(bound) and math.isfinite(slope.loss):
                self._steps.append(_Step(slope.loss, rate, bound))

    # ── The verdict ─────────────────────────────────────────────────────────────────

    def at_end(self) -> Iterable[DoctorFinding]:
        """Ask for more epochs if steps were too long: the loss then has to grow."""
        if self._too_long():
            self.epochs = _EPOCHS
        return ()

    def after_whole_epochs(self) -> Iterable[DoctorFinding]:
        """The finding, if the loss has grown."""
        run, steps = self.patient.run, self._too_long()
        if not steps:
            return
        first = next(iter(self._losses.values()), self._steps[0].loss)
        losses = [first, *map(float, run.history.losses.until(run.loop.epoch))]
        grown = _grown(losses)
        later = None if grown is None else losses[grown]
        if later is None and not math.isfinite(losses[1]):  # it has grown within the first epoch
            grown, later = 1, max(step.loss for step in self._steps)
        if later is None or later <= losses[0]:
            return
        # Far from where it began, the curvature is another one.
        steps = [step for step in steps if step.loss <= losses[0]] or steps[:1]
        worst = max(steps, key=lambda step: step.rate / step.bound)
        place = place_of_rate(self.source, self.patient.namespace, worst.rate)
        yield DoctorFinding(
            code="diverges",
            line=place.line,
            variable=place.name,
            numbers={
                "rate": place.rate,
                "bound": worst.bound,
                "curvature": 2 * (1 + self._momentum) / worst.bound,
                "loss": losses[0],
                "loss_later": later,
                "epoch": int(grown or 0),
            },
            lesson="border-of-divergence",
            fix=self._fix(place, min(step.bound for step in steps)),
        )

    def _too_long(self) -> list[_Step]:
        """The steps that were too long, if they were so on average: batches differ."""
        if not self._steps or self._is_scaled:
            return []
        average = sum(step.rate / step.bound for step in self._steps) / len(self._steps)
        return [step for step in self._steps if step.rate > step.bound] if average > 1 else []

    def _fix(self, place: RatePlace, bound: float) -> CodeFix | None:
        if place.constant is None:
            return None
        half = bound / 2
        unit = 10.0 ** math.floor(math.log10(half))
        rate = rounded(math.floor(half / unit + 1e-9) * unit, 1)
        return self.source.replaced(place.constant, repr(rate))


def _grown(losses: list[float]) -> int | None:
    """The epoch whose finite loss shows that it grows without end; None if it does not."""
    finite = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    known = losses[:finite]
    if len(known) < 2 or known[-1] <= known[0]:
        return None
    if finite < len(losses):
        return finite - 1
    rising = all(a < b for a, b in pairwise(known[-_RISING:]))
    grows = len(known) >= _RISING and rising and known[-1] > _GROWTH * abs(known[0])
    return finite - 1 if grows else None


_RATE_NAMES = ("lr", "learning_rate", "rate", "eta", "alpha", "step_size")
_OPTIMIZERS = ("SGD", "ASGD")
"""Optimizers that have no scale for each element, and whose second argument is the rate."""
_CLOSE = 1e-4
"""A rate that was measured from a step in float32 is known so well."""


@dataclass(frozen=True, slots=True)
class RatePlace:
    """The place of a learning rate in the code."""

    line: int
    name: str
    """The rate's name in the code; the number itself where it has no name."""
    rate: float
    """The exact rate."""
    constant: ast.Constant | None = None
    """The rate's number in the code."""


def place_of_rate(source: SourceCode, namespace: Mapping[str, Any], rate: float) -> RatePlace:
    """The place of this rate: where it is set, else where it is used; line 0 if it is neither."""
    set_there = min(_places(source, rate), key=lambda place: place[0], default=None)
    if set_there is not None:
        return set_there[1]
    names = {n for n, thing in namespace.items() if _is_close(thing, rate)}
    used = [n for n in source.nodes() if isinstance(n, ast.Name) and n.id in names]
    if used:
        first = min(used, key=lambda n: (n.id not in _RATE_NAMES, n.lineno))
        return RatePlace(first.lineno, first.id, float(namespace[first.id]))
    return RatePlace(0, "", rate)


def _places(source: SourceCode, rate: float) -> Iterator[tuple[int, RatePlace]]:
    """The places where the number is written, the likelier ones with a smaller rank."""
    used = _names_of_updates(source)
    for node in source.nodes():
        match node:
            case ast.keyword(arg=str(name), value=constant) if name in _RATE_NAMES:
                yield from _found(0, constant, name, rate)
            case ast.Assign(targets=[target], value=constant):
                name = ast.unparse(target)
                is_rate = name.rpartition(".")[2].lower() in _RATE_NAMES
                yield from _found(1 if is_rate else 2 if name in used else 6, constant, name, rate)
            case ast.Call(args=[ast.Constant(value=str(name)), *_], keywords=keywords) if (
                name.strip("-").replace("-", "_") in _RATE_NAMES  # of an ArgumentParser
            ):
                for default in (k.value for k in keywords if k.arg == "default"):
                    yield from _found(1, default, name, rate)
            case ast.arguments():
                yield from _defaults(node, rate)
            case ast.Call(args=[_, constant, *_]) if called_name(node) in _OPTIMIZERS:
                yield from _found(3, constant, "lr", rate)
            case ast.BinOp(op=ast.Mult(), left=left, right=right):
                rank = 4 if source.phase_of(node.lineno) == UPDATE else 5
                for one in (left, right):
                    yield from _found(rank, one, ast.unparse(one), rate)


def _names_of_updates(source: SourceCode) -> set[str]:
    """The names in updates by hand, and in calls that make an optimizer."""
    nodes = list(source.nodes(UPDATE))
    for name in _OPTIMIZERS:
        nodes += [inner for call in source.calls(name) for inner in ast.walk(call)]
    return {ast.unparse(n) for n in nodes if isinstance(n, ast.Name | ast.Attribute)}


def _found(rank: int, node: ast.expr, name: str, rate: float) -> Iterator[tuple[int, RatePlace]]:
    """The place, if this is the number."""
    if isinstance(node, ast.Constant) and _is_close(node.value, rate):
        yield rank, RatePlace(node.lineno, name, float(str(node.value)), node)


def _defaults(arguments: ast.arguments, rate: float) -> Iterator[tuple[int, RatePlace]]:
    """The place among a function's default values."""
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    defaults = arguments.defaults
    pairs = [
        *zip(names[len(names) - len(defaults) :], defaults, strict=True),
        *zip((a.arg for a in arguments.kwonlyargs), arguments.kw_defaults, strict=True),
    ]
    for name, default in pairs:
        if default is not None:
            yield from _found(1 if name in _RATE_NAMES else 6, default, name, rate)


def _is_close(number: object, rate: float) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and math.isclose(float(number), rate, rel_tol=_CLOSE)  # type: ignore[arg-type]


Tensors: TypeAlias = Sequence[torch.Tensor]

_PARALLEL = 1e-3
"""The largest part of a step that is not along the gradient, for it to be one of plain descent."""

_PROBED = 1e-3
"""The distance of two places whose losses are compared, by the size of the parameters."""


@dataclass(frozen=True, slots=True)
class Slope:
    """The loss at one place: its value, gradient and curvature."""

    loss: float
    parameters: tuple[torch.Tensor, ...]
    """Copies of the values, in float64 as all here."""
    gradients: tuple[torch.Tensor, ...]
    curvature: float | None
    """The second derivative along the gradient; None if it is not known yet."""


def slope_of(loss: torch.Tensor, leaves: Tensors) -> Slope | None:
    """The slope of a loss whose graph has not been used yet, by differentiating twice.

    The graph, and `.grad`, stay as they were. None if it can't be differentiated twice.
    """
    try:
        gradients = torch.autograd.grad(
            loss, leaves, create_graph=True, retain_graph=True, allow_unused=True
        )
        known = [(p, g) for p, g in zip(leaves, gradients, strict=True) if g is not None]
        used, found = [p for p, _ in known], [g for _, g in known]
        values = tuple(_copies([g.detach() for g in found]))
        product = _product(found, [g.detach() for g in found], used)
    except RuntimeError:  # an operation without a second derivative, a graph that is gone
        return None
    square = dot(values, values)
    curvature = dot(_copies(product), values) / square if square > 0 else None
    return Slope(float(loss.detach()), tuple(_copies(used)), values, curvature)


def _product(gradients: Tensors, along: Tensors, leaves: Tensors) -> list[torch.Tensor]:
    """The Hessian times a vector; 0 where the gradient is constant."""
    if not any(g.requires_grad for g in gradients):
        return [torch.zeros_like(p) for p in leaves]
    product = sum(((g * v).sum() for g, v in zip(gradients, along, strict=True)), start=0.0)
    found = torch.autograd.grad(product, leaves, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
    return [torch.zeros_like(p) if h is None else h for p, h in zip(leaves, found, strict=True)]


def curvature_by_probe(patient: Patient, at: Slope) -> float | None:
    """The curvature along a gradient by hand, by three losses of the code's own Predict and Loss.

    None if they can't be computed beside the run.
    """
    run = patient.run
    place = run.standpoint()
    is_script = patient.lesson.script is not None
    size = dot(at.gradients, at.gradients) ** 0.5
    names = list(place.start.values)
    if not size > 0 or len(names) != len(at.gradients) or (is_script and not place.start.names):
        return None
    length = _PROBED * max(1.0, dot(at.parameters, at.parameters) ** 0.5)
    ways = [length / size * gradient for gradient in at.gradients]
    try:
        probe = Probe(
            run.program, run.device, run.learning_rate, 0, precise=True, quiet=patient.quiet
        )
        probe.stand(place)
        left, middle, right = (_loss_at(probe, names, at, ways, side) for side in (-1, 0, 1))
    except RunError:
        return None
    found = (left - 2 * middle + right) / length**2
    return found if math.isfinite(found) else None


def _loss_at(probe: Probe, names: Sequence[str], at: Slope, ways: Tensors, side: int) -> float:
    """The loss `side` steps away from a place."""
    points = [point + side * way for point, way in zip(at.parameters, ways, strict=True)]
    return probe.loss({name: point.numpy() for name, point in zip(names, points, strict=True)})


def rate_of_step(before: Slope, now: Tensors) -> float | None:
    """The learning rate of the step from a slope to these values; None if it was no plain one."""
    step = [one - old for one, old in zip(_copies(now), before.parameters, strict=True)]
    square, length = dot(before.gradients, before.gradients), dot(step, step)
    if not square > 0 or not length > 0:
        return None
    rate = -dot(step, before.gradients) / square
    rest = [s + rate * g for s, g in zip(step, before.gradients, strict=True)]
    is_plain = rate > 0 and dot(rest, rest) <= _PARALLEL**2 * length
    return rate if is_plain else None


def curvature_between(one: Slope, other: Slope) -> float | None:
    """The mean curvature along the step from one place to another, of the same loss."""
    step = [b - a for a, b in zip(one.parameters, other.parameters, strict=True)]
    change = [b - a for a, b in zip(one.gradients, other.gradients, strict=True)]
    length = dot(step, step)
    return dot(step, change) / length if length > 0 else None


def dot(one: Tensors, other: Tensors) -> float:
    """The inner product of two rows of tensors."""
    return float(sum(float((a * b).sum()) for a, b in zip(one, other, strict=True)))


def _copies(tensors: Tensors) -> list[torch.Tensor]:
    return [t.detach().cpu().to(torch.float64, copy=True) for t in tensors]
