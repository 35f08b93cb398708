"""The lesson around an exercise, which the exercise is checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutor.lesson import code_checks
from tutor.lesson.diagnostics import DiagnosticList, did_you_mean
from tutor.lesson.exercise import StartPlace
from tutor.lesson.front_matter import FrontMatter
from tutor.lesson.model import PHASES, REPORT, SETUP, Fence, Section


@dataclass(frozen=True, slots=True)
class ExerciseContext:
    """The lesson around an exercise, and the list of what is wrong with its file."""

    modes: tuple[str, ...]
    """Never empty."""
    are_modes_known: bool
    """False where the front matter is wrong; then modes are not checked."""
    parameters: Mapping[str, tuple[str, ...] | None]
    """By mode; None where they could not be read."""
    phases: tuple[str, ...]
    """The phases that the lesson has, in its order."""
    run: Mapping[str, tuple[str, ...]]
    """By mode: the phases before which a run can stand, Setup excepted."""
    with_graph: tuple[str, ...]
    """The modes whose code asks autograd for a gradient, or may do so."""
    batches: int
    warm_up: int
    diagnostics: DiagnosticList

    def why_not_mode(self, mode: str) -> str | None:
        """Why a name is not a mode of the lesson, or None."""
        if not self.are_modes_known or mode in self.modes:
            return None
        return f"unknown mode `{mode}`{did_you_mean(mode, self.modes)}"

    def why_not_parameter(self, mode: str, name: str) -> str | None:
        """Why `name` can't be set in `mode`, or None."""
        names = self.parameters.get(mode)
        if not self.are_modes_known or not names or name in names:
            return None
        return f"`{name}` is not a parameter of mode `{mode}`{did_you_mean(name, names)}"

    def why_no_graph(self, mode: str) -> str | None:
        """Why a mode has no graph of its step, or None."""
        if not self.are_modes_known or mode not in self.modes or mode in self.with_graph:
            return None
        others = f"; write `mode: {self.with_graph[0]}`" if self.with_graph else ""
        return f"mode `{mode}` has no graph: its code calls no backward(){others}"

    def why_not_place(self, mode: str, at: StartPlace, repaired: str = "") -> str | None:
        """Why a run in `mode` can't stand at `at`, or None.

        A phase whose code an exercise replaces (`repaired`) is run, if it was not before.
        """
        if not at.phase:
            return None
        run = {*self.run.get(mode, PHASES), repaired} - {SETUP}
        runs = [phase for phase in PHASES if phase in run]
        if at.phase not in runs:
            known = ", ".join(phase.lower() for phase in runs)
            return f"mode `{mode}` runs no phase {at.phase}; write one of: {known}"
        if at.epoch == 0:
            return self._why_not_warm_up(at)
        if at.batch > (most := 1 if at.phase == REPORT else self.batches):
            return f"there is no batch {at.batch} {_batch_advice(most, at.phase)}"
        return None

    def _why_not_warm_up(self, at: StartPlace) -> str | None:
        if not self.warm_up:
            return "there is no epoch 0 without a `warm_up`; epochs count from 1"
        if at.phase == REPORT:
            return "there is no report in the warm-up; write an epoch from 1"
        if at.batch > self.warm_up:
            return (
                f"there is no batch {at.batch} in the warm-up; write one from 1 to {self.warm_up}"
            )
        return None


def _batch_advice(most: int, phase: str) -> str:
    if phase == REPORT:
        return "of the report, which comes once an epoch; leave it out"
    if most == 1:
        return "where an epoch is one batch; leave it out"
    return f"in an epoch; write one from 1 to {most}"


def context_of(
    front: FrontMatter,
    sections: Sequence[Section],
    modes: tuple[str, ...],
    diagnostics: DiagnosticList,
) -> ExerciseContext:
    """The context of a lesson's exercises; the lesson may have diagnostics."""
    known = not front.are_modes_unread
    phases = [s for s in sections if s.phase]
    run = {
        mode: tuple(s.phase or "" for s in phases if s.phase != SETUP and _runs(s, mode, modes))
        for mode in modes
    }
    return ExerciseContext(
        modes=modes,
        are_modes_known=known,
        parameters={mode: front.parameters.get(mode) for mode in modes},
        phases=tuple(dict.fromkeys(s.phase or "" for s in phases)),
        run=run if known else {},
        with_graph=tuple(mode for mode in modes if _may_differentiate(sections, mode, modes)),
        batches=front.batches,
        warm_up=front.warm_up,
        diagnostics=diagnostics,
    )


def _runs(section: Section, mode: str, modes: tuple[str, ...]) -> bool:
    """Whether a mode has code here, or may have: code of a misspelt mode may belong to any."""
    return bool(_fences(section, mode, modes))


def _fences(section: Section, mode: str, modes: tuple[str, ...]) -> list[Fence]:
    fences = (b for b in section.blocks if isinstance(b, Fence))
    return [f for f in fences if f.runs_in(mode) or any(m not in modes for m in f.modes)]


def _may_differentiate(sections: Sequence[Section], mode: str, modes: tuple[str, ...]) -> bool:
    """Whether a mode's code asks for a gradient; code that does not compile may."""
    codes = [f.code for s in sections if s.phase for f in _fences(s, mode, modes)]
    return any(map(code_checks.why_not_code, codes)) or code_checks.computes_gradient(codes)
