"""The check of a lesson: it shows the same numbers each time, forward and back, in every mode.

Reading the file has found what is wrong with its form; here the code is run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import torch

from tutor.analysis.finite_differences import (
    Sampled,
    gradients_by_differences,
    gradients_by_program,
    probes_at_batches,
)
from tutor.errors import RunError
from tutor.lesson.code_checks import known_names, slips
from tutor.lesson.model import AUTOGRAD, GRADIENT, GRADIENT_CHANGES, LOSS, SETUP, Lesson
from tutor.protocol.events import GRADIENT_CHECK, CheckFinding, LessonPart
from tutor.protocol.frame import Frame, Remark, is_same_frame
from tutor.training.devices import is_out_of_memory
from tutor.training.figures import reading_of
from tutor.training.lesson_error import LessonRaised
from tutor.training.program import Expression, Program, programs_of
from tutor.training.run import Run
from tutor.training.values import (
    RELATIVE,
    Array,
    dtype_and_shape,
    largest_size,
    real_pairs,
    to_numbers,
)
from tutor.validation.device_figures import FiguresOnDevice, differences
from tutor.validation.exercise_check import OnPart, check_exercises, ignore_progress, reason_of

_HALF_PRECISION_STEPS = 8
"""In place of RELATIVE, in roundings of the parameters' dtype where that has half the precision."""

_EPOCHS = 3
"""Epochs that are run by phase; more would add time, not trust."""
_MORE_EPOCHS = 20
"""Epochs that are run as a whole after these."""


def check(lesson: Lesson) -> tuple[CheckFinding, ...]:
    """All that is wrong with what a lesson computes. Runs its code."""
    return tuple(findings(lesson))


def findings(
    lesson: Lesson, on_part: OnPart = ignore_progress, device: str = "cpu"
) -> Iterator[CheckFinding]:
    """The findings one after the other; `on_part` is called with each part before it is run.

    On another `device` than the CPU each mode is trained to its end, and its figures are compared
    with the CPU's instead of its gradient with finite differences, which need float64.
    Raises LessonRaised if somebody stops the lesson's code (Ctrl+C).
    """
    return _Check(lesson, on_part, device).findings()


