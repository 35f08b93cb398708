"""The slope and the curvature of a loss along its gradient, and the rate of a step there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from tutor.analysis.doctor.rule import Patient
from tutor.errors import RunError
from tutor.training.probe import Probe

Tensors: TypeAlias = Sequence[torch.Tensor]

_PARALLEL = 1e-3
"""The largest part of a step that is not along the gradient, for it to be one of plain descent."""

_PROBED = 1e-3
"""The distance of two places whose losses are compared, by the size of the parameters."""


@dataclass(frozen=True, slots=True)
class LossAtPoint:
    """The loss at one point of the parameters: its value, gradients and curvature."""

    loss: float
    parameters: tuple[torch.Tensor, ...]
    """Copies of the values, in float64 as all here."""
    gradients: tuple[torch.Tensor, ...]
    curvature: float | None
    """The second derivative along the gradient; None if it is not known yet."""


def loss_at_point(loss: torch.Tensor, leaves: Tensors) -> LossAtPoint | None:
    """The gradients and curvature of a loss whose graph is unused, by differentiating twice.

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
    return LossAtPoint(float(loss.detach()), tuple(_copies(used)), values, curvature)


def _product(gradients: Tensors, along: Tensors, leaves: Tensors) -> list[torch.Tensor]:
    """The Hessian times a vector; 0 where the gradient is constant."""
    if not any(g.requires_grad for g in gradients):
        return [torch.zeros_like(p) for p in leaves]
    product = sum(((g * v).sum() for g, v in zip(gradients, along, strict=True)), start=0.0)
    found = torch.autograd.grad(product, leaves, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
    return [torch.zeros_like(p) if h is None else h for p, h in zip(leaves, found, strict=True)]


def curvature_by_probe(patient: Patient, at: LossAtPoint) -> float | None:
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


def _loss_at(
    probe: Probe, names: Sequence[str], at: LossAtPoint, ways: Tensors, side: int
) -> float:
    """The loss `side` steps away from a place."""
    points = [point + side * way for point, way in zip(at.parameters, ways, strict=True)]
    return probe.loss({name: point.numpy() for name, point in zip(names, points, strict=True)})


def rate_of_step(before: LossAtPoint, now: Tensors) -> float | None:
    """The learning rate of the step from a point to these values; None if it was no plain one."""
    step = [one - old for one, old in zip(_copies(now), before.parameters, strict=True)]
    square, length = dot(before.gradients, before.gradients), dot(step, step)
    if not square > 0 or not length > 0:
        return None
    rate = -dot(step, before.gradients) / square
    rest = [s + rate * g for s, g in zip(step, before.gradients, strict=True)]
    is_plain = rate > 0 and dot(rest, rest) <= _PARALLEL**2 * length
    return rate if is_plain else None


def curvature_between(one: LossAtPoint, other: LossAtPoint) -> float | None:
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
