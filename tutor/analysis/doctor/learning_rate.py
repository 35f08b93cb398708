"""A learning rate above 2 / curvature, with a loss that grows; and one that is never used.

The curvature is the loss's along its gradient.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from tutor.analysis.doctor.rule import BackwardPass, DoctorRule, ExaminedStep, Patient
from tutor.analysis.doctor.source_code import RatePlace, place_of_rate
from tutor.analysis.doctor.torch_calls import TorchCall
from tutor.digits import rounded
from tutor.errors import RunError
from tutor.lesson.model import GRADIENT
from tutor.protocol.inspections import CodeFix, DoctorFinding
from tutor.training.loop import Loop
from tutor.training.probe import Probe
from tutor.training.values import to_numpy

Tensors: TypeAlias = Sequence[torch.Tensor]

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
_PARALLEL = 1e-3
"""The largest part of a step that is not along the gradient, for it to be one of plain descent."""

_PROBED = 1e-3
"""The distance of two places whose losses are compared, by the size of the parameters."""


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

    def before_backward(self, backward: BackwardPass) -> None:
        """Measure the loss here, and the rate of the step since the last point."""
        self._end_step()
        if backward.loss is not None and backward.loss.numel() == 1:
            self._begin_step(backward.loss, backward.leaves)

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """Note the optimizer's rate and momentum."""
        self._is_scaled |= not isinstance(optimizer, torch.optim.SGD)
        groups = optimizer.param_groups
        self._momentum = max(float(group.get("momentum", 0)) for group in groups)
        rates = {float(group["lr"]) for group in groups}
        self._rate = rates.pop() if len(rates) == 1 else 0.0

    def _begin_step(self, loss: torch.Tensor, leaves: list[torch.Tensor]) -> None:
        is_small = sum(leaf.numel() for leaf in leaves) <= _MOST_NUMBERS
        is_real = not any(leaf.is_complex() for leaf in leaves)
        if not leaves or not is_small or not is_real or self._is_scaled:
            return
        if self._measured[self.patient.epoch] < _MOST_MEASURED and bool(loss.isfinite().all()):
            self._measured[self.patient.epoch] += 1
            point = _loss_at_point(loss, leaves)
            if point is not None and len(point.parameters) == len(leaves):
                self._last = (point, leaves)

    def _end_step(self) -> None:
        if self._last is not None:
            point, leaves = self._last
            plain = _rate_of_step(point, leaves)
            rate = self._rate if self._momentum else plain
            self._keep(point, rate, point.curvature)
        self._last = None

    # ── By hand ─────────────────────────────────────────────────────────────────────

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """Compare a gradient by hand with the one of the epoch before."""
        loop = self.patient.run.loop
        if step.phase_name == GRADIENT and step.error is None:
            before, self._by_hand = self._by_hand, self._point_by_hand(loop)
            batch = self._gradients[step.epoch]
            self._gradients[step.epoch] += 1
            if before and self._by_hand:
                self._compare(before, self._by_hand, batch, step.epoch)
        return ()

    def _compare(self, before: LossAtPoint, now: LossAtPoint, batch: int, epoch: int) -> None:
        """Measure a step by hand; where batches alternate, only once a batch's loss has grown."""
        if not self._losses:
            self._losses[batch - 1] = before.loss
        rate, first = (
            _rate_of_step(before, now.parameters),
            self._losses.setdefault(batch, now.loss),
        )
        if max(self._gradients.values()) == 1:
            self._keep(before, rate, _curvature_between(before, now))
        elif now.loss > first and self._measured[epoch] < _MOST_MEASURED:
            self._measured[epoch] += 1
            curvature = _curvature_by_probe(self.patient, now)
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


# ── The loss at a point ─────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class LossAtPoint:
    """The loss at one point of the parameters: its value, gradients and curvature."""

    loss: float
    parameters: tuple[torch.Tensor, ...]
    """Copies of the values, in float64 as all here."""
    gradients: tuple[torch.Tensor, ...]
    curvature: float | None
    """The second derivative along the gradient; None if it is not known yet."""


def _loss_at_point(loss: torch.Tensor, leaves: Tensors) -> LossAtPoint | None:
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
    square = _dot(values, values)
    curvature = _dot(_copies(product), values) / square if square > 0 else None
    return LossAtPoint(float(loss.detach()), tuple(_copies(used)), values, curvature)