class _Check:
    """The checks of one lesson; each yields findings."""

    def __init__(self, lesson: Lesson, on_part: OnPart, device: str) -> None:
        self.lesson, self.device = lesson, device
        self.programs = programs_of(lesson)
        self._on_part = on_part
        self._valueless: list[tuple[int, Remark, list[str]]] = []
        """The line of each expression that has no value, why, and the modes that show it."""
        self._samples: dict[tuple[int, int, str], None] = {}
        """The parameters that have been checked by a sample, each once: how many of its numbers."""

    def findings(self) -> Iterator[CheckFinding]:
        running = dict(self.programs)
        for mode in self.lesson.modes:
            try:
                if self.device != "cpu" and Run(self.programs, mode, self.device).device == "cpu":
                    del running[mode]  # it is NumPy's
                    continue
                yield from self._runs(mode)
                if self._is_cut_short(mode):
                    del running[mode]
                    continue
                if self.device != "cpu":
                    yield from self._figures(mode)
                    continue
                unfit = self._unfit(mode)
                yield from [self._finding(line, what, mode) for line, what in unfit]
                if not unfit:
                    yield from self._gradient(mode)
            except RunError as error:
                what = reason_of(error)  # raises it if somebody has stopped it
                del running[mode]
                line = error.line if isinstance(error, LessonRaised) else None
                yield self._finding(line or 1, what, mode)
            except (MemoryError, RuntimeError) as error:  # in code of ours, not in the lesson's
                if not is_out_of_memory(error):
                    raise
                del running[mode]
                what = Remark("no_memory")
                if self.device != "cpu":
                    what = Remark("no_memory_on", {"device": self.device})
                yield self._finding(self._phase_line(SETUP), what, mode)
        for line, what, modes in self._valueless:
            yield self._finding(line, what, *modes)
        yield from self._sample_notes()
        yield from check_exercises(self.lesson, running, self._on_part, self.device)

    def _finding(
        self, line: int, remark: Remark, *modes: str, is_note: bool = False
    ) -> CheckFinding:
        remark = msgspec.structs.replace(remark, modes=modes)
        return CheckFinding(path=str(self.lesson.path), line=line, remark=remark, is_note=is_note)

    def _begins(self, mode: str, phase: str, epochs: int = 0) -> None:
        """Say that this phase, or so many epochs, are run next: on the first line of its code."""
        section = self.lesson.phase(phase)
        fences = section.fences(mode) if section else ()
        line = fences[0].line if fences else self._phase_line(phase)
        self._on_part(LessonPart(line, mode=mode, phase=phase, epochs=epochs))

    def _phase_line(self, name: str) -> int:
        section = self.lesson.phase(name)
        return section.line if section else 1

    # ── Running ─────────────────────────────────────────────────────────────────────

    def _runs(self, mode: str) -> Iterator[CheckFinding]:
        self._begins(mode, SETUP)
        run = Run(self.programs, mode, self.device)
        frames = _frames(run, partial(self._begins, mode))
        run.seek(0, 0)  # Setup runs again
        again = _frames(run)
        if self._is_cut_short(mode):  # in one frame there may be a value, in another none
            self._note_valueless(mode, again[-1])
            return
        if not all(map(is_same_frame, frames, again)):
            code = "runs_differ_on" if self._on else "runs_differ"
            yield self._finding(1, Remark(code, {"device": self._on}), mode)
        yield from self._goes_back(mode, run, again[:-1])
        self._note_valueless(mode, frames[-1])

    def _goes_back(self, mode: str, run: Run, seen: Sequence[Frame]) -> Iterator[CheckFinding]:
        """A finding unless the way back meets the frames that were shown."""
        there = {frame.at: frame for frame in seen}
        other = next((f.at for f in _backwards(run) if not is_same_frame(f, there[f.at])), None)
        if other is not None:
            values = {"device": self._on, "epoch": other.epoch, "step": other.step}
            yield self._finding(1, Remark("back_differs", values), mode)

    @property
    def _on(self) -> str:
        """The device in a remark; empty for the CPU, which a remark does not name."""
        return "" if self.device == "cpu" else self.device

    def _figures(self, mode: str) -> Iterator[CheckFinding]:
        """The figures of the whole training, compared with the CPU's."""
        line = self._phase_line(GRADIENT)
        figures = FiguresOnDevice(self.programs, mode, self.device)
        self._begins(mode, "", figures.epochs)
        if wrong := figures.difference():
            yield self._finding(line, wrong, mode)
        elif figures.draws_there:
            remark = Remark("draws_on_device", {"device": self._on})
            yield self._finding(line, remark, mode, is_note=True)

    def _note_valueless(self, mode: str, frame: Frame) -> None:
        """Note the live values that are not there after whole epochs."""
        values = {e: v for by_expression in frame.boxed.values() for e, v in by_expression.items()}
        values.update(frame.watched)
        for expression in self._shown(mode):
            value = values[expression.label]
            if value.dtype == "text":
                what = self._why_no_value(expression, mode, value.text)
                self._add_valueless(expression.line, what, mode)

    def _add_valueless(self, line: int, what: Remark, mode: str) -> None:
        for known_line, known, modes in self._valueless:
            if (known_line, known) == (line, what):
                modes.append(mode)
                return
        self._valueless.append((line, what, [mode]))

    def _shown(self, mode: str) -> Sequence[Expression]:
        """The expressions whose values the lesson shows in this mode, each once."""
        by_label: dict[str, Expression] = {}
        for expression in self.programs[mode].expressions():
            by_label.setdefault(expression.label, expression)
        return tuple(by_label.values())

    def _is_cut_short(self, mode: str) -> bool:
        """Whether an expression was stopped at its time limit: it then has no value."""
        return any(e.source in self.programs[mode].stopped for e in self._shown(mode))

    def _why_no_value(self, expression: Expression, mode: str, text: str) -> Remark:
        values = {"label": expression.label}
        stopped = self.programs[mode].stopped.get(expression.source)
        if stopped is not None and stopped.why:
            return Remark("not_shown_in_time", {**values, "reason": stopped.why})
        known = known_names(self.lesson, [mode])
        if slip := next(slips(expression.source, known, self.lesson.parameters[mode]), None):
            return Remark("not_shown_misnamed", {**values, "slip": slip})
        if text:
            return Remark("not_shown", {**values, "reason": text})
        return Remark("not_shown_unbound", values)

    # ── Gradients ───────────────────────────────────────────────────────────────────

    def _gradient(self, mode: str) -> Iterator[CheckFinding]:
        line = self._phase_line(GRADIENT)
        self._on_part(LessonPart(line, mode=mode, phase=GRADIENT_CHECK))
        program = self.programs[mode]
        own = mode in self.lesson.own_gradient
        for probe in probes_at_batches(program):
            found = gradients_by_program(probe)
            differences = gradients_by_differences(probe, found)
            wrong = _disagreement(found, differences)
            if wrong and not own:
                yield self._gradient_finding(mode, "finite_differences", wrong)
                return
            self._note_samples(differences)
            if wrong:
                return  # on purpose: the lesson says so
        apart = self.lesson.comparable and mode != AUTOGRAD and AUTOGRAD in self.programs
        wrong = self._unlike_autograd(mode, program) if apart else None
        if own and not wrong:
            what = Remark("own_gradient_is_right", {"mode": mode})
            yield self._finding(self._phase_line(GRADIENT), what, mode)
        elif wrong and not own:
            yield self._gradient_finding(mode, AUTOGRAD, wrong)

    def _note_samples(self, differences: Mapping[str, Sampled]) -> None:
        for name, sampled in differences.items():
            size = math.prod(sampled.shape)
            if len(sampled.at) < size:
                self._samples[len(sampled.at), size, name] = None

    def _sample_notes(self) -> Iterator[CheckFinding]:
        """Once for all modes, the gradients that were checked by a sample."""
        if self._samples:
            what = Remark("checked_by_sample", {"samples": list(self._samples)})
            yield self._finding(self._phase_line(GRADIENT), what, is_note=True)

    def _unfit(self, mode: str) -> list[tuple[int, Remark]]:
        """The reasons why the loss has no gradient that could be checked, by line."""
        run = Run(self.programs, mode)
        parameters = {name: run.loop.namespace.get(name) for name in run.program.parameters}
        line = self._phase_line(SETUP)
        found = [(line, why) for n, it in parameters.items() if (why := _why_no_parameter(n, it))]
        run.step_epoch()
        why = _why_no_loss(run.loop.namespace.get("loss"))
        return [*found, (self._phase_line(LOSS), why)] if why else found

    def _unlike_autograd(self, mode: str, program: Program) -> Remark | None:
        """The first difference from autograd's in the lesson's own precision.

        At the same parameters, phase by phase.
        """
        if program.parameters != self.programs[AUTOGRAD].parameters:
            return None  # another set of parameters is another function
        run = Run(self.programs, mode)
        for _ in range(_EPOCHS):
            _to_gradient(run)
            mine = _used_gradients(run)
            run.switch(AUTOGRAD)
            theirs = _used_gradients(run)
            if wrong := _disagreement(mine, _all_of(theirs), _rounding(run)):
                return wrong
            run.switch(mode)
        return None

    def _gradient_finding(self, mode: str, measure: str, what: Remark) -> CheckFinding:
        what = Remark(what.code, {"measure": measure, **what.values})
        return self._finding(self._phase_line(GRADIENT), what, mode)


