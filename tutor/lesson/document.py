"""A lesson's file as a checked Lesson, or all of its diagnostics."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import msgspec

from tutor.lesson import code_checks, exercise_yaml, front_matter, library
from tutor.lesson.code_checks import PythonProblem
from tutor.lesson.exercise_values import ExerciseContext
from tutor.lesson.front_matter import FrontMatter
from tutor.lesson.languages import language_of
from tutor.lesson.markdown import Body
from tutor.lesson.model import (
    GRADIENT,
    LOSS,
    PHASES,
    PHASES_IN_ORDER,
    PREDICT,
    SETUP,
    STANDARD_MODES,
    SYNCHRONIZE,
    DataNames,
    DiagnosticList,
    Fence,
    Lesson,
    Section,
    fences_of,
    standard_modes,
)

_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


def read(path: Path) -> Lesson:
    """The lesson in a file.

    Raises LessonError, one line, if there is no readable text there, and LessonDiagnostics,
    one line for each, if the text is not a lesson.
    """
    return parse(library.load(path), path)


def parse(source: str, path: Path) -> Lesson:
    """The lesson that `source` is, `path` being the file it came from.

    Raises LessonDiagnostics with everything that is wrong with it.
    """
    text = library.with_plain_newlines(source)
    diagnostics = DiagnosticList(path)
    _check_is_text(text, diagnostics)
    lines = text.split("\n")
    front = front_matter.parse(lines, diagnostics)
    body = Body(lines, front.end, diagnostics)
    if not body.is_whole:
        diagnostics.raise_if_any()
    sections = body.sections()
    front = _with_meant_modes(front, sections, diagnostics)
    named = {mode for fence in fences_of(sections) for mode in fence.modes}
    modes = front.modes or standard_modes(named)
    context = ExerciseContext(front, sections, modes, diagnostics)
    exercises = exercise_yaml.read(body.exercises, context)
    _Checker(front, sections, modes, diagnostics).check()
    _check_is_not_its_own_base(front, path, diagnostics)
    diagnostics.raise_if_any()
    return Lesson(
        slug=library.slug_of(path),
        path=path,
        digest=hashlib.sha256(source.encode()).hexdigest(),
        source=text,
        title=front.title,
        summary=front.summary,
        order=front.order,
        modes=modes,
        parameters={mode: front.parameters.get(mode) or () for mode in modes},
        learning_rate={mode: front.learning_rate.get(mode) or 0.0 for mode in modes},
        epochs={mode: front.epochs.get(mode) or 0 for mode in modes},
        sections=body.sections(exercises),
        batches=front.batches,
        workers=front.workers,
        warm_up=front.warm_up,
        watch=_watch_by_mode(front, modes),
        watch_lines={
            mode: {label: by.lines.get(mode, by.line) for label, by in front.watch.items()}
            for mode in modes
        },
        own_gradient=front.own_gradient,
        comparable=front.comparable,
        data=front.data or _usual_data(sections, modes),
        builds_on=front.builds_on,
        language=language_of(path),
        warnings=diagnostics.warnings,
    )


def _check_is_not_its_own_base(front: FrontMatter, path: Path, diagnostics: DiagnosticList) -> None:
    if library.slug_of(path) in front.builds_on:
        slug = library.slug_of(path)
        diagnostics.add(front.line("builds_on"), "own_base", slug=slug)


def _check_is_text(text: str, diagnostics: DiagnosticList) -> None:
    """A NUL would be replaced in silence by the Markdown parser: then code shown is not run."""
    if found := _NOT_TEXT.search(text):
        line = text.count("\n", 0, found.start()) + 1
        diagnostics.add(line, "character_is_no_text", character=found[0])
        diagnostics.raise_if_any()


def _watch_by_mode(
    front: FrontMatter, modes: tuple[str, ...]
) -> Mapping[str, Mapping[str, str]] | None:
    if not front.watch:
        return None
    return {
        mode: {label: found for label, by in front.watch.items() if (found := by.get(mode))}
        for mode in modes
    }


NEEDED = (PREDICT, LOSS)
"""The phases without which there is nothing to learn."""

USUAL_DATA = DataNames("x", "y", "y_pred")
"""The names of the data in a lesson that does not say."""

_EXAMPLES = {PREDICT: "y_pred = w * x", LOSS: "loss = ((y_pred - y) ** 2).mean()"}
"""The code of the phases that all modes have. A lesson that predicts nothing has no Predict."""


def _with_meant_modes(
    front: FrontMatter, sections: Sequence[Section], diagnostics: DiagnosticList
) -> FrontMatter:
    """The front matter with the modes that were meant, where the fences say so.

    A mode in `modes` that no fence names, and that is nearly one which only fences name, is a
    slip: it gets one diagnostic, where it stands, and not one at each of those fences.
    """
    named = dict.fromkeys(mode for fence in fences_of(sections) for mode in fence.modes)
    meant = {}
    for mode in front.modes:
        unlisted = [name for name in named if name not in front.modes]
        if mode not in named and (near := get_close_matches(mode, unlisted, n=1)):
            meant[mode] = near[0]
            diagnostics.add(front.line("modes"), "mode_without_code", mode=mode, meant=near[0])
    return front.replaced(modes=tuple(meant.get(mode, mode) for mode in front.modes))


def _usual_data(sections: Sequence[Section], modes: Sequence[str]) -> DataNames | None:
    """The usual names, if the code of some mode binds all three; it must compile."""
    found = any(code_checks.binds_data(USUAL_DATA, sections, mode) for mode in modes)
    return USUAL_DATA if found else None


class _Checker(msgspec.Struct, frozen=True, dict=True):
    front: FrontMatter
    sections: Sequence[Section]
    modes: Sequence[str]
    diagnostics: DiagnosticList

    def check(self) -> None:
        self._modes_of_front_matter()
        self._watched()
        self._fences()
        self._phases()
        if not self._fences_of_all:
            return  # _phases has reported that; the rest would only repeat it
        self._order()
        for mode in self.modes:
            self._gradient(mode)
            self._setup(mode)
        self._data()

    @cached_property
    def _fences_of_all(self) -> tuple[Fence, ...]:
        return tuple(fences_of(self.sections))

    @cached_property
    def _known_modes(self) -> Sequence[str]:
        return self.front.modes or STANDARD_MODES

    @cached_property
    def _broken(self) -> Mapping[Fence, PythonProblem]:
        """The fences that are not Python, and why: nobody can know what they do."""
        found = {f: code_checks.why_not_code(f.code, f.line) for f in self._fences_of_all}
        return {fence: bad for fence, bad in found.items() if bad}

    def _is_unsure(self, phase: str) -> bool:
        """Whether some code of a phase has no mode yet: the code that a mode lacks may be there."""
        if self.front.are_modes_unread:
            return True
        section = self._phase(phase)
        blocks = section.blocks if section else ()
        return any(isinstance(b, Fence) and self._unknown_modes(b) for b in blocks)

    def _phase(self, name: str) -> Section | None:
        return next((s for s in self.sections if s.phase == name), None)

    def _phase_fences(self, name: str, mode: str) -> tuple[Fence, ...]:
        return tuple(f for s in self.sections if s.phase == name for f in s.fences(mode))

    # ── Modes ───────────────────────────────────────────────────────────────────────

    def _modes_of_front_matter(self) -> None:
        if self.front.are_modes_unread:
            return
        front = self.front
        for key, by in (
            ("parameters", front.parameters),
            ("learning_rate", front.learning_rate),
            ("epochs", front.epochs),
        ):
            self._known(by.lines)
            silent = [m for m in self.modes if by.lines and m not in by.lines]
            if silent:
                self.diagnostics.add(
                    by.line, "silent_for_modes", key=key, modes=silent, first=silent[0]
                )
        for watched in front.watch.values():
            self._known(watched.lines)
        for mode in front.own_gradient:
            self._known({mode: front.line("own_gradient")})

    def _known(self, lines: Mapping[str, int]) -> None:
        """Note each mode that the lesson does not have, given the line that names it."""
        for mode, line in lines.items():
            if mode not in self.modes:
                self.diagnostics.add(line, "unknown_mode", word=mode, known=[*self.modes])

    # ── Expressions and code ────────────────────────────────────────────────────────

    def _watched(self) -> None:
        for label, by in self.front.watch.items():
            lines = {by.common: by.line} | {by.own[mode]: by.lines[mode] for mode in by.own}
            for expression, line in lines.items():
                if expression and (reason := code_checks.why_not_expression(expression)):
                    values = {"expression": expression, "label": label, "reason": reason}
                    self.diagnostics.add(line, "watched_is_no_expression", **values)

    def _fences(self) -> None:
        for fence in self._fences_of_all:
            for mode in self._unknown_modes(fence):
                line, known = fence.line - 1, [*self._known_modes]
                if mode in STANDARD_MODES:
                    self.diagnostics.add(line, "mode_not_in_modes", mode=mode)
                else:
                    self.diagnostics.add(line, "unknown_mode", word=mode, known=known)
            if bad := self._broken.get(fence):
                self.diagnostics.add(bad.line, "code_is_not_python", reason=bad.reason)

    def _unknown_modes(self, fence: Fence) -> list[str]:
        if self.front.are_modes_unread:
            return []
        return [mode for mode in fence.modes if mode not in self._known_modes]

    # ── Phases ──────────────────────────────────────────────────────────────────────

    def _phases(self) -> None:
        if not self._fences_of_all:
            self.diagnostics.add(1, "no_code")
        for name, example in _EXAMPLES.items():
            section = self._phase(name)
            if section is None:
                if name == LOSS:
                    self.diagnostics.add(1, "no_phase", phase=name)
            elif self._is_unsure(name):
                continue
            elif without := [m for m in self.modes if not self._phase_fences(name, m)]:
                self.diagnostics.add(
                    section.line,
                    "phase_without_code",
                    phase=name,
                    modes=without,
                    words=" ".join(without),
                    example=example,
                )
        synchronize = self._phase(SYNCHRONIZE)
        if synchronize is not None and self.front.workers == 1:
            self.diagnostics.add(synchronize.line, "synchronize_on_one_rank")

    def _order(self) -> None:
        """Phases run as they stand: a phase that comes too early computes with old values."""
        found = [s for s in self.sections if s.phase in PHASES_IN_ORDER]
        for above, below in pairwise(found):
            first, then = str(above.phase), str(below.phase)
            if PHASES_IN_ORDER.index(first) > PHASES_IN_ORDER.index(then):
                self.diagnostics.warn(below.line, "phases_out_of_order", first=first, then=then)

    def _unbound(self, phase: str, mode: str, fences: Sequence[Fence], d: str = "") -> list[str]:
        """The parameters, or their gradients `dw`, that no code binds; none if that is unsure."""
        names = [f"{d}{name}" for name in self.front.parameters.get(mode) or ()]
        if any(fence in self._broken for fence in fences) or self._is_unsure(phase):
            return []
        bound = code_checks.bound_names(fence.code for fence in fences)
        return [name for name in names if bound is not None and name not in bound]

    def _gradient(self, mode: str) -> None:
        fences = [f for name in PHASES for f in self._phase_fences(name, mode)]
        missing = self._unbound(GRADIENT, mode, fences, "d")
        if missing and not code_checks.computes_gradient(fence.code for fence in fences):
            line = self._line_of(GRADIENT)
            self.diagnostics.add(
                line, "mode_without_gradient", mode=mode, names=missing, first=missing[0]
            )

    def _setup(self, mode: str) -> None:
        if missing := self._unbound(SETUP, mode, self._phase_fences(SETUP, mode)):
            line = self._line_of(SETUP)
            self.diagnostics.add(
                line, "parameters_not_bound", mode=mode, names=missing, first=missing[0]
            )

    def _data(self) -> None:
        """The names of the data have to be bound where a plot looks for them."""
        data = self.front.data
        if data is None or self._broken:
            return
        for what, name, phase in (
            ("input", data.input, SETUP),
            ("target", data.target, SETUP),
            ("prediction", data.prediction, PREDICT),
        ):
            bound = [code_checks.bound_in(self.sections, phase, mode) for mode in self.modes]
            if not self._is_unsure(phase) and all(b is not None and name not in b for b in bound):
                line = self.front.line("data")
                self.diagnostics.add(line, "data_not_bound", key=what, name=name, phase=phase)

    def _line_of(self, phase: str) -> int:
        """The phase's heading, or the line that names the parameters."""
        section = self._phase(phase)
        return section.line if section else self.front.line("parameters")