def _product(gradients: Tensors, along: Tensors, leaves: Tensors) -> list[torch.Tensor]:
    """The Hessian times a vector; 0 where the gradient is constant."""
    if not any(g.requires_grad for g in gradients):
        return [torch.zeros_like(p) for p in leaves]
    product = sum(((g * v).sum() for g, v in zip(gradients, along, strict=True)), start=0.0)
    found = torch.autograd.grad(product, leaves, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
    return [torch.zeros_like(p) if h is None else h for p, h in zip(leaves, found, strict=True)]


def _curvature_by_probe(patient: Patient, at: LossAtPoint) -> float | None:
    """The curvature along a gradient by hand, by three losses of the code's own Predict and Loss.

    None if they can't be computed beside the run.
    """
    run = patient.run
    place = run.standpoint()
    is_script = patient.lesson.script is not None
    size = _dot(at.gradients, at.gradients) ** 0.5
    names = list(place.start.values)
    if not size > 0 or len(names) != len(at.gradients) or (is_script and not place.start.names):
        return None
    length = _PROBED * max(1.0, _dot(at.parameters, at.parameters) ** 0.5)
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


def _rate_of_step(before: LossAtPoint, now: Tensors) -> float | None:
    """The learning rate of the step from a point to these values; None if it was no plain one."""
    step = [one - old for one, old in zip(_copies(now), before.parameters, strict=True)]
    square, length = _dot(before.gradients, before.gradients), _dot(step, step)
    if not square > 0 or not length > 0:
        return None
    rate = -_dot(step, before.gradients) / square
    rest = [s + rate * g for s, g in zip(step, before.gradients, strict=True)]
    is_plain = rate > 0 and _dot(rest, rest) <= _PARALLEL**2 * length
    return rate if is_plain else None


def _curvature_between(one: LossAtPoint, other: LossAtPoint) -> float | None:
    """The mean curvature along the step from one place to another, of the same loss."""
    step = [b - a for a, b in zip(one.parameters, other.parameters, strict=True)]
    change = [b - a for a, b in zip(one.gradients, other.gradients, strict=True)]
    length = _dot(step, step)
    return _dot(step, change) / length if length > 0 else None


def _dot(one: Tensors, other: Tensors) -> float:
    """The inner product of two rows of tensors."""
    return float(sum(float((a * b).sum()) for a, b in zip(one, other, strict=True)))


def _copies(tensors: Tensors) -> list[torch.Tensor]:
    return [t.detach().cpu().to(torch.float64, copy=True) for t in tensors]


# ── A rate that is never used ───────────────────────────────────────────────────────


@dataclass(slots=True, eq=False)
class _Early:
    """A scheduler that has made steps before its optimizer's first."""

    scheduler: Any
    line: int
    rate: float
    """The rate before the first of them."""
    steps: int = 0
    used: float | None = None
    """The rate of the optimizer's first step."""
    step_line: int = 0
    """The line of that step."""


class SchedulerOrderRule(DoctorRule):
    """The rule for a loop in which `scheduler.step()` comes before `optimizer.step()`."""

    def __init__(self, patient: Patient) -> None:
        super().__init__(patient)
        self._early: dict[int, _Early] = {}
        """The early steps, by the id of the scheduler."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Wrap the method `step` of all schedulers: PyTorch has no hook for them."""
        replaced = [(kind, kind.__dict__["step"]) for kind in _kinds() if "step" in kind.__dict__]
        for kind, step in replaced:
            kind.step = self._seeing(step)
        try:
            yield
        finally:
            for kind, step in replaced:
                kind.step = step

    def _seeing(self, step: Callable[..., Any]) -> Callable[..., Any]:
        recorder = self.patient.recorder

        def seen(scheduler: Any, *arguments: Any, **keywords: Any) -> Any:
            frame = sys._getframe(1)
            # Its constructor makes a step of its own.
            if frame.f_code.co_filename == recorder.filename and not recorder.is_paused:
                self._note(scheduler, frame.f_lineno)
            return step(scheduler, *arguments, **keywords)

        return seen

    def _note(self, scheduler: Any, line: int) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        if (
            not isinstance(optimizer, torch.optim.Optimizer)
            or id(optimizer) in self.patient.stepped
        ):
            return
        if not hasattr(optimizer, "_opt_called"):  # PyTorch's note of a step, before the loop too
            early = _Early(scheduler, line, _rate_of(optimizer))
            self._early.setdefault(id(scheduler), early).steps += 1

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """See the rate of an optimizer's first step."""
        for early in self._early.values():
            if early.scheduler.optimizer is optimizer and early.used is None:
                early.used, early.step_line = _rate_of(optimizer), call.line

    def after(self, step: ExaminedStep) -> Iterable[DoctorFinding]:
        """The finding, once the optimizer has made its first step."""
        if step.error is not None:
            return
        for key, early in list(self._early.items()):
            if early.used is not None:
                del self._early[key]
                # An optimizer's step may be left out (a GradScaler's first): the order is right.
                if not self._is_behind(early):
                    yield self._finding(early, early.used)

    def _is_behind(self, early: _Early) -> bool:
        """Whether the scheduler's line comes after the optimizer's, in the same function."""
        mine, other = (self.source.function_around(n) for n in (early.line, early.step_line))
        return mine is other and early.line >= early.step_line

    def _finding(self, early: _Early, used: float) -> DoctorFinding:
        return DoctorFinding(
            code="scheduler_first",
            line=early.line,
            variable=self.patient.name_of(early.scheduler),
            numbers={
                "scheduler_steps": early.steps,
                "optimizer_steps": 0,
                "rate": early.rate,
                "used": used,
            },
            lesson="schedules",
            exercise="two-steps",
            fix=self.source.swapped(
                self.source.statement_at(early.line), self.source.statement_at(early.step_line)
            ),
        )


def _rate_of(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def _kinds() -> list[Any]:
    """The classes of schedulers: PyTorch's, and the code's own."""
    found: list[Any] = [LRScheduler]
    for kind in found:
        found += [sub for sub in kind.__subclasses__() if sub not in found]
    return found