def _to_gradient(run: Run) -> None:
    run.step_phase_without_frame()
    while run.loop.last_phase_name() != GRADIENT and not run.at_end:
        run.step_phase_without_frame()


def _used_gradients(run: Run) -> dict[str, Array | None]:
    """The gradients of this batch as the update uses them; its Gradient phase has run."""
    while run.loop.next_phase_name() in GRADIENT_CHANGES:
        run.step_phase_without_frame()
    return {name: real_pairs(g) for name, g in reading_of(run.loop).gradients.items()}


def _frames(run: Run, begins: Callable[..., object] = lambda *_: None) -> list[Frame]:
    """Every frame of the first epochs, then the end of some more.

    `begins` is called with each phase before it is run, and with the number of those epochs.
    """
    frames = [run.frame()]
    while run.at.epoch < _EPOCHS or not run.at_end:
        begins(frames[-1].next_phase)
        frames.append(run.step_phase())
    begins("", _MORE_EPOCHS)
    frames.append(run.run(_MORE_EPOCHS))
    return frames


def _backwards(run: Run) -> Iterator[Frame]:
    """The frames on the way back: by phase through a whole batch, then by epoch.

    Every step back runs all from Setup on.
    """
    yield run.seek(_EPOCHS)
    for _ in range(len(run.program.loop) + 1):  # one more: the Report
        yield run.back()
    while run.at.epoch:
        yield run.back_epoch()


