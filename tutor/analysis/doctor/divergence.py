"""A learning rate above 2 / curvature along the gradient, and a loss that grows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from tutor.analysis.doctor.curvature import (
    LossAtPoint,
    curvature_between,
    curvature_by_probe,
    loss_at_point,
    rate_of_step,
)
from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.source_code import RatePlace, place_of_rate
from tutor.analysis.doctor.tensors import leaves_of
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.digits import rounded
from tutor.lesson.model import GRADIENT
from tutor.protocol.inspections import CodeFix, DoctorFinding
from tutor.training.loop import Loop
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
        self._last: tuple[LossAtPoint, list[torch.Tensor]] | None = None
        self._by_hand: LossAtPoint | None = None
        self._measured: Counter[int] = Counter()
        self._gradients: Counter[int] = Counter()
        """The gradients by hand that were seen, by epoch."""
        self._losses: dict[int, float] = {}
        """The loss of each batch when it was first seen. Batch 0 gives the run's first loss."""
        self._momentum, self._rate = 0.0, 0.0
        self._is_scaled = False

    # ── By autograd ─────────────────────────────────────────────────────────────────

    def before_backward(self, call: TorchCall, loss: torch.Tensor | None) -> None:
        """Measure the loss here, and the rate of the step since the last point."""
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
            point = loss_at_point(loss, leaves)
            if point is not None and len(point.parameters) == len(leaves):
                self._last = (point, leaves)

    def _end_step(self) -> None:
        if self._last is not None:
            point, leaves = self._last
            plain = rate_of_step(point, leaves)
            rate = self._rate if self._momentum else plain
            self._keep(point, rate, point.curvature)
        self._last = None

    # ── By hand ─────────────────────────────────────────────────────────────────────

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """Compare a gradient by hand with the one of the epoch before."""
        loop = self.patient.run.loop
        if moment.phase == GRADIENT and moment.error is None:
            before, self._by_hand = self._by_hand, self._point_by_hand(loop)
            batch = self._gradients[moment.epoch]
            self._gradients[moment.epoch] += 1
            if before and self._by_hand:
                self._compare(before, self._by_hand, batch, moment.epoch)
        return ()

    def _compare(self, before: LossAtPoint, now: LossAtPoint, batch: int, epoch: int) -> None:
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

    def _point_by_hand(self, loop: Loop) -> LossAtPoint | None:
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
        return LossAtPoint(float(loss.reshape(())), tuple(places), tuple(slopes), None)

    def _keep(self, point: LossAtPoint, rate: float | None, curvature: float | None) -> None:
        if rate and curvature is not None and curvature > 0:
            bound = 2 * (1 + self._momentum) / curvature
            if math.isfinite(bound) and math.isfinite(point.loss):
                self._steps.append(_Step(point.loss, rate, bound))

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
                "limit": 2 * (1 + self._momentum),
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
