"""A scheduler's step that comes before the optimizer's first: the first rate is never used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from tutor.analysis.doctor.rule import DoctorRule, Moment, Patient
from tutor.analysis.doctor.torch_calls import CallRecorder, TorchCall
from tutor.protocol.inspections import DoctorFinding


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
        self._stepped: set[int] = set()
        """The ids of the optimizers that have made a step."""
        self._early: dict[int, _Early] = {}
        """The early steps, by the id of the scheduler."""

    @contextmanager
    def watching(self, recorder: CallRecorder) -> Iterator[None]:
        """Wrap the method `step` of all schedulers: PyTorch has no hook for them."""
        replaced = [(kind, kind.__dict__["step"]) for kind in _kinds() if "step" in kind.__dict__]
        for kind, step in replaced:
            kind.step = self._seeing(step, recorder)
        try:
            yield
        finally:
            for kind, step in replaced:
                kind.step = step

    def _seeing(self, step: Callable[..., Any], recorder: CallRecorder) -> Callable[..., Any]:
        def seen(scheduler: Any, *arguments: Any, **keywords: Any) -> Any:
            frame = sys._getframe(1)
            # Its constructor makes a step of its own.
            if frame.f_code.co_filename == recorder.filename and not recorder.is_paused:
                self._note(scheduler, frame.f_lineno)
            return step(scheduler, *arguments, **keywords)

        return seen

    def _note(self, scheduler: Any, line: int) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        if not isinstance(optimizer, torch.optim.Optimizer) or id(optimizer) in self._stepped:
            return
        if not hasattr(optimizer, "_opt_called"):  # PyTorch's note of a step, before the loop too
            early = _Early(scheduler, line, _rate_of(optimizer))
            self._early.setdefault(id(scheduler), early).steps += 1

    def before_update(self, call: TorchCall, optimizer: torch.optim.Optimizer) -> None:
        """See the rate of an optimizer's first step."""
        if id(optimizer) in self._stepped:
            return
        self._stepped.add(id(optimizer))
        for early in self._early.values():
            if early.scheduler.optimizer is optimizer:
                early.used, early.step_line = _rate_of(optimizer), call.line

    def after(self, moment: Moment) -> Iterable[DoctorFinding]:
        """The finding, once the optimizer has made its first step."""
        if moment.error is not None:
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