def _why_no_loss(loss: Any) -> Remark | None:
    """The reason why a loss can't be minimized: it is not one real number; None if it is."""
    if loss is None:
        return None
    numbers = to_numbers(loss)
    if numbers is None:
        return Remark("loss_is_no_number")
    if numbers.size != 1:
        return Remark("loss_is_array", {"kind": dtype_and_shape(loss)})
    if numbers.dtype.kind == "c":
        return Remark("loss_is_complex", {"kind": dtype_and_shape(loss)})
    return None


def _why_no_parameter(name: str, thing: Any) -> Remark | None:
    """The reason why a parameter, as Setup binds it, can't be trained; None if it can."""
    numbers, kind = to_numbers(thing), type(thing).__name__
    if isinstance(thing, list | tuple | dict | torch.nn.Module):
        return Remark("parameter_is_container", {"name": name, "kind": kind})
    if isinstance(thing, torch.Tensor | np.ndarray | np.generic):
        kind = dtype_and_shape(thing)
    if numbers is None:
        return Remark("parameter_without_numbers", {"name": name, "kind": kind})
    if numbers.dtype.kind in "biu":
        return Remark("parameter_is_whole", {"name": name, "kind": kind})
    return None


def _rounding(run: Run) -> float:
    """The distance of two gradients that agree in the coarsest dtype of the parameters."""
    dtypes = (getattr(run.loop.namespace.get(n), "dtype", None) for n in run.program.parameters)
    known = [dtype for dtype in dtypes if isinstance(dtype, torch.dtype)]
    floats = [dtype for dtype in known if dtype.is_floating_point or dtype.is_complex]
    return max([RELATIVE, *(_HALF_PRECISION_STEPS * torch.finfo(dtype).eps for dtype in floats)])


def _all_of(gradients: Mapping[str, Array | None]) -> dict[str, Sampled]:
    known = {name: array for name, array in gradients.items() if array is not None}
    return {n: Sampled(a.shape, list(range(a.size)), a.ravel()) for n, a in known.items()}


def _disagreement(
    found: Mapping[str, Array | None], wanted: Mapping[str, Sampled], relative: float = RELATIVE
) -> Remark | None:
    """The first difference of two sets of gradients beyond rounding; None if there is none."""
    for name, right in wanted.items():
        whole = found.get(name)
        if whole is None:
            return Remark("gradient_missing", {"name": name})
        if whole.size != math.prod(right.shape):
            shapes = {"found": whole.shape, "right": right.shape}
            return Remark("gradient_shape", {"name": name, **shapes})
        mine, theirs = whole.reshape(-1)[right.at], right.slopes
        apart = differences(mine, theirs)
        scale = max(map(largest_size, (mine, theirs)))
        # What is 0 to one and 1e-9 to the other (a silent unit) is rounding.
        if apart.max(initial=0.0) > relative * max(scale, 1e-3):
            at = int(apart.argmax())
            numbers = {"found": float(mine[at]), "right": float(theirs[at])}
            return Remark("gradient_differs", {"name": name, **numbers})
    return None
